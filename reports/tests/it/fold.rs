//! What events come to.

use std::time::Duration;

use proptest::prelude::*;
use reports::event::{DrillHeader, LedgerComparison, Part, WorkloadCounts};
use reports::evidence::RecoveryTime;
use reports::run::UnreadableLog;
use reports::{
    CheckId, CheckResult, DrillEvidence, FoldError, Outcome, Phase, RunEvidence, Step, StepVerdict, Verdict, What,
    exit, fold,
};

use crate::drills;
use crate::script::{Script, at, check, header, ledger};

fn step(evidence: &DrillEvidence, step: Step, attempt: u32) -> &reports::evidence::StepRow {
    evidence
        .steps
        .iter()
        .find(|row| row.step == step && row.attempt == attempt)
        .unwrap()
}

fn passes(evidence: &DrillEvidence) {
    assert_eq!(evidence.mismatches, Vec::<String>::new());
    assert_eq!(evidence.objections, vec![]);
    assert!(evidence.as_expected);
    assert_eq!(evidence.verdict, Verdict::Pass);
}

#[test]
fn recovered() {
    let evidence = drills::recovered().fold();
    passes(&evidence);
    assert!(evidence.finished);
    assert_eq!(
        evidence.recovery_time,
        Some(RecoveryTime {
            total_ms: 2_103,
            detection_ms: 250,
            decision_ms: 210,
            restore_ms: 1_125,
            validation_ms: 120,
            cutover_ms: 398
        })
    );
    assert_eq!((evidence.rpo_met, evidence.rto_met), (Some(true), Some(true)));
    assert_eq!(evidence.times.failed.unwrap().at_utc, at(4_000));
    assert_eq!(evidence.steps.len(), 14);
    assert!(evidence.steps.iter().all(|row| row.verdict == StepVerdict::Pass));
    assert_eq!(step(&evidence, Step::Declare, 1).budget_ms, Some(14_400_000.0));
    assert_eq!(
        evidence.ledger.as_ref().map(|ledger| ledger.phase),
        Some(Phase::Restored)
    );
    assert_eq!(evidence.detection.len(), CheckId::ALL.len());
    assert_eq!(evidence.attempts, 1);
    assert_eq!(evidence.cost.wall_ms, 6_604);
    assert_eq!(evidence.cost.external_ms, 600 + 690 + 900 + 1_100);
    assert_eq!(evidence.cost.harness_overhead_ms, 6_604 - 3_290);
    let parts: u64 = evidence.cost.parts.iter().map(|part| part.duration_ms).sum();
    assert_eq!(
        parts, evidence.cost.wall_ms,
        "a part follows upon a part from the beginning on"
    );
}

#[test]
fn rto_missed() {
    let evidence = drills::rto_missed().fold();
    passes(&evidence);
    assert_eq!((evidence.rpo_met, evidence.rto_met), (Some(true), Some(false)));
    assert!(evidence.needs_post_mortem());
    assert_eq!(
        step(&evidence, Step::Declare, 1).within_budget,
        Some(false),
        "the RTO is its budget"
    );
}

#[test]
fn not_recovered_though_it_should() {
    let evidence = drills::not_recovered().fold();
    assert_eq!(evidence.verdict, Verdict::Fail);
    assert_eq!(
        evidence.mismatches,
        ["expected the outcome recovered, got not-recovered"]
    );
    assert_eq!(
        (evidence.recovery_time, evidence.rto_met, evidence.rpo_met),
        (None, None, None)
    );
    assert_eq!(evidence.rejected_unusable, 2);
    assert_eq!(evidence.attempts, 2);
    assert_eq!(evidence.steps.len(), 15, "fourteen and a second attempt");
    assert_eq!(step(&evidence, Step::ChooseBackup, 2).verdict, StepVerdict::Fail);
    let skipped = step(&evidence, Step::SmokeTest, 0);
    assert_eq!(skipped.verdict, StepVerdict::Skipped);
    assert_eq!(skipped.detail, "not reached: the drill ended at step 4 backup chosen");
}

#[test]
fn false_alarm() {
    let evidence = drills::false_alarm().fold();
    passes(&evidence);
    assert_eq!(evidence.rto_met, None);
}

