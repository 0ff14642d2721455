//! The committed example of every report, in `reports/sample/`.
//!
//! `DRILL_BLESS=1 cargo test -p reports --test it sample` writes the events and the reports anew; look at the
//! difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};

use reports::event::{BackupInfo, Finding, JobStatus, LedgerComparison, Part, PlanInfo, Severity, WorkloadCounts};
use reports::{CheckId, CheckResult, Format, Outcome, Phase, RunEvidence, Step, Verdict, What, read, verify, write};

use crate::script::{Script, at, backup, header, seeded};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

#[test]
fn every_report_comes_out_as_committed() {
    let events: String = events()
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n")
        .collect();
    let fresh = tempfile::tempdir().unwrap();
    let drill = fresh.path().join("data-directory-lost");
    fs::create_dir(&drill).unwrap();
    fs::write(drill.join("events.jsonl"), &events).unwrap();
    let drills = read(fresh.path()).unwrap().drills;
    let written = write(fresh.path(), &RunEvidence::new(drills), Format::ALL);
    assert!(written.errors.is_empty(), "{:?}", written.errors);

    let names = written
        .files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap());
    let names: Vec<&str> = names.chain(["data-directory-lost/events.jsonl"]).collect();
    if std::env::var_os("DRILL_BLESS").is_some() {
        fs::create_dir_all(sample().join("data-directory-lost")).unwrap();
        for name in &names {
            fs::copy(fresh.path().join(name), sample().join(name)).unwrap();
        }
    }
    for name in names {
        let (fresh, committed) = (
            fs::read(fresh.path().join(name)).unwrap(),
            fs::read(sample().join(name)).unwrap(),
        );
        assert!(
            fresh == committed,
            "sample/{name} is not what comes out now; see the head of this file"
        );
    }
    let problems: Vec<String> = verify(&sample()).iter().map(ToString::to_string).collect();
    assert_eq!(problems, Vec::<String>::new());
}

fn passed(check: CheckId, phase: Phase, subject: &str, expected: &str, actual: &str, duration_ms: f64) -> What {
    What::CheckFinished(CheckResult {
        check,
        phase,
        subject: subject.into(),
        verdict: Verdict::Pass,
        expected: expected.into(),
        actual: actual.into(),
        duration_ms,
        detail: String::new(),
    })
}

fn base(n: i64, start_lsn: &str, stop_lsn: &str) -> BackupInfo {
    BackupInfo {
        bytes: 25_270_682 + 131_072 * n as u64,
        start_lsn: Some(start_lsn.into()),
        stop_lsn: Some(stop_lsn.into()),
        ..backup(&format!("base-{n}"), 1_700 + 900 * n)
    }
}

