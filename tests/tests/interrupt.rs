//! A drill that is interrupted or killed, at each stage: no process and no directory of a cluster is left (after a SIGKILL
//! its watcher clears up, and where that was killed, too, the next drill does), and what there is of evidence does not look
//! finished.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Left, Need, Place, Started, left_by, trial};

/// How far a drill is, by what it says on stderr.
const STAGES: [(&str, &str); 7] = [
    ("as-it-begins", "evidence in"),
    ("once-seeded", "seeded:"),
    ("under-load", "live writers"),
    ("after-a-backup", "backup basebackup-1"),
    ("after-the-failure", "fault:"),
    ("before-the-restore", "4 backup chosen"),
    ("after-the-restore", "6 data restored"),
];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (stage, says) in STAGES {
        for (name, signal, storage) in [("sigint", Signal::INT, "disk"), ("sigterm", Signal::TERM, "memory")] {
            trials.push(trial(format!("{name}-{stage}"), &[Need::Postgres], move || {
                interrupted(says, signal, storage);
            }));
        }
    }
    for (stage, says) in &STAGES[..5] {
        let says = (*says).to_owned();
        trials.push(trial(format!("sigkill-{stage}"), &[Need::Postgres], move || {
            killed(&says);
        }));
    }
    for step in &reports::Step::ALL[..13] {
        let says = format!("{:>2} {}", step.number(), step.name());
        let name = format!("sigkill-after-step-{:02}", step.number());
        trials.push(trial(name, &[Need::Postgres], move || killed(&says)));
    }
    for (stage, says) in [STAGES[2], STAGES[6]] {
        trials.push(trial(format!("sighup-{stage}"), &[Need::Postgres], move || {
            interrupted(says, Signal::HUP, "memory");
        }));
    }
    trials.extend([
        trial("the-next-drill-sweeps", &[Need::Postgres], the_next_drill_sweeps),
        trial(
            "a-living-drill-is-not-swept",
            &[Need::Postgres],
            a_living_drill_is_not_swept,
        ),
        trial("programs-end-with-the-drill", &[Need::Postgres], || {
            programs_end_with_the_drill(None);
        }),
        trial("programs-end-with-a-drill-that-is-killed", &[Need::Postgres], || {
            programs_end_with_the_drill(Some(Signal::KILL));
        }),
        trial(
            "sigkill-in-a-relative-directory",
            &[Need::Postgres],
            killed_in_a_relative_directory,
        ),
        trial("the-watcher-ends-well", &[], the_watcher_ends_well),
        trial(
            "whatever-the-directory-is-called",
            &[Need::Postgres],
            whatever_the_directory_is_called,
        ),
        trial("sigint-at-a-question", &[Need::Postgres], interrupted_at_a_question),
        trial(
            "a-torn-run-can-be-reported",
            &[Need::Postgres],
            a_torn_run_can_be_reported,
        ),
        trial(
            "a-run-killed-in-its-second-drill",
            &[Need::Postgres],
            a_run_killed_in_its_second_drill,
        ),
    ]);
    tests::run(trials)
}

fn start(place: &Place, more: &[&str]) -> Started {
    let always = ["run", "--progress", "plain", "--out", "out"];
    Started::start(&mut place.drill(always.iter().chain(more)))
}

fn interrupted(says: &str, signal: Signal, storage: &str) {
    let place = Place::new();
    let started = start(&place, &["--storage", storage]);
    started.says(says);
    let began = Instant::now();
    started.signal(signal);
    let ran = started.finish();
    let took = began.elapsed();
    place.nothing_left(ran.pid);
    let said = match signal {
        Signal::INT => "interrupted",
        Signal::HUP => "the terminal is gone",
        _ => "terminated",
    };
    ran.exits(3).complains(&[said]);
    assert_eq!(ran.stdout, "", "an interrupted drill has no result");
    // Removing thousands of files takes a busy disk a while; in memory there is nothing to wait for.
    let patience = Duration::from_secs(if storage == "disk" { 60 } else { 10 });
    assert!(took < patience, "it took {took:?} to stop");
    unfinished(&place);
}

/// Without evidence.json a run did not finish.
fn unfinished(place: &Place) {
    for report in ["evidence.json", "manifest.json", "report.md", "drills.csv"] {
        assert!(!place.out().join(report).exists(), "{report} of an interrupted drill");
    }
}

