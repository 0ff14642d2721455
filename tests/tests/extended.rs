//! A program of somebody else's: `drill` with one more kind of fault, without a change of drill's source.
//!
//! Started with a subcommand this test is that program; without one it starts itself, as somebody would at a terminal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, process::ExitCode};

use drill::{
    fault::{self, Done, FaultError, OnFiles, Root},
    scenario::{Fault, Kind, Needs, Selection, Text},
    state::Parts,
};
use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tests::{Need, Place, Started, row, trial};

/// Gives files another name, as somebody does who wants to try out what happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RenameFile {
    /// What is put behind the name.
    suffix: Text,
}

impl Kind for RenameFile {
    fn name() -> &'static str {
        "rename-file"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "puts {:?} behind the name of {} of {}",
            &*self.suffix,
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for RenameFile {
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            root.confine(&entry)?;
            let mut name = entry.path.clone().into_os_string();
            name.push(&*self.suffix);
            fs::rename(&entry.path, &name).map_err(FaultError::io("rename", &entry.path))?;
            touched.push(format!("{} has another name", entry.name));
        }
        Ok(Done::new(touched.join("; "), touched))
    }
}

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
        return drill::cli::main_with(Parts {
            kinds: fault::kinds().with(fault::kind::<RenameFile>()),
            ..Parts::default()
        });
    }
    tests::run(vec![
        trial("a-kind-of-fault-of-another-crate", &[Need::Postgres], another_kind),
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

fn unknown_elsewhere() {
    let place = Place::new();
    let scenario = place.write("renamed.toml", SCENARIO);
    let ran = place.ran(["run", scenario.to_str().unwrap()]);
    ran.exits(2).complains(&["rename-file"]);
}
