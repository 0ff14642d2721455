//! What happened in a drill, numbered, as it happened: the only source of every report.
//!
//! Events are appended to `<scenario>/events.jsonl` while the drill runs. Everything that a report says must be
//! derivable from them (see [`crate::evidence`]), so that any report can be made again later. Each event carries two
//! clocks: UTC wall time for people and a monotonic offset for durations.

mod header;
mod seeded;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{CheckId, CheckResult, Outcome, Role, Step, Verdict};

pub(crate) use header::first_format;
pub use header::{DrillHeader, Environment, Expected, ExpectedAnswer, FORMAT, Kind, Objectives, PlannedFault};
pub use seeded::{Seeded, SeededTable};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// 1, 2, 3 … without gaps within one drill.
    pub sequence: u64,
    /// Wall clock, RFC 3339 UTC.
    pub at_utc: DateTime<Utc>,
    /// Nanoseconds since the drill started, on the monotonic clock. Durations come from here.
    pub offset_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The first event: everything about the drill that is known before it begins.
    DrillStarted(Box<DrillHeader>),
    /// A part of the drill begins (nothing overlaps: the next one ends it). Tells where the wall time goes.
    PartStarted {
        /// Which part.
        part: Part,
    },
    /// A cluster accepts connections.
    ClusterStarted {
        /// Its name in this drill: `source`, `restored-1` …
        cluster: String,
        /// Decimal, as PostgreSQL prints it.
        system_identifier: String,
        /// The timeline it is on.
        timeline: u32,
    },
    /// The seed data is loaded.
    Seeded(Seeded),
    /// The live writers begin.
    WorkloadStarted {
        /// How many of them.
        writers: u32,
    },
    /// The live writers have stopped, or died with the server.
    WorkloadStopped(WorkloadCounts),
    /// A backup was taken.
    BackupTaken(BackupInfo),
    /// A fault was injected, and verified to have happened.
    FaultInjected(FaultReport),
    /// The disaster: the moment from which the recovery time counts.
    Failed,
    /// The service had stopped answering before the disaster: the recovery time counts from then.
    OutageBegan {
        /// When, as `offset_ns`.
        began_ns: u64,
        /// When, on the wall.
        began_at_utc: DateTime<Utc>,
    },
    /// The alert reached the drill.
    AlertReceived {
        /// How.
        via: AlertRoute,
        /// The alert's name, as in the webhook: `DB_UNAVAILABLE`.
        alert: String,
        /// Its severity: `critical`.
        severity: String,
    },
    /// One of the fourteen steps begins.
    StepStarted {
        /// Which.
        step: Step,
        /// 1 for the first time, 2 after going back once …
        attempt: u32,
    },
    /// A step is over.
    StepFinished {
        /// Which.
        step: Step,
        /// The attempt that ended.
        attempt: u32,
        /// The role in which it was carried out, where the requirement names one.
        role: Option<Role>,
        /// Pass, fail, or unknown.
        verdict: Verdict,
        /// How long it took. For step 1 counted from the failure, for step 14 the whole recovery time.
        duration_ms: f64,
        /// What it took at most for its budget's unit (step 8: the slowest query), if that differs from `duration_ms`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        against_budget_ms: Option<f64>,
        /// What was done or why it failed.
        detail: String,
    },
    /// A backup was looked at and not used.
    CandidateRejected {
        /// Its id.
        backup_id: String,
        /// The check that rejected it, if one did.
        check: Option<CheckId>,
        /// Why.
        reason: String,
        /// Whether it was damaged, incomplete or unrestorable (true) or sound but worse than the chosen one (false).
        /// Only the former count as rejected.
        unusable: bool,
    },
    /// The plan that the operator will carry out.
    PlanChosen(PlanInfo),
    /// A restore job changed its status.
    RestoreJob {
        /// The job's id.
        job_id: String,
        /// Its status now.
        status: JobStatus,
        /// Why, where it failed.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        /// Bytes written into the new instance so far.
        restored_bytes: u64,
    },
    /// A check came to a verdict.
    CheckFinished(CheckResult),
    /// The ledger was compared with the recovered rows.
    LedgerCompared(LedgerComparison),
    /// A repair was carried out on a cluster instead of, or after, a restore.
    Repaired {
        /// What was done: `REINDEX …`
        action: String,
        /// How it ended.
        verdict: Verdict,
        /// What it changed, or why it failed.
        detail: String,
    },
    /// Something that was done was undone again.
    Undone {
        /// What: `connection string`, `application` …
        what: String,
        /// Whether the undo worked.
        verdict: Verdict,
        /// How, or why not.
        detail: String,
    },
    /// Something that a reader must know and that no check or step says.
    Finding(Finding),
    /// What the cluster in service at the end answered to a statement of the scenario's (see [`Expected::answers`]).
    Answered {
        /// Which statement, counted from 1.
        number: u32,
        /// The cluster that was asked: `source`, `restored-1` …
        cluster: String,
        /// The one value that it answered, as text; `None` if there was no such value.
        answer: Option<String>,
        /// Why there was none: an error, no row, NULL. Empty if there was one.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        problem: String,
    },
    /// Work that the harness waited for and that a recovery without it would wait for as well (servers, client
    /// tools, queries). Wall time outside of these intervals is the harness's own overhead.
    ExternalWork {
        /// What: `pg_basebackup`, `start server` …
        what: String,
        /// When it began, as `offset_ns`.
        began_ns: u64,
        /// When it ended, as `offset_ns`.
        ended_ns: u64,
    },
    /// Bytes on disk of everything that the drill keeps in its working directory, at the most.
    PeakDisk {
        /// Bytes.
        bytes: u64,
    },
    /// The service is declared restored.
    Restored,
    /// The last event.
    DrillFinished {
        /// How it ended; `None` if the harness could not carry the drill out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
        /// Why, where that is not plain: the failed step, the refusal. Empty for `recovered`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        /// Set if the harness itself could not carry the drill out (exit code 3); there is no outcome then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

/// Parts of a drill's wall time, in the usual order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Cluster created and started, schema created.
    Setup,
    /// Seed data loaded.
    Seed,
    /// Application and monitoring started.
    Services,
    /// Live writers and backups.
    WorkloadAndBackups,
    /// Fault injection.
    Failure,
    /// From the failure to the alert.
    Detection,
    /// Confirm, list, verify and choose (steps 2 to 4).
    Decision,
    /// Restore, replay, notification (steps 5 to 7).
    Restore,
    /// Validation (step 8).
    Validation,
    /// Cutover, restart, smoke test (steps 9 to 14).
    Cutover,
    /// After the declaration: closing comparison, stopping and removing everything.
    Teardown,
}

