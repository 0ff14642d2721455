//! The rows of evidence: what there is several of in a drill, and what it cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{AlertRoute, JobStatus, Part};
use crate::{CheckId, CheckResult, Role, Step, Verdict};

use super::Moment;

/// Verdict of a step: that of a check, or that there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepVerdict {
    /// It did what it should.
    Pass,
    /// It could not be verified, or began and never ended.
    Unknown,
    /// It did not do what it should.
    Fail,
    /// It was not reached, or not needed.
    Skipped,
}

impl From<Verdict> for StepVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Unknown => Self::Unknown,
            Verdict::Fail => Self::Fail,
        }
    }
}

impl fmt::Display for StepVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        })
    }
}

/// One attempt at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Which step.
    pub step: Step,
    /// 1 for the first time; 0 if it was not reached.
    pub attempt: u32,
    /// When it began.
    pub started: Option<Moment>,
    /// How long it took. For step 1 from the failure, for step 14 the whole recovery time.
    pub duration_ms: Option<f64>,
    /// What its budget is compared with, where that is not the duration (step 8: the slowest query).
    pub against_budget_ms: Option<f64>,
    /// Its budget: SEQ-RF-002, for step 14 the RTO; `None` where a step is only measured.
    pub budget_ms: Option<f64>,
    /// Whether the budget was kept; `None` without a budget or a duration.
    pub within_budget: Option<bool>,
    /// The role in which it was carried out; for a step not reached, the one the requirement names.
    pub role: Option<Role>,
    /// What it came to.
    pub verdict: StepVerdict,
    /// What was done, why it failed, or why it was not reached.
    pub detail: String,
}

/// A check's result and its place in the drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRow {
    /// When it came.
    pub finished: Moment,
    /// Whether the verdict rests on it: it was made in phase `restored` or later, on the cluster of the last attempt,
    /// and no later result of the same check, phase and subject has replaced it.
    pub deciding: bool,
    /// The result.
    #[serde(flatten)]
    pub result: CheckResult,
}

/// Whether a check noticed the damage, and whether it had to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectionRow {
    /// The check.
    pub check: CheckId,
    /// The scenario says that it must notice.
    pub should_detect: bool,
    /// It failed in at least one phase.
    pub detected: bool,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRow {
    /// When it reached the drill.
    pub received: Moment,
    /// How.
    pub via: AlertRoute,
    /// Its name.
    pub alert: String,
    /// Its severity.
    pub severity: String,
}

/// A backup that was looked at and not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedCandidate {
    /// Its id.
    pub backup_id: String,
    /// The check that rejected it, if one did.
    pub check: Option<CheckId>,
    /// Why.
    pub reason: String,
    /// Damaged, incomplete or unrestorable; otherwise sound, but worse than the chosen one.
    pub unusable: bool,
}

/// A repair or an undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    /// What was repaired or undone.
    pub what: String,
    /// Whether it worked.
    pub verdict: Verdict,
    /// How, or why not.
    pub detail: String,
}

/// What a cluster answered to a statement of the scenario's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// Which statement, counted from 1.
    pub number: u32,
    /// The cluster that was asked.
    pub cluster: String,
    /// The one value that it answered, as text; `None` if there was no such value.
    pub answer: Option<String>,
    /// Why there was none.
    pub problem: String,
}

/// A restore job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreJobRow {
    /// Its id.
    pub job_id: String,
    /// When it was first heard of.
    pub accepted: Moment,
    /// When its last status came.
    pub updated: Moment,
    /// Its last status.
    pub status: JobStatus,
    /// Why, where it failed.
    pub reason: String,
    /// Bytes written into the new instance.
    pub restored_bytes: u64,
}

/// What keeps a verdict from `Pass` although expectations were met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// What it turns the verdict into: `Unknown` or `Fail`.
    pub verdict: Verdict,
    /// One sentence without its full stop.
    pub text: String,
}

/// One of the things that a headline only hints at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Particular {
    /// What it turns the verdict into; `None` for a part of the reason of how the drill ended.
    pub verdict: Option<Verdict>,
    /// One sentence without its full stop.
    pub text: String,
}

/// What a drill cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// From the first event to the last.
    pub wall_ms: u64,
    /// Time in which at least one piece of external work was going on: the union of the intervals, not their sum.
    pub external_ms: u64,
    /// `wall_ms` − `external_ms`.
    pub harness_overhead_ms: u64,
    /// Wall time of each part, in the order of their first appearance; a part that came twice is added up.
    pub parts: Vec<PartTime>,
    /// External work by name, the longest first. Work that overlaps is counted under each of its names.
    pub external: Vec<ExternalTime>,
    /// Size of the backup of the last plan.
    pub backup_bytes: Option<u64>,
    /// Size of all backups that were taken.
    pub all_backups_bytes: u64,
    /// Bytes that the last restore job wrote.
    pub restored_bytes: Option<u64>,
    /// Size of the database after loading.
    pub database_bytes: Option<u64>,
    /// The most that the working directory held.
    pub peak_disk_bytes: Option<u64>,
}

/// Wall time of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTime {
    /// The part.
    pub part: Part,
    /// Its wall time.
    pub duration_ms: u64,
}

/// Time in one kind of external work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalTime {
    /// What.
    pub what: String,
    /// How often.
    pub count: u64,
    /// Sum of its durations.
    pub total_ms: u64,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// When.
    pub moment: Moment,
    /// What happened.
    pub text: String,
}
