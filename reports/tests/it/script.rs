//! A drill as a list of what happens and how long after the event before.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reports::event::{
    AlertRoute, BackupInfo, DrillHeader, Environment, Expected, FORMAT, FaultReport, JobStatus, Kind, LedgerComparison,
    Objectives, Part, PlanInfo, Seeded, SeededTable, WorkloadCounts,
};
use reports::{CheckId, CheckResult, DrillEvidence, Event, Outcome, Phase, Step, Verdict, What, fold};

/// Events in the making.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) events: Vec<Event>,
    now: Duration,
}

/// When every scripted drill begins.
pub(crate) fn start() -> DateTime<Utc> {
    "2026-03-02T04:00:00Z".parse().unwrap()
}

/// `start()` and some milliseconds.
pub(crate) fn at(ms: i64) -> DateTime<Utc> {
    start() + TimeDelta::milliseconds(ms)
}

/// What every scripted drill seeds.
pub(crate) fn seeded() -> What {
    let table = |table: &str, rows| SeededTable {
        table: table.into(),
        rows,
    };
    What::Seeded(Seeded {
        tables: vec![
            table("TransformationScripts", 400),
            table("TransformationScriptVersions", 1_200),
            table("ScriptAttachments", 8),
        ],
        database_bytes: 25_165_824,
    })
}

pub(crate) fn header(scenario: &str, outcome: Outcome, detected_by: Option<&[CheckId]>) -> DrillHeader {
    DrillHeader {
        format: FORMAT,
        kind: Kind::Drill,
        run_id: "2026-03-02T040000Z-42".into(),
        drill: scenario.into(),
        scenario: scenario.into(),
        group: "backbone".into(),
        title: "Everything below PGDATA is lost while writers run".into(),
        why: "The plainest disaster: the disk or the volume is gone".into(),
        source: "SEQ-RF-002".into(),
        backup_system: "basebackup".into(),
        postgres_version: "16.14".into(),
        provider: "embedded".into(),
        seed: 42,
        again: format!("drill run {scenario} --commits 5000 --seed 42"),
        drill_version: "0.1.0".into(),
        objectives: Objectives {
            rpo_s: 3600.0,
            rto_s: 14400.0,
            from_scenario: false,
        },
        expected: Expected {
            outcome,
            detected_by: detected_by.map(<[_]>::to_vec),
            only: false,
            rejected: None,
            findings: Vec::new(),
            tries: None,
            least_commits: None,
            at_step: None,
            answers: Vec::new(),
        },
        environment: Environment {
            platform: "linux x86_64".into(),
            processors: 4,
            storage: "disk".into(),
            filesystem: "ext4".into(),
            fsync: true,
            notes: Vec::new(),
        },
        given: vec![
            ("archive".into(), "true".into()),
            ("wal_level".into(), "replica".into()),
        ],
        faults: Vec::new(),
    }
}

pub(crate) fn backup(id: &str, taken_ms: i64) -> BackupInfo {
    BackupInfo {
        id: id.into(),
        method: "basebackup".into(),
        taken_at_utc: at(taken_ms),
        bytes: 25_270_682,
        start_lsn: Some("0/3000028".into()),
        stop_lsn: Some("0/3000158".into()),
        timeline: Some(1),
        system_identifier: "7481223344556677889".into(),
    }
}

pub(crate) fn check(check: CheckId, phase: Phase, verdict: Verdict) -> CheckResult {
    let (actual, detail) = match verdict {
        Verdict::Pass => ("as expected", ""),
        Verdict::Fail => ("something else", ""),
        Verdict::Unknown => ("", "it could not run"),
    };
    CheckResult {
        check,
        phase,
        subject: String::new(),
        verdict,
        expected: "nothing amiss".into(),
        actual: actual.into(),
        duration_ms: 4.0,
        detail: detail.into(),
    }
}

/// A ledger of which `lost` of 500 commits are gone, the earliest sent so long before the end of service.
pub(crate) fn ledger(lost: u64, window_ms: u64) -> LedgerComparison {
    LedgerComparison {
        acknowledged_commits: 500,
        lost_commits: lost,
        indeterminate_commits: 3,
        indeterminate_present: 1,
        data_loss_window_ns: window_ms * 1_000_000,
        acknowledged_since_backup: Some(400),
        recovery_point_at_utc: Some(at(3_950)),
        ..LedgerComparison::default()
    }
}

