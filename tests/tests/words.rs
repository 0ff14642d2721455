//! What evidence says: of rows no more than their keys, unless somebody asks for more; one sentence, numbers that people
//! can read, lists that say what they leave out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use tests::{Need, Place, row, trial};

/// A value that nobody could think of, put together so that it stands in no statement: in a seeded row, in one of the
/// writers', in a table of its own, and in a key that is there twice.
const VALUE: &str = "wombat-4711-plum";
const SCENARIO: &str = r#"
id = "values"
title = "Contents are changed behind everybody's back"
why = "To see what evidence says of them"
source = "this test"

[given]
backup = "basebackup"
backups = 2
archive = true
commits = 300

[[fault]]
at = "before-backups"
kind = "sql"
target = "cluster"
statements = [
  "CREATE TABLE people (id int PRIMARY KEY, name text UNIQUE)",
  "INSERT INTO people SELECT g, concat('wombat-', 4710 + g, '-plum') FROM generate_series(1, 2000) AS g",
  # Whoever writes through it is told what the row before held, in a message and in its detail.
  '''CREATE FUNCTION tells() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
       IF (NEW."Id" % 7) = 0 THEN
         RAISE EXCEPTION '%', (SELECT name FROM people WHERE id = 1) USING DETAIL = (SELECT name FROM people WHERE id = 1);
       ELSIF (NEW."Id" % 7) = 1 THEN
         PERFORM (SELECT name FROM people WHERE id = 1)::regclass;
       ELSIF (NEW."Id" % 7) = 2 THEN
         EXECUTE (SELECT name FROM people WHERE id = 1);
       ELSIF (NEW."Id" % 7) = 3 THEN
         RAISE EXCEPTION E'several\nlines: %', (SELECT name FROM people WHERE id = 1) USING ERRCODE = 'object_in_use';
       END IF;
       RETURN NEW;
     END $$''',
]

# What a server writes into its log of whoever may read the row, and what a program prints of it.
[[fault]]
at = "before-backups"
kind = "command"
target = "cluster"
argv = ["sh", "-c", '''
value='(SELECT name FROM people WHERE id = 1)'
say() { psql -d transformations -c "$1" || true; }
say "SELECT $value"
say "SELECT $value::regclass"
say "SELECT $value::regrole"
say "SELECT $value::regprocedure"
say "SELECT ($value || '.b.c.d')::regclass"
say "SELECT now() AT TIME ZONE $value"
say "SELECT convert_to('a', $value)"
say "SELECT pg_read_file($value)"
say "SELECT pg_database_size($value)"
say "DO \$\$ BEGIN EXECUTE $value; END \$\$"
say "DO \$\$ BEGIN EXECUTE format('SELECT %I()', $value); END \$\$"
for level in LOG WARNING EXCEPTION; do
  say "DO \$\$ BEGIN RAISE $level '%', $value; END \$\$"
  say "DO \$\$ BEGIN RAISE $level E'first\n% %', $value, $value; END \$\$"
  say "SET log_error_verbosity = terse; DO \$\$ BEGIN RAISE $level E'first %\n%', $value, $value; END \$\$"
done
say "DO \$\$ BEGIN RAISE EXCEPTION '%', $value USING ERRCODE = 'query_canceled'; END \$\$"
say "DO \$\$ BEGIN ASSERT false, $value; END \$\$"
say "SET log_error_verbosity = verbose; SELECT $value::regclass"
''']

[[fault]]
at = "failure"
kind = "remove-files"
target = "cluster"
path = "**"

[[fault]]
at = "restored"
kind = "sql"
target = "restored"
statements = [
  '''UPDATE "TransformationScriptVersions" SET "Content" = (SELECT name FROM people WHERE id = 1) WHERE "Id" = 7''',
  '''UPDATE "TransformationScriptVersions" SET "Content" = (SELECT name FROM people WHERE id = 1)
      WHERE "CreatedBy" LIKE 'writer-%'
        AND "Id" = (SELECT max("Id") FROM "TransformationScriptVersions" WHERE "CreatedBy" LIKE 'writer-%')''',
  "UPDATE people SET name = name || '-' WHERE id = 1",
  '''CREATE TRIGGER tells BEFORE INSERT ON "TransformationScripts" FOR EACH ROW EXECUTE FUNCTION tells()''',
]

[expect]
outcome = "recovered"
detected_by = ["content-fingerprint", "content-hash", "ledger-prefix"]
"#;

fn main() -> ExitCode {
    tests::run(vec![
        trial(
            "values-of-rows-stay-out-of-evidence",
            &[Need::Postgres],
            values_stay_out,
        ),
        trial(
            "values-of-rows-are-shown-to-who-asks",
            &[Need::Postgres],
            values_are_shown,
        ),
        trial("numbers-and-lists-are-for-people", &[Need::Postgres], numbers_and_lists),
    ])
}

