//! Writing and reading the event log, and the evidence as JSON.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use reports::json::{self, JsonError};
use reports::read::{read_drill, read_log};
use reports::{CheckId, Event, EventLog, Outcome, Phase, ReadError, RunEvidence, Verdict, What, read};

use crate::drills;
use crate::script::{Script, at, check, header};

fn lines(events: &[Event]) -> String {
    events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n")
        .collect()
}

#[test]
fn what_is_appended_is_numbered_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut log = EventLog::create(&path).unwrap();
    let first = What::DrillStarted(Box::new(header("x", Outcome::Recovered, None)));
    let written = [
        log.append(at(0), Duration::ZERO, first).unwrap(),
        log.append(at(20), Duration::from_millis(20), What::Failed).unwrap(),
        log.append(at(19), Duration::from_millis(19), What::Restored).unwrap(),
    ];
    assert_eq!(written.each_ref().map(|event| event.sequence), [1, 2, 3]);
    assert_eq!(
        written[2].offset_ns, 20_000_000,
        "an offset that comes late is moved up"
    );
    assert_eq!(read_log(&path).unwrap().events, written);
    assert!(EventLog::create(&path).is_err(), "a log is never written over");
}

#[test]
fn a_number_that_cannot_be_read_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut log = EventLog::create(&path).unwrap();
    let mut result = check(CheckId::Smoke, Phase::Cutover, Verdict::Pass);
    result.duration_ms = f64::NAN;
    assert!(log.append(at(0), Duration::ZERO, What::CheckFinished(result)).is_err());
    assert_eq!(log.append(at(0), Duration::ZERO, What::Failed).unwrap().sequence, 1);
    assert_eq!(read_log(&path).unwrap().events.len(), 1);
}

#[test]
fn a_log_cut_off_anywhere_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let whole = lines(&drills::recovered().events);
    let first = whole.find('\n').unwrap() + 1;
    for length in (first..whole.len()).step_by(97) {
        fs::write(&path, &whole[..length]).unwrap();
        let evidence = read_drill(&path).unwrap();
        let broken = !whole[..length].ends_with('\n') && !whole[length..].starts_with('\n');
        assert!(!evidence.finished);
        assert_eq!(evidence.verdict, Verdict::Unknown);
        assert_eq!(evidence.log_notes.len(), usize::from(broken), "{length}");
    }
}

#[test]
fn a_run_is_read_in_its_order_and_one_bad_log_does_not_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("b", lines(&drills::false_alarm().events)),
        ("a", lines(&drills::recovered().events)),
        (
            "torn",
            format!("{}no event\n{{}}\n", lines(&drills::recovered().events)),
        ),
        ("empty", String::new()),
    ] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("events.jsonl"), content).unwrap();
    }
    fs::create_dir(folder.path().join("logs")).unwrap();
    let run = read(folder.path()).unwrap();
    let names: Vec<&str> = run.drills.iter().map(|drill| drill.header.drill.as_str()).collect();
    assert_eq!(names, ["data-directory-lost", "false-alarm"]);
    assert_eq!(run.verdict, Verdict::Unknown);
    let problems: Vec<(&str, &str)> = run
        .unreadable
        .iter()
        .map(|log| (log.drill.as_str(), log.problem.as_str()))
        .collect();
    let lines = drills::recovered().events.len();
    assert_eq!(
        problems[0],
        (
            "empty",
            "empty/events.jsonl is not the log of one drill: there are no events"
        )
    );
    assert!(
        problems[1]
            .1
            .starts_with(&format!("torn/events.jsonl:{} is not an event: ", lines + 1)),
        "{}",
        problems[1].1
    );
}

#[test]
fn a_directory_without_a_drill_is_no_run() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read(folder.path()), Err(ReadError::NoDrills { .. })));
    assert!(matches!(
        read(&folder.path().join("none")),
        Err(ReadError::Directory { .. })
    ));
}

#[test]
fn evidence_reads_back_as_it_was() {
    let scripts = [
        drills::recovered(),
        drills::not_recovered(),
        drills::harness_error(),
        drills::rolled_back(),
    ];
    let run = RunEvidence::new(scripts.iter().map(Script::fold).collect());
    assert_eq!(json::parse(&json::render(&run).unwrap()).unwrap(), run);
}

#[test]
fn evidence_of_a_later_version_is_refused_as_such() {
    let found = json::parse(r#"{"schema_version": 7, "drills": "of another shape"}"#);
    assert!(matches!(found, Err(JsonError::Version { found: 7 })));
    assert!(matches!(json::parse("[]"), Err(JsonError::Shape(_))));
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        (".*", any::<u64>(), any::<u64>()).prop_map(|(what, began_ns, ended_ns)| What::ExternalWork {
            what,
            began_ns,
            ended_ns
        }),
        (".*", ".*", 0.0..1e12_f64).prop_map(|(actual, detail, duration_ms)| {
            let base = check(CheckId::Smoke, Phase::Cutover, Verdict::Fail);
            What::CheckFinished(reports::CheckResult {
                actual,
                detail,
                duration_ms,
                ..base
            })
        }),
        (
            any::<u64>(),
            0..1_000_000_000_000_u64,
            prop::collection::vec(".*", 0..3)
        )
            .prop_map(|(lost, window, examples)| {
                What::LedgerCompared(reports::event::LedgerComparison {
                    examples,
                    ..crate::script::ledger(lost, window)
                })
            }),
        (".*", prop::option::of(".*")).prop_map(|(reason, error)| What::DrillFinished {
            outcome: error.is_none().then_some(Outcome::Refused),
            reason,
            error
        }),
    ]
}

proptest! {
    #[test]
    fn any_event_is_one_line_and_reads_back(what in what(), sequence in any::<u64>(), offset_ns in any::<u64>()) {
        let event = Event { sequence, at_utc: at(1), offset_ns, what };
        let line = serde_json::to_string(&event).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
