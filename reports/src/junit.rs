//! `junit.xml`: a suite for each drill, for CI systems.
//!
//! The cases of a suite are the outcome, the checks that had to notice the damage, the fourteen steps, and the checks
//! that decide. What fails on purpose is a pass with a note, so that a drill whose verdict is `Pass` has neither a
//! failure nor an error. Otherwise `Fail` is a failure, `Unknown` an error, and what was not reached is skipped.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::evidence::{CheckRow, StepRow};
use crate::run::NEVER_BEGAN;
use crate::{DrillEvidence, Outcome, RunEvidence, Step, StepVerdict, Verdict};

/// Name of the file.
pub const FILE_NAME: &str = "junit.xml";

/// Renders the file.
///
/// # Errors
/// None that occur; the writer underneath can fail only where its output can.
pub fn render(run: &RunEvidence) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("drill {}", run.run_id).trim_end());
    if let (Some(start), Some(end)) = (run.started_at_utc, run.ended_at_utc) {
        report.set_timestamp(start.fixed_offset());
        report.set_time((end - start).to_std().unwrap_or_default());
    }
    report.add_test_suites(run.drills.iter().map(suite));
    if !run.unreadable.is_empty() {
        let mut suite = TestSuite::new("event logs");
        for log in &run.unreadable {
            suite.add_test_case(case("event logs", &log.drill, Come::Error(log.problem.clone())));
        }
        report.add_test_suite(suite);
    }
    if !run.never_began.is_empty() {
        let mut suite = TestSuite::new("drills that never began");
        for planned in &run.never_began {
            let come = Come::Error(NEVER_BEGAN.to_owned());
            suite.add_test_case(case("drills that never began", &planned.drill, come));
        }
        report.add_test_suite(suite);
    }
    if !run.skipped.is_empty() {
        let mut suite = TestSuite::new("drills left out");
        for planned in &run.skipped {
            let come = Come::Skipped(planned.skipped.clone().unwrap_or_default());
            suite.add_test_case(case("drills left out", &planned.drill, come));
        }
        report.add_test_suite(suite);
    }
    if !run.finished {
        let mut suite = TestSuite::new("run");
        let come = Come::Error("the run did not finish: nothing vouches for it as a whole".to_owned());
        suite.add_test_case(case("run", "the run finished", come));
        report.add_test_suite(suite);
    }
    report.to_string()
}

/// What became of a case.
enum Come {
    Good,
    /// It failed or could not be verified, and the drill passes nevertheless.
    Noted(String),
    Failure(String),
    Error(String),
    Skipped(String),
}