#[test]
fn a_false_alarm_at_which_a_check_fails() {
    let mut script = drills::false_alarm();
    for event in &mut script.events {
        if let What::CheckFinished(result) = &mut event.what {
            result.verdict = Verdict::Fail;
        }
    }
    let evidence = script.fold();
    assert_eq!(
        evidence.mismatches,
        ["nothing is damaged, but server-start failed: as expected"]
    );
    assert_eq!(evidence.verdict, Verdict::Fail);
}

#[test]
fn rolled_back_as_expected() {
    let evidence = drills::rolled_back().fold();
    passes(&evidence);
    assert_eq!(evidence.rpo_met, None, "what was compared never went into service");
    assert!(evidence.ledger.is_some());
    assert_eq!(evidence.undos.len(), 2);
}

#[test]
fn an_undo_that_failed_prevents_pass() {
    let mut script = drills::rolled_back();
    for event in &mut script.events {
        if let What::Undone { verdict, .. } = &mut event.what {
            *verdict = Verdict::Fail;
        }
    }
    let evidence = script.fold();
    assert!(evidence.as_expected);
    assert_eq!(evidence.verdict, Verdict::Fail);
    assert_eq!(
        evidence.objections[0].text,
        "undoing application did not work: as before"
    );
}

#[test]
fn refused() {
    let evidence = drills::refused().fold();
    passes(&evidence);
    assert_eq!(step(&evidence, Step::StartRestore, 0).role, Step::StartRestore.role());
}

#[test]
fn an_error_of_the_harness_is_unknown() {
    let evidence = drills::harness_error().fold();
    assert!(!evidence.as_expected);
    assert_eq!(evidence.verdict, Verdict::Unknown);
    assert_eq!(
        evidence.mismatches,
        ["the harness could not carry the drill out: no port is free between 50000 and 50100"]
    );
}

#[test]
fn a_drill_without_its_end() {
    let whole = drills::recovered().events;
    for length in 1..whole.len() {
        let evidence = fold(&whole[..length]).unwrap();
        assert!(!evidence.finished);
        assert_eq!(
            (evidence.outcome, evidence.verdict),
            (None, Verdict::Unknown),
            "{length} events"
        );
        assert_eq!(evidence.reason, "the drill did not finish");
        assert!(evidence.steps.len() >= 14);
    }
    let begun = whole.iter().position(|event| {
        matches!(
            event.what,
            What::StepStarted {
                step: Step::RestoreData,
                ..
            }
        )
    });
    let evidence = fold(&whole[..=begun.unwrap()]).unwrap();
    let row = step(&evidence, Step::RestoreData, 1);
    assert_eq!(
        (row.verdict, row.detail.as_str()),
        (StepVerdict::Unknown, "the step began and never ended")
    );
}

#[test]
fn steps_that_a_drill_without_its_end_has_not_begun_are_not_reached() {
    let details = |script: Script| {
        let evidence = script.fold();
        let skipped = [Step::Confirm, Step::SmokeTest].map(|of| step(&evidence, of, 0).clone());
        assert!(skipped.iter().all(|row| row.verdict == StepVerdict::Skipped));
        skipped.map(|row| row.detail)
    };
    let begin = || {
        Script::begin(header("x", Outcome::Recovered, None))
            .prepared()
            .alerted(250)
    };
    let not_finished = "not reached: the drill did not finish";
    assert_eq!(details(begin()), [not_finished, not_finished]);
    let without_confirming = || begin().passed(Step::ListBackups, 20);
    assert_eq!(details(without_confirming()), [not_finished, not_finished]);
    assert_eq!(
        details(without_confirming().end(Outcome::NotRecovered, "there is no backup")),
        [
            "not needed: the drill went on to step 3 backups listed without it",
            "not reached: the drill ended at step 3 backups listed"
        ]
    );
}

#[test]
fn events_that_are_not_one_drill() {
    let events = drills::recovered().events;
    assert_eq!(fold(&[]), Err(FoldError::Empty));
    let mut gap = events.clone();
    gap.remove(4);
    assert_eq!(fold(&gap), Err(FoldError::Gap { expected: 5, found: 6 }));
    let mut headless = events.clone();
    headless[0].what = What::Failed;
    assert_eq!(fold(&headless), Err(FoldError::NoDrillStarted));
    let mut twice = events.clone();
    twice[3].what = twice[0].what.clone();
    assert_eq!(fold(&twice), Err(FoldError::StartedTwice { sequence: 4 }));
    let mut backwards = events.clone();
    backwards[8].offset_ns = 0;
    assert_eq!(fold(&backwards), Err(FoldError::ClockBackwards { sequence: 9 }));
    let mut after = drills::recovered();
    let end = after.events.len() as u64;
    after = after.then(What::Failed);
    assert_eq!(fold(&after.events), Err(FoldError::AfterTheEnd { sequence: end + 1 }));
}

