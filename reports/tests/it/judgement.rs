//! When a drill is as expected, and when it may pass.

use reports::event::{LedgerComparison, Objectives};
use reports::evidence::Objection;
use reports::{CheckId, DrillEvidence, Outcome, Phase, Step, Verdict, What};

use crate::drills;
use crate::script::{Script, header, ledger};

const SERVER_START: Option<&[CheckId]> = Some(&[CheckId::ServerStart]);

/// What every restored drill here takes besides the restore of the data.
const ALL_BUT_THE_RESTORE_MS: u64 = 1_003;

fn passes(evidence: &DrillEvidence) {
    assert_eq!(evidence.mismatches, Vec::<String>::new());
    assert_eq!(evidence.objections, vec![]);
    assert_eq!(evidence.verdict, Verdict::Pass);
}

/// As the scenario expects, but for these reasons it must not pass.
fn fails_by(evidence: &DrillEvidence, texts: &[&str]) {
    let objections: Vec<Objection> = texts
        .iter()
        .map(|text| Objection {
            verdict: Verdict::Fail,
            text: (*text).to_owned(),
        })
        .collect();
    assert_eq!(evidence.mismatches, Vec::<String>::new());
    assert_eq!(evidence.objections, objections);
    assert_eq!(evidence.verdict, Verdict::Fail);
}

/// A drill with an RPO of 1 s and an RTO of 2 s, that ends as expected after so long a recovery and with such a loss.
fn ended(outcome: Outcome, recovery_ms: u64, lost: LedgerComparison) -> DrillEvidence {
    let mut header = header("data-directory-lost", outcome, SERVER_START);
    header.objectives = Objectives {
        rpo_s: 1.0,
        rto_s: 2.0,
        from_scenario: true,
    };
    let evidence = Script::begin(header)
        .prepared()
        .alerted(250)
        .decided()
        .restored_in(recovery_ms - ALL_BUT_THE_RESTORE_MS, lost)
        .cut_over()
        .end(outcome, "")
        .fold();
    assert_eq!(evidence.recovery_time.unwrap().total_ms, recovery_ms);
    evidence
}

fn little_lost() -> LedgerComparison {
    ledger(2, 500)
}

fn much_lost() -> LedgerComparison {
    ledger(9, 1_250)
}

const SOON_MS: u64 = 1_500;
const LATE_MS: u64 = 5_200;

#[test]
fn an_outcome_passes_with_the_numbers_that_it_names() {
    passes(&ended(Outcome::Recovered, SOON_MS, little_lost()));
    passes(&ended(Outcome::RecoveredRpoMissed, SOON_MS, much_lost()));
    passes(&ended(Outcome::RecoveredRtoMissed, LATE_MS, little_lost()));
    passes(&ended(Outcome::RecoveredBothMissed, LATE_MS, much_lost()));
}

#[test]
fn an_outcome_that_says_more_than_was_measured_fails() {
    fails_by(
        &ended(Outcome::Recovered, LATE_MS, little_lost()),
        &["the outcome is recovered, but the recovery took 5.2 s and the RTO is 2 s"],
    );
    fails_by(
        &ended(Outcome::Recovered, SOON_MS, much_lost()),
        &["the outcome is recovered, but the RPO is 1 s: loss of 1.25 s"],
    );
    fails_by(
        &ended(Outcome::RecoveredRpoMissed, LATE_MS, much_lost()),
        &["the outcome is recovered-rpo-missed, but the recovery took 5.2 s and the RTO is 2 s"],
    );
    fails_by(
        &ended(Outcome::RecoveredRtoMissed, LATE_MS, much_lost()),
        &["the outcome is recovered-rto-missed, but the RPO is 1 s: loss of 1.25 s"],
    );
}

