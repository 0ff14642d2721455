//! What is written is read as the same scenario: the catalogue, and scenarios made at random with faults of every kind.

use std::path::{Path, PathBuf};

use proptest::{prelude::*, strategy::Union};

use super::super::{Scenario, all, parse, tests::words};
use crate::fault::kinds;

/// A scenario without what belongs to its file.
fn bare(mut scenario: Scenario) -> Scenario {
    scenario.text.clear();
    scenario.group.clear();
    scenario.path = PathBuf::new();
    for fault in &mut scenario.faults {
        fault.line = 0;
    }
    scenario
}

fn read(text: &str) -> Scenario {
    let read = parse(text, Path::new("mine.toml"), "", &words());
    read.map_err(|error| format!("{error}\n{text}")).unwrap()
}

fn again(scenario: &Scenario) -> Scenario {
    read(&scenario.to_toml().unwrap())
}

#[test]
fn the_catalogue_is_written_as_it_is_read() {
    for scenario in all(&words()).unwrap() {
        assert_eq!(bare(again(&scenario)), bare(scenario));
    }
}

type Lines = BoxedStrategy<String>;

/// One of several texts.
fn one_of(texts: &'static [&'static str]) -> Lines {
    prop::sample::select(texts).prop_map(str::to_owned).boxed()
}

/// `key = value` with a value as TOML has it, on a line of its own.
fn key<T: Into<toml::Value> + std::fmt::Debug>(name: &'static str, value: impl Strategy<Value = T> + 'static) -> Lines {
    value
        .prop_map(move |value| format!("{name} = {}\n", value.into()))
        .boxed()
}

/// The same, or nothing.
fn maybe(line: Lines) -> Lines {
    prop_oneof![Just(String::new()), line].boxed()
}

fn all_of(lines: Vec<Lines>) -> Lines {
    lines.prop_map(|lines| lines.concat()).boxed()
}

/// Text that TOML has to quote in many ways.
fn text() -> impl Strategy<Value = String> {
    "[a-zé\"'\\\\#=\n\t]{0,9}x"
}

fn hex() -> impl Strategy<Value = String> {
    "([0-9a-f]{2} ?){1,20}"
}

fn number(range: std::ops::Range<i64>) -> impl Strategy<Value = i64> {
    range
}

const MOST: i64 = i64::MAX;

/// A target of files, and which files of it.
fn files() -> Lines {
    let files = one_of(&[
        "target = 'cluster'\npath = 'base/*/*'\n",
        "target = 'cluster'\nrelation = 'AuditEvents'\n",
        "target = 'archive'\nsegment = 'after backup:1'\n",
        "target = 'archive'\nsegment = 'end of backup:latest'\n",
        "target = 'stream'\npath = '**'\n",
        "target = 'backup:2'\npath = 'data/[a-z]?'\n",
        "target = 'backup:all'\npath = 'data/PG_VERSION'\n",
    ]);
    let pick = one_of(&["largest", "smallest", "first", "last", "second-last", "all", "random"]);
    all_of(vec![files, maybe(key("pick", pick))])
}

