//! What is known of the candidates so far, and what follows where a recovery ends before what the plan had promised.
//!
//! Such a promise was wrong, not the backup. The same candidate is restored once more, as something may have kept the WAL
//! from it. Where it ends early again, that is as far as it goes: the choice is made again with that known, and if it falls
//! on the same candidate, what was restored serves.

use std::collections::{BTreeMap, BTreeSet};

use reports::CheckId;

use crate::{
    backup::planner::Standing,
    postgres::{Cluster, Lsn, Shutdown},
    state::Drill,
};

use super::choose::Choice;

/// What is known of the candidates so far, each by its backup.
#[derive(Default)]
pub(super) struct Known {
    /// Which of them may be used.
    pub(super) standings: BTreeMap<String, Standing>,
    /// How far those go whose recovery ended before what was promised of it.
    pub(super) reaches: BTreeMap<String, Lsn>,
    /// Where the first recovery of each of these ended.
    ended: BTreeMap<String, Lsn>,
    /// Findings about the WAL that are recorded already.
    pub(super) told: BTreeSet<String>,
}

/// A restored cluster whose recovery ended before what the plan had promised.
pub(super) struct Early {
    /// The backup that it was restored from.
    backup_id: String,
    /// Where its recovery ended.
    at: Lsn,
    cluster: Cluster,
}

impl Early {
    pub(super) fn new(choice: &Choice, at: Lsn, cluster: Cluster) -> Self {
        let backup_id = choice.backup.info.id.clone();
        Self { backup_id, at, cluster }
    }

    /// Whether it is what a restore of this choice comes to.
    pub(super) fn is_of(&self, choice: &Choice) -> bool {
        self.backup_id == choice.backup.info.id && choice.reach == Some(self.at)
    }

    pub(super) fn into_cluster(self) -> Cluster {
        self.cluster
    }
}

impl Known {
    /// The chosen candidate turned out to be unusable: back to step 3 with the next.
    pub(super) fn reject(&mut self, choice: &Choice, check: Option<CheckId>, reason: String) {
        let standing = Standing::Unusable { check, reason };
        self.standings.insert(choice.backup.info.id.clone(), standing);
    }

    /// A recovery ended before what was promised. Of all that did so the cluster is kept that came furthest.
    pub(super) async fn ended_early(
        &mut self,
        drill: &Drill,
        choice: &Choice,
        early: Early,
        kept: Option<Early>,
    ) -> Option<Early> {
        let (id, at) = (early.backup_id.clone(), early.at);
        let promised = choice.promise().map_or_else(String::new, |lsn| lsn.to_string());
        let text = format!("The recovery of {id} ended at {at}, and the plan had promised {promised}");
        if let Some(before) = self.ended.insert(id.clone(), at) {
            let reach = before.max(at);
            self.reaches.insert(id, reach);
            let text = format!("{text}, again: the promise was wrong, and {reach} is as far as it goes.");
            drill.recorder.finding(text);
        } else {
            drill.recorder.finding(format!("{text}: it is restored once more."));
        }
        let (best, other) = match kept {
            Some(kept) if kept.at >= at => (kept, Some(early)),
            kept => (early, kept),
        };
        if let Some(mut other) = other {
            let _ = other.cluster.stop(Shutdown::Immediate).await; // it is removed with the drill's directory in any case
        }
        Some(best)
    }
}
