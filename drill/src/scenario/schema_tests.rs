//! The schema holds what the parser holds: every scenario of the catalogue, every key that is asked for, and no other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{
    parse,
    tests::{EXAMPLES, words},
};
use crate::fault::kinds;

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&super::schema(&words())).unwrap()
}

fn json(toml: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Value>(toml).unwrap()).unwrap()
}

fn parser_takes(toml: &str) -> Result<(), String> {
    let parsed = parse(toml, "mine.toml".as_ref(), "", &words());
    parsed.map(drop).map_err(|error| error.to_string())
}

/// A file with every table, and one fault.
fn with_fault(kind: &str, keys: &str) -> String {
    let storage = if kind == "fill-disk" {
        "storage_size='128MiB'\n"
    } else {
        ""
    };
    format!(
        "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n#top\n[given]\nstreaming='asynchronous'\n{storage}#given\n\
         [recovery]\n#recovery\n[objectives]\n#objectives\n[operator]\n#operator\n[expect]\noutcome='recovered'\n#expect\n\
         [[fault]]\nat='failure'\nkind='{kind}'\n{keys}\n#fault\n"
    )
}

/// The keys that the parser asks for where `place` stands: it names them when it refuses one that it does not know.
fn asked(toml: &str, place: &str) -> BTreeSet<String> {
    let refused = parser_takes(&toml.replace(place, "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq=1")).unwrap_err();
    let (_, known) = refused.split_once("; known ").unwrap_or_else(|| panic!("{refused}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_catalogue_is_valid() {
    let validator = validator();
    for scenario in super::super::all(&words()).unwrap() {
        let errors: Vec<String> = validator
            .iter_errors(&json(&scenario.text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", scenario.id);
    }
}

#[test]
fn tables_have_the_keys_that_the_parser_asks_for() {
    let schema = super::schema(&words());
    let file = with_fault("fill-disk", "target='cluster'");
    assert_eq!(keys(&schema), asked(&file, "#top"));
    for table in ["given", "recovery", "objectives", "operator", "expect"] {
        assert_eq!(
            keys(&schema["properties"][table]),
            asked(&file, &format!("#{table}")),
            "{table}"
        );
    }
}

#[test]
fn kinds_have_the_keys_that_the_parser_asks_for() {
    // A key that is asked for only beside another one shows itself only there.
    let more = [
        ("corrupt-page", "target='cluster'\npath='a'\nblock=0\nchecksum='break'"),
        ("service", "target='notifier'\ndoes='status'\nstatus=500"),
        ("append-bytes", "target='archive'\npath='a'\nhex='00'"),
    ];
    let schema = super::schema(&words());
    let described = schema["properties"]["fault"]["items"]["oneOf"].as_array().unwrap();
    assert_eq!(described.len(), kinds().iter().count());
    for (kind, schema) in kinds().iter().zip(described) {
        let examples = EXAMPLES.iter().chain(&more).filter(|(name, _)| *name == kind.name);
        let asked: BTreeSet<String> = examples
            .flat_map(|(name, keys)| asked(&with_fault(name, keys), "#fault"))
            .collect();
        assert_eq!(keys(schema), asked, "{}", kind.name);
    }
}

#[test]
fn what_the_parser_takes_is_valid_and_needs_what_it_needs() {
    let validator = validator();
    for (kind, keys) in EXAMPLES {
        let file = with_fault(kind, keys);
        parser_takes(&file).unwrap();
        assert!(validator.is_valid(&json(&file)), "{file}");
        for line in file.lines().filter(|line| line.contains('=')) {
            let without = file.replacen(&format!("{line}\n"), "", 1);
            let (taken, valid) = (parser_takes(&without), validator.is_valid(&json(&without)));
            let missing = taken.as_ref().is_err_and(|error| error.contains("is missing"));
            assert_eq!(missing, !valid, "without {line}: the parser says {taken:?}\n{without}");
        }
    }
}

#[test]
fn what_is_wrong_is_invalid() {
    let validator = validator();
    let good = with_fault("service", "target='notifier'\ndoes='slow'\ndelay='1s'");
    assert!(validator.is_valid(&json(&good)));
    let edits = [
        ("title='t'", "titel='t'"),
        ("id='a'", "id='My scenario'"),
        ("streaming='asynchronous'", "streaming='async'"),
        ("#given", "backup='tape'"),
        ("#given", "backups='three'"),
        ("#given", "methods=['tape']"),
        ("#expect", "detected_by=['backup-manifset']"),
        ("outcome='recovered'", "outcome='restored'"),
        ("at='failure'", "at='disaster'"),
        ("kind='service'", "kind='flip-bytes'"),
        ("target='notifier'", "target='cluster'"),
        ("target='notifier'", "target='config-store'"),
        ("delay='1s'", ""),
        ("does='slow'", "does='hang'"),
        ("#fault", "status=500"),
        ("#fault", "times=0"),
        ("#recovery", "target='before-failur'"),
        ("#operator", "roles=['Admin']"),
    ];
    for (from, to) in edits {
        let wrong = good.replacen(from, to, 1);
        assert_ne!(wrong, good, "{from}");
        assert!(
            !validator.is_valid(&json(&wrong)),
            "{to:?} in place of {from:?} is valid"
        );
        // The parser sees all of it as well, but for the backup systems, which it does not know.
        assert!(parser_takes(&wrong).is_err() || to.contains("tape"), "{to:?} is taken");
    }
}