fn killed(says: &str) {
    let place = Place::new();
    let started = start(&place, &["--storage", "disk"]);
    started.says(says);
    let pid = started.pid();
    let deadline = Instant::now() + Duration::from_secs(20);
    while left_by(&place, pid).directories.is_empty() {
        assert!(Instant::now() < deadline, "it makes no directory of its own");
    }
    let left = left_by(&place, pid);
    started.signal(Signal::KILL);
    assert_eq!(started.end().code(), None);
    unfinished(&place);

    let deadline = Instant::now() + Duration::from_secs(30);
    while left_by(&place, pid) != Left::default() {
        assert!(Instant::now() < deadline, "left behind: {:#?}", left_by(&place, pid));
        std::thread::sleep(Duration::from_millis(20)); // only between two looks
    }
    place.nothing_left(pid);
    no_shared_memory_of(&left);
}

/// A server that is killed leaves a System V segment, which outlives every process.
fn no_shared_memory_of(left: &Left) {
    let dead: BTreeSet<String> = left.processes.iter().map(|(pid, _)| pid.to_string()).collect();
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let creator = |line: &str| line.split_whitespace().nth(4).map(ToOwned::to_owned);
    let kept: Vec<_> = segments
        .lines()
        .filter(|line| creator(line).is_some_and(|pid| dead.contains(&pid)))
        .collect();
    assert!(kept.is_empty(), "shared memory is left: {kept:?}");
}

fn the_next_drill_sweeps() {
    let place = Place::new();
    let started = start(&place, &["--storage", "disk"]);
    started.says("live writers");
    let dead = started.pid();
    let left = left_by(&place, dead);
    let watcher = left.processes.iter().find(|(_, line)| line.ends_with(" watch"));
    let watcher = Pid::from_raw(watcher.unwrap().0.cast_signed()).unwrap();
    kill_process(watcher, Signal::KILL).unwrap();
    started.signal(Signal::KILL);
    started.end();
    assert_ne!(
        left_by(&place, dead).processes,
        [],
        "no server was left: the trial proves nothing"
    );

    let next = place.ran(["run", "--progress", "plain", "--storage", "disk", "--out", "next"]);
    next.exits(0).complains(&["removed what a killed run had left"]);
    place.nothing_left(dead);
    place.nothing_left(next.pid);
}

fn a_living_drill_is_not_swept() {
    let place = Place::new();
    let living = start(&place, &["--storage", "disk"]);
    living.says("live writers");
    let doctor = place.ran(["doctor", "--clean"]);
    assert!(
        doctor.stdout.contains("\n0 directories") || doctor.stdout.starts_with("0 directories"),
        "{}",
        doctor.stdout
    );
    let ran = living.finish();
    ran.exits(0);
    place.nothing_left(ran.pid);
}

/// Somebody is asked, and presses Ctrl-C instead of answering.
fn interrupted_at_a_question() {
    let place = Place::new();
    let mut command = place.drill([
        "run",
        "--operator",
        "ask",
        "--storage",
        "memory",
        "--progress",
        "plain",
        "--out",
        "out",
    ]);
    let (asked, _keyboard) = Started::start_at_terminal(&mut command);
    asked.says("Give the database up and restore it? [y/N]");
    let began = Instant::now();
    asked.signal(Signal::INT);
    let ran = asked.finish();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it waited for an answer: {:?}",
        began.elapsed()
    );
    ran.exits(3);
    place.nothing_left(ran.pid);
    unfinished(&place);
}

/// What a killed drill wrote can be looked at, and says that nothing is proven.
fn a_torn_run_can_be_reported() {
    let place = Place::new();
    let started = start(&place, &["--storage", "memory"]);
    started.says("4 backup chosen");
    let pid = started.pid();
    started.signal(Signal::KILL);
    started.end();
    place.ran(["doctor", "--clean"]);
    place.nothing_left(pid);
    place.ran(["report", "out"]).exits(3).complains(&["did not finish"]);
    let drill = tests::row(&place.out(), "drills.csv");
    assert_eq!(
        (&*drill["verdict"], &*drill["as_expected"], &*drill["outcome"]),
        ("unknown", "false", ""),
        "{drill:#?}"
    );
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    assert!(
        report.contains("The drill did not finish, so that nothing is proven; it was broken off "),
        "{report}"
    );
    let shown = report.contains("| 4 | backup chosen | pass |");
    assert!(shown, "what it had shown is not there: {report}");
}