#[test]
fn an_outcome_that_names_an_objective_that_was_met_fails() {
    fails_by(
        &ended(Outcome::RecoveredRpoMissed, SOON_MS, little_lost()),
        &["the outcome is recovered-rpo-missed, but the RPO is 1 s: loss of 500 ms"],
    );
    fails_by(
        &ended(Outcome::RecoveredRtoMissed, SOON_MS, little_lost()),
        &["the outcome is recovered-rto-missed, but the recovery took 1.5 s and the RTO is 2 s"],
    );
    fails_by(
        &ended(Outcome::RecoveredBothMissed, SOON_MS, little_lost()),
        &[
            "the outcome is recovered-both-missed, but the RPO is 1 s: loss of 500 ms",
            "the outcome is recovered-both-missed, but the recovery took 1.5 s and the RTO is 2 s",
        ],
    );
}

#[test]
fn a_recovery_that_takes_just_the_rto_meets_it() {
    let in_time = ended(Outcome::Recovered, 2_000, little_lost());
    assert_eq!(in_time.rto_met, Some(true));
    passes(&in_time);
    let too_late = ended(Outcome::RecoveredRtoMissed, 2_001, little_lost());
    assert_eq!(too_late.rto_met, Some(false));
    passes(&too_late);
}

#[test]
fn a_drill_without_an_outcome_tells_why() {
    let cut_off = drills::recovered().without_last().fold();
    assert_eq!(cut_off.mismatches, ["the drill did not finish"]);
    let finished = |reason: &str| {
        let end = What::DrillFinished {
            outcome: None,
            reason: reason.into(),
            error: None,
        };
        drills::recovered().without_last().then(end).fold()
    };
    assert_eq!(finished("interrupted").mismatches, ["interrupted"]);
    assert_eq!(finished("").mismatches, ["the drill ended without an outcome"]);
}

#[test]
fn where_only_some_checks_may_notice_the_damage_another_that_does_is_told() {
    let only_server_start = || {
        let mut header = header("data-directory-lost", Outcome::NotRecovered, SERVER_START);
        header.expected.only = true;
        let script = Script::begin(header).prepared().alerted(250).decided();
        script.passed(Step::StartRestore, 5)
    };
    let end = |script: Script| script.end(Outcome::NotRecovered, "step 6 data restored: no room");
    passes(&end(only_server_start()).fold());
    let script = only_server_start().check(CheckId::RowCounts, Phase::Restored, Verdict::Fail);
    let evidence = end(script).fold();
    assert_eq!(
        evidence.mismatches,
        ["row-counts failed, and nothing that it looks at was damaged: something else"]
    );
    assert_eq!((evidence.as_expected, evidence.verdict), (false, Verdict::Fail));
}

/// A restore that wrote where production is, once the backup is chosen.
fn restored_over_production(outcome: Outcome) -> Script {
    Script::begin(header("data-directory-lost", outcome, SERVER_START))
        .prepared()
        .alerted(250)
        .decided()
        .then(What::StepStarted {
            step: Step::RestoreData,
            attempt: 1,
        })
        .check(CheckId::Isolation, Phase::Restored, Verdict::Fail)
}

const TOUCHED: &str = "isolation failed in phase restored: something else";

#[test]
fn a_service_that_is_restored_in_the_end_excuses_no_earlier_attempt_that_touched_production() {
    let script = restored_over_production(Outcome::Recovered)
        .step(Step::ChooseBackup, 2, 10, Verdict::Pass, "base-0")
        .restored_in(1_000, ledger(0, 0))
        .cut_over()
        .end(Outcome::Recovered, "");
    fails_by(&script.fold(), &[TOUCHED]);
}

#[test]
fn a_last_attempt_that_touched_production_fails_a_drill_that_need_not_recover() {
    let script = restored_over_production(Outcome::NotRecovered);
    let script = script.end(Outcome::NotRecovered, "no backup can be used");
    fails_by(&script.fold(), &[TOUCHED]);
}

#[test]
fn a_restored_service_that_touched_production_is_told_once() {
    let script = drills::recovered().without_last();
    let script = script.check(CheckId::Isolation, Phase::Restored, Verdict::Fail);
    fails_by(&script.end(Outcome::Recovered, "").fold(), &[TOUCHED]);
}
