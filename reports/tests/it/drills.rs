//! Whole drills, one for each way to end.

use reports::event::{DrillHeader, Finding, JobStatus, Objectives, Severity};
use reports::{CheckId, Outcome, Phase, Step, Verdict, What};

use crate::script::{Script, header, ledger};

const SERVER_START: Option<&[CheckId]> = Some(&[CheckId::ServerStart]);

/// One for each way to end, and one that was cut off.
pub(crate) fn each_way_to_end() -> [Script; 8] {
    [
        recovered(),
        rto_missed(),
        not_recovered(),
        false_alarm(),
        rolled_back(),
        refused(),
        harness_error(),
        recovered().without_last(),
    ]
}

fn lost(script: Script) -> Script {
    script.prepared().fault(
        "remove-files",
        "cluster",
        "removed 1,021 files (48.2 MiB) below PGDATA",
        &["base/5/1259 (106496 bytes)", "global/pg_control (8192 bytes)"],
    )
}

/// Restored within both objectives, as expected.
pub(crate) fn recovered() -> Script {
    recovered_as(header("data-directory-lost", Outcome::Recovered, SERVER_START))
}

pub(crate) fn recovered_as(header: DrillHeader) -> Script {
    lost(Script::begin(header))
        .alerted(250)
        .decided()
        .restored_in(1_100, ledger(0, 0))
        .cut_over()
        .end(Outcome::Recovered, "")
}

/// Restored, later than the scenario's own RTO of 2 s allows; that is expected.
pub(crate) fn rto_missed() -> Script {
    let mut header = header("restore-overruns-rto", Outcome::RecoveredRtoMissed, SERVER_START);
    header.title = "The restore takes longer than the RTO allows".into();
    header.why = "A slow archive turns a sound backup into a long outage".into();
    header.objectives = Objectives {
        rpo_s: 3600.0,
        rto_s: 2.0,
        from_scenario: true,
    };
    lost(Script::begin(header))
        .alerted(250)
        .decided()
        .restored_in(4_200, ledger(7, 1_250))
        .cut_over()
        .end(Outcome::RecoveredRtoMissed, "the RTO was missed")
}

/// Two backups, both damaged; the drill was expected to recover.
pub(crate) fn not_recovered() -> Script {
    let mut header = header(
        "every-backup-corrupt",
        Outcome::Recovered,
        Some(&[CheckId::BackupManifest]),
    );
    header.title = "Every backup is damaged".into();
    header.environment.storage = "memory".into();
    header.environment.fsync = false;
    let rejected = |id: &str| What::CandidateRejected {
        backup_id: id.into(),
        check: Some(CheckId::BackupManifest),
        reason: "base/5/16384: checksum differs from the manifest's".into(),
        unusable: true,
    };
    lost(Script::begin(header))
        .alerted(300)
        .passed(Step::Confirm, 100)
        .passed(Step::ListBackups, 20)
        .then(What::StepStarted {
            step: Step::ChooseBackup,
            attempt: 1,
        })
        .check(CheckId::BackupManifest, Phase::Backup, Verdict::Fail)
        .then(rejected("base-2"))
        .plan("base-1")
        .finish(Step::ChooseBackup, 1, 60, Verdict::Pass, "base-1")
        .passed(Step::StartRestore, 4)
        .then(What::StepStarted {
            step: Step::RestoreData,
            attempt: 1,
        })
        .job(
            200,
            "job-1",
            JobStatus::Failed,
            1_048_576,
            "base.tar.gz: unexpected end of file",
        )
        .finish(
            Step::RestoreData,
            1,
            0,
            Verdict::Fail,
            "base.tar.gz: unexpected end of file",
        )
        .then(What::StepStarted {
            step: Step::ChooseBackup,
            attempt: 2,
        })
        .then(rejected("base-1"))
        .finish(Step::ChooseBackup, 2, 40, Verdict::Fail, "no usable backup is left")
        .then(What::Finding(Finding {
            severity: Severity::Critical,
            text: "2 backups out of 2 are damaged".into(),
        }))
        .end(Outcome::NotRecovered, "no usable backup is left")
}

/// The database is healthy: an alert, a look, the end.
pub(crate) fn false_alarm() -> Script {
    let mut header = header("false-alarm", Outcome::FalseAlarm, Some(&[]));
    header.title = "An alert while the database is healthy".into();
    Script::begin(header)
        .prepared()
        .alerted(120)
        .then(What::StepStarted {
            step: Step::Confirm,
            attempt: 1,
        })
        .check(CheckId::ServerStart, Phase::Source, Verdict::Pass)
        .finish(Step::Confirm, 1, 40, Verdict::Pass, "the database answers")
        .end(Outcome::FalseAlarm, "the database answers queries")
}

/// The application answers 500 after cutover; everything is rolled back, as expected.
pub(crate) fn rolled_back() -> Script {
    let mut header = header("smoke-5xx", Outcome::NotRecovered, Some(&[CheckId::Smoke]));
    header.title = "The application answers 500 after the cutover".into();
    let undone = |what: &str| What::Undone {
        what: what.into(),
        verdict: Verdict::Pass,
        detail: "as before".into(),
    };
    lost(Script::begin(header))
        .alerted(250)
        .decided()
        .restored_in(1_100, ledger(0, 0))
        .passed(Step::UpdateConnection, 12)
        .passed(Step::RestartApplication, 310)
        .passed(Step::Connect, 30)
        .passed(Step::Readiness, 25)
        .then(What::StepStarted {
            step: Step::SmokeTest,
            attempt: 1,
        })
        .check(CheckId::Smoke, Phase::Cutover, Verdict::Fail)
        .finish(
            Step::SmokeTest,
            1,
            18,
            Verdict::Fail,
            "GET /api/v1/transformations answered 500",
        )
        .then(undone("application"))
        .then(undone("connection string"))
        .end(
            Outcome::NotRecovered,
            "step 13 smoke test: GET /api/v1/transformations answered 500",
        )
}

/// The operator may not restore: refused before anything is touched, as expected.
pub(crate) fn refused() -> Script {
    let header = header("unauthorised-restore", Outcome::Refused, None);
    lost(Script::begin(header))
        .alerted(250)
        .passed(Step::Confirm, 100)
        .step(
            Step::ListBackups,
            1,
            5,
            Verdict::Fail,
            "the operator does not hold the role RecoveryOperator",
        )
        .end(Outcome::Refused, "the operator does not hold the role RecoveryOperator")
}

/// The harness could not go on.
pub(crate) fn harness_error() -> Script {
    lost(Script::begin(header("drop-table", Outcome::Recovered, SERVER_START)))
        .alerted(250)
        .then(What::DrillFinished {
            outcome: None,
            reason: String::new(),
            error: Some("no port is free between 50000 and 50100".into()),
        })
}