/// The keys of each kind.
fn keys_of_kinds() -> Vec<(&'static str, Lines)> {
    let bytes = || key("bytes", number(1..MOST));
    let offset = || key("offset", number(0..MOST));
    let from = || key("from", one_of(&["backup:latest", "backup:oldest", "backup:1"]));
    let cluster = || one_of(&["target = 'cluster'\n"]);
    let backup = || {
        one_of(&[
            "target = 'backup:latest'\n",
            "target = 'backup:oldest'\n",
            "target = 'backup:2'\n",
        ])
    };
    let texts = |name| {
        let list = prop::collection::vec(text(), 1..4);
        prop_oneof![key(name, text()), key(name, list)].boxed()
    };
    let refused = "role = 'app_admin'\nrefused = true\n";
    let page = [
        "offset = 24\nhex = 'ff'\n",
        "offset = 8191\nhex = '00'\nchecksum = 'mend'\n",
        "checksum = 'break'\n",
    ];
    let does = [
        "target = 'app'\ndoes = 'stale'\n",
        "target = 'notifier'\ndoes = 'slow'\ndelay = '1h 500ms'\n",
        "target = 'app'\ndoes = 'status'\nstatus = 502\n",
        "target = 'archive'\ndoes = 'kill'\n",
    ];
    let names = [
        "target = 'cluster'\nprocess = 'all'\nsignal = 'KILL'\n",
        "target = 'cluster'\nprocess = 'startup'\nsignal = 'STOP'\n",
    ];
    let of_cluster = prop_oneof![
        Just("target = 'cluster'\npath = 'PG_VERSION'\n".to_owned()),
        Just("target = 'cluster'\nrelation = 'AuditEvents'\npick = 'all'\n".to_owned()),
    ];
    let of_archive = one_of(&[
        "target = 'archive'\nsegment = 'start of backup:1'\n",
        "target = 'stream'\npath = '*'\n",
    ]);
    vec![
        (
            "sql",
            all_of(vec![
                cluster(),
                texts("statements"),
                maybe(key("database", text())),
                prop_oneof![Just(String::new()), Just(refused.to_owned())].boxed(),
            ]),
        ),
        ("remove-files", files()),
        (
            "truncate-file",
            all_of(vec![
                files(),
                prop_oneof![key("keep_bytes", number(0..MOST)), key("keep_percent", number(0..100))].boxed(),
            ]),
        ),
        ("flip-bytes", all_of(vec![files(), bytes(), maybe(offset())])),
        ("zero-bytes", all_of(vec![files(), bytes(), offset()])),
        ("write-bytes", all_of(vec![files(), offset(), key("hex", hex())])),
        ("append-bytes", all_of(vec![files(), key("hex", hex())])),
        (
            "replace-file",
            all_of(vec![
                files(),
                prop_oneof![
                    text().prop_map(|text| format!("with = {{ text = {} }}\n", toml::Value::from(text))),
                    Just("with = { path = 'base/*' }\n".to_owned()),
                ]
                .boxed(),
            ]),
        ),
        (
            "swap-file",
            all_of(vec![of_cluster.boxed(), from(), maybe(key("keep_tail", any::<bool>()))]),
        ),
        (
            "corrupt-page",
            all_of(vec![
                files(),
                key("block", number(0..1 << 32)),
                prop::sample::select(page.to_vec()).prop_map(str::to_owned).boxed(),
            ]),
        ),
        ("chmod", all_of(vec![files(), key("mode", "[0-7]{1,4}")])),
        (
            "signal",
            prop::sample::select(names.to_vec()).prop_map(str::to_owned).boxed(),
        ),
        (
            "server",
            all_of(vec![
                cluster(),
                key("does", one_of(&["stop-fast", "stop-immediate", "start"])),
            ]),
        ),
        (
            "setting",
            all_of(vec![
                cluster(),
                key("name", text()),
                maybe(key("value", "[a-z\"]{0,4}")),
            ]),
        ),
        ("fill-disk", cluster()),
        ("alien-segment", of_archive),
        ("restore-cluster", all_of(vec![cluster(), from()])),
        ("promote-clone", backup()),
        ("expire-backup", backup()),
        (
            "clock",
            all_of(vec![
                cluster(),
                prop_oneof![number(1..90_000), number(-90_000..0)]
                    .prop_map(|seconds| format!("step = '{seconds:+}s'\n"))
                    .boxed(),
            ]),
        ),
        ("command", all_of(vec![cluster(), texts("argv")])),
        (
            "service",
            all_of(vec![
                prop::sample::select(does.to_vec()).prop_map(str::to_owned).boxed(),
                maybe(key("after", number(1..1_000_000))),
                maybe(key("times", number(1..1_000_000))),
            ]),
        ),
    ]
}

#[test]
fn every_kind_is_made_at_random() {
    let known: Vec<&str> = keys_of_kinds().iter().map(|(kind, _)| *kind).collect();
    assert_eq!(known, kinds().iter().map(|kind| kind.name).collect::<Vec<_>>());
}

fn fault() -> Lines {
    let faults = keys_of_kinds().into_iter().map(|(kind, keys)| {
        let at = key("at", one_of(&["between-backups", "after-backups", "failure"]));
        let kind = Just(format!("kind = '{kind}'\n")).boxed();
        all_of(vec![Just("[[fault]]\n".to_owned()).boxed(), at, kind, keys])
    });
    Union::new(faults).boxed()
}