#[test]
fn expectations_that_are_not_met_are_told() {
    let expected = [CheckId::ServerStart, CheckId::RowCounts, CheckId::PageChecksums];
    let mut header = header("data-directory-lost", Outcome::RecoveredRpoMissed, Some(&expected));
    header.expected.rejected = Some(1);
    let evidence = drills::recovered_as(header).fold();
    assert_eq!(
        evidence.mismatches,
        [
            "expected the outcome recovered-rpo-missed, got recovered",
            "page-checksums had to notice the damage and did not run",
            "row-counts had to notice the damage and passed",
            "expected 1 backup rejected as unusable, got 0",
        ]
    );
    assert_eq!(evidence.verdict, Verdict::Fail);
}

/// A recovery whose last check, in phase `after-cutover`, is the given one.
fn with_last_check(id: CheckId, verdict: Verdict, header: DrillHeader) -> Script {
    let mut script = drills::recovered_as(header);
    let end = script.events.len() - 1;
    let last = script.events[end].clone();
    script.events[end].what = What::CheckFinished(check(id, Phase::AfterCutover, verdict));
    script.then(last.what)
}

#[test]
fn an_unknown_check_on_the_restored_cluster_is_never_a_pass() {
    let header = || header("data-directory-lost", Outcome::Recovered, Some(&[CheckId::ServerStart]));
    let evidence = with_last_check(CheckId::IndexIntegrity, Verdict::Unknown, header()).fold();
    assert!(evidence.as_expected);
    assert_eq!(evidence.verdict, Verdict::Unknown);
    let again = with_last_check(CheckId::IndexIntegrity, Verdict::Unknown, header());
    let superseded = again
        .without_last()
        .check(CheckId::IndexIntegrity, Phase::AfterCutover, Verdict::Pass)
        .end(Outcome::Recovered, "")
        .fold();
    passes(&superseded);
}

/// Every check in every phase, on what was used: the backup of the plan, the cluster of the last attempt. The failed
/// database is not what is used once a backup is restored; whether its alert came is about the recovery.
#[test]
fn what_is_unknown_of_anything_that_was_used_is_never_a_pass() {
    const PHASES: [Phase; 5] = [
        Phase::Source,
        Phase::Backup,
        Phase::Restored,
        Phase::Cutover,
        Phase::AfterCutover,
    ];
    for id in CheckId::ALL {
        for phase in PHASES {
            for subject in ["", "base-1"] {
                let result = CheckResult {
                    subject: subject.into(),
                    ..check(*id, phase, Verdict::Unknown)
                };
                let script = drills::recovered().without_last().then(What::CheckFinished(result));
                let evidence = script.end(Outcome::Recovered, "").fold();
                let was_used = phase != Phase::Source || *id == CheckId::AlertDelivered;
                assert!(evidence.as_expected, "{id} in phase {phase}");
                let expected = if was_used { Verdict::Unknown } else { Verdict::Pass };
                assert_eq!(evidence.verdict, expected, "{id} in phase {phase} of {subject:?}");
            }
        }
    }
}

#[test]
fn a_service_that_was_put_right_where_it_is_rests_on_the_looks_at_it() {
    let in_place = |verdict| {
        let script = Script::begin(header("index", Outcome::Recovered, Some(&[])));
        let script = script.prepared().alerted(250);
        let script = script.check(CheckId::IndexIntegrity, Phase::Source, verdict);
        let script = script.then(What::LedgerCompared(ledger(0, 0)));
        script.after(3, What::Restored).end(Outcome::Recovered, "").fold()
    };
    assert_eq!(in_place(Verdict::Unknown).verdict, Verdict::Unknown);
    assert_eq!(in_place(Verdict::Pass).verdict, Verdict::Pass);
}

