//! The evidence of a run: its drills, its verdict, its exit code.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::LedgerComparison;
use crate::{DrillEvidence, Outcome, PlannedDrill, RunPlan, Verdict, exit};

/// Version of the shape of `evidence.json`. Grows when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that reports say about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvidence {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The run's id; empty if there is no drill to tell it.
    pub run_id: String,
    /// `drill`'s own version.
    pub drill_version: String,
    /// The first event of all.
    pub started_at_utc: Option<DateTime<Utc>>,
    /// The last event of all.
    pub ended_at_utc: Option<DateTime<Utc>>,
    /// Whether it came to its end. If not, it was killed or interrupted: it has no `evidence.json`, and proves nothing as
    /// a whole.
    #[serde(default = "is_finished")]
    pub finished: bool,
    /// The merged verdict of all drills; at least `Unknown` if there is none, if a log could not be read, if a drill never
    /// began, or if the run did not finish.
    pub verdict: Verdict,
    /// The drills, by beginning and name.
    pub drills: Vec<DrillEvidence>,
    /// Event logs of the run that could not be read or folded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableLog>,
    /// Drills of the plan that never began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never_began: Vec<PlannedDrill>,
    /// Drills of the plan that were left out, because the machine lacks something for them. They prove nothing, and say
    /// nothing against the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<PlannedDrill>,
}

/// Evidence is written of runs that came to their end.
fn is_finished() -> bool {
    true
}

/// Why a drill of the plan has no result.
pub const NEVER_BEGAN: &str = "the run ended before this drill began";

/// An event log that could not be read or folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableLog {
    /// Name of the drill, as its folder says.
    pub drill: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RunEvidence {
    /// Puts the drills of a run together. Their order does not matter.
    pub fn new(drills: Vec<DrillEvidence>) -> Self {
        Self::with_unreadable(drills, Vec::new())
    }

    /// Like [`RunEvidence::new`], with the logs that could not be read; these make the verdict at least `Unknown`.
    pub fn with_unreadable(mut drills: Vec<DrillEvidence>, unreadable: Vec<UnreadableLog>) -> Self {
        drills
            .sort_by(|a, b| (a.times.started.at_utc, &a.header.drill).cmp(&(b.times.started.at_utc, &b.header.drill)));
        let header = drills.first().map(|drill| &drill.header);
        let unread = unreadable.iter().map(|_| Verdict::Unknown);
        Self {
            schema_version: SCHEMA_VERSION,
            run_id: header.map(|header| header.run_id.clone()).unwrap_or_default(),
            drill_version: header.map(|header| header.drill_version.clone()).unwrap_or_default(),
            started_at_utc: drills.iter().map(|drill| drill.times.started.at_utc).min(),
            ended_at_utc: drills.iter().map(|drill| drill.times.ended.at_utc).max(),
            finished: true,
            verdict: Verdict::of_all(drills.iter().map(|drill| drill.verdict).chain(unread)),
            drills,
            unreadable,
            never_began: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// The same, held against what it was going to do: what never began makes the verdict at least `Unknown`.
    #[must_use]
    pub fn of_plan(mut self, plan: RunPlan) -> Self {
        let began = |name: &str| {
            let drills = self.drills.iter().map(|drill| drill.header.drill.as_str());
            let mut all = drills.chain(self.unreadable.iter().map(|log| log.drill.as_str()));
            all.any(|drill| drill == name)
        };
        let without_result = plan.drills.into_iter().filter(|planned| !began(&planned.drill));
        (self.skipped, self.never_began) = without_result.partition(|planned| planned.skipped.is_some());
        if !self.never_began.is_empty() {
            self.verdict = self.verdict.merge(Verdict::Unknown);
        }
        if self.run_id.is_empty() {
            self.run_id = plan.run_id;
        }
        self
    }

    /// The same, of a run that did not come to its end.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.finished = false;
        self.verdict = self.verdict.merge(Verdict::Unknown);
        self
    }

    /// The exit code of the run (see [`exit`]): 0 if every drill passed, 1 if one failed, else 3.
    pub fn exit_code(&self) -> u8 {
        exit::code(self.verdict)
    }

    /// The drills for a summary, the worst first: those in which every acknowledged commit is lost, whatever was expected; then
    /// `Fail` before `Unknown` before `Pass`; among equals those that did not restore the service, then those that
    /// missed an objective, then the larger share of commits that is gone, the longer recovery, the name.
    pub fn worst_first(&self) -> Vec<&DrillEvidence> {
        let mut drills: Vec<&DrillEvidence> = self.drills.iter().collect();
        drills.sort_by_key(|drill| {
            let ledger = drill.ledger.as_ref().map(|ledger| &ledger.comparison);
            let total_loss = ledger.is_some_and(LedgerComparison::is_total_loss);
            let not_restored = drill.outcome == Some(Outcome::NotRecovered);
            let missed = u8::from(drill.rpo_met == Some(false)) + u8::from(drill.rto_met == Some(false));
            let lost_percent = ledger.map_or(0, |found| found.lost_commits * 100 / found.acknowledged_commits.max(1));
            let recovery_ms = drill.recovery_time.map(|time| time.total_ms);
            let severity = (
                total_loss,
                drill.verdict,
                not_restored,
                missed,
                lost_percent,
                recovery_ms,
            );
            (Reverse(severity), drill.header.drill.clone())
        });
        drills
    }

    /// How many drills have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.drills.iter().filter(|drill| drill.verdict == verdict).count()
    }
}