/// A drill of `data-directory-lost` as it goes on a laptop: three base backups, an archive, four writers.
fn events() -> Vec<reports::Event> {
    let mut header = header("data-directory-lost", Outcome::Recovered, Some(&[CheckId::ServerStart]));
    header.expected.rejected = Some(0);
    header.environment.notes = vec!["amcheck is not available: indexes are compared by query only".into()];
    let cluster = |name: &str, timeline| What::ClusterStarted {
        cluster: name.into(),
        system_identifier: "7481223344556677889".into(),
        timeline,
    };
    let older = |id: &str| What::CandidateRejected {
        backup_id: id.into(),
        check: None,
        reason: "base-3 is newer and sound".into(),
        unusable: false,
    };
    let (one, two, three) = (
        base(1, "0/3000028", "0/3000158"),
        base(2, "0/5000028", "0/5000158"),
        base(3, "0/7000028", "0/7000158"),
    );
    Script::begin(header)
        .part(Part::Setup)
        .after(812, cluster("source", 1))
        .external("initdb", 640)
        .external("start server", 120)
        .part(Part::Seed)
        .after(655, seeded())
        .external("load seed", 640)
        .part(Part::Services)
        .after(
            233,
            What::Finding(Finding {
                severity: Severity::Info,
                text: "the application was ready 212 ms after its start".into(),
            }),
        )
        .external("start application", 212)
        .part(Part::WorkloadAndBackups)
        .then(What::WorkloadStarted { writers: 4 })
        .after(900, What::BackupTaken(one))
        .external("pg_basebackup", 861)
        .after(900, What::BackupTaken(two))
        .external("pg_basebackup", 858)
        .after(900, What::BackupTaken(three.clone()))
        .external("pg_basebackup", 866)
        .after(
            412,
            What::WorkloadStopped(WorkloadCounts {
                acknowledged: 512,
                rejected: 3,
                indeterminate: 4,
            }),
        )
        .external("workload", 412)
        .part(Part::Failure)
        .fault(
            "remove-files",
            "cluster",
            "removed 1,021 files and 28 directories (48.2 MiB) below PGDATA",
            &[
                "PG_VERSION (3 bytes)",
                "base/16384/16395 (6291456 bytes)",
                "global/pg_control (8192 bytes)",
                "pg_wal/000000010000000000000008 (16777216 bytes)",
                "… and 1,017 more files",
            ],
        )
        .alerted(318)
        .then(What::StepStarted {
            step: Step::Confirm,
            attempt: 1,
        })
        .after(
            141,
            What::CheckFinished(CheckResult {
                check: CheckId::ServerStart,
                phase: Phase::Source,
                subject: "source".into(),
                verdict: Verdict::Fail,
                expected: "accepts connections".into(),
                actual: "could not access directory: PGDATA is empty".into(),
                duration_ms: 121.4,
                detail: String::new(),
            }),
        )
        .external("start server", 121)
        .finish(
            Step::Confirm,
            1,
            6,
            Verdict::Pass,
            "no connection, and the server does not start",
        )
        .step(
            Step::ListBackups,
            1,
            14,
            Verdict::Pass,
            "3 backups, 6 WAL segments in the archive",
        )
        .then(What::StepStarted {
            step: Step::ChooseBackup,
            attempt: 1,
        })
        .after(
            96,
            passed(
                CheckId::BackupManifest,
                Phase::Backup,
                "base-3",
                "985 files as listed",
                "985 files as listed",
                92.7,
            ),
        )
        .external("pg_verifybackup", 93)
        .after(
            11,
            passed(
                CheckId::WalContinuity,
                Phase::Backup,
                "base-3",
                "every segment from 0/7000028",
                "2 segments, whole up to 0/8F3C2A0",
                10.2,
            ),
        )
        .after(
            1,
            passed(
                CheckId::ArtifactAge,
                Phase::Backup,
                "base-3",
                "provable recovery point within 1 h",
                "0.2 s",
                0.1,
            ),
        )
        .then(older("base-2"))
        .then(older("base-1"))
        .then(What::PlanChosen(PlanInfo {
            backup: three,
            target: "end of the archive".into(),
            provable_lsn: Some("0/8F3C2A0".into()),
            provable_age_ms: Some(212),
            within_rpo: true,
        }))
        .finish(Step::ChooseBackup, 1, 2, Verdict::Pass, "base-3 and the archive")
        .part(Part::Restore)
        .then(What::StepStarted {
            step: Step::StartRestore,
            attempt: 1,
        })
        .job(4, "restore-0001", JobStatus::Accepted, 0, "")
        .finish(Step::StartRestore, 1, 0, Verdict::Pass, "job restore-0001")
        .then(What::StepStarted {
            step: Step::RestoreData,
            attempt: 1,
        })
        .job(3, "restore-0001", JobStatus::Restoring, 0, "")
        .job(301, "restore-0001", JobStatus::Replaying, 25_663_898, "")
        .external("copy base backup", 298)
        .after(544, cluster("restored-1", 2))
        .external("replay", 541)
        .job(2, "restore-0001", JobStatus::Completed, 42_441_114, "")
        .then(passed(
            CheckId::ReplayReachedEnd,
            Phase::Restored,
            "restored-1",
            "0/8F3C2A0 or later",
            "0/8F3C2A0",
            1.6,
        ))
        .finish(
            Step::RestoreData,
            1,
            2,
            Verdict::Pass,
            "restored-1 on timeline 2, at 0/8F3C2A0",
        )
        .step(
            Step::Notify,
            1,
            19,
            Verdict::Pass,
            "webhook: {restore-0001, completed, 0.9 s}",
        )
        .part(Part::Validation)
        .then(What::StepStarted {
            step: Step::Validate,
            attempt: 1,
        })
        .after(
            9,
            passed(
                CheckId::RowCounts,
                Phase::Restored,
                "",
                "3 tables as written",
                "3 tables as written",
                8.8,
            ),
        )
        .after(
            61,
            passed(
                CheckId::ContentHash,
                Phase::Restored,
                "",
                "1,712 hashes",
                "1,712 hashes",
                60.3,
            ),
        )
        .after(
            22,
            passed(
                CheckId::LedgerPrefix,
                Phase::Restored,
                "",
                "a prefix of 512 commits",
                "all 512",
                21.7,
            ),
        )
        .then(What::LedgerCompared(LedgerComparison {
            acknowledged_commits: 512,
            indeterminate_commits: 4,
            indeterminate_present: 2,
            acknowledged_since_backup: Some(178),
            recovery_point_at_utc: Some(at(5_690)),
            ..LedgerComparison::default()
        }))
        .after(
            8,
            passed(CheckId::Sequences, Phase::Restored, "", "past 1,712", "1,744", 2.1),
        )
        .after(
            14,
            passed(
                CheckId::IndexIntegrity,
                Phase::Restored,
                "",
                "9 indexes agree",
                "9 indexes agree",
                13.5,
            ),
        )
        .after(
            5,
            passed(
                CheckId::Isolation,
                Phase::Restored,
                "",
                "archives nowhere",
                "archive_mode = off",
                1.0,
            ),
        )
        .external("queries", 118)
        .finish_against(Step::Validate, 1, 1, Verdict::Pass, Some(60.3), "6 checks, read only")
        .part(Part::Cutover)
        .step(
            Step::UpdateConnection,
            1,
            7,
            Verdict::Pass,
            "ConnectionStrings:DefaultConnection names restored-1",
        )
        .step(Step::RestartApplication, 1, 264, Verdict::Pass, "ready after 264 ms")
        .external("start application", 259)
        .then(What::StepStarted {
            step: Step::Connect,
            attempt: 1,
        })
        .after(
            6,
            passed(
                CheckId::AppIdentity,
                Phase::Cutover,
                "",
                "system 7481223344556677889, timeline 2",
                "the same",
                5.2,
            ),
        )
        .finish(Step::Connect, 1, 1, Verdict::Pass, "")
        .step(Step::Readiness, 1, 5, Verdict::Pass, "200 from /health/ready")
        .then(What::StepStarted {
            step: Step::SmokeTest,
            attempt: 1,
        })
        .after(
            12,
            passed(
                CheckId::Smoke,
                Phase::Cutover,
                "",
                "200, 544 scripts",
                "200, 544 scripts",
                11.3,
            ),
        )
        .finish(
            Step::SmokeTest,
            1,
            1,
            Verdict::Pass,
            "GET /api/v1/transformations as admin",
        )
        .then(What::StepStarted {
            step: Step::Declare,
            attempt: 1,
        })
        .after(2, What::Restored)
        .finish(Step::Declare, 1, 0, Verdict::Pass, "within the RTO of 4 h")
        .part(Part::Teardown)
        .after(
            35,
            passed(
                CheckId::OldPrimaryFenced,
                Phase::AfterCutover,
                "source",
                "accepts no write",
                "no process, no data",
                33.0,
            ),
        )
        .after(210, What::PeakDisk { bytes: 131_596_288 })
        .external("stop servers", 204)
        .then(What::DrillFinished {
            outcome: Some(Outcome::Recovered),
            reason: String::new(),
            error: None,
        })
        .events
}