/// Something that people must know and that is no damage of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters; `warning` in logs of earlier versions.
    #[serde(default)]
    pub severity: Severity,
    /// One sentence.
    pub text: String,
}

/// How much a finding matters. None changes a verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look at it.
    #[default]
    Warning,
    /// Somebody must look at it.
    Critical,
}

/// Operations of the live workload, by the answer they got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadCounts {
    /// Commits whose acknowledgement arrived.
    pub acknowledged: u64,
    /// Operations that the server refused.
    pub rejected: u64,
    /// Commits that were sent and never answered.
    pub indeterminate: u64,
}

/// One backup as the catalogue lists it (step 3: id, time, size, method, WAL range).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupInfo {
    /// Unique within the run.
    pub id: String,
    /// `basebackup`, `dump` …
    pub method: String,
    /// When it was complete.
    pub taken_at_utc: DateTime<Utc>,
    /// Bytes on disk.
    pub bytes: u64,
    /// First LSN needed, if the method knows one.
    pub start_lsn: Option<String>,
    /// LSN at which it is consistent (a dump: its snapshot).
    pub stop_lsn: Option<String>,
    /// Timeline on which it was taken.
    pub timeline: Option<u32>,
    /// System identifier of the cluster it came from.
    pub system_identifier: String,
}

/// The plan of step 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanInfo {
    /// The chosen backup.
    pub backup: BackupInfo,
    /// What recovery aims for: `end of the archive`, `LSN 0/3000028 (exclusive)` …
    pub target: String,
    /// The LSN that the backup and its WAL can be proven to reach, if known.
    pub provable_lsn: Option<String>,
    /// Age of the provable recovery point at the failure, in milliseconds, as far as the catalogue can tell.
    pub provable_age_ms: Option<u64>,
    /// Whether the plan is expected to meet the RPO.
    pub within_rpo: bool,
}

