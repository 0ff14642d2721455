//! Writing a run's directory and noticing what was changed in it.

use std::fs;
use std::path::Path;

use reports::{Format, RunEvidence, json, verify, write};

use crate::drills;

fn written(folder: &Path) -> RunEvidence {
    let drill = folder.join("data-directory-lost");
    fs::create_dir(&drill).unwrap();
    fs::write(drill.join("ledger.jsonl"), "{}\n").unwrap();
    let run = RunEvidence::new(vec![drills::recovered().fold()]);
    let written = write(folder, &run, Format::ALL);
    assert!(written.errors.is_empty(), "{:?}", written.errors);
    assert_eq!(
        written.files.last(),
        Some(&folder.join("evidence.json")),
        "the evidence comes last"
    );
    run
}

fn problems(folder: &Path) -> Vec<String> {
    verify(folder).iter().map(ToString::to_string).collect()
}

#[test]
fn a_run_as_it_was_written_has_no_problems() {
    let folder = tempfile::tempdir().unwrap();
    let run = written(folder.path());
    assert_eq!(problems(folder.path()), Vec::<String>::new());
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "checks.csv",
            "data-directory-lost",
            "detection.csv",
            "drills.csv",
            "evidence.json",
            "junit.xml",
            "manifest.json",
            "report.html",
            "report.md",
            "steps.csv"
        ]
    );
    let evidence = fs::read_to_string(folder.path().join("evidence.json")).unwrap();
    assert_eq!(json::parse(&evidence).unwrap(), run);
    fs::write(folder.path().join("manifest.json.sig"), "signature").unwrap();
    assert_eq!(
        problems(folder.path()),
        Vec::<String>::new(),
        "a signature is not listed and need not be"
    );
}

#[test]
fn whatever_is_changed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    written(folder.path());
    fs::remove_file(path("junit.xml")).unwrap();
    fs::write(path("data-directory-lost/ledger.jsonl"), "[]\n").unwrap();
    fs::write(path("extra.txt"), "").unwrap();
    let evidence = fs::read_to_string(path("evidence.json")).unwrap();
    fs::write(
        path("evidence.json"),
        evidence.replace("\"lost_commits\": 0", "\"lost_commits\": 1"),
    )
    .unwrap();
    let found = problems(folder.path());
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found[0].starts_with("data-directory-lost/ledger.jsonl was changed: 3 bytes with SHA-256 "),
        "{found:?}"
    );
    assert!(found[1].starts_with("evidence.json was changed: "), "{found:?}");
    assert_eq!(
        found[2..],
        [
            "junit.xml is gone",
            "extra.txt was added: the manifest does not list it"
        ]
    );
}

#[test]
fn a_manifest_cannot_point_out_of_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let entry = r#"{"bytes": 0, "sha256": ""}"#;
    let manifest =
        format!(r#"{{"schema_version": 1, "run_id": "", "files": {{"../x": {entry}, "/etc/hosts": {entry}}}}}"#);
    fs::write(folder.path().join("manifest.json"), manifest).unwrap();
    let outside = "leads out of the directory: the manifest was not written by drill";
    assert_eq!(
        problems(folder.path()),
        [format!("../x {outside}"), format!("/etc/hosts {outside}")]
    );
}

#[test]
fn without_a_manifest_there_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(problems(folder.path()), ["cannot read manifest.json"]);
}

#[test]
fn rendering_again_does_not_vouch_for_what_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let run = written(folder.path());
    fs::write(folder.path().join("drills.csv"), "").unwrap();
    assert!(write(folder.path(), &run, &[Format::Md]).errors.is_empty());
    assert_eq!(problems(folder.path()).len(), 1);
    assert!(write(folder.path(), &run, &[Format::Csv]).errors.is_empty());
    assert_eq!(
        problems(folder.path()),
        Vec::<String>::new(),
        "the same evidence renders to the same bytes"
    );
}

#[test]
fn one_report_that_cannot_be_written_does_not_stop_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("report.md")).unwrap();
    let run = RunEvidence::new(vec![drills::recovered().fold()]);
    let written = write(folder.path(), &run, Format::ALL);
    assert_eq!(written.errors.len(), 1);
    assert!(written.files.contains(&folder.path().join("junit.xml")));
    assert!(folder.path().join("evidence.json").is_file());
}