#[test]
fn what_is_unknown_of_a_backup_that_was_not_used_is_no_objection() {
    let other = CheckResult {
        subject: "base-0".into(),
        ..check(CheckId::BackupManifest, Phase::Backup, Verdict::Unknown)
    };
    let script = drills::recovered().without_last().then(What::CheckFinished(other));
    passes(&script.end(Outcome::Recovered, "").fold());
    let verdicts = [Verdict::Unknown, Verdict::Pass].map(|verdict| CheckResult {
        subject: "base-1".into(),
        ..check(CheckId::BackupManifest, Phase::Backup, verdict)
    });
    let [first, again] = verdicts.map(What::CheckFinished);
    let verified = drills::recovered().without_last().then(first).then(again);
    passes(&verified.end(Outcome::Recovered, "").fold());
}

#[test]
fn what_touched_production_counts_in_every_attempt_and_however_it_ended() {
    let touched = |expected: &[CheckId]| {
        let script = Script::begin(header("index", Outcome::NotRecovered, Some(expected)));
        let script = script.prepared().alerted(250).decided();
        let script = script.check(CheckId::Isolation, Phase::Restored, Verdict::Fail);
        let script = script.passed(Step::RestoreData, 1_000);
        script.end(Outcome::NotRecovered, "no backup can be used").fold()
    };
    let evidence = touched(&[]);
    assert_eq!(evidence.verdict, Verdict::Fail);
    assert!(
        evidence.objections[0].text.contains("isolation"),
        "{:?}",
        evidence.objections
    );
    passes(&touched(&[CheckId::Isolation]));
}

#[test]
fn a_false_alarm_is_proven_by_looks_that_were_taken() {
    let looked = |verdict| {
        let script = drills::false_alarm().without_last();
        let script = script.check(CheckId::ContentHash, Phase::Source, verdict);
        script.end(Outcome::FalseAlarm, "the database answers queries")
    };
    passes(&looked(Verdict::Pass).fold());
    let unproven = looked(Verdict::Unknown).fold();
    assert!(unproven.as_expected && unproven.verdict == Verdict::Unknown);
    assert!(
        unproven.objections[0]
            .text
            .contains("content-hash could not be verified")
    );
    let after_a_restart = looked(Verdict::Unknown).without_last();
    let after_a_restart = after_a_restart.check(CheckId::ContentHash, Phase::Source, Verdict::Pass);
    passes(&after_a_restart.end(Outcome::FalseAlarm, "a restart sufficed").fold());
}

#[test]
fn a_failed_check_on_the_restored_cluster_fails_unless_it_is_meant_to() {
    let unmeant = header("data-directory-lost", Outcome::Recovered, Some(&[CheckId::ServerStart]));
    let evidence = with_last_check(CheckId::Sequences, Verdict::Fail, unmeant).fold();
    assert!(
        evidence.as_expected,
        "nobody said that sequences must not notice anything"
    );
    assert_eq!(evidence.verdict, Verdict::Fail);
    let meant = header(
        "data-directory-lost",
        Outcome::Recovered,
        Some(&[CheckId::ServerStart, CheckId::Sequences]),
    );
    passes(&with_last_check(CheckId::Sequences, Verdict::Fail, meant).fold());
}

#[test]
fn checks_of_an_earlier_attempt_do_not_decide() {
    let script = Script::begin(header(
        "data-directory-lost",
        Outcome::Recovered,
        Some(&[CheckId::ServerStart]),
    ))
    .prepared()
    .alerted(250)
    .decided()
    .then(What::StepStarted {
        step: Step::RestoreData,
        attempt: 1,
    })
    .check(CheckId::IndexIntegrity, Phase::Restored, Verdict::Unknown)
    .check(CheckId::RowCounts, Phase::Restored, Verdict::Fail)
    .then(What::LedgerCompared(ledger(400, 7_200_000)))
    .step(Step::ChooseBackup, 2, 10, Verdict::Pass, "base-0")
    .restored_in(1_000, ledger(0, 0))
    .cut_over()
    .end(Outcome::Recovered, "");
    let evidence = script.fold();
    passes(&evidence);
    assert_eq!(evidence.ledger.unwrap().comparison.lost_commits, 0);
}

