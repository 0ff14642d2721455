//! What the comparison of the ledger with the recovered rows comes to.

use reports::event::LedgerComparison;
use reports::{Outcome, Phase, Step, What};

use crate::script::{Script, header, ledger};

fn begin() -> Script {
    Script::begin(header("x", Outcome::Recovered, None))
}

/// The phase of the only comparison, which was made at the end of this script.
fn compared_after(script: Script) -> Phase {
    script
        .then(What::LedgerCompared(ledger(0, 0)))
        .fold()
        .ledger
        .unwrap()
        .phase
}

#[test]
fn the_step_during_which_it_is_compared_tells_the_phase() {
    assert_eq!(compared_after(begin()), Phase::Source, "before the first step");
    for (step, phase) in [
        (Step::Alert, Phase::Source),
        (Step::Confirm, Phase::Source),
        (Step::ListBackups, Phase::Backup),
        (Step::ChooseBackup, Phase::Backup),
        (Step::StartRestore, Phase::Backup),
        (Step::RestoreData, Phase::Restored),
        (Step::Notify, Phase::Restored),
        (Step::Validate, Phase::Restored),
        (Step::UpdateConnection, Phase::Cutover),
        (Step::RestartApplication, Phase::Cutover),
        (Step::Connect, Phase::Cutover),
        (Step::Readiness, Phase::Cutover),
        (Step::SmokeTest, Phase::Cutover),
        (Step::Declare, Phase::Cutover),
    ] {
        let script = begin().then(What::StepStarted { step, attempt: 1 });
        assert_eq!(compared_after(script), phase, "{step}");
    }
}

#[test]
fn what_is_compared_once_the_service_is_declared_restored_is_after_cutover() {
    let declare = What::StepStarted {
        step: Step::Declare,
        attempt: 1,
    };
    assert_eq!(
        compared_after(begin().then(declare).then(What::Restored)),
        Phase::AfterCutover
    );
}

#[test]
fn a_database_that_was_put_right_where_it_is_is_compared_as_the_source() {
    let script = begin().prepared().alerted(250).passed(Step::Confirm, 80);
    assert_eq!(compared_after(script), Phase::Source);
}

#[test]
fn what_is_lost_or_given_up_is_never_shown_as_nothing() {
    for (ns, ms) in [
        (0, 0),
        (1, 1),
        (1_000_000, 1),
        (1_000_001, 2),
        (3_600_000_000_000, 3_600_000),
    ] {
        let lost = LedgerComparison {
            data_loss_window_ns: ns,
            ..LedgerComparison::default()
        };
        assert_eq!((lost.data_loss_window_ms(), lost.given_up_window_ms()), (ms, 0));
        let given_up = LedgerComparison {
            given_up_window_ns: ns,
            ..LedgerComparison::default()
        };
        assert_eq!((given_up.data_loss_window_ms(), given_up.given_up_window_ms()), (0, ms));
    }
}

#[test]
fn the_share_lost_is_of_the_commits_since_the_backup() {
    let share = |lost_commits, acknowledged_since_backup| {
        let comparison = LedgerComparison {
            acknowledged_commits: 500,
            lost_commits,
            acknowledged_since_backup,
            ..LedgerComparison::default()
        };
        comparison.lost_share()
    };
    assert_eq!(share(100, Some(400)), Some(0.25));
    assert_eq!(share(1, Some(1)), Some(1.0));
    assert_eq!(share(0, Some(400)), Some(0.0));
    assert_eq!(share(0, Some(0)), None, "nothing came after the backup");
    assert_eq!(share(0, None), None, "no backup was restored");
}
