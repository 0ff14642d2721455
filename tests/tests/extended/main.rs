//! A program of somebody else's: `drill` with one more kind of fault, backup system, service, configuration store and
//! control of the application, without a change of drill's source.
//!
//! Started with a subcommand this test is that program; without one it starts itself, as somebody would at a terminal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, process::ExitCode};

use drill::{fault as faults, state::Parts};
use tests::{Need, Place, Started, row, rows, trial};

mod application;
mod backup;
mod fault;
mod service;
mod undo;

const SCENARIO: &str = r#"
id = "renamed"
title = "pg_control gets another name"
why = "To break a server in a way that drill does not know"
source = "this test"

[given]
commits = 40

[[fault]]
at = "failure"
kind = "server"
target = "cluster"
does = "stop-immediate"

[[fault]]
at = "failure"
kind = "rename-file"
target = "cluster"
path = "global/pg_control"
suffix = ".aside"

[expect]
outcome = "recovered"
"#;

fn main() -> ExitCode {
    if ["run", "show", "list", "schema", "app", "watch"]
        .iter()
        .any(|name| env::args().nth(1).as_deref() == Some(name))
    {
        let mut parts = Parts::default();
        parts.kinds = parts.kinds.with(faults::kind::<fault::RenameFile>());
        parts.systems = parts
            .systems
            .with(backup::NAME, "pg_basebackup in tar format", backup::KNOWN);
        parts.services = parts.services.with(service::NAME, "notes", service::MAKE);
        parts.config_stores = parts
            .config_stores
            .with(application::STORE, "nothing else", application::MAKE_STORE);
        parts.app_controls = parts
            .app_controls
            .with(application::CONTROL, "a task", application::MAKE_CONTROL);
        parts.config_stores = parts.config_stores.with(undo::NAME, "falters", undo::MAKE_STORE);
        parts.app_controls = parts.app_controls.with(undo::NAME, "falters", undo::MAKE_CONTROL);
        return drill::cli::main_with(parts);
    }
    tests::run(vec![
        trial("a-kind-of-fault-of-another-crate", &[Need::Postgres], another_kind),
        trial("a-backup-system-of-another-crate", &[Need::Postgres], another_system),
        trial("a-service-of-another-crate", &[Need::Postgres], another_service),
        trial(
            "a-cutover-that-fails-before-the-application-is-back-is-taken-back",
            &[Need::Postgres],
            undo::until_it_is_back,
        ),
        trial(
            "a-cutover-that-fails-once-the-application-is-back-is-taken-back",
            &[Need::Postgres],
            undo::once_it_is_back,
        ),
        trial(
            "a-cutover-in-which-the-harness-cannot-go-on-is-taken-back",
            &[Need::Postgres],
            undo::harness_error,
        ),
        trial(
            "a-cutover-that-is-interrupted-is-taken-back",
            &[Need::Postgres],
            undo::interrupted,
        ),
        trial("what-drill-itself-does-not-know-is-refused", &[], unknown_elsewhere),
    ])
}

fn another_kind() {
    let place = Place::new();
    let scenario = place.write("renamed.toml", SCENARIO);
    let program = env::current_exe().unwrap();
    let started = |arguments: &[&str]| Started::start(place.command(&program).args(arguments)).finish();
    let shown = started(&["show", scenario.to_str().unwrap()]);
    shown.exits(0);
    assert!(
        shown
            .stdout
            .contains("puts \".aside\" behind the name of global/pg_control"),
        "{}",
        shown.stdout
    );
    assert!(started(&["schema", "scenario"]).stdout.contains("rename-file"));

    let out = place.out();
    let ran = started(&[
        "run",
        scenario.to_str().unwrap(),
        "--seed",
        "3",
        "--out",
        out.to_str().unwrap(),
    ]);
    ran.exits(0);
    let drill = row(&out, "drills.csv");
    assert_eq!(
        (&*drill["outcome"], &*drill["verdict"]),
        ("recovered", "pass"),
        "{drill:#?}"
    );
    let events = fs::read_to_string(out.join("renamed/events.jsonl")).unwrap();
    assert!(events.contains("global/pg_control has another name"), "{events}");
    place.nothing_left(ran.pid);
}

fn another_system() {
    let place = Place::new();
    let program = env::current_exe().unwrap();
    let started = |arguments: &[&str]| Started::start(place.command(&program).args(arguments)).finish();
    assert!(
        started(&["list", "backups"])
            .stdout
            .contains("pg_basebackup in tar format")
    );
    let out = place.out();
    let of = [
        "run",
        "data-directory-lost",
        "--backup",
        backup::NAME,
        "--seed",
        "3",
        "--out",
    ];
    let ran = started(&[of.as_slice(), &[out.to_str().unwrap()]].concat());
    ran.exits(0);
    let drill = row(&out, "drills.csv");
    let told = (&*drill["outcome"], &*drill["verdict"], &*drill["backup_system"]);
    assert_eq!(told, ("recovered", "pass", "tarball"), "{drill:#?}");
    place.nothing_left(ran.pid);
}

/// Its database, its writers, its application and the store of its connection string are all of this crate.
fn another_service() {
    let place = Place::new();
    let program = env::current_exe().unwrap();
    let out = place.out();
    let own = ["--service", service::NAME, "--config-store", application::STORE];
    let controlled = ["--app-control", application::CONTROL, "--seed", "3", "--out"];
    let all = [
        ["run", "data-directory-lost"].as_slice(),
        &own,
        &controlled,
        &[out.to_str().unwrap()],
    ]
    .concat();
    let ran = Started::start(place.command(&program).args(all)).finish();
    ran.exits(0);
    let drill = row(&out, "drills.csv");
    let told = (&*drill["outcome"], &*drill["verdict"], &*drill["lost_commits"]);
    assert_eq!((told.0, told.1), ("recovered", "pass"), "{drill:#?}");
    let checks = rows(&out, "checks.csv");
    for check in [
        "ledger-prefix",
        "row-counts",
        "smoke",
        "app-identity",
        "content-fingerprint",
    ] {
        let passed = |row: &tests::Row| row["check"] == check && row["verdict"] == "pass";
        assert!(checks.iter().any(passed), "{check}: {checks:#?}");
    }
    place.nothing_left(ran.pid);
}

fn unknown_elsewhere() {
    let place = Place::new();
    let scenario = place.write("renamed.toml", SCENARIO);
    let ran = place.ran(["run", scenario.to_str().unwrap()]);
    ran.exits(2).complains(&["rename-file"]);
}