#[test]
fn a_cluster_that_was_repaired_is_judged_by_the_second_look() {
    let detected = [CheckId::ServerStart, CheckId::IndexIntegrity];
    let mut script = Script::begin(header("index", Outcome::Recovered, Some(&detected)))
        .prepared()
        .alerted(250)
        .decided()
        .passed(Step::StartRestore, 4)
        .passed(Step::RestoreData, 1_000)
        .then(What::StepStarted {
            step: Step::Validate,
            attempt: 1,
        })
        .check(CheckId::IndexIntegrity, Phase::Restored, Verdict::Fail)
        .check(CheckId::Collations, Phase::Restored, Verdict::Unknown)
        .then(What::LedgerCompared(ledger(0, 0)))
        .finish(Step::Validate, 1, 100, Verdict::Fail, "index-integrity")
        .after(
            40,
            What::Repaired {
                action: "REINDEX INDEX a".into(),
                verdict: Verdict::Pass,
                detail: String::new(),
            },
        );
    script = script
        .then(What::StepStarted {
            step: Step::Validate,
            attempt: 2,
        })
        .check(CheckId::IndexIntegrity, Phase::Restored, Verdict::Pass)
        .check(CheckId::Collations, Phase::Restored, Verdict::Pass)
        .then(What::LedgerCompared(ledger(0, 0)))
        .finish(Step::Validate, 2, 100, Verdict::Pass, "all checks passed")
        .cut_over()
        .end(Outcome::Recovered, "");
    let evidence = script.fold();
    passes(&evidence);
    assert_eq!(step(&evidence, Step::Validate, 1).verdict, StepVerdict::Fail);
    assert_eq!(step(&evidence, Step::Validate, 2).verdict, StepVerdict::Pass);
    assert_eq!((evidence.attempts, evidence.repairs.len()), (1, 1));
    assert_eq!(
        evidence.recovery_time.unwrap().validation_ms,
        240,
        "the repair is part of it"
    );
}

#[test]
fn a_source_that_was_repaired_is_restored_without_a_restore() {
    let evidence = Script::begin(header(
        "trigger",
        Outcome::Recovered,
        Some(&[CheckId::CatalogInventory]),
    ))
    .prepared()
    .alerted(250)
    .then(What::StepStarted {
        step: Step::Confirm,
        attempt: 1,
    })
    .check(CheckId::CatalogInventory, Phase::Source, Verdict::Fail)
    .then(What::Repaired {
        action: "ENABLE TRIGGER".into(),
        verdict: Verdict::Pass,
        detail: String::new(),
    })
    .check(CheckId::CatalogInventory, Phase::Source, Verdict::Pass)
    .finish(Step::Confirm, 1, 80, Verdict::Pass, "repaired in place")
    .then(What::LedgerCompared(ledger(0, 0)))
    .then(What::StepStarted {
        step: Step::Declare,
        attempt: 1,
    })
    .then(What::Restored)
    .finish(Step::Declare, 1, 0, Verdict::Pass, "RTO met")
    .end(Outcome::Recovered, "")
    .fold();
    passes(&evidence);
    assert_eq!((evidence.rpo_met, evidence.rto_met), (Some(true), Some(true)));
    let skipped = step(&evidence, Step::RestoreData, 0);
    assert_eq!(skipped.verdict, StepVerdict::Skipped);
    assert_eq!(
        skipped.detail,
        "not needed: the drill went on to step 14 declared restored without it"
    );
    assert_eq!(evidence.attempts, 0);
}

#[test]
fn an_outcome_that_contradicts_the_numbers_fails() {
    let base = || {
        Script::begin(header("x", Outcome::Recovered, None))
            .prepared()
            .alerted(10)
            .decided()
    };
    let lossy = base()
        .restored_in(5, ledger(9, 3_601_000))
        .cut_over()
        .end(Outcome::Recovered, "")
        .fold();
    assert_eq!(lossy.verdict, Verdict::Fail);
    assert_eq!(
        lossy.objections[0].text,
        "the outcome is recovered, but the RPO is 1 h: loss of 1 h 1 min"
    );
    let uncompared = base().cut_over().end(Outcome::Recovered, "").fold();
    assert_eq!(uncompared.verdict, Verdict::Unknown);
    let undeclared = base().restored_in(5, ledger(0, 0)).end(Outcome::Recovered, "").fold();
    assert_eq!(undeclared.verdict, Verdict::Unknown);
}

#[test]
fn step_eight_is_measured_by_its_slowest_count() {
    let finished = |against| What::StepFinished {
        step: Step::Validate,
        attempt: 1,
        role: None,
        verdict: Verdict::Pass,
        duration_ms: 9_000.0,
        against_budget_ms: against,
        detail: String::new(),
    };
    let begin = || Script::begin(header("x", Outcome::Recovered, None));
    assert_eq!(
        step(&begin().then(finished(None)).fold(), Step::Validate, 1).within_budget,
        None,
        "no count was taken"
    );
    assert_eq!(
        step(&begin().then(finished(Some(80.0))).fold(), Step::Validate, 1).within_budget,
        Some(true)
    );
}

