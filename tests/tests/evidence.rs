//! The evidence of the default drill, read the way an auditor or a script does: what INTERFACE promises of names, columns
//! and contents is spelled out here once more, so that a change of it shows. The last trials look past drill's own checks:
//! they ask the restored database itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{Need, Place, Ran, Row, Started, header, row, rows, trial};

const DRILLS: &str = "run_id,scenario,group,backup_system,postgres_version,provider,seed,outcome,expected_outcome,\
    as_expected,verdict,rpo_objective_s,data_loss_window_s,given_up_window_s,lost_share,rpo_met,acknowledged_commits,lost_commits,commits_beyond_target,\
    indeterminate_commits,holes,unexpected_rows,rto_objective_s,recovery_time_s,rto_met,detection_s,decision_s,restore_s,\
    validation_s,cutover_s,workload_started_at_utc,failed_at_utc,alerted_at_utc,restored_at_utc,recovery_point_at_utc,\
    backup_id,backup_taken_at_utc,rejected_candidates,backup_bytes,database_bytes,harness_overhead_s,reason";
const STEPS: &str =
    "run_id,scenario,step,name,started_at_utc,duration_s,budget_s,within_budget,attempt,role,verdict,detail";
const CHECKS: &str = "run_id,scenario,check,phase,verdict,expected,actual,duration_s,detail";
const DETECTION: &str = "run_id,scenario,check,should_detect,detected";

/// What the default drill left, carried out when the first trial asks.
struct Default(OnceLock<(Place, Ran)>);

impl Default {
    fn drill(&self) -> (&Ran, PathBuf) {
        let (place, ran) = self.0.get_or_init(|| {
            let place = Place::new();
            let ran = place.ran(["run", "--progress", "plain", "--out", "out"]);
            (place, ran)
        });
        ran.exits(0);
        (ran, place.out())
    }
}

fn main() -> ExitCode {
    let default = Arc::new(Default(OnceLock::new()));
    let on_the_default = |name: &str, body: fn(&Ran, &Path)| {
        let default = Arc::clone(&default);
        trial(name, &[Need::Postgres], move || {
            let (ran, out) = default.drill();
            body(ran, &out);
        })
    };
    let trials = vec![
        on_the_default("fourteen-steps-pass", fourteen_steps_pass),
        on_the_default("the-service-is-restored-without-loss", restored_without_loss),
        on_the_default("columns-are-those-of-the-interface", columns),
        on_the_default("every-file-is-there", files),
        on_the_default("the-report-begins-with-what-happened", report_begins),
        on_the_default("events-are-in-order", events_are_in_order),
        on_the_default("the-ledger-counts-as-the-report", ledger_counts),
        on_the_default("no-secret-is-written", no_secret),
        trial("a-scenario-of-ones-own-and-its-rows", &[Need::Postgres], own_scenario),
        trial("what-is-said-of-the-way-is-judged", &[Need::Postgres], words_are_judged),
        trial("no-commit-is-an-error", &[Need::Postgres], no_commit_is_an_error),
        trial("a-lost-commit-is-counted", &[Need::Postgres], a_lost_commit_is_counted),
        trial("a-broken-drill-stops-no-other", &[Need::Postgres], broken_among_good),
        trial(
            "the-ledger-of-another-drill-proves-nothing",
            &[Need::Postgres],
            another_ledger,
        ),
    ];
    drop(default); // the trials hold it now; its place goes with the last of them
    tests::run(trials)
}

fn fourteen_steps_pass(_: &Ran, out: &Path) {
    let steps = rows(out, "steps.csv");
    let numbers: Vec<&str> = steps.iter().map(|step| &*step["step"]).collect();
    let expected: Vec<String> = (1..=14).map(|number: u8| number.to_string()).collect();
    assert_eq!(numbers, expected);
    for step in &steps {
        assert_eq!(step["verdict"], "pass", "{step:?}");
        assert_ne!(step["within_budget"], "false", "{step:?}");
    }
    let role = |number: usize| &*steps[number - 1]["role"];
    assert_eq!(
        (role(3), role(5), role(9), role(10)),
        ("RecoveryOperator", "RecoveryOperator", "AppAdmin", "AppAdmin")
    );
}

