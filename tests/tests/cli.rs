//! The command line from outside: help, lists, plans, reports made again, and what two runs have in common.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;
use tests::{Need, Place, Started, row, rows, trial};

fn main() -> ExitCode {
    let postgres = &[Need::Postgres];
    let mut trials = Vec::new();
    for (name, arguments) in HELP {
        trials.push(trial(format!("help-{name}"), &[], || help(name, arguments)));
    }
    for what in [
        "scenarios",
        "checks",
        "faults",
        "backups",
        "providers",
        "services",
        "config-stores",
        "monitors",
    ] {
        trials.push(trial(format!("list-{what}"), &[], || list(what)));
    }
    trials.extend([
        trial("show-says-a-scenario-in-words", &[], show),
        trial("a-reader-that-has-gone", &[], a_reader_that_has_gone),
        trial("a-dry-run-touches-nothing", &[], dry_run),
        trial("a-flag-wins-over-environment-and-file", &[], precedence),
        trial("reports-are-made-again-byte-for-byte", postgres, report_again),
        trial("one-seed-one-drill", postgres, one_seed),
        trial("a-named-file-of-defaults", &[], a_named_file_of_defaults),
        trial("the-line-that-runs-it-again", postgres, the_line_that_runs_it_again),
        trial("what-is-kept-can-be-stopped", postgres, what_is_kept_can_be_stopped),
        trial("doctor-has-tried-it", postgres, doctor_has_tried_it),
        trial("quiet-prints-results-only", postgres, quiet),
        trial(
            "no-colour-where-none-is-wanted",
            &[Need::Postgres, Need::Program("script")],
            no_colour,
        ),
        trial("several-scenarios-in-one-run", postgres, several),
        trial(
            "two-at-once-fetch-one-postgresql",
            &[Need::Pip, Need::Packages],
            two_at_once,
        ),
    ]);
    tests::run(trials)
}

const HELP: [(&str, &[&str]); 9] = [
    ("drill", &["--help"]),
    ("drill-short", &["-h"]),
    ("run", &["run", "--help"]),
    ("list", &["list", "--help"]),
    ("show", &["show", "--help"]),
    ("report", &["report", "--help"]),
    ("doctor", &["doctor", "--help"]),
    ("stop", &["stop", "--help"]),
    ("version", &["--version"]),
];

fn help(name: &str, arguments: &[&str]) {
    let place = Place::new();
    let mut command = place.drill(arguments);
    for variable in [
        "DRILL_BINDIR",
        "DRILL_CACHE_DIR",
        "DRILL_POSTGRES",
        "DRILL_PROVIDER",
        "DRILL_WORK_DIR",
    ] {
        command.env_remove(variable); // help shows their values
    }
    let ran = Started::start(&mut command).finish();
    ran.exits(0);
    assert_eq!(ran.stderr, "");
    insta::with_settings!({
        prepend_module_to_snapshot => false,
        snapshot_path => "../snapshots/help",
        description => format!("drill {}", arguments.join(" ")),
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, ran.stdout);
    });
}