impl Script {
    pub(crate) fn begin(header: DrillHeader) -> Self {
        let script = Self {
            events: Vec::new(),
            now: Duration::ZERO,
        };
        script.after(0, What::DrillStarted(Box::new(header)))
    }

    /// Something happens so many milliseconds later.
    pub(crate) fn after(self, ms: u64, what: What) -> Self {
        self.after_duration(Duration::from_millis(ms), what)
    }

    pub(crate) fn after_duration(mut self, duration: Duration, what: What) -> Self {
        self.now += duration;
        self.events.push(Event {
            sequence: self.events.len() as u64 + 1,
            at_utc: start() + self.now,
            offset_ns: self.now.as_nanos() as u64,
            what,
        });
        self
    }

    /// Something happens at the same time as the event before.
    pub(crate) fn then(self, what: What) -> Self {
        self.after(0, what)
    }

    pub(crate) fn part(self, part: Part) -> Self {
        self.then(What::PartStarted { part })
    }

    /// External work that ends now, and took as long.
    pub(crate) fn external(self, what: &str, ms: u64) -> Self {
        let ended_ns = self.now.as_nanos() as u64;
        self.then(What::ExternalWork {
            what: what.into(),
            began_ns: ended_ns.saturating_sub(ms * 1_000_000),
            ended_ns,
        })
    }

    /// A step that takes as long and comes to this.
    pub(crate) fn step(self, step: Step, attempt: u32, ms: u64, verdict: Verdict, detail: &str) -> Self {
        self.then(What::StepStarted { step, attempt })
            .finish(step, attempt, ms, verdict, detail)
    }

    /// The end of a step that was begun. It has taken the time since, for steps 1 and 14 the time since the failure.
    pub(crate) fn finish(self, step: Step, attempt: u32, ms: u64, verdict: Verdict, detail: &str) -> Self {
        self.finish_against(step, attempt, ms, verdict, None, detail)
    }

    pub(crate) fn finish_against(
        self,
        step: Step,
        attempt: u32,
        ms: u64,
        verdict: Verdict,
        against_budget_ms: Option<f64>,
        detail: &str,
    ) -> Self {
        let begun = self.events.iter().rfind(|event| match event.what {
            What::Failed => matches!(step, Step::Alert | Step::Declare),
            What::StepStarted { step: begun, .. } => begun == step && !matches!(step, Step::Alert | Step::Declare),
            _ => false,
        });
        let begun_ms = begun.map_or(0.0, |event| event.offset_ns as f64 / 1e6);
        let what = What::StepFinished {
            step,
            attempt,
            role: step.role(),
            verdict,
            duration_ms: self.now.as_millis() as f64 + ms as f64 - begun_ms,
            against_budget_ms,
            detail: detail.into(),
        };
        self.after(ms, what)
    }

    pub(crate) fn passed(self, step: Step, ms: u64) -> Self {
        self.step(step, 1, ms, Verdict::Pass, "")
    }

    pub(crate) fn check(self, id: CheckId, phase: Phase, verdict: Verdict) -> Self {
        self.then(What::CheckFinished(check(id, phase, verdict)))
    }

    /// Seed, writers, one backup; ends just before the failure, 4 s in.
    pub(crate) fn prepared(self) -> Self {
        self.part(Part::Setup)
            .after(
                800,
                What::ClusterStarted {
                    cluster: "source".into(),
                    system_identifier: "7481223344556677889".into(),
                    timeline: 1,
                },
            )
            .external("initdb", 600)
            .part(Part::Seed)
            .after(700, seeded())
            .external("load seed", 690)
            .part(Part::WorkloadAndBackups)
            .then(What::WorkloadStarted { writers: 4 })
            .after(1_000, What::BackupTaken(backup("base-1", 2_500)))
            .external("pg_basebackup", 900)
            .after(
                1_500,
                What::WorkloadStopped(WorkloadCounts {
                    acknowledged: 500,
                    rejected: 2,
                    indeterminate: 3,
                }),
            )
            .part(Part::Failure)
    }

    pub(crate) fn fault(self, kind: &str, target: &str, summary: &str, touched: &[&str]) -> Self {
        self.then(What::FaultInjected(FaultReport {
            number: 1,
            at: "failure".into(),
            kind: kind.into(),
            target: target.into(),
            summary: summary.into(),
            touched: touched.iter().map(ToString::to_string).collect(),
        }))
    }

