//! What one attempt at a restore tells the next: which candidates are out, how far the others go, what was tried already.
//!
//! Where a recovery ends before what the plan had promised, the promise was wrong, not the backup. The same candidate is
//! restored once more, as something may have kept the WAL from it. Where it ends early again, that is as far as it goes: the
//! choice is made again with that known, and if it falls on the same candidate, what was restored serves.

use std::collections::{BTreeMap, BTreeSet};

use reports::{CheckId, What};

use crate::{
    backup::planner::{Rejection, Standing},
    postgres::{Lsn, Shutdown},
    record::Recorder,
    scenario::Target,
    state::Drill,
    wal::RecoveryTarget,
};

use super::{Restored, choose::Choice};

/// What is known after the attempts so far, of candidates each by its backup.
#[derive(Default)]
pub(super) struct Attempts {
    /// How many there were, the one that is under way included.
    made: u32,
    /// How often a restored cluster was validated.
    looks: u32,
    /// Which candidates may be used.
    pub(super) standings: BTreeMap<String, Standing>,
    /// How far those go whose recovery ended before what was promised of it.
    pub(super) reaches: BTreeMap<String, Lsn>,
    /// Where the first recovery of each of these ended.
    ended: BTreeMap<String, Lsn>,
    /// What came furthest of that.
    early: Option<Early>,
    /// Whose restore was tried once more.
    restored_again: BTreeSet<String>,
    /// The WAL ends before the recovery target: the operator aims for its end instead.
    target_out_of_reach: bool,
    /// Findings about the WAL that are recorded already.
    pub(super) told: BTreeSet<String>,
    /// Rejections that are recorded already.
    rejected: BTreeSet<(String, bool)>,
}

/// A restored cluster whose recovery ended before what the plan had promised.
pub(super) struct Early {
    /// The backup that it was restored from.
    backup_id: String,
    /// Where its recovery ended.
    at: Lsn,
    restored: Restored,
}

impl Early {
    pub(super) fn new(choice: &Choice, at: Lsn, restored: Restored) -> Self {
        let backup_id = choice.backup.info.id.clone();
        Self {
            backup_id,
            at,
            restored,
        }
    }

    /// Whether it is what a restore of this choice comes to.
    fn is_of(&self, choice: &Choice) -> bool {
        self.backup_id == choice.backup.info.id && choice.reach == Some(self.at)
    }
}

impl Attempts {
    /// The next attempt begins. Its number, from 1.
    pub(super) fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// The attempt that is under way.
    pub(super) fn number(&self) -> u32 {
        self.made
    }

    /// Somebody looks at a restored cluster. The number of that look, from 1.
    pub(super) fn next_look(&mut self) -> u32 {
        self.looks += 1;
        self.looks
    }

    /// What the operator aims for.
    pub(super) fn recovery_target(&self, drill: &Drill) -> RecoveryTarget {
        let lsn = |lsn: Option<Lsn>| lsn.map_or(RecoveryTarget::End, RecoveryTarget::Lsn);
        let incident = &drill.incident;
        match &drill.desk.scenario.recovery.target {
            _ if self.target_out_of_reach => RecoveryTarget::End,
            Target::End => RecoveryTarget::End,
            Target::BeforeFailure => lsn(incident.failure_lsn),
            Target::BeforeFault => lsn(incident.fault_lsn),
            Target::Lsn(text) => lsn(text.parse().ok()),
            Target::Time(time) => RecoveryTarget::Time(*time),
            Target::Moment(_) => incident.target_time.map_or(RecoveryTarget::End, RecoveryTarget::Time),
        }
    }

    /// The recovery target is given up. False if it was before.
    pub(super) fn give_up_target(&mut self) -> bool {
        !std::mem::replace(&mut self.target_out_of_reach, true)
    }

    /// The same candidate is restored once more. False if it was before.
    pub(super) fn restore_again(&mut self, choice: &Choice) -> bool {
        self.restored_again.insert(choice.backup.info.id.clone())
    }

    /// The chosen candidate turned out to be unusable: back to step 3 with the next.
    pub(super) fn reject(&mut self, choice: &Choice, check: Option<CheckId>, reason: String) {
        let standing = Standing::Unusable { check, reason };
        self.standings.insert(choice.backup.info.id.clone(), standing);
    }

    /// Records a rejected candidate, once.
    pub(super) fn record_rejection(&mut self, recorder: &Recorder, rejection: Rejection) {
        let reason = rejection.to_string();
        let Rejection {
            backup_id,
            check,
            unusable,
            foreign,
            ..
        } = rejection;
        let which = foreign.map_or_else(String::new, |timeline| timeline.to_string());
        if self.rejected.insert((format!("{backup_id}@{which}"), unusable)) {
            recorder.record(What::CandidateRejected {
                backup_id,
                check,
                reason,
                unusable,
            });
        }
    }

    /// What a restore of this choice comes to, if that was restored already.
    pub(super) fn restored_already(&mut self, choice: &Choice) -> Option<Restored> {
        let early = self.early.take()?;
        if early.is_of(choice) {
            return Some(early.restored);
        }
        self.early = Some(early);
        None
    }

    /// A recovery ended before what was promised. Of all that did so the cluster is kept that came furthest.
    pub(super) async fn ended_early(&mut self, drill: &Drill, choice: &Choice, early: Early) {
        let recorder = &drill.desk.recorder;
        let (id, at) = (early.backup_id.clone(), early.at);
        let promised = choice.promise().map_or_else(String::new, |lsn| lsn.to_string());
        let text = format!("The recovery of {id} ended at {at}, and the plan had promised {promised}");
        if let Some(before) = self.ended.insert(id.clone(), at) {
            let reach = before.max(at);
            self.reaches.insert(id, reach);
            recorder.finding(format!(
                "{text}, again: the promise was wrong, and {reach} is as far as it goes."
            ));
        } else {
            recorder.finding(format!("{text}: it is restored once more."));
        }
        let (best, other) = match self.early.take() {
            Some(kept) if kept.at >= at => (kept, Some(early)),
            kept => (early, kept),
        };
        if let Some(mut other) = other {
            let _ = other.restored.cluster.stop(Shutdown::Immediate).await; // it is removed with the drill's directory in any case
        }
        self.early = Some(best);
    }
}