/// As with `| head -1`: nothing is left to say, and nothing is wrong.
fn a_reader_that_has_gone() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.drill(["list", "scenarios"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// The table is for people and the JSON for programs; both say the same.
fn list(what: &str) {
    let place = Place::new();
    let table = place.ran(["list", what]);
    let json = place.ran(["list", what, "--format", "json"]);
    for ran in [&table, &json] {
        ran.exits(0);
        assert_eq!(ran.stderr, "");
    }
    let items: Vec<BTreeMap<String, String>> = serde_json::from_str(&json.stdout).unwrap();
    assert!(!items.is_empty());
    let lines: Vec<&str> = table.stdout.lines().skip(1).collect();
    assert_eq!(lines.len(), items.len());
    for (line, item) in lines.iter().zip(&items) {
        for cell in item.values() {
            assert!(
                !cell.is_empty() && line.contains(cell.as_str()),
                "{cell:?} is not in {line:?}"
            );
        }
    }
}

fn show() {
    let ran = Place::new().ran(["show", "data-directory-lost"]);
    ran.exits(0);
    for said in [
        "data-directory-lost (group backbone)",
        "What breaks",
        "server-start",
        "How it must end",
    ] {
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
}

fn dry_run() {
    let place = Place::new();
    let before = files_below(place.path());
    let mut command = place.drill(["run", "--all", "--dry-run", "--out", "out"]);
    let ran = Started::start(command.env("DRILL_CACHE_DIR", place.join("cache"))).finish();
    ran.exits(0);
    assert!(ran.stdout.ends_with("Nothing was touched.\n"), "{}", ran.stdout);
    for scenario in drill::scenario::all(&drill::state::Parts::default().vocabulary()).unwrap() {
        assert!(ran.stdout.contains(&scenario.id), "{} is not in the plan", scenario.id);
    }
    assert_eq!(files_below(place.path()), before);
    assert!(!place.join("cache").exists() && !place.out().exists());
    place.nothing_left(ran.pid);
}

fn precedence() {
    let place = Place::new();
    place.write("drill.toml", "postgres = 13\n");
    let planned = |variable: Option<&str>, arguments: &[&str]| {
        let mut command = place.drill(["run", "--dry-run"].iter().chain(arguments));
        command.env_remove("DRILL_POSTGRES");
        command.envs(variable.map(|value| ("DRILL_POSTGRES", value)));
        Started::start(&mut command).finish().stdout
    };
    assert!(planned(None, &[]).contains("with PostgreSQL 13"));
    assert!(planned(Some("14"), &[]).contains("with PostgreSQL 14"));
    assert!(planned(Some("14"), &["--postgres", "15"]).contains("with PostgreSQL 15"));
}

/// All reports but the two files that vouch for the run, which are made anew for no run that was changed.
fn report_again() {
    let place = Place::new();
    place.run(&[]).exits(0);
    let out = place.out();
    let before = files_below(&out);
    let vouching = ["evidence.json", "manifest.json", "plan.json"].map(|file| out.join(file));
    let reports = before
        .keys()
        .filter(|file| file.parent() == Some(&*out) && !vouching.contains(file));
    let removed = reports.map(|report| fs::remove_file(report).unwrap()).count();
    assert_eq!(removed, 7, "{:?}", before.keys());
    let ran = place.ran(["report", "out"]);
    ran.exits(0);
    assert!(ran.stdout.contains("out/report.md\n"), "{}", ran.stdout);
    let after = files_below(&out);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (file, content) in &before {
        assert!(after[file] == *content, "{} is another now", file.display());
    }
    assert!(reports::verify(&out).is_empty());

    fs::write(out.join("report.md"), "All is well.").unwrap();
    for format in ["json", "md", "csv"] {
        let changed = place.ran(["report", "out", "--format", format]);
        changed
            .exits(1)
            .complains(&["report.md was changed", "nothing is rendered"]);
        assert_eq!(changed.stdout, "");
    }
    assert_eq!(fs::read_to_string(out.join("report.md")).unwrap(), "All is well.");
    fs::remove_file(out.join("report.md")).unwrap();
    place.ran(["report", "out"]).exits(0);

    // Whoever sets every verdict to pass has a log that renders well, and another digest.
    let log = out.join("data-directory-lost/events.jsonl");
    let events = fs::read_to_string(&log).unwrap();
    let better = events.replace("\"verdict\":\"fail\"", "\"verdict\":\"pass\"");
    assert_ne!(better, events);
    fs::write(&log, better).unwrap();
    let changed = place.ran(["report", "out"]);
    changed
        .exits(1)
        .complains(&["data-directory-lost/events.jsonl was changed"]);
    assert_eq!(changed.stdout, "");
    fs::remove_file(out.join("manifest.json")).unwrap();
    place.ran(["report", "out"]).exits(1).complains(&["manifest.json"]);
}

/// Who wins a race between writers is nobody's choice; what is seeded, and what each writer begins with, is.
fn one_seed() {
    let drilled = |seed: &str| {
        let place = Place::new();
        place.run(&["drop-table", "--seed", seed, "--writers", "1"]).exits(0);
        let drill = row(&place.out(), "drills.csv");
        assert_eq!(drill["seed"], seed);
        let detected = rows(&place.out(), "detection.csv")
            .iter()
            .map(|row| row["detected"].clone())
            .collect::<Vec<_>>();
        let lines = |file: &str| -> Vec<Value> {
            let text = fs::read_to_string(place.out().join("drop-table").join(file)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let events = lines("events.jsonl");
        let seeded = events.iter().find(|event| event["event"] == "seeded").unwrap();
        let seeded = seeded["tables"].clone();
        let ledger = lines("ledger.jsonl");
        let sent = ledger.iter().filter(|entry| entry["phase"] == "invoked").take(5);
        let sent = sent
            .map(|entry| (entry["kind"].clone(), entry["sha256"].clone()))
            .collect::<Vec<_>>();
        (drill["outcome"].clone(), detected, seeded, sent)
    };
    let (first, again, other) = (drilled("7"), drilled("7"), drilled("8"));
    assert_eq!(first, again);
    assert_ne!(first.3, other.3, "another seed, and the same work");
}

fn a_named_file_of_defaults() {
    let place = Place::new();
    place.write("drill.toml", "commits = 13\n");
    place.write("other.toml", "commits = 77\n");
    let plan = |arguments: &[&str]| place.ran(["run", "--dry-run"].iter().chain(arguments)).stdout;
    assert!(plan(&[]).contains("13 acknowledged commits"));
    assert!(plan(&["--config", "other.toml"]).contains("77 acknowledged commits"));
    assert!(plan(&["--config", "other.toml", "--commits", "5"]).contains("5 acknowledged commits"));
}

/// What the report says is done, by a shell: its plan is that of the drill it stands for.
fn the_line_that_runs_it_again() {
    let place = Place::new();
    fs::create_dir(place.join("bin")).unwrap();
    std::os::unix::fs::symlink(tests::binary(), place.join("bin/drill")).unwrap();
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/backbone/false-alarm.toml");
    let text = fs::read_to_string(catalogue).unwrap();
    place.write(
        "my own.toml",
        &text.replace("\"false-alarm\"\ntitle", "\"mine\"\ntitle"),
    );
    place.write("drill.toml", "writers = 3\n");
    let sized = [
        "--target-size",
        "40MiB",
        "--commits",
        "123",
        "--rto",
        "2h",
        "--storage",
        "memory",
    ];
    let own = [["./my own.toml"].as_slice(), &sized].concat();
    let both = ["drop-table", "false-alarm", "--commits", "77"];
    for (out, arguments, drills) in [
        ("one", own.as_slice(), &["mine"] as &[&str]),
        ("two", &both, &["false-alarm"]),
    ] {
        place.ran(["run", "--progress", "none", "--out", out].iter().chain(arguments));
        let report = fs::read_to_string(place.join(out).join("report.md")).unwrap();
        let lines: Vec<&str> = report
            .lines()
            .filter_map(|line| {
                line.strip_prefix("To run it again: `")
                    .or(line.strip_prefix("Again: `"))
            })
            .filter_map(|line| line.strip_suffix("`."))
            .collect();
        for drill in drills {
            let rows = rows(&place.join(out), "drills.csv");
            let row = rows.iter().find(|row| row["scenario"] == **drill).unwrap();
            let line = lines
                .iter()
                .find(|line| line.contains(if *drill == "mine" { "my own" } else { drill }))
                .unwrap();
            let path = format!("{}:{}", place.join("bin").display(), std::env::var("PATH").unwrap());
            let mut again = place.command("sh");
            again.args(["-c", &format!("{line} --dry-run")]).env("PATH", path);
            let again = Started::start(&mut again).finish();
            again.exits(0);
            let alone: Vec<&str> = match *drill {
                "mine" => own.clone(),
                drill => vec![drill, "--commits", "77", "--storage", "memory"],
            };
            let planned = place.ran(
                ["run", "--dry-run", "--seed", row["seed"].as_str()]
                    .iter()
                    .chain(&alone),
            );
            planned.exits(0);
            assert_eq!(again.stdout, planned.stdout, "{line}");
        }
    }
}

fn what_is_kept_can_be_stopped() {
    let place = Place::new();
    let ran = place.run(&["--keep"]);
    ran.exits(0);
    let told = |word: &str| {
        let line = ran
            .stdout
            .lines()
            .find(|line| line.contains("was left running as asked"))
            .unwrap();
        let rest = line.split_once(word).unwrap().1.trim();
        rest.split_once(". To ").map_or(rest, |(command, _)| command).to_owned()
    };
    let (connect, stop) = (told("To connect: "), told("To stop and remove it: "));
    let ask = format!("{connect} -Atc 'SELECT count(*) FROM \"TransformationScripts\"'");
    let answer = std::process::Command::new("sh").args(["-c", &ask]).output().unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).trim().parse::<u64>();
    assert!(answer.is_ok_and(|rows| rows >= 200), "{ask}");

    let run = stop.strip_prefix("drill stop ").unwrap();
    for arguments in [["doctor"].as_slice(), &["doctor", "--clean"], &["stop"]] {
        let listed = place.ran(arguments);
        assert!(listed.stdout.contains(&stop), "{}", listed.stdout);
    }
    place.ran(["stop", "another"]).exits(2).complains(&[run]);
    let stopped = place.ran(["stop", run]);
    stopped.exits(0);
    assert!(stopped.stdout.contains(run), "{}", stopped.stdout);
    place.nothing_left(ran.pid);
    place.ran(["stop", run]).exits(2);
}

fn doctor_has_tried_it() {
    let place = Place::new();
    let ran = place.ran(["doctor"]);
    ran.exits(0);
    assert!(
        ran.stdout
            .contains("This machine can run drills: a server of PostgreSQL 16."),
        "{}",
        ran.stdout
    );
    place.nothing_left(ran.pid);

    fs::create_dir(place.join("nothing")).unwrap();
    let mut command = place.drill(["doctor"]);
    command
        .env("DRILL_CACHE_DIR", place.join("cache"))
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .env("PATH", place.join("nothing"))
        .env_remove("DRILL_BINDIR");
    let ran = Started::start(&mut command).finish();
    assert!(!ran.stdout.contains("can run drills:"), "{}", ran.stdout);
    let mut command = place.drill(["doctor"]);
    let ran = Started::start(command.env("DRILL_WORK_DIR", place.join("nowhere"))).finish();
    ran.exits(3);
    assert!(!ran.stdout.contains("can run drills:"), "{}", ran.stdout);
}

fn quiet() {
    let place = Place::new();
    let ran = place.ran(["run", "--quiet", "--storage", "memory", "--out", "out"]);
    ran.exits(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Report: out/report.md\n"));
}

/// On a terminal, where there would be colours.
fn no_colour() {
    let place = Place::new();
    let drill = place.drill(["run", "--storage", "memory", "--verbose", "--out", "out"]);
    let words = std::iter::once(drill.get_program()).chain(drill.get_args());
    let line = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let mut terminal = place.command("script");
    terminal
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("NO_COLOR", "1")
        .env("TERM", "xterm-256color");
    let ran = Started::start(&mut terminal).finish();
    ran.exits(0);
    assert!(ran.stdout.contains("14 declared restored"), "{}", ran.stdout);
    // Moving the cursor is no colour: only sequences that end with `m` are.
    let sequences = ran.stdout.split("\x1b[").skip(1);
    let ends = sequences.filter_map(|rest| rest.chars().find(char::is_ascii_alphabetic));
    assert!(!ends.clone().any(|end| end == 'm'), "there are colours");
    assert!(ends.count() > 0, "this was no terminal");
}

fn several() {
    let place = Place::new();
    let ran = place.run(&["drop-table", "backbone/", "--jobs", "2"]);
    ran.exits(0);
    let mut scenarios: Vec<String> = rows(&place.out(), "drills.csv")
        .iter()
        .map(|row| row["scenario"].clone())
        .collect();
    scenarios.sort();
    let mut expected: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/backbone"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .chain(["drop-table".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(scenarios, expected);
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    assert!(
        scenarios
            .iter()
            .all(|scenario| report.contains(&format!("`{scenario}`"))),
        "{report}"
    );
    place.nothing_left(ran.pid);
}

/// Two drills meet at an empty cache: one fetches, the other waits, both are carried out.
fn two_at_once() {
    let place = Place::new();
    let start = |out: &str| {
        let mut command = place.drill([
            "run",
            "--provider",
            "embedded",
            "--postgres",
            "16",
            "--storage",
            "memory",
        ]);
        command
            .args(["--progress", "plain", "--out", out])
            .env_remove("DRILL_BINDIR");
        Started::start(command.env("DRILL_CACHE_DIR", place.join("cache")))
    };
    let both = [start("one"), start("two")].map(Started::finish);
    for (ran, out) in both.iter().zip(["one", "two"]) {
        ran.exits(0);
        let drill = row(&place.join(out), "drills.csv");
        assert_eq!((&*drill["provider"], &*drill["verdict"]), ("embedded", "pass"));
        place.nothing_left(ran.pid);
    }
    let said = format!("{}{}", both[0].stderr, both[1].stderr);
    assert_eq!(
        said.matches("through pip").count(),
        1,
        "fetched other than once:\n{said}"
    );
    assert_eq!(
        said.matches("waiting for another drill that is fetching").count(),
        1,
        "{said}"
    );
}

/// Every file below a directory, with its content.
fn files_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}