fn case(class: &str, name: &str, come: Come) -> TestCase {
    let (status, note) = match come {
        Come::Good => (TestCaseStatus::success(), None),
        Come::Noted(note) => (TestCaseStatus::success(), Some(note)),
        Come::Failure(why) => (
            with_message(TestCaseStatus::non_success(NonSuccessKind::Failure), why),
            None,
        ),
        Come::Error(why) => (
            with_message(TestCaseStatus::non_success(NonSuccessKind::Error), why),
            None,
        ),
        Come::Skipped(why) => (with_message(TestCaseStatus::skipped(), why), None),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    if let Some(note) = note {
        case.set_system_out(note);
    }
    case
}

fn with_message(mut status: TestCaseStatus, why: String) -> TestCaseStatus {
    status.set_message(why);
    status
}

fn suite(drill: &DrillEvidence) -> TestSuite {
    let header = &drill.header;
    let class = if header.group.is_empty() {
        header.drill.clone()
    } else {
        format!("{}.{}", header.group, header.drill)
    };
    let mut suite = TestSuite::new(&header.drill);
    suite.set_timestamp(drill.times.started.at_utc.fixed_offset());
    suite.set_time(Duration::from_millis(drill.cost.wall_ms));
    suite.add_property(("seed", header.seed.to_string().as_str()));
    suite.add_property(("postgres_version", header.postgres_version.as_str()));
    suite.add_property(("backup_system", header.backup_system.as_str()));
    suite.add_property(("outcome", drill.outcome_id().as_str()));

    suite.add_test_case(outcome(drill, &class));
    for row in drill.detection.iter().filter(|row| row.should_detect) {
        let missed = || format!("{} did not notice the damage", row.check);
        let come = if row.detected {
            Come::Good
        } else {
            not_good(drill, NonSuccessKind::Failure, missed())
        };
        suite.add_test_case(case(&class, &format!("{} notices the damage", row.check), come));
    }
    for step in Step::ALL {
        if let Some(row) = drill.steps.iter().rfind(|row| row.step == step) {
            suite.add_test_case(step_case(drill, &class, row));
        }
    }
    for row in drill.checks.iter().filter(|row| row.deciding) {
        suite.add_test_case(check_case(drill, &class, row));
    }
    suite
}

fn outcome(drill: &DrillEvidence, class: &str) -> TestCase {
    let mut case = case(
        class,
        &format!("outcome is {}", drill.header.expected.outcome),
        match drill.verdict {
            Verdict::Pass => Come::Good,
            Verdict::Fail => Come::Failure(drill.headline()),
            Verdict::Unknown => Come::Error(drill.headline()),
        },
    );
    if drill.verdict == Verdict::Pass {
        case.set_system_out(drill.headline());
    }
    if let Some(time) = drill.recovery_time {
        case.set_time(Duration::from_millis(time.total_ms));
    }
    case
}

/// Something that did not come out well: only noted if the drill passes all the same.
fn not_good(drill: &DrillEvidence, kind: NonSuccessKind, why: String) -> Come {
    match kind {
        _ if drill.verdict == Verdict::Pass => Come::Noted(why),
        NonSuccessKind::Failure => Come::Failure(why),
        NonSuccessKind::Error => Come::Error(why),
    }
}

fn step_case(drill: &DrillEvidence, class: &str, row: &StepRow) -> TestCase {
    let why = || row.detail.clone();
    let come = match row.verdict {
        StepVerdict::Pass if row.attempt > 1 => Come::Noted(format!("attempt {}: {}", row.attempt, row.detail)),
        StepVerdict::Pass => Come::Good,
        StepVerdict::Fail if drill.as_expected => Come::Noted(format!("fails as it must: {}", row.detail)),
        StepVerdict::Fail => not_good(drill, NonSuccessKind::Failure, why()),
        StepVerdict::Unknown => not_good(drill, NonSuccessKind::Error, why()),
        StepVerdict::Skipped => Come::Skipped(why()),
    };
    let mut case = case(
        class,
        &format!("step {:02} {}", row.step.number(), row.step.name()),
        come,
    );
    if let Some(ms) = row.duration_ms {
        case.set_time(Duration::from_micros((ms.max(0.0) * 1e3) as u64));
    }
    if let Some(started) = row.started {
        case.set_timestamp(started.at_utc.fixed_offset());
    }
    case
}

fn check_case(drill: &DrillEvidence, class: &str, row: &CheckRow) -> TestCase {
    let result = &row.result;
    let meant_to_fail = drill
        .detection
        .iter()
        .any(|row| row.check == result.check && row.should_detect);
    let found = format!("expected {}; found {}", result.expected, result.actual);
    let come = match result.verdict {
        Verdict::Pass => Come::Good,
        Verdict::Fail if meant_to_fail => Come::Noted(format!("fails as it must: {found}")),
        Verdict::Fail => not_good(drill, NonSuccessKind::Failure, found),
        Verdict::Unknown if !drill.outcome.is_some_and(Outcome::is_restored) => Come::Skipped(result.detail.clone()),
        Verdict::Unknown => not_good(drill, NonSuccessKind::Error, result.detail.clone()),
    };
    let subject = if result.subject.is_empty() {
        String::new()
    } else {
        format!(" of {}", result.subject)
    };
    let mut case = case(class, &format!("{} {}{subject}", result.phase, result.check), come);
    case.set_time(Duration::from_micros((result.duration_ms.max(0.0) * 1e3) as u64));
    case.set_timestamp(row.finished.at_utc.fixed_offset());
    case
}
