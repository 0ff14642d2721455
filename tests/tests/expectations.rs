//! Scenarios of the catalogue whose expectation was made wrong: the drill is carried out as before, `drill run` exits 1, and
//! the report says what was expected and what happened.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::ExitCode};

use tests::{Need, Place, row, trial};

/// What is made wrong, and what the report must say of it.
struct Wrong {
    name: &'static str,
    scenario: &'static str,
    from: &'static str,
    to: &'static str,
    said: &'static str,
}

const WRONG: [Wrong; 6] = [
    Wrong {
        name: "an-outcome-that-is-worse",
        scenario: "false-alarm",
        from: "outcome = \"false-alarm\"\nat_step = 2",
        to: "outcome = \"recovered\"",
        said: "expected the outcome recovered, got false-alarm",
    },
    Wrong {
        name: "an-outcome-that-is-better",
        scenario: "foreign-backup",
        from: "outcome = \"recovered\"",
        to: "outcome = \"not-recovered\"",
        said: "expected the outcome not-recovered, got recovered",
    },
    Wrong {
        name: "a-check-that-has-nothing-to-notice",
        scenario: "postmaster-killed",
        from: "detected_by = [\"server-start\", \"smoke\"]",
        to: "detected_by = [\"server-start\", \"smoke\", \"content-hash\"]",
        said: "content-hash had to notice the damage and passed",
    },
    Wrong {
        name: "fewer-rejected-backups",
        scenario: "base-file-missing",
        from: "rejected = 1",
        to: "rejected = 0",
        said: "expected 0 backups rejected as unusable, got 1: basebackup-2",
    },
    Wrong {
        name: "a-fault-that-never-happens",
        scenario: "every-backup-corrupt",
        from: "[expect]",
        to: "[[fault]]\nat = \"cutover\"\nkind = \"service\"\ntarget = \"config-store\"\ndoes = \"refuse\"\n\n[expect]",
        said: "fault 3 (service on config-store at cutover, line 26) did not happen: its moment never came",
    },
    Wrong {
        name: "an-end-at-another-step",
        scenario: "config-update-fails",
        from: "at_step = 9",
        to: "at_step = 10",
        said: "expected an end at step 10 application restarted, but it ended at step 9 connection string updated",
    },
];

fn main() -> ExitCode {
    let trials = WRONG
        .iter()
        .map(|wrong| trial(wrong.name, &[Need::Postgres], || is_told(wrong)));
    tests::run(trials.collect())
}

fn is_told(wrong: &Wrong) {
    let scenarios = drill::scenario::all(&drill::state::Parts::default().vocabulary()).unwrap();
    let right = drill::scenario::find(&scenarios, wrong.scenario).unwrap();
    assert!(
        right.text.contains(wrong.from),
        "{} does not say {}",
        wrong.scenario,
        wrong.from
    );
    let place = Place::new();
    place.write("wrong.toml", &right.text.replace(wrong.from, wrong.to));
    let ran = place.run(&["./wrong.toml", "--backup", "basebackup"]);
    ran.exits(1);
    assert!(ran.stdout.contains(wrong.said), "{}", ran.stdout);
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    assert!(report.contains(wrong.said), "{report}");
    let drill = row(&place.out(), "drills.csv");
    assert_eq!(
        (&*drill["as_expected"], &*drill["verdict"]),
        ("false", "fail"),
        "{drill:#?}"
    );
    assert!(drill["reason"].contains(wrong.said), "{drill:#?}");
    assert!(place.out().join("evidence.json").is_file(), "the run did not finish");
    place.nothing_left(ran.pid);
}