fn given() -> Lines {
    let options = "backup_options = ['--compress=9']\nbackup = 'basebackup'\n";
    all_of(vec![
        prop_oneof![
            Just(String::new()),
            Just("backups = 3\n".to_owned()),
            Just("methods = ['basebackup', 'dump', 'dump']\n".to_owned()),
            Just("backup = ['basebackup', 'pgbackrest']\n".to_owned()),
            Just(options.to_owned()),
            Just("backup = 'dump'\nbackup_role = 'recovery_operator'\n".to_owned()),
        ]
        .boxed(),
        key("streaming", one_of(&["asynchronous", "synchronous"])),
        maybe(key("wal_in_backup", any::<bool>())),
        maybe(key("foreign_backup", any::<bool>())),
        maybe(key("scripts", number(1..MOST))),
        maybe(key("versions", number(1..1 << 32))),
        maybe(key("content_bytes", number(1..1 << 32))),
        maybe(key("seed", number(0..MOST))),
        maybe(key("commits", number(0..MOST))),
        maybe(key("writers", number(1..1 << 32))),
        maybe(key("storage", one_of(&["memory"]))),
        maybe(key(
            "restore_size",
            number(1_048_576..MOST).prop_map(|bytes| bytes.to_string()),
        )),
        maybe(one_of(&["settings = { a = false, b = 64, c = 0.5, d = '10s' }\n"])),
    ])
}

/// What stands behind the faults.
fn rest() -> Lines {
    let target = one_of(&["[recovery]\ninto = 'failed-cluster'\n", "[recovery]\ntarget = 'end'\n"]);
    let operator = one_of(&["[operator]\nroles = ['Validator', 'AppAdmin', 'RecoveryOperator']\n"]);
    let objectives = one_of(&[
        "[objectives]\nrpo = '1h 30min'\n",
        "[objectives]\nrto = '2s 7ns'\nrpo = '0s'\n",
    ]);
    let noticed = one_of(&["detected_by = []\nonly = true\n", "detected_by = ['isolation']\n"]);
    let answer = "[[expect.answer]]\nsql = 'SELECT 1'\nis = ''\n";
    all_of(vec![
        maybe(target),
        maybe(operator),
        maybe(objectives),
        Just("[expect]\noutcome = 'recovered-rpo-missed'\n".to_owned()).boxed(),
        maybe(noticed),
        maybe(key("rejected", number(0..3))),
        maybe(key("tries", number(0..9))),
        maybe(key("findings", prop::collection::vec(text(), 0..3))),
        maybe(Just(answer.to_owned()).boxed()),
    ])
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(
        title in text(), given in given(), faults in prop::collection::vec(fault(), 0..4), rest in rest(),
    ) {
        let fills = faults.iter().any(|fault| fault.contains("fill-disk"));
        let size = if fills { "storage_size = '128MiB'\n" } else { "" };
        let title = toml::Value::from(title);
        let head = format!("id = 'a'\ntitle = {title}\nwhy = 'w'\nsource = 's'\n[given]\n{given}{size}");
        let scenario = read(&format!("{head}{}{rest}", faults.concat()));
        prop_assert_eq!(bare(again(&scenario)), bare(scenario));
    }

    #[test]
    fn recovery_targets_are_written_as_they_are_read(seconds in 0..4_000_000_000_u32, nanoseconds in 0..1_000_000_000_u32) {
        let time = chrono::DateTime::from_timestamp(seconds.into(), nanoseconds).unwrap().to_rfc3339();
        for target in [
            "'before-failure'".to_owned(),
            "'before-fault'".to_owned(),
            "{ lsn = '0/3000028' }".to_owned(),
            format!("{{ time = '{time}' }}"),
            format!("{{ time = {time} }}"),
            "{ moment = 'between-backups' }".to_owned(),
        ] {
            let fault = "[[fault]]\nat = 'failure'\nkind = 'remove-files'\ntarget = 'cluster'\npath = '**'\n";
            let text = format!(
                "id = 'a'\ntitle = 't'\nwhy = 'w'\nsource = 's'\n{fault}[recovery]\ntarget = {target}\n[expect]\n\
                 outcome = 'not-recovered'\nat_step = 9\nleast_commits = 1\n"
            );
            let scenario = read(&text);
            prop_assert_eq!(bare(again(&scenario)), bare(scenario));
        }
    }
}