fn restored_without_loss(ran: &Ran, out: &Path) {
    let drill = row(out, "drills.csv");
    for (column, value) in [
        ("scenario", "data-directory-lost"),
        ("outcome", "recovered"),
        ("verdict", "pass"),
        ("as_expected", "true"),
        ("lost_commits", "0"),
        ("holes", "0"),
        ("unexpected_rows", "0"),
        ("rpo_objective_s", "3600"),
        ("rto_objective_s", "14400"),
        ("rpo_met", "true"),
        ("rto_met", "true"),
        ("reason", ""),
    ] {
        assert_eq!(drill[column], value, "{column} in {drill:#?}");
    }
    assert!(drill["acknowledged_commits"].parse::<u64>().unwrap() >= 500);
    assert!(drill["recovery_time_s"].parse::<f64>().unwrap() > 0.0);
    assert!(ran.stdout.starts_with("Service restored "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Report: out/report.md\n"), "{}", ran.stdout);
}

fn columns(_: &Ran, out: &Path) {
    for (table, columns) in [
        ("drills.csv", DRILLS),
        ("steps.csv", STEPS),
        ("checks.csv", CHECKS),
        ("detection.csv", DETECTION),
    ] {
        assert_eq!(header(out, table).join(","), columns, "{table}");
        let text = fs::read_to_string(out.join(table)).unwrap();
        assert!(text.ends_with("\r\n"), "{table} is not as RFC 4180 has it");
    }
}

fn files(_: &Ran, out: &Path) {
    for file in [
        "report.md",
        "report.html",
        "junit.xml",
        "drills.csv",
        "steps.csv",
        "checks.csv",
        "detection.csv",
        "evidence.json",
        "manifest.json",
        "plan.json",
        "data-directory-lost/events.jsonl",
        "data-directory-lost/ledger.jsonl",
        "data-directory-lost/logs/source.log",
        "data-directory-lost/logs/restored.log",
        "data-directory-lost/logs/application.log",
    ] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    assert!(
        files_below(out)
            .iter()
            .all(|file| file.extension().is_none_or(|e| e != "tmp"))
    );
    let problems = reports::verify(out);
    assert!(problems.is_empty(), "{problems:?}");
}

fn report_begins(ran: &Ran, out: &Path) {
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    let first = report.lines().nth(2).unwrap();
    let headline = ran.stdout.lines().next().unwrap();
    assert_eq!(first, format!("**PASS.** {headline}"));
    assert!(
        headline.contains("acknowledged commits lost; RTO 4 h met; RPO 1 h could not be missed in a run of "),
        "{headline}"
    );
}

/// Two clocks on every event, and the monotonic one never goes back.
fn events_are_in_order(_: &Ran, out: &Path) {
    let log = fs::read_to_string(out.join("data-directory-lost/events.jsonl")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], index + 1);
        assert!(event["at_utc"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    assert!(events.is_sorted_by_key(|event| event["offset_ns"].as_u64().unwrap()));
    assert_eq!(events[0]["event"], "drill-started");
    assert_eq!(events[events.len() - 1]["event"], "drill-finished");
}

/// Counted here from the ledger's lines, not by drill.
fn ledger_counts(_: &Ran, out: &Path) {
    let ledger = fs::read_to_string(out.join("data-directory-lost/ledger.jsonl")).unwrap();
    let entries: Vec<Value> = ledger
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |phase: &str| -> BTreeSet<u64> {
        let entries = entries.iter().filter(|entry| entry["phase"] == phase);
        entries.map(|entry| entry["op"].as_u64().unwrap()).collect()
    };
    let drill = row(out, "drills.csv");
    assert_eq!(of("acknowledged").len().to_string(), drill["acknowledged_commits"]);
    assert_eq!(of("indeterminate").len().to_string(), drill["indeterminate_commits"]);
    assert!(
        of("acknowledged").is_subset(&of("invoked")),
        "acknowledged without having been sent"
    );
}

fn no_secret(_: &Ran, out: &Path) {
    let files = files_below(out);
    assert!(files.len() > 10);
    for file in files {
        let content = String::from_utf8_lossy(&fs::read(&file).unwrap()).to_lowercase();
        for secret in [
            "password=",
            "pgpassword",
            "scram-sha-256$",
            "admintoken",
            "readertoken",
            "bearer ",
        ] {
            assert!(!content.contains(secret), "{secret} is in {}", file.display());
        }
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect()
}

/// Rows that no check of drill's knows: made before the backups, gone with the disaster, back after the recovery.
const OWN: &str = r#"
id = "mine"
title = "A table of ours goes with the schema"
why = "To see with our own eyes"
source = "this test"

[given]
streaming = "synchronous"

[[fault]]
at = "before-backups"
kind = "sql"
target = "cluster"
statements = ["CREATE TABLE canary AS SELECT n FROM generate_series(1, 1000) n"]

[[fault]]
at = "failure"
kind = "sql"
target = "cluster"
statements = ["DROP TABLE canary", 'DROP TABLE "TransformationScripts" CASCADE']

[recovery]
target = "before-failure"

[expect]
outcome = "recovered"
"#;

fn own_scenario() {
    let place = Place::new();
    place.write("mine.toml", OWN);
    let ran = place.ran(["run", "./mine.toml", "--keep", "--progress", "none", "--out", "out"]);
    let kept = Kept::of(&place);
    ran.exits(0);
    let (said, rest) = ran.stdout.split_once("psql -h ").unwrap(); // by whatever path
    assert!(said.contains("was left running as asked"), "{said}");
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [host, "-p", port, "-U", user, database, "To", "stop", ..] = words[..] else {
        panic!("no way to connect in {rest:?}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config
            .host(host)
            .port(port.parse().unwrap())
            .user(user)
            .dbname(database.trim_end_matches('.'));
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let canary = client
            .query_one("SELECT count(*), sum(n) FROM canary", &[])
            .await
            .unwrap();
        assert_eq!((canary.get::<_, i64>(0), canary.get::<_, i64>(1)), (1000, 500_500));
        let scripts = client
            .query_one(r#"SELECT count(*) FROM "TransformationScripts""#, &[])
            .await
            .unwrap();
        assert!(scripts.get::<_, i64>(0) >= 200);
        drop(client);
        connection.await.unwrap().unwrap();
    });
    // A kept cluster is not a killed run's: nobody sweeps it.
    let doctor = place.ran(["doctor", "--clean"]);
    assert!(!doctor.stdout.contains("removed "), "{}", doctor.stdout);
    drop(kept);
    place.nothing_left(ran.pid);
}

/// Servers that a trial had left running, which it ends whatever becomes of it.
struct Kept {
    work: PathBuf,
    servers: Vec<u32>,
}

impl Kept {
    fn of(place: &Place) -> Self {
        let work = place.work();
        let runs = fs::read_dir(&work).unwrap().map(|run| run.unwrap().path());
        let clusters = runs.flat_map(|run| fs::read_dir(run).unwrap().map(|cluster| cluster.unwrap().path()));
        let pids = clusters.filter_map(|cluster| fs::read_to_string(cluster.join("data/postmaster.pid")).ok());
        let servers = pids.map(|pid| pid.lines().next().unwrap().parse().unwrap()).collect();
        Self { work, servers }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for server in &self.servers {
            let cwd = Path::new("/proc").join(server.to_string()).join("cwd");
            let is_ours = || cwd.read_link().is_ok_and(|cwd| cwd.starts_with(&self.work));
            if is_ours()
                && let Some(pid) = Pid::from_raw(server.cast_signed())
            {
                let _ = kill_process(pid, Signal::QUIT); // it may have ended just now
            }
            while is_ours() {
                std::thread::sleep(std::time::Duration::from_millis(10)); // between two looks
            }
        }
        for run in fs::read_dir(&self.work).into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(run.path()); // the trial says what is left
        }
    }
}

/// Every word that `[expect]` has for the way, and two faults that begin on one line.
const WORDS: &str = r#"
id = "words"
title = "The data directory is lost, and everything is expected that happens"
why = "A word that cannot fail says nothing"
source = "this test"
fault = [{ at = "before-backups", kind = "sql", target = "cluster", statements = "CREATE TABLE one AS SELECT 1 AS n, NULL AS nothing" }, { at = "before-backups", kind = "command", target = "cluster", argv = ["sh", "-ec", 'ls -d "$DRILL_STREAM"'] }, { at = "failure", kind = "remove-files", target = "cluster", path = "**" }]

[given]
streaming = "synchronous"
scripts = 40
versions = 2
content_bytes = 700
seed = 7
commits = 120

[expect]
outcome = "recovered"
tries = 1
least_commits = 120

[[expect.answer]]
sql = "SELECT n FROM one"
is = "1"

[[expect.answer]]
sql = "SELECT current_database()"
database = "postgres"
is = "postgres"
"#;

fn words_are_judged() {
    let place = Place::new();
    place.write("words.toml", WORDS);
    let ran = place.run(&["./words.toml"]);
    ran.exits(0);
    let drill = row(&place.out(), "drills.csv");
    assert_eq!((&*drill["seed"], &*drill["verdict"]), ("7", "pass"), "{drill:#?}");
    let log = fs::read_to_string(place.out().join("words/events.jsonl")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(of("seeded")[0]["tables"][0]["rows"], 40);
    assert_eq!(of("fault-injected").len(), 3, "a second fault on one line is its own");
    place.nothing_left(ran.pid);

    let wrong = Place::new();
    let text = WORDS
        .replace("tries = 1", "tries = 2\nfindings = [\"nobody says this\"]")
        .replace("least_commits = 120", "least_commits = 1000000")
        .replace("SELECT n FROM one", "SELECT nothing FROM one")
        .replace("is = \"postgres\"", "is = \"template1\"");
    let more = ["SELECT n FROM one WHERE false", "SELECT n FROM two"]
        .map(|sql| format!("\n[[expect.answer]]\nsql = \"{sql}\"\nis = \"1\"\n"));
    wrong.write("words.toml", &format!("{text}{}", more.concat()));
    let ran = wrong.run(&["./words.toml", "--seed", "9"]);
    ran.exits(1);
    let drill = row(&wrong.out(), "drills.csv");
    assert_eq!((&*drill["seed"], &*drill["as_expected"]), ("9", "false"), "{drill:#?}");
    for said in [
        "expected 2 restores to be begun, got 1",
        "expected at least 1,000,000 acknowledged commits, but there were ",
        "expected a finding with \"nobody says this\", and there is none",
        "to \"SELECT nothing FROM one\", but restored-1 did not: it answered NULL",
        "expected the answer \"template1\" to \"SELECT current_database()\", but restored-1 did not: \
         it answered something else (--show-values tells what)",
        "to \"SELECT n FROM one WHERE false\", but restored-1 did not: it answered no row",
        "relation \"two\" does not exist",
    ] {
        assert!(drill["reason"].contains(said), "{said}\n{drill:#?}");
    }
    wrong.nothing_left(ran.pid);
}

/// Writers that get nothing through prove nothing: the drill is not carried out.
fn no_commit_is_an_error() {
    let place = Place::new();
    let fault = "statements = ['REVOKE CONNECT ON DATABASE transformations FROM PUBLIC, transformation_app']";
    let text = LOSSY
        .replace("lossy", "mute")
        .replacen("at = \"failure\"", "at = \"before-backups\"", 1);
    let (before, rest) = text.split_once("statements = ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    place.write("mute.toml", &format!("{before}{fault}\n{after}"));
    let ran = place.run(&["./mute.toml"]);
    ran.exits(3);
    let drill = row(&place.out(), "drills.csv");
    assert_eq!((&*drill["outcome"], &*drill["verdict"]), ("", "unknown"), "{drill:#?}");
    assert!(
        drill["reason"].contains("not one of the 500 commits that were asked for was acknowledged"),
        "{drill:#?}"
    );
    place.nothing_left(ran.pid);
}

/// A commit that is acknowledged and taken away again must be counted: a drill that always says *nothing lost* is none.
const LOSSY: &str = r#"
id = "lossy"
title = "A version vanishes just before the data directory is lost"
why = "A ledger that finds nothing must be able to find something"
source = "this test"

[given]
backup = "basebackup"
backups = 1
streaming = "synchronous"
storage = "memory"

[[fault]]
at = "failure"
kind = "sql"
target = "cluster"
statements = ['DELETE FROM "TransformationScriptVersions" WHERE "Id" = (SELECT max("Id") FROM "TransformationScriptVersions")']

[[fault]]
at = "failure"
kind = "remove-files"
target = "cluster"
path = "**"

[expect]
outcome = "recovered"
"#;

fn a_lost_commit_is_counted() {
    let place = Place::new();
    place.write("lossy.toml", LOSSY);
    let ran = place.run(&["./lossy.toml"]);
    ran.exits(1);
    let drill = row(&place.out(), "drills.csv");
    assert_eq!(
        (&*drill["as_expected"], &*drill["verdict"]),
        ("false", "fail"),
        "{drill:#?}"
    );
    assert_ne!(drill["outcome"], "recovered", "{drill:#?}");
    let ledger: Vec<_> = rows(&place.out(), "checks.csv");
    let failed = ledger
        .iter()
        .any(|check| check["check"] == "ledger-prefix" && check["verdict"] == "fail");
    assert!(failed, "the ledger did not notice: {ledger:#?}");
    place.nothing_left(ran.pid);
}

/// Its ledger is exchanged for another drill's while the writers write: everything else is still looked at.
fn another_ledger() {
    let place = Place::new();
    let name = "data-directory-lost";
    let mut command = place.drill([
        "run",
        name,
        "--storage",
        "memory",
        "--progress",
        "plain",
        "--out",
        "out",
    ]);
    let started = Started::start(&mut command);
    started.says("live writers");
    let other = place.write(
        "other.jsonl",
        "{\"run_id\":\"another-run\",\"drill\":\"other\",\"seed\":1}\n",
    );
    fs::rename(other, place.out().join(name).join("ledger.jsonl")).unwrap();
    let ran = started.finish();
    ran.exits(3);
    let drill = row(&place.out(), "drills.csv");
    assert_eq!(drill["verdict"], "unknown", "{drill:#?}");
    let checks = rows(&place.out(), "checks.csv");
    let verdicts = |check: &str| -> Vec<&Row> { checks.iter().filter(|row| row["check"] == check).collect() };
    assert!(ran.stdout.contains("RPO 1 h not measured"), "{}", ran.stdout);
    let ledger = verdicts("ledger-prefix");
    assert!(!ledger.is_empty(), "{checks:#?}");
    for check in ledger {
        assert_eq!(check["verdict"], "unknown", "{check:#?}");
        assert!(check["detail"].contains("belongs to another-run/other"), "{check:#?}");
    }
    assert!(
        verdicts("page-checksums")
            .iter()
            .all(|check| check["verdict"] == "pass")
    );
    place.nothing_left(ran.pid);
}

/// A drill whose fault cannot happen, before one that is as expected: both are in the tables, the worse one first.
fn broken_among_good() {
    let place = Place::new();
    place.write(
        "broken.toml",
        &LOSSY
            .replace("lossy", "broken")
            .replace("WHERE \"Id\"", "WHERE \"Nothing\""),
    );
    let ran = place.run(&["./broken.toml", "false-alarm", "--jobs", "1"]);
    ran.exits(3);
    let drills = rows(&place.out(), "drills.csv");
    let of = |id: &str| drills.iter().find(|drill| drill["scenario"] == id).unwrap();
    assert_eq!(drills.len(), 2, "{drills:#?}");
    assert_eq!(
        (&*of("broken")["verdict"], &*of("broken")["outcome"]),
        ("unknown", ""),
        "{drills:#?}"
    );
    assert_eq!(of("false-alarm")["as_expected"], "true", "{drills:#?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("UNVERIFIED") && lines[0].contains("broken"),
        "{}",
        ran.stdout
    );
    assert!(
        lines[1].starts_with("as expected") && lines[1].contains("false-alarm"),
        "{}",
        ran.stdout
    );
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    assert!(report.contains("broken") && report.contains("false-alarm"), "{report}");
    place.nothing_left(ran.pid);
}