#[test]
fn the_writers_count_where_nothing_was_compared() {
    let evidence = drills::refused().fold();
    assert_eq!(
        evidence.workload,
        Some(WorkloadCounts {
            acknowledged: 500,
            rejected: 2,
            indeterminate: 3
        })
    );
    assert_eq!(
        (evidence.acknowledged_commits(), evidence.indeterminate_commits()),
        (Some(500), Some(3))
    );
    let compared = LedgerComparison {
        acknowledged_commits: 501,
        ..ledger(0, 0)
    };
    let evidence = Script::begin(header("x", Outcome::Recovered, None))
        .then(What::LedgerCompared(compared))
        .fold();
    assert_eq!(evidence.acknowledged_commits(), Some(501));
}

#[test]
fn exit_codes_follow_the_worst_drill() {
    let run = |drills: Vec<Script>| RunEvidence::new(drills.iter().map(Script::fold).collect()).exit_code();
    assert_eq!(run(vec![drills::recovered(), drills::rolled_back()]), exit::AS_EXPECTED);
    assert_eq!(
        run(vec![drills::recovered(), drills::harness_error()]),
        exit::NOT_VERIFIED
    );
    assert_eq!(
        run(vec![drills::not_recovered(), drills::harness_error()]),
        exit::NOT_AS_EXPECTED
    );
    assert_eq!(run(vec![]), exit::NOT_VERIFIED, "of no drill at all nothing is known");
    let broken = UnreadableLog {
        drill: "x".into(),
        problem: "?".into(),
    };
    let run = RunEvidence::with_unreadable(vec![drills::recovered().fold()], vec![broken]);
    assert_eq!(run.exit_code(), exit::NOT_VERIFIED);
}

#[test]
fn the_worst_drill_comes_first() {
    let scripts = [
        drills::recovered(),
        drills::harness_error(),
        drills::not_recovered(),
        drills::rto_missed(),
    ];
    let run = RunEvidence::new(scripts.iter().map(Script::fold).collect());
    let order: Vec<(Verdict, &str)> = run
        .worst_first()
        .iter()
        .map(|drill| (drill.verdict, drill.header.drill.as_str()))
        .collect();
    assert_eq!(
        order,
        [
            (Verdict::Fail, "every-backup-corrupt"),
            (Verdict::Unknown, "drop-table"),
            (Verdict::Pass, "restore-overruns-rto"),
            (Verdict::Pass, "data-directory-lost"),
        ]
    );
}

/// A walk over the steps: each item begins or ends some step, or is something else, so many nanoseconds later.
fn walk() -> impl Strategy<Value = Vec<(u64, u8, u8)>> {
    prop::collection::vec((0_u64..3_000_000_000, 0_u8..4, 1_u8..=14), 0..60)
}

proptest! {
    #[test]
    fn the_parts_of_the_recovery_time_add_up(walk in walk()) {
        let mut script = Script::begin(header("x", Outcome::Recovered, None)).after(17, What::Failed);
        let mut total_ns = 0;
        for (ns, kind, number) in walk {
            let step = Step::try_from(number).unwrap();
            let what = match kind {
                0 => What::StepStarted { step, attempt: 1 },
                1 => What::StepFinished {
                    step, attempt: 1, role: None, verdict: Verdict::Pass, duration_ms: 1.0,
                    against_budget_ms: None, detail: String::new(),
                },
                2 => What::AlertReceived {
                    via: reports::event::AlertRoute::Webhook, alert: String::new(), severity: String::new(),
                },
                _ => What::PartStarted { part: Part::Restore },
            };
            total_ns += ns;
            script = script.after_duration(Duration::from_nanos(ns), what);
        }
        let time = script.then(What::Restored).fold().recovery_time.unwrap();
        let parts = [time.detection_ms, time.decision_ms, time.restore_ms, time.validation_ms, time.cutover_ms];
        prop_assert_eq!(parts.iter().sum::<u64>(), time.total_ms);
        prop_assert!(time.total_ms.abs_diff(total_ns / 1_000_000) <= 1);
    }
}