    /// The failure, and the alert so many milliseconds after it.
    pub(crate) fn alerted(self, ms: u64) -> Self {
        self.then(What::Failed)
            .part(Part::Detection)
            .then(What::StepStarted {
                step: Step::Alert,
                attempt: 1,
            })
            .after(
                ms,
                What::AlertReceived {
                    via: AlertRoute::Webhook,
                    alert: "DB_UNAVAILABLE".into(),
                    severity: "critical".into(),
                },
            )
            .finish(Step::Alert, 1, 0, Verdict::Pass, "DB_UNAVAILABLE, critical")
            .part(Part::Decision)
    }

    /// Steps 2 to 4: the server does not start, there is one backup, it is chosen.
    pub(crate) fn decided(self) -> Self {
        self.then(What::StepStarted {
            step: Step::Confirm,
            attempt: 1,
        })
        .check(CheckId::ServerStart, Phase::Source, Verdict::Fail)
        .finish(Step::Confirm, 1, 100, Verdict::Pass, "the server does not start")
        .passed(Step::ListBackups, 20)
        .then(What::StepStarted {
            step: Step::ChooseBackup,
            attempt: 1,
        })
        .check(CheckId::BackupManifest, Phase::Backup, Verdict::Pass)
        .plan("base-1")
        .finish(Step::ChooseBackup, 1, 80, Verdict::Pass, "base-1")
    }

    pub(crate) fn plan(self, id: &str) -> Self {
        self.after(
            10,
            What::PlanChosen(PlanInfo {
                backup: backup(id, 2_500),
                target: "end of the archive".into(),
                provable_lsn: Some("0/5000000".into()),
                provable_age_ms: Some(150),
                within_rpo: true,
            }),
        )
    }

    pub(crate) fn job(self, ms: u64, job_id: &str, status: JobStatus, restored_bytes: u64, reason: &str) -> Self {
        self.after(
            ms,
            What::RestoreJob {
                job_id: job_id.into(),
                status,
                reason: reason.into(),
                restored_bytes,
            },
        )
    }

    /// Steps 5 to 8, the restore of which takes as long.
    pub(crate) fn restored_in(self, ms: u64, ledger: LedgerComparison) -> Self {
        self.part(Part::Restore)
            .job(5, "job-1", JobStatus::Accepted, 0, "")
            .passed(Step::StartRestore, 5)
            .then(What::StepStarted {
                step: Step::RestoreData,
                attempt: 1,
            })
            .job(ms, "job-1", JobStatus::Completed, 26_000_000, "")
            .external("restore", ms)
            .finish(Step::RestoreData, 1, 0, Verdict::Pass, "restored-1, timeline 2")
            .passed(Step::Notify, 15)
            .part(Part::Validation)
            .then(What::StepStarted {
                step: Step::Validate,
                attempt: 1,
            })
            .check(CheckId::RowCounts, Phase::Restored, Verdict::Pass)
            .check(CheckId::LedgerPrefix, Phase::Restored, Verdict::Pass)
            .then(What::LedgerCompared(ledger))
            .finish(Step::Validate, 1, 120, Verdict::Pass, "2 checks")
    }

    /// Steps 9 to 14.
    pub(crate) fn cut_over(self) -> Self {
        self.part(Part::Cutover)
            .passed(Step::UpdateConnection, 12)
            .passed(Step::RestartApplication, 310)
            .passed(Step::Connect, 30)
            .passed(Step::Readiness, 25)
            .then(What::StepStarted {
                step: Step::SmokeTest,
                attempt: 1,
            })
            .check(CheckId::Smoke, Phase::Cutover, Verdict::Pass)
            .finish(Step::SmokeTest, 1, 18, Verdict::Pass, "200, 412 scripts")
            .then(What::StepStarted {
                step: Step::Declare,
                attempt: 1,
            })
            .after(3, What::Restored)
            .finish(Step::Declare, 1, 1, Verdict::Pass, "")
    }

    /// As if the last event had not been written.
    pub(crate) fn without_last(mut self) -> Self {
        self.events.pop();
        self
    }

    /// The end, half a second later.
    pub(crate) fn end(self, outcome: Outcome, reason: &str) -> Self {
        self.part(Part::Teardown)
            .then(What::PeakDisk { bytes: 98_000_000 })
            .after(
                500,
                What::DrillFinished {
                    outcome: Some(outcome),
                    reason: reason.into(),
                    error: None,
                },
            )
    }

    pub(crate) fn fold(&self) -> DrillEvidence {
        fold(&self.events).unwrap()
    }
}