/// The plan was written first: what never began is in the report, and nothing makes a whole run of it.
fn a_run_killed_in_its_second_drill() {
    let place = Place::new();
    let drills = ["false-alarm", "data-directory-lost", "drop-table"];
    let started = start(
        &place,
        &["--storage", "memory", "--jobs", "1", drills[0], drills[1], drills[2]],
    );
    started.says("false-alarm: false-alarm");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !place.out().join(drills[1]).join("ledger.jsonl").exists() {
        assert!(Instant::now() < deadline, "the second drill does not begin");
        std::thread::sleep(Duration::from_millis(20)); // between two looks
    }
    let pid = started.pid();
    started.signal(Signal::KILL);
    started.end();
    place.ran(["doctor", "--clean"]);
    place.nothing_left(pid);
    unfinished(&place);
    for format in ["csv", "md", "junit"] {
        let ran = place.ran(["report", "out", "--format", format]);
        ran.exits(3).complains(&["did not finish"]);
    }
    place.ran(["report", "out", "--format", "json"]).exits(3);
    assert!(!place.out().join("evidence.json").exists() && !place.out().join("manifest.json").exists());
    let rows = tests::rows(&place.out(), "drills.csv");
    let told: Vec<_> = rows
        .iter()
        .map(|row| (&*row["scenario"], &*row["outcome"], &*row["verdict"]))
        .collect();
    assert_eq!(
        told,
        [
            (drills[0], "false-alarm", "pass"),
            (drills[1], "", "unknown"),
            (drills[2], "", "unknown")
        ]
    );
    assert_eq!(rows[2]["reason"], "the run ended before this drill began");
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    assert!(report.contains("The run did not finish"), "{report}");
    assert!(report.contains("1 drill never began"), "{report}");
}

/// What a program of somebody's own starts in a session of its own is gone with the drill, and after a SIGKILL as well.
fn programs_end_with_the_drill(signal: Option<Signal>) {
    const SCENARIO: &str = r#"
id = "detached"
title = "A program leaves something running"
why = "To see that it does not outlive the drill"
source = "this test"

[given]
commits = 20

[[fault]]
at = "after-backups"
kind = "command"
target = "cluster"
argv = ["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo started"]

[[fault]]
at = "failure"
kind = "remove-files"
target = "cluster"
path = "**"

[expect]
outcome = "recovered"
"#;
    let place = Place::new();
    place.write("detached.toml", SCENARIO);
    let started = start(&place, &["--storage", "memory", "detached.toml"]);
    started.says("6 data restored");
    let pid = started.pid();
    match signal {
        Some(signal) => {
            started.signal(signal);
            started.end();
        }
        None => {
            started.finish().exits(0);
        }
    }
    place.nothing_left(pid);
}

/// A work directory that is named from the current one; the watcher has left that long ago.
fn killed_in_a_relative_directory() {
    let place = Place::new();
    let name = place.work().file_name().unwrap().to_owned();
    let mut command = place.drill(["run", "--progress", "plain", "--storage", "disk", "--out", "out"]);
    command
        .env("DRILL_WORK_DIR", &name)
        .current_dir(place.work().parent().unwrap());
    let started = Started::start(&mut command);
    started.says("live writers");
    let pid = started.pid();
    started.signal(Signal::KILL);
    started.end();
    place.nothing_left(pid);
}

/// Without anything to clear up the watcher watches for as long as something may still appear, and ends well.
fn the_watcher_ends_well() {
    let place = Place::new();
    place.ran(["watch"]).exits(0);
}

/// Paths are put into commands of a shell and of the server.
fn whatever_the_directory_is_called() {
    let place = Place::new();
    let odd = place.work().join("it's 100% $HOME");
    fs::create_dir(&odd).unwrap();
    fs::set_permissions(&odd, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = place.drill([
        "run",
        "--storage",
        "disk",
        "--commits",
        "40",
        "--progress",
        "none",
        "--out",
        "out",
    ]);
    let ran = Started::start(command.env("DRILL_WORK_DIR", &odd)).finish();
    ran.exits(0);
    assert_eq!(
        tests::row(&place.out(), "drills.csv")["lost_commits"],
        "0",
        "the archive has everything"
    );
}
