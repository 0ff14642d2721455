//! A run that was killed, or of which drills never began: its reports say so, and nothing makes it whole.

use std::fs;
use std::path::Path;

use reports::{Format, Outcome, PlannedDrill, RunEvidence, RunPlan, Verdict, What, WriteError, csv, exit, read, write};

use crate::drills;
use crate::script::Script;

fn planned(drill: &str) -> PlannedDrill {
    PlannedDrill {
        drill: drill.into(),
        scenario: drill.into(),
        group: "backbone".into(),
        backup_system: "dump".into(),
        expected_outcome: Outcome::Recovered,
        skipped: None,
    }
}

fn plan() -> RunPlan {
    RunPlan::new(
        "2026-03-02T040000Z-42",
        ["data-directory-lost", "false-alarm", "third"].map(planned).into(),
    )
}

fn log(folder: &Path, script: &Script) {
    let What::DrillStarted(header) = &script.events[0].what else {
        unreachable!("the first event is another");
    };
    let folder = folder.join(&header.drill);
    fs::create_dir(&folder).unwrap();
    let lines = script
        .events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n");
    fs::write(folder.join("events.jsonl"), lines.collect::<String>()).unwrap();
}

#[test]
fn what_never_began_is_in_every_report() {
    let folder = tempfile::tempdir().unwrap();
    plan().write(folder.path()).unwrap();
    log(folder.path(), &drills::recovered());
    log(folder.path(), &drills::false_alarm().without_last());
    let run = read(folder.path()).unwrap();
    assert!(!run.finished);
    assert_eq!(run.never_began, [planned("third")]);
    assert_eq!((run.verdict, run.exit_code()), (Verdict::Unknown, exit::NOT_VERIFIED));

    let written = write(
        folder.path(),
        &run,
        &[Format::Md, Format::Csv, Format::Html, Format::Junit],
    );
    assert!(written.errors.is_empty());
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    for page in ["report.md", "report.html"] {
        assert!(text(page).contains("The run did not finish"), "{page}");
        assert!(text(page).contains("1 drill never began"), "{page}");
    }
    let rows: Vec<String> = text("drills.csv").lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 4);
    assert!(
        rows[3].starts_with("2026-03-02T040000Z-42,third,backbone,dump,,,,,recovered,false,unknown,"),
        "{}",
        rows[3]
    );
    assert!(
        rows[3].ends_with("the run ended before this drill began"),
        "{}",
        rows[3]
    );
    assert!(text("junit.xml").contains("name=\"third\""));
}

#[test]
fn a_killed_run_never_becomes_whole() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), &drills::recovered());
    let run = read(folder.path()).unwrap();
    assert_eq!(
        (run.finished, run.verdict),
        (false, Verdict::Unknown),
        "its only drill passed"
    );
    let written = write(folder.path(), &run, Format::ALL);
    assert!(matches!(written.errors[..], [WriteError::Unfinished]));
    assert!(!folder.path().join("evidence.json").exists() && !folder.path().join("manifest.json").exists());
    let report = fs::read_to_string(folder.path().join("report.md")).unwrap();
    assert!(report.contains("**NOT VERIFIED.** The run did not finish"), "{report}");
}

#[test]
fn a_run_that_was_killed_before_its_first_drill_is_one() {
    let folder = tempfile::tempdir().unwrap();
    plan().write(folder.path()).unwrap();
    let run = read(folder.path()).unwrap();
    assert_eq!((run.never_began.len(), run.verdict), (3, Verdict::Unknown));
    assert_eq!(csv::drills(&run).unwrap().lines().count(), 4);
}

#[test]
fn a_whole_run_is_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let plan = RunPlan::new("2026-03-02T040000Z-42", vec![planned("data-directory-lost")]);
    plan.write(folder.path()).unwrap();
    log(folder.path(), &drills::recovered());
    let run = RunEvidence::new(vec![drills::recovered().fold()]).of_plan(plan);
    assert_eq!(run, RunEvidence::new(vec![drills::recovered().fold()]));
    assert!(write(folder.path(), &run, Format::ALL).errors.is_empty());
    assert_eq!(read(folder.path()).unwrap(), run);
    assert_eq!(reports::verify(folder.path()).len(), 0);
}

/// What the machine lacks something for is no failure of the others, and no pass either.
#[test]
fn a_drill_that_was_left_out_is_told_and_decides_nothing() {
    let left_out = PlannedDrill {
        skipped: Some("libfaketime is not installed".to_owned()),
        ..planned("clock-step")
    };
    let run = reports::RunEvidence::new(Vec::new()).of_plan(reports::RunPlan::new("r", vec![left_out.clone()]));
    assert_eq!(
        (run.skipped.as_slice(), run.never_began.len()),
        ([left_out].as_slice(), 0)
    );
    assert_eq!(run.verdict, reports::Verdict::Unknown, "nothing else was run");
    let table = reports::csv::drills(&run).unwrap();
    let row = table.lines().nth(1).unwrap();
    assert!(
        row.contains(",skipped,") && row.ends_with("libfaketime is not installed"),
        "{row}"
    );
    let page = reports::markdown::render(&run);
    assert!(
        page.contains("1 drill left out") && page.contains("libfaketime is not installed"),
        "{page}"
    );
    assert!(reports::junit::render(&run).unwrap().contains("<skipped"));
}
