//! Logs of other versions: those of earlier ones are read, those of later ones are refused.
//!
//! `runs/286b47d` is a run as drill wrote it at that commit (format 1: no format, no kind, no plan; what was seeded in three
//! numbers). It stays as it is for ever: whoever keeps evidence for ten years must be able to read it.

use std::{collections::BTreeMap, fs, path::Path};

use reports::{Format, Outcome, Verdict, event::FORMAT, read, verify, write};

use crate::drills;

fn kept() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/runs/286b47d")
}

#[test]
fn a_run_of_an_earlier_version_is_whole_and_renders() {
    let problems: Vec<String> = verify(&kept()).iter().map(ToString::to_string).collect();
    assert_eq!(problems, Vec::<String>::new());
    let run = read(&kept()).unwrap();
    assert!(run.unreadable.is_empty(), "{:?}", run.unreadable);
    assert_eq!(run.exit_code(), 0);
    let [drill] = run.drills.as_slice() else {
        panic!("{} drills", run.drills.len())
    };
    assert_eq!(
        (drill.outcome, drill.verdict),
        (Some(Outcome::Recovered), Verdict::Pass)
    );
    assert_eq!(drill.header.format, 1);
    let seeded = drill.seeded.as_ref().unwrap();
    let tables: Vec<_> = seeded
        .tables
        .iter()
        .map(|table| (table.table.as_str(), table.rows))
        .collect();
    let expected = [
        ("TransformationScripts", 20),
        ("TransformationScriptVersions", 41),
        ("ScriptAttachments", 20),
    ];
    assert_eq!(tables, expected);

    let fresh = tempfile::tempdir().unwrap();
    let written = write(fresh.path(), &run, Format::ALL);
    assert!(written.errors.is_empty(), "{:?}", written.errors);
    let page = fs::read_to_string(fresh.path().join("report.md")).unwrap();
    for told in [
        "drop-table",
        "Service restored",
        "17 commits",
        "TransformationScripts | 20 rows",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    // What was told then is told now.
    let told = |folder: &Path| {
        let mut reader = ::csv::Reader::from_path(folder.join("drills.csv")).unwrap();
        let columns = reader.headers().unwrap().clone();
        let row = reader.records().next().unwrap().unwrap();
        let cells = columns.iter().zip(&row);
        cells
            .map(|(column, cell)| (column.to_owned(), cell.to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let (then, now) = (told(&kept()), told(fresh.path()));
    for column in [
        "outcome",
        "verdict",
        "as_expected",
        "acknowledged_commits",
        "lost_commits",
        "commits_beyond_target",
        "holes",
        "data_loss_window_s",
        "recovery_time_s",
        "backup_id",
        "rejected_candidates",
    ] {
        assert_eq!(now[column], then[column], "{column}");
    }
    for file in ["steps.csv", "checks.csv"] {
        let lines = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap().lines().count();
        assert_eq!(lines(fresh.path()), lines(&kept()), "{file}");
    }
}

#[test]
fn a_log_of_a_later_format_is_refused_and_not_misread() {
    let run = tempfile::tempdir().unwrap();
    let log = run.path().join("data-directory-lost/events.jsonl");
    fs::create_dir(log.parent().unwrap()).unwrap();
    let mut event = serde_json::to_value(&drills::recovered().events[0]).unwrap();
    event["format"] = (FORMAT + 1).into();
    event["event"] = "something-new".into();
    fs::write(&log, format!("{event}\n")).unwrap();
    let read = read(run.path()).unwrap();
    assert!(read.drills.is_empty());
    let problem = &read.unreadable[0].problem;
    assert!(
        problem.contains("has format 3, and this drill reads formats 1 to 2"),
        "{problem}"
    );
    assert_eq!(read.exit_code(), 3);
}
