//! The JUnit file, read back.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};
use reports::run::UnreadableLog;
use reports::{RunEvidence, junit};

use crate::drills;
use crate::script::Script;

fn report(scripts: &[Script]) -> Report {
    let run = RunEvidence::new(scripts.iter().map(Script::fold).collect());
    Report::deserialize_from_str(&junit::render(&run).unwrap()).unwrap()
}

fn cases(report: &Report, wanted: NonSuccessKind) -> Vec<String> {
    let failed = |case: &&TestCase| matches!(&case.status, TestCaseStatus::NonSuccess { kind, .. } if *kind == wanted);
    report
        .test_suites
        .iter()
        .flat_map(|suite| suite.test_cases.iter().filter(failed))
        .map(|case| case.name.to_string())
        .collect()
}

#[test]
fn a_drill_that_passes_has_neither_failure_nor_error() {
    let passing = [
        drills::recovered(),
        drills::rto_missed(),
        drills::rolled_back(),
        drills::refused(),
        drills::false_alarm(),
    ];
    let report = report(&passing);
    assert_eq!(report.test_suites.len(), passing.len());
    assert_eq!((report.failures, report.errors), (0, 0));
    assert!(report.tests > 5 * 15);
    assert!(report.skipped > 0, "what was not reached is skipped");
}

#[test]
fn a_drill_that_fails_says_where() {
    let report = report(&[drills::not_recovered()]);
    assert_eq!(
        cases(&report, NonSuccessKind::Failure),
        ["outcome is recovered", "step 04 backup chosen", "step 06 data restored"]
    );
    assert_eq!(cases(&report, NonSuccessKind::Error), Vec::<String>::new());
}

#[test]
fn what_could_not_be_verified_is_an_error() {
    let report = report(&[drills::harness_error()]);
    assert!(cases(&report, NonSuccessKind::Error).contains(&"outcome is recovered".to_owned()));
}

#[test]
fn a_log_that_could_not_be_read_is_an_error() {
    let log = UnreadableLog {
        drill: "torn".into(),
        problem: "line 3 \u{1b}[31m is not an event".into(),
    };
    let run = RunEvidence::with_unreadable(vec![drills::recovered().fold()], vec![log]);
    let report = Report::deserialize_from_str(&junit::render(&run).unwrap()).unwrap();
    assert_eq!(cases(&report, NonSuccessKind::Error), ["torn"]);
}
