//! Evidence: what a drill proved, computed from its events and from nothing else.
//!
//! [`fold()`] is pure, so evidence and every report can be made again from a run's `events.jsonl`. This file holds the
//! shapes; the rules are in the submodules: [`mod@fold`] puts the parts together, `judge` compares with what
//! was expected, `recovery_time` splits the recovery time, `cost` accounts for the wall time.

mod checks;
mod cost;
pub mod fold;
mod headline;

mod judge;
mod recovery_time;
mod rows;
mod steps;
mod timeline;
mod used;
mod words;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{BackupInfo, DrillHeader, FaultReport, Finding, LedgerComparison, PlanInfo, Seeded, WorkloadCounts};
use crate::{Outcome, Phase, Step, Verdict};

pub use fold::{FoldError, fold};
pub use rows::{
    ActionRow, AlertRow, AnswerRow, CheckRow, Cost, DetectionRow, ExternalTime, Objection, PartTime, Particular,
    RejectedCandidate, RestoreJobRow, StepRow, StepVerdict, TimelineRow,
};

/// Everything that reports say about one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillEvidence {
    /// What was known before the drill began.
    pub header: DrillHeader,
    /// Whether its last event is there. If not, the harness was killed or interrupted.
    pub finished: bool,
    /// How it ended; `None` if it was not carried out to its end: it was killed, or `error` says why. The verdict is unknown
    /// then.
    pub outcome: Option<Outcome>,
    /// Why, where that is not plain.
    pub reason: String,
    /// Why the harness could not carry the drill out, if it could not.
    pub error: Option<String>,
    /// Whether it went and ended as its scenario expects, in everything that [`crate::event::Expected`] says; and
    /// whether all happened that was to be broken.
    pub as_expected: bool,
    /// One sentence for each expectation that was not met.
    pub mismatches: Vec<String>,
    /// The verdict: `Pass` only if as expected and nothing is left to object.
    pub verdict: Verdict,
    /// What apart from expectations keeps the verdict from `Pass`.
    pub objections: Vec<Objection>,
    /// When the turning points were.
    pub times: Times,
    /// From the failure to the declaration; `None` if the service was not restored.
    pub recovery_time: Option<RecoveryTime>,
    /// Whether the recovery time is within the RTO; `None` if the service was not restored.
    pub rto_met: Option<bool>,
    /// The ledger against the rows of the last cluster that was compared; `None` if none was.
    pub ledger: Option<LedgerResult>,
    /// Whether the proven loss is within the RPO; `None` if nothing was compared or the service was not restored.
    pub rpo_met: Option<bool>,
    /// How many live writers there were.
    pub writers: Option<u32>,
    /// The writers' own counts.
    pub workload: Option<WorkloadCounts>,
    /// Size of the seed.
    pub seeded: Option<Seeded>,
    /// Every cluster that came up, in order.
    pub clusters: Vec<ClusterRow>,
    /// Steps by number, then attempt. All fourteen are there; those not reached are `skipped`.
    pub steps: Vec<StepRow>,
    /// How often a restore was attempted or a backup chosen.
    pub attempts: u32,
    /// How often a restore was begun (step 6).
    pub tries: u32,
    /// The last step that was begun.
    pub last_step: Option<Step>,
    /// What the cluster in service at the end answered to the scenario's statements.
    pub answers: Vec<AnswerRow>,
    /// Every result of a check, in the order in which they came.
    pub checks: Vec<CheckRow>,
    /// One row for each check there is, in the order of [`crate::CheckId::ALL`].
    pub detection: Vec<DetectionRow>,
    /// Alerts, in order.
    pub alerts: Vec<AlertRow>,
    /// Backups that were taken, in order.
    pub backups: Vec<BackupInfo>,
    /// Plans, in order; the last one was carried out last.
    pub plans: Vec<PlanInfo>,
    /// Backups that were looked at and not used, in order.
    pub rejected: Vec<RejectedCandidate>,
    /// Distinct backups among them that were damaged, incomplete or unrestorable.
    pub rejected_unusable: u32,
    /// What was broken on purpose.
    pub faults: Vec<FaultReport>,
    /// Forward repairs, in order.
    pub repairs: Vec<ActionRow>,
    /// What was undone, in order.
    pub undos: Vec<ActionRow>,
    /// What a reader must know besides.
    pub findings: Vec<Finding>,
    /// Restore jobs, in order of acceptance.
    pub restore_jobs: Vec<RestoreJobRow>,
    /// What the drill cost in time and space.
    pub cost: Cost,
    /// What happened, for people, in order. Passing checks and waiting are left out.
    pub timeline: Vec<TimelineRow>,
    /// What is to be said about the event log itself, such as a last line that is not whole.
    pub log_notes: Vec<String>,
}

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall clock, UTC.
    pub at_utc: DateTime<Utc>,
    /// Nanoseconds since the drill started, on the monotonic clock.
    pub offset_ns: u64,
}