/// Runs the scenario; its evidence, in which the checks failed that had to.
fn ran(place: &Place, options: &[&str]) -> PathBuf {
    place.write("values.toml", SCENARIO);
    let arguments = ["./values.toml", "--seed", "7"].iter().chain(options).copied();
    let ran = place.run(&arguments.collect::<Vec<_>>());
    assert!(place.out().join("report.md").is_file(), "{}", ran.stderr);
    let detected = tests::rows(&place.out(), "detection.csv");
    let noticed = detected
        .iter()
        .filter(|row| row["detected"] == "true")
        .map(|row| row["check"].clone());
    let noticed: Vec<String> = noticed.collect();
    for check in ["content-fingerprint", "content-hash", "ledger-prefix"] {
        assert!(noticed.iter().any(|it| it == check), "{check}: {noticed:?}");
    }
    place.out()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect()
}

/// The files of a run in which a text stands.
fn holding(out: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| String::from_utf8_lossy(&fs::read(file).unwrap()).contains(text);
    files_below(out).into_iter().filter(holds).collect()
}

fn values_stay_out() {
    let place = Place::new();
    let out = ran(&place, &[]);
    let nowhere: [PathBuf; 0] = [];
    assert_eq!(holding(&out, VALUE), nowhere);
    // Names and texts of the seed and of the writers.
    let seed = fixtures_seed();
    for text in [seed.as_str(), "live-0-1", "live-1-1", "written live", "after-recovery-"] {
        assert_eq!(holding(&out, text), nowhere, "{text}");
    }
    // What the server was asked is in its log all the same, and that a program spoke is in the report.
    let log = fs::read_to_string(out.join("values/logs/source.log")).unwrap();
    for told in [
        "ERROR:  relation [withheld] does not exist",
        "ERROR:  role [withheld] does not exist",
        "ERROR:  could not open file [withheld] for reading: No such file or directory",
        "client backend postgres@transformations LOG:  [withheld]",
        "postmaster LOG:  database system is ready to accept connections",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("which may hold values (--show-values shows them)"));
    // What differs is said all the same, by its key.
    let events = fs::read_to_string(out.join("values/events.jsonl")).unwrap();
    for told in [
        "TransformationScriptVersions 7 is not what it was",
        "differs in column Content from what operation",
        "not all are what they were",
    ] {
        assert!(events.contains(told), "{told}");
    }
}

/// The content of the first seeded version.
fn fixtures_seed() -> String {
    let content = fixtures::version_content(7, 1, 1, fixtures::SeedPlan::default().content_bytes);
    let longest = content.lines().max_by_key(|line| line.len()).unwrap();
    longest.trim().to_owned()
}

fn values_are_shown() {
    let place = Place::new();
    let out = ran(&place, &["--show-values"]);
    let events = fs::read_to_string(out.join("values/events.jsonl")).unwrap();
    let of = |check: &str| {
        let mut lines = events.lines();
        lines.any(|line| line.contains("check-finished") && line.contains(check) && line.contains(VALUE))
    };
    for check in ["content-fingerprint", "content-hash", "ledger-prefix"] {
        assert!(of(check), "{check}");
    }
    assert!(fs::read_to_string(out.join("report.md")).unwrap().contains(VALUE));
}

fn numbers_and_lists() {
    let place = Place::new();
    let ran = place.run(&["data-directory-lost", "--seed", "1"]);
    ran.exits(0);
    let headline = ran.stdout.lines().next().unwrap().to_owned();
    assert!(headline.ends_with('.') && !headline.contains(". "), "{headline}");
    let drill = row(&place.out(), "drills.csv");
    assert_eq!(drill["rpo_met"], "true", "CSV stays as it is");
    assert!(
        headline.contains("RPO 1 h could not be missed in a run of "),
        "{headline}"
    );
    let steps = tests::rows(&place.out(), "steps.csv");
    let details: Vec<&str> = steps.iter().map(|row| row["detail"].as_str()).collect();
    let all = details.join("\n");
    assert!(all.contains("1 connection of transformation_app"), "{all}");
    assert!(all.contains("MiB restored into a new cluster"), "{all}");
    assert!(all.contains("200 OK and "), "{all}");
    // Everything below the data directory goes, and the list of it ends with what it leaves out.
    let report = fs::read_to_string(place.out().join("report.md")).unwrap();
    let more = report
        .lines()
        .find(|line| line.starts_with("- `… and "))
        .unwrap_or_default();
    let left_out = more.trim_start_matches("- `… and ").trim_end_matches(" more`");
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    assert!(left_out.contains(','), "thousands are apart: {left_out:?}");
    let (_, removed) = report.split_once(": removed ").unwrap();
    let counts = removed
        .split(' ')
        .filter(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let counts: Vec<&str> = counts.take(2).collect();
    assert_eq!(
        number(left_out) + 40,
        number(counts[0]) + number(counts[1]),
        "{removed:.80}"
    );
}
