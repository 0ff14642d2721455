//! The evidence of a run: its drills, its verdict, its exit code.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{DrillEvidence, Verdict, exit};

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
    /// The merged verdict of all drills; `Unknown` if there is none, or if a log could not be read.
    pub verdict: Verdict,
    /// The drills, by beginning and name.
    pub drills: Vec<DrillEvidence>,
    /// Event logs of the run that could not be read or folded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableLog>,
}

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
            verdict: Verdict::of_all(drills.iter().map(|drill| drill.verdict).chain(unread)),
            drills,
            unreadable,
        }
    }

    /// The exit code of the run (see [`exit`]): 0 if every drill passed, 1 if one failed, else 3.
    pub fn exit_code(&self) -> u8 {
        exit::code(self.verdict)
    }

    /// The drills for a summary: `Fail` before `Unknown` before `Pass`; among equals those that missed an objective
    /// first, then the longer recovery, then by name.
    pub fn worst_first(&self) -> Vec<&DrillEvidence> {
        let mut drills: Vec<&DrillEvidence> = self.drills.iter().collect();
        drills.sort_by_key(|drill| {
            let missed = u8::from(drill.rpo_met == Some(false)) + u8::from(drill.rto_met == Some(false));
            let recovery_ms = drill.recovery_time.map(|time| time.total_ms);
            (
                Reverse((drill.verdict, missed, recovery_ms)),
                drill.header.drill.clone(),
            )
        });
        drills
    }

    /// How many drills have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.drills.iter().filter(|drill| drill.verdict == verdict).count()
    }
}
