//! The catalogue: one trial a scenario file and backup system. Each carries the drill out with the real command and reads
//! its evidence as others would: every drill ends as its scenario expects, every check that must notice the damage does,
//! and nothing is left behind. `cargo test -p tests --test scenarios -- drop-table` runs one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::ExitCode};

use drill::scenario::{self, Needs, Scenario};
use tests::{Need, Place, Row, row, rows, trial};

fn main() -> ExitCode {
    let scenarios = scenario::all(&drill::state::Parts::default().vocabulary()).unwrap();
    let mut trials = vec![trial("every-file-is-in-the-catalogue", &[], {
        let known = scenarios
            .iter()
            .map(|scenario| scenario.path.display().to_string())
            .collect();
        move || every_file_is_known(&known)
    })];
    for scenario in scenarios {
        for system in systems(&scenario) {
            let name = format!("{}/{}@{system}", scenario.group, scenario.id);
            let scenario = scenario.clone();
            let needs = needs(&scenario, &system);
            trials.push(trial(name, needs, move || carry_out(&scenario, &system)));
        }
    }
    tests::run(trials)
}

fn systems(scenario: &Scenario) -> Vec<String> {
    if let Some(mixed) = scenario.given.mixed() {
        vec![mixed]
    } else if scenario.given.backup.is_empty() {
        vec!["basebackup".to_owned()]
    } else {
        scenario.given.backup.clone()
    }
}

/// What a scenario and its backup system need beside PostgreSQL.
fn needs(scenario: &Scenario, system: &str) -> &'static [Need] {
    match system {
        _ if scenario.given.storage_bytes.or(scenario.given.restore_bytes).is_some() => &[Need::Postgres, Need::Mount],
        _ if scenario.text.contains("provider = icu") => &[Need::Postgres, Need::Icu],
        _ if steps_a_clock(scenario) => &[Need::Postgres, Need::Faketime],
        "pgbackrest" => &[Need::Postgres, Need::Program("pgbackrest")],
        "barman" => &[Need::Postgres, Need::Program("barman")],
        _ => &[Need::Postgres],
    }
}

fn steps_a_clock(scenario: &Scenario) -> bool {
    let mut faults = scenario.faults.iter();
    faults.any(|fault| fault.action.needs() == Needs::OwnClock)
}

/// A file that the command does not know would be a scenario that nobody runs.
fn every_file_is_known(known: &BTreeSet<String>) {
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files = BTreeSet::new();
    let mut folders = vec![catalogue.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                files.insert(path.strip_prefix(&catalogue).unwrap().display().to_string());
            }
        }
    }
    assert_eq!(files, *known);
}

fn carry_out(scenario: &Scenario, system: &str) {
    let place = Place::new();
    let mut arguments = vec![scenario.id.as_str()];
    if scenario.given.methods.is_empty() {
        arguments.extend(["--backup", system]); // several in one drill are the scenario's own
    }
    let ran = place.run(&arguments);
    let out = place.out();
    assert!(
        out.join("drills.csv").is_file(),
        "there is no evidence:\n{}",
        ran.stderr
    );
    let drill = row(&out, "drills.csv");
    let failed = rows(&out, "checks.csv")
        .into_iter()
        .filter(|check| check["verdict"] != "pass");
    let failed: Vec<_> = failed
        .map(|check| format!("{} ({})", check["check"], check["phase"]))
        .collect();
    let seen = format!(
        "`drill run {} --seed {}` with {system}: {}\nchecks that did not pass: {}",
        arguments.join(" "),
        drill["seed"],
        drill["reason"],
        failed.join(", ")
    );
    assert_eq!(ran.code, Some(0), "{}\n{}\n{seen}", ran.stdout, ran.stderr);
    assert_eq!(drill["scenario"], scenario.id, "{seen}");
    assert_eq!(drill["backup_system"], system, "{seen}");
    assert_eq!(drill["outcome"], scenario.expect.outcome.to_string(), "{seen}");
    assert_eq!(drill["as_expected"], "true", "{seen}");
    assert_eq!(drill["verdict"], "pass", "{seen}");
    steps_are_consistent(&rows(&out, "steps.csv"));
    damage_is_detected(scenario, &rows(&out, "detection.csv"), &seen);
    assert!(out.join("evidence.json").is_file());
    let problems = reports::verify(&out);
    assert!(problems.is_empty(), "the manifest does not hold: {problems:?}");
    place.nothing_left(ran.pid);
}

/// All fourteen steps are there; one that was not reached says why; one that was has a time and a duration.
fn steps_are_consistent(steps: &[Row]) {
    let numbers: BTreeSet<u8> = steps.iter().map(|step| step["step"].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=14).collect(), "not fourteen steps");
    for step in steps {
        if step["verdict"] == "skipped" {
            assert!(!step["detail"].is_empty(), "skipped without a reason: {step:?}");
            assert_eq!(step["duration_s"], "", "skipped, and yet it took its time: {step:?}");
        } else {
            assert!(["pass", "fail", "unknown"].contains(&&*step["verdict"]), "{step:?}");
            assert!(step["duration_s"].parse::<f64>().unwrap() >= 0.0, "{step:?}");
            assert!(step["started_at_utc"].ends_with('Z'), "{step:?}");
        }
    }
}

fn damage_is_detected(scenario: &Scenario, detection: &[Row], seen: &str) {
    for check in scenario.expect.detected_by.iter().flatten() {
        let rows: Vec<_> = detection.iter().filter(|row| row["check"] == check.id()).collect();
        assert_eq!(rows.len(), 1, "{check} is not in detection.csv once");
        assert_eq!(rows[0]["should_detect"], "true", "{check}\n{seen}");
        assert_eq!(rows[0]["detected"], "true", "{check}\n{seen}");
    }
}
