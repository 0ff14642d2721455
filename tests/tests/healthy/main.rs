//! False alarms: ordinary things happen to a healthy service (`variants.toml`), then its server is lost, or somebody only
//! raises an alarm. Nothing but the dead server may be noticed, no good backup may be refused, and nothing that the service
//! did may be undone. Each variant once; `DRILL_HEALTHY=10 cargo test -p tests --test healthy` takes ten seeds of each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::ExitCode;

use serde::Deserialize;
use tests::{Need, Place, rows, trial};
use toml::{Table, Value};

/// What happens to a healthy service.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Variant {
    name: String,
    #[serde(default)]
    given: Table,
    #[serde(default)]
    history: Vec<Table>,
    /// The only ending that suits it.
    ends: Option<Ending>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Ending {
    /// The server is killed and its directory removed.
    Lost,
    /// Nothing breaks.
    Alarm,
}

#[derive(Deserialize)]
struct Variants {
    variant: Vec<Variant>,
}

fn main() -> ExitCode {
    let variants: Variants = toml::from_str(include_str!("variants.toml")).unwrap();
    let seeds = std::env::var("DRILL_HEALTHY").map_or(1, |seeds| seeds.parse().unwrap());
    let numbered: Vec<(usize, Variant)> = variants.variant.into_iter().enumerate().collect();
    let mut trials = Vec::new();
    for seed in 1..=seeds {
        for (part, variants) in numbered.chunks(AT_A_TIME).enumerate() {
            let (variants, name) = (variants.to_vec(), format!("seed-{seed}-part-{}", part + 1));
            trials.push(trial(name, &[Need::Postgres, Need::Icu], move || {
                nothing_is_noticed(&variants, seed);
            }));
        }
    }
    tests::run(trials)
}

/// Variants in one run of the command.
const AT_A_TIME: usize = 8;

fn nothing_is_noticed(variants: &[(usize, Variant)], seed: u64) {
    let place = Place::new();
    let mut files = Vec::new();
    for (number, variant) in variants {
        let turn = if (*number as u64 + seed).is_multiple_of(2) {
            Ending::Lost
        } else {
            Ending::Alarm
        };
        let file = format!("{}.toml", variant.name);
        place.write(&file, &scenario(variant, variant.ends.unwrap_or(turn)));
        files.push(format!("./{file}"));
    }
    let seed = seed.to_string();
    let mut arguments = vec!["--seed", &seed, "--jobs", "1"]; // trials run side by side themselves
    arguments.extend(files.iter().map(String::as_str));
    let ran = place.run(&arguments);
    let drills = rows(&place.out(), "drills.csv");
    let alarms: Vec<String> = drills
        .iter()
        .filter(|drill| drill["as_expected"] != "true" || drill["verdict"] != "pass")
        .map(|drill| format!("{}: {} ({})", drill["scenario"], drill["outcome"], drill["reason"]))
        .collect();
    assert!(
        alarms.is_empty(),
        "{} of {} healthy drills with seed {seed}:\n{}",
        alarms.len(),
        drills.len(),
        alarms.join("\n")
    );
    assert_eq!(drills.len(), variants.len(), "{}", ran.stderr);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    place.nothing_left(ran.pid);
}

/// A variant as a scenario file, with its ending.
fn scenario(variant: &Variant, ending: Ending) -> String {
    let mut given = Table::from_iter([
        ("backup".to_owned(), Value::from("basebackup")),
        ("backups".to_owned(), Value::from(2)),
        ("streaming".to_owned(), Value::from("synchronous")),
        ("storage".to_owned(), Value::from("memory")),
        ("commits".to_owned(), Value::from(300)),
    ]);
    given.extend(variant.given.clone());
    let replays = given.get("backup").and_then(Value::as_str) == Some("basebackup");
    let mut faults: Vec<Table> = variant.history.iter().map(fault).collect();
    let fault = |kind: &str, rest: &[(&str, &str)]| {
        let pairs = [("at", "failure"), ("kind", kind)];
        let pairs = pairs.iter().chain(rest);
        pairs
            .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
            .collect::<Table>()
    };
    let mut expect = Table::new();
    if ending == Ending::Lost {
        faults.push(fault(
            "signal",
            &[("target", "cluster"), ("process", "all"), ("signal", "KILL")],
        ));
        faults.push(fault("remove-files", &[("target", "cluster"), ("path", "**")]));
        expect.insert("outcome".to_owned(), Value::from("recovered"));
        expect.insert("detected_by".to_owned(), Value::from(vec!["server-start", "smoke"]));
        expect.insert("only".to_owned(), Value::from(true));
        expect.insert("rejected".to_owned(), Value::from(0));
    } else {
        faults.push(fault("service", &[("target", "monitor"), ("does", "alert")]));
        expect.insert("outcome".to_owned(), Value::from("false-alarm"));
        expect.insert("detected_by".to_owned(), Value::Array(Vec::new()));
    }
    // A dump brings back its own snapshot, whatever came after it.
    let rpo = if replays { "1h" } else { "24h" };
    let mut file = Table::new();
    for (key, text) in [
        ("id", variant.name.as_str()),
        ("title", "Ordinary work on a healthy service"),
        ("why", "A false alarm is as bad as a miss"),
        ("source", "the work of any service"),
    ] {
        file.insert(key.to_owned(), Value::from(text));
    }
    file.insert("given".to_owned(), Value::Table(given));
    file.insert(
        "objectives".to_owned(),
        Value::Table(Table::from_iter([("rpo".to_owned(), Value::from(rpo))])),
    );
    file.insert(
        "fault".to_owned(),
        Value::Array(faults.into_iter().map(Value::Table).collect()),
    );
    file.insert("expect".to_owned(), Value::Table(expect));
    toml::to_string(&file).unwrap()
}

/// What happens, as a fault of a scenario file: `sql`, `command`, `setting` or `server` says what kind it is.
fn fault(happens: &Table) -> Table {
    let mut fault = Table::from_iter([("target".to_owned(), Value::from("cluster"))]);
    for (key, value) in happens {
        let (kind, name) = match key.as_str() {
            "sql" => ("sql", "statements"),
            "command" => ("command", "argv"),
            "server" => ("server", "does"),
            "setting" => {
                let pair = value.as_array().unwrap();
                fault.insert("kind".to_owned(), Value::from("setting"));
                fault.insert("name".to_owned(), pair[0].clone());
                fault.insert("value".to_owned(), pair[1].clone());
                continue;
            }
            other => {
                fault.insert(other.to_owned(), value.clone());
                continue;
            }
        };
        fault.insert("kind".to_owned(), Value::from(kind));
        fault.insert(name.to_owned(), value.clone());
    }
    fault
}
