//! To which part of the recovery the time goes.

use reports::event::AlertRoute;
use reports::evidence::RecoveryTime;
use reports::{Outcome, Step, Verdict, What};

use crate::script::{Script, header};

/// The service fails, and step 1 begins at once.
fn failed() -> Script {
    Script::begin(header("x", Outcome::Recovered, None))
        .after(4_000, What::Failed)
        .then(begun(Step::Alert))
}

fn begun(step: Step) -> What {
    What::StepStarted { step, attempt: 1 }
}

fn alert() -> What {
    What::AlertReceived {
        via: AlertRoute::Webhook,
        alert: "DB_UNAVAILABLE".into(),
        severity: "critical".into(),
    }
}

/// The alert after 250 ms, and the end of step 1 at the same time.
fn alerted() -> Script {
    failed()
        .after(250, alert())
        .finish(Step::Alert, 1, 0, Verdict::Pass, "")
}

/// Milliseconds of detection, decision, restore, validation and cutover.
fn parts(script: Script) -> [u64; 5] {
    let RecoveryTime {
        total_ms: _,
        detection_ms,
        decision_ms,
        restore_ms,
        validation_ms,
        cutover_ms,
    } = script.then(What::Restored).fold().recovery_time.unwrap();
    [detection_ms, decision_ms, restore_ms, validation_ms, cutover_ms]
}

#[test]
fn each_step_belongs_to_its_part() {
    for (step, expected) in [
        (Step::Confirm, [250, 70, 0, 0, 0]),
        (Step::ListBackups, [250, 70, 0, 0, 0]),
        (Step::ChooseBackup, [250, 70, 0, 0, 0]),
        (Step::StartRestore, [250, 0, 70, 0, 0]),
        (Step::RestoreData, [250, 0, 70, 0, 0]),
        (Step::Notify, [250, 0, 70, 0, 0]),
        (Step::Validate, [250, 0, 0, 70, 0]),
        (Step::UpdateConnection, [250, 0, 0, 0, 70]),
        (Step::RestartApplication, [250, 0, 0, 0, 70]),
        (Step::Connect, [250, 0, 0, 0, 70]),
        (Step::Readiness, [250, 0, 0, 0, 70]),
        (Step::SmokeTest, [250, 0, 0, 0, 70]),
        (Step::Declare, [250, 0, 0, 0, 70]),
    ] {
        assert_eq!(parts(alerted().passed(step, 70)), expected, "{step}");
    }
}

#[test]
fn the_time_before_the_alert_is_detection() {
    let in_step_one = failed().after(250, alert()).passed(Step::Confirm, 100);
    assert_eq!(parts(in_step_one), [250, 100, 0, 0, 0]);
    let late = failed().finish(Step::Alert, 1, 200, Verdict::Fail, "no alert");
    let late = late.after(50, alert()).passed(Step::Confirm, 100);
    assert_eq!(parts(late), [250, 100, 0, 0, 0], "it came after step 1 was over");
}

#[test]
fn what_step_one_takes_after_the_alert_goes_to_what_follows() {
    let received = || {
        failed()
            .after(250, alert())
            .finish(Step::Alert, 1, 30, Verdict::Pass, "")
    };
    assert_eq!(parts(received().passed(Step::Confirm, 100)), [250, 130, 0, 0, 0]);
    assert_eq!(parts(received().passed(Step::StartRestore, 100)), [250, 0, 130, 0, 0]);
}

#[test]
fn where_no_alert_comes_step_one_is_detection() {
    let script = failed().finish(Step::Alert, 1, 280, Verdict::Fail, "no alert");
    assert_eq!(parts(script.passed(Step::Confirm, 100)), [280, 100, 0, 0, 0]);
}

#[test]
fn an_alert_that_comes_again_is_no_detection() {
    let script = alerted().then(begun(Step::RestoreData)).after(400, alert());
    let script = script.finish(Step::RestoreData, 1, 600, Verdict::Pass, "");
    assert_eq!(parts(script), [250, 0, 1_000, 0, 0]);
}

#[test]
fn a_step_that_never_ended_lasts_until_the_next_begins() {
    let script = alerted().then(begun(Step::Validate)).after(
        500,
        What::StepStarted {
            step: Step::ChooseBackup,
            attempt: 2,
        },
    );
    let script = script.finish(Step::ChooseBackup, 2, 100, Verdict::Pass, "base-0");
    assert_eq!(parts(script), [250, 100, 0, 500, 0]);
}

#[test]
fn a_step_that_never_ended_lasts_until_the_declaration() {
    let script = alerted().then(begun(Step::Validate));
    let declared = script.after(500, What::Restored).fold().recovery_time.unwrap();
    assert_eq!((declared.validation_ms, declared.cutover_ms), (500, 0));
}

#[test]
fn what_is_left_before_the_declaration_is_cutover() {
    let script = alerted().passed(Step::Validate, 120);
    let declared = script.after(40, What::Restored).fold().recovery_time.unwrap();
    assert_eq!((declared.validation_ms, declared.cutover_ms), (120, 40));
}