/// What a fault did, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its number in the scenario, from 1; 0 in logs of earlier versions.
    #[serde(default)]
    pub number: u32,
    /// When in the drill: `failure`, `after-backups` …
    pub at: String,
    /// The fault's kind: `remove-files` …
    pub kind: String,
    /// What it was aimed at: `cluster`, `backup:latest` …
    pub target: String,
    /// One sentence: what happened.
    pub summary: String,
    /// Each thing touched: a file with offset and bytes, a statement with its row count. At most some dozens; the
    /// summary has the totals.
    pub touched: Vec<String>,
}

/// How the alert came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertRoute {
    /// By webhook, as it should.
    Webhook,
    /// It never came: the operator's own probe found the failure.
    OperatorProbe,
}

/// Status of a restore job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Accepted; its id is known.
    Accepted,
    /// Files are being copied, or a dump loaded.
    Restoring,
    /// WAL is being replayed.
    Replaying,
    /// Done: the server is out of recovery.
    Completed,
    /// Over without a usable cluster.
    Failed,
}

/// What the comparison of the ledger with the recovered rows came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerComparison {
    /// Commits acknowledged to a writer.
    pub acknowledged_commits: u64,
    /// Acknowledged commits that are gone and should be there.
    pub lost_commits: u64,
    /// Acknowledged commits after the recovery target, which the chosen target gives up on purpose.
    pub commits_beyond_target: u64,
    /// Sent and never acknowledged: present or absent, both are right.
    pub indeterminate_commits: u64,
    /// Of those, how many are present.
    pub indeterminate_present: u64,
    /// Acknowledged commits missing although a commit that began after their acknowledgement survived: corruption.
    pub holes: u64,
    /// Rows nobody wrote.
    pub unexpected_rows: u64,
    /// Rows whose content is not what was written.
    pub altered_rows: u64,
    /// From the moment at which the earliest lost commit was sent to the disaster, or to the last acknowledgement if that is
    /// later, in nanoseconds; 0 when none is lost, and only then.
    pub data_loss_window_ns: u64,
    /// The same for the commits beyond the recovery target.
    #[serde(default)]
    pub given_up_window_ns: u64,
    /// Acknowledged commits that are not in the backup that was restored; `None` if none was.
    #[serde(default)]
    pub acknowledged_since_backup: Option<u64>,
    /// Acknowledgement time of the last commit that survived, if any did.
    pub recovery_point_at_utc: Option<DateTime<Utc>>,
    /// The first few anomalies, each naming its operation or row.
    pub examples: Vec<String>,
}

impl LedgerComparison {
    /// The loss in milliseconds, rounded up: what is lost is never shown as nothing.
    pub fn data_loss_window_ms(&self) -> u64 {
        self.data_loss_window_ns.div_ceil(1_000_000)
    }

    /// What a chosen target gave up, likewise.
    pub fn given_up_window_ms(&self) -> u64 {
        self.given_up_window_ns.div_ceil(1_000_000)
    }

    /// Whether what is gone, lost or given up, is within an objective: the larger window decides.
    pub fn meets_rpo(&self, rpo_s: f64) -> bool {
        self.data_loss_window_ns.max(self.given_up_window_ns) as f64 <= rpo_s * 1e9
    }

    /// Lost commits as a share of those since the backup; `None` where no backup was restored or none came after it.
    pub fn lost_share(&self) -> Option<f64> {
        let since = self.acknowledged_since_backup.filter(|&since| since > 0)?;
        Some(self.lost_commits as f64 / since as f64)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Setup => "setup",
            Self::Seed => "seed",
            Self::Services => "services",
            Self::WorkloadAndBackups => "workload and backups",
            Self::Failure => "failure",
            Self::Detection => "detection",
            Self::Decision => "decision",
            Self::Restore => "restore",
            Self::Validation => "validation",
            Self::Cutover => "cutover",
            Self::Teardown => "teardown",
        })
    }
}

impl fmt::Display for AlertRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Webhook => "webhook",
            Self::OperatorProbe => "operator's own probe",
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.text)
    }
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            line,
            at,
            kind,
            target,
        } = self;
        write!(f, "fault {number} ({kind} on {target} at {at}, line {line})")
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "accepted",
            Self::Restoring => "restoring",
            Self::Replaying => "replaying",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}