impl Moment {
    /// Milliseconds from `earlier` to this moment on the monotonic clock; negative if it is in fact later.
    pub fn ms_since(self, earlier: Self) -> f64 {
        let ns = i128::from(self.offset_ns) - i128::from(earlier.offset_ns);
        ns as f64 / 1e6
    }
}

/// Turning points of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The drill began.
    pub started: Moment,
    /// The live writers began.
    pub workload_started: Option<Moment>,
    /// The disaster. The recovery time counts from here (NIST SP 800-34: from the outage, not from its discovery).
    pub failed: Option<Moment>,
    /// The first alert after it.
    pub alerted: Option<Moment>,
    /// The service was declared restored.
    pub restored: Option<Moment>,
    /// The last event.
    pub ended: Moment,
}

/// The recovery time and its five parts, in whole milliseconds. The parts add up to the total, to the millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryTime {
    /// From the failure to the declaration.
    pub total_ms: u64,
    /// Until the alert was received.
    pub detection_ms: u64,
    /// Confirm, list, choose (steps 2 to 4).
    pub decision_ms: u64,
    /// Restore and its notification (steps 5 to 7).
    pub restore_ms: u64,
    /// Validation (step 8).
    pub validation_ms: u64,
    /// Everything after (steps 9 to 14).
    pub cutover_ms: u64,
}

/// A comparison of the ledger, and what was compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerResult {
    /// At which point of the drill; told from the step during which it came.
    pub phase: Phase,
    /// What it came to.
    pub comparison: LedgerComparison,
}

/// A cluster that came up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRow {
    /// Its name in the drill.
    pub cluster: String,
    /// Decimal, as PostgreSQL prints it.
    pub system_identifier: String,
    /// The timeline it was on.
    pub timeline: u32,
}

impl DrillEvidence {
    /// Whether it was carried out to its end, whatever that was; else it proves nothing.
    pub fn was_carried_out(&self) -> bool {
        self.outcome.is_some()
    }

    /// Its outcome in a word; empty if it was not carried out.
    pub fn outcome_id(&self) -> String {
        self.outcome.map(|outcome| outcome.to_string()).unwrap_or_default()
    }

    /// Acknowledged commits: as the ledger has them, else as the writers counted.
    pub fn acknowledged_commits(&self) -> Option<u64> {
        let ledger = self
            .ledger
            .as_ref()
            .map(|ledger| ledger.comparison.acknowledged_commits);
        ledger.or(self.workload.map(|counts| counts.acknowledged))
    }

    /// Commits sent and never answered: as the ledger has them, else as the writers counted.
    pub fn indeterminate_commits(&self) -> Option<u64> {
        let ledger = self
            .ledger
            .as_ref()
            .map(|ledger| ledger.comparison.indeterminate_commits);
        ledger.or(self.workload.map(|counts| counts.indeterminate))
    }

    /// The backup of the last plan.
    pub fn chosen_backup(&self) -> Option<&BackupInfo> {
        self.plans.last().map(|plan| &plan.backup)
    }

    /// Whether the report must carry a post-mortem section: the RTO was missed (SEQ-RF-002 step 14), or the drill
    /// ended otherwise than expected. An error of the harness is no incident.
    pub fn needs_post_mortem(&self) -> bool {
        self.rto_met == Some(false) || (!self.as_expected && self.was_carried_out())
    }
}
