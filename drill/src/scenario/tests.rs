//! Tests of reading scenarios: what is accepted, and what every refusal says.

use std::{fmt::Write as _, path::Path, sync::LazyLock, time::Duration};

use proptest::prelude::*;
use reports::{CheckId, Outcome};

use super::{
    Capabilities, Circumstances, Destination, FaultTarget, Kinds, Moment, Named as _, Pick, SegmentOf, SegmentPlace,
    Selection, StorageWish, Streaming, Target, Vocabulary, Which, catalogue, find, parse, plan, resolve, show,
};
use crate::fault::{
    self,
    kinds::{
        corrupt_page::PageChecksum,
        server::ServerDeed,
        service::Behaviour,
        signal::{Process, SignalName},
    },
};

const GOOD: &str = r#"id = "mine"
title = "Mine"
why = "To learn"
source = "me"

[given]
backup = ["basebackup", "pgbackrest"]
backups = 3
streaming = "synchronous"
commits = 600
storage = "memory"
settings = { synchronous_commit = false, wal_keep_size = 64, archive_timeout = "10s" }

[objectives]
rpo = "1h 30min"

[[fault]]
at = "after-backups"
kind = "flip-bytes"
target = "backup:latest"
path = "base/*/*"
bytes = 8

[[fault]]
at = "failure"
kind = "remove-files"
target = "cluster"
path = "**"

[recovery]
target = { lsn = "0/3000028" }

[expect]
outcome = "recovered"
detected_by = ["backup-manifest"]
rejected = 1
"#;

fn read(text: &str) -> Result<super::Scenario, super::ScenarioError> {
    parse(text, Path::new("mine.toml"), "", &words())
}

#[test]
fn everything_is_read() {
    let scenario = read(GOOD).unwrap();
    assert_eq!(scenario.given.backup, ["basebackup", "pgbackrest"]);
    assert_eq!((scenario.given.backups, scenario.given.archive), (3, true));
    assert_eq!(scenario.given.streaming, Streaming::Synchronous);
    assert_eq!((scenario.given.commits, scenario.given.writers), (Some(600), None));
    assert_eq!(scenario.given.storage, Some(StorageWish::Memory));
    let settings: Vec<_> = scenario
        .given
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        settings,
        ["archive_timeout=10s", "synchronous_commit=off", "wal_keep_size=64"]
    );
    assert_eq!(scenario.objectives.rpo, Some(Duration::from_mins(90)));
    assert_eq!(scenario.recovery.target, Target::Lsn("0/3000028".to_owned()));
    assert_eq!(
        scenario.faults.iter().map(|fault| fault.line).collect::<Vec<_>>(),
        [17, 24]
    );
    assert_eq!(scenario.faults[0].at, Moment::AfterBackups);
    assert_eq!(scenario.faults[0].target, FaultTarget::Backup(Which::Latest));
    assert_eq!(scenario.expect.outcome, Outcome::Recovered);
    assert_eq!(scenario.expect.detected_by, Some(vec![CheckId::BackupManifest]));
    assert_eq!(scenario.expect.rejected, Some(1));
}

#[test]
fn what_is_not_said_has_a_default() {
    let scenario = read("id='a'\ntitle='t'\nwhy='w'\nsource='s'\nexpect={outcome='false-alarm'}").unwrap();
    assert_eq!(scenario.given, super::Given::default());
    assert_eq!(scenario.recovery.target, Target::End);
    assert!(scenario.faults.is_empty() && scenario.expect.detected_by.is_none());
}

#[test]
fn words_of_the_way_are_read_and_told() {
    let more = "rejected = 1\ntries = 2\nleast_commits = 600\nfindings = [\"critical: so\"]\n\
        [[expect.answer]]\nsql = \"SELECT 1\"\nis = \"1\"\n\
        [[expect.answer]]\nsql = \"SELECT 2\"\ndatabase = \"postgres\"\nis = \"\"\n";
    let sizes = "commits = 600\nscripts = 40\nversions = 2\ncontent_bytes = 700\nseed = 7\nwriters = 3";
    let text = GOOD.replace("commits = 600", sizes).replace("rejected = 1", more);
    let scenario = read(&text).unwrap();
    let (given, expect) = (&scenario.given, &scenario.expect);
    assert_eq!(
        (given.scripts, given.versions, given.content_bytes, given.seed),
        (Some(40), Some(2), Some(700), Some(7))
    );
    assert_eq!((expect.tries, expect.least_commits), (Some(2), Some(600)));
    assert_eq!(expect.findings, ["critical: so"]);
    let databases: Vec<&str> = expect.answers.iter().map(|answer| &*answer.database).collect();
    assert_eq!(databases, ["", "postgres"]);
    let (shown, planned) = (show(&scenario), plan(&scenario, &circumstances("basebackup")));
    for said in [
        "2 restores begun",
        "at least 600 acknowledged commits made",
        "a finding says \"critical: so\"",
        "the cluster in service answers \"1\" to SELECT 1 in the application's database",
    ] {
        assert!(
            shown.contains(said) && planned.contains(said),
            "{said}\n{shown}\n{planned}"
        );
    }
    assert!(
        shown.contains("seeded with 40 scripts, 2 versions each, 700 bytes a version"),
        "{shown}"
    );

    let refused = read(&text.replace("outcome = \"recovered\"", "outcome = \"refused\"\nat_step = 9"));
    assert!(refused.unwrap_err().to_string().contains("no cluster is in service"));
}

#[test]
fn faults_on_one_line_have_numbers_of_their_own() {
    let one = "{at='failure', kind='server', target='cluster', does='stop-fast'}";
    let two = "{at='failure', kind='server', target='cluster', does='start'}";
    let text = format!("id='a'\ntitle='t'\nwhy='w'\nsource='s'\nfault=[{one}, {two}]\nexpect={{outcome='recovered'}}");
    let faults = read(&text).unwrap().faults;
    let places: Vec<_> = faults.iter().map(|fault| (fault.number, fault.line)).collect();
    assert_eq!(places, [(1, 5), (2, 5)]);
}

/// The keys of an example of each kind.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    (
        "sql",
        "target='cluster'\nstatements=['SELECT 1', 'SELECT 2']\ndatabase='postgres'",
    ),
    ("remove-files", "target='cluster'\npath='pg_wal/**'\npick='last'"),
    ("truncate-file", "target='backup:2'\npath='**'\nkeep_percent=60"),
    ("flip-bytes", "target='stream'\npath='*'\nbytes=1\noffset=0x10"),
    ("zero-bytes", "target='archive'\npath='*'\noffset=0\nbytes=8192"),
    ("write-bytes", "target='cluster'\npath='*'\noffset=8\nhex='de ad be ef'"),
    ("append-bytes", "target='cluster'\npath='*'\nhex='00'"),
    ("replace-file", "target='cluster'\npath='PG_VERSION'\nwith={text='15'}"),
    (
        "swap-file",
        "target='cluster'\nrelation='AuditEvents'\nfrom='backup:oldest'\nkeep_tail=true",
    ),
    (
        "corrupt-page",
        "target='cluster'\nrelation='AuditEvents'\nblock=3\noffset=24\nhex='ff'\nchecksum='mend'",
    ),
    ("chmod", "target='cluster'\npath='base'\nmode='0000'"),
    ("signal", "target='cluster'\nprocess='checkpointer'\nsignal='KILL'"),
    ("server", "target='cluster'\ndoes='stop-fast'"),
    ("setting", "target='cluster'\nname='work_mem'\nvalue='64kB'"),
    ("fill-disk", "target='cluster'"),
    ("alien-segment", "target='archive'\nsegment='after backup:2'"),
    ("restore-cluster", "target='cluster'\nfrom='backup:latest'"),
    ("promote-clone", "target='backup:oldest'"),
    ("expire-backup", "target='backup:oldest'"),
    ("clock", "target='cluster'\nstep='-2h'"),
    ("command", "target='cluster'\nargv=['sh', '-c', 'true']"),
    (
        "service",
        "target='notifier'\ndoes='slow'\ndelay='500ms'\nafter=2\ntimes=3",
    ),
];

fn with_fault(kind: &str, keys: &str) -> String {
    let storage = if kind == "fill-disk" {
        ", storage_size='128MiB'"
    } else {
        ""
    };
    format!(
        "id='a'\ntitle='t'\nwhy='w'\nsource='s'\ngiven={{streaming='asynchronous'{storage}}}\nexpect={{outcome='recovered'}}\n\
         [[fault]]\nat='failure'\nkind='{kind}'\n{keys}\n"
    )
}

#[test]
fn every_kind_is_read_and_described() {
    assert_eq!(
        EXAMPLES.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        fault::kinds().iter().map(|kind| kind.name).collect::<Vec<_>>()
    );
    let mut words = String::new();
    for (kind, keys) in EXAMPLES {
        let scenario = read(&with_fault(kind, keys)).unwrap();
        assert_eq!(scenario.faults[0].action.kind(), *kind);
        assert_eq!(scenario.faults[0].line, 7);
        words += show(&scenario)
            .lines()
            .find(|line| line.starts_with("  the failure"))
            .unwrap();
        words += "\n";
    }
    insta::assert_snapshot!("kinds_in_words", words);
}

#[test]
fn values_are_what_they_say() {
    let keys = |index: usize| {
        let (kind, keys) = EXAMPLES[index];
        let scenario = read(&with_fault(kind, keys)).unwrap();
        scenario.faults[0].action.keys().to_string()
    };
    assert_eq!(keys(2), r#"{"keep_percent":60}"#);
    assert_eq!(keys(3), r#"{"bytes":1,"offset":16}"#);
    assert_eq!(keys(5), r#"{"hex":"deadbeef","offset":8}"#);
    assert_eq!(keys(9), r#"{"block":3,"checksum":"mend","hex":"ff","offset":24}"#);
    assert_eq!(keys(10), r#"{"mode":"0000"}"#);
}

#[test]
fn who_recovers_and_what_else_may_notice_is_read() {
    let text = GOOD
        .replace("rejected = 1", "rejected = 1\nonly = true")
        .replace("\"recovered\"", "\"refused\"")
        + "\n[operator]\nroles = [\"AppAdmin\"]\n";
    let scenario = read(&text).unwrap();
    assert_eq!(scenario.roles, Some(vec![reports::Role::AppAdmin]));
    assert!(scenario.expect.only);
    assert!(show(&scenario).contains("only the role AppAdmin") && show(&scenario).contains("and no other check"));
}

#[test]
fn where_a_restore_goes_is_read() {
    assert_eq!(read(GOOD).unwrap().recovery.into, Destination::New);
    let text = GOOD
        .replace("backups = 3", "backups = 3\nrestore_size = \"16MiB\"")
        .replace("[recovery]", "[recovery]\ninto = \"failed-cluster\"");
    let scenario = read(&text).unwrap();
    assert_eq!(scenario.given.restore_bytes, Some(16 << 20));
    assert_eq!(scenario.recovery.into, Destination::FailedCluster);
    assert!(show(&scenario).contains("the first restore goes to a filesystem of its own, of 16 MiB in memory"));
    assert!(show(&scenario).contains("into the directory of the cluster that failed"));
    let refusal = read(&text.replace("16MiB", "16kB")).unwrap_err().to_string();
    assert!(refusal.contains("write at least \"1MiB\""), "{refusal}");
}

#[test]
fn every_refusal_says_what_and_where() {
    let edit = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replacen(from, to, 1)
    };
    let cases = [
        ("TOML syntax", edit("backups = 3", "backups = = 3")),
        ("key twice", edit("backups = 3", "backups = 3\nbackups = 4")),
        ("unknown key", edit("commits", "commit")),
        (
            "unknown key at the top",
            edit("why = \"To learn\"", "why = \"To learn\"\nauthor = \"me\""),
        ),
        ("unknown key of a kind", edit("bytes = 8", "bytes = 8\nofset = 3")),
        ("key of another kind", edit("path = \"**\"", "path = \"**\"\nbytes = 8")),
        ("required key misspelt", edit("title", "titel")),
        ("missing key", edit("title = \"Mine\"\n", "")),
        ("missing key of a kind", edit("bytes = 8\n", "")),
        ("missing table", edit("[expect]", "[expected]")),
        ("wrong type", edit("backups = 3", "backups = \"three\"")),
        ("out of range", edit("backups = 3", "backups = -1")),
        (
            "wrong type of a table",
            edit("[[fault]]\nat = \"after-backups\"", "[fault]\nat = \"after-backups\"")
                .replace("[[fault]]", "[other]"),
        ),
        ("bad duration", edit("1h 30min", "1 fortnight")),
        ("bad id", edit("\"mine\"", "\"My scenario\"")),
        ("empty text", edit("\"To learn\"", "\" \"")),
        ("unknown value", edit("\"synchronous\"", "\"sync\"")),
        ("unknown check", edit("backup-manifest", "backup-manifset")),
        ("unknown outcome", edit("\"recovered\"", "\"restored\"")),
        ("unknown kind", edit("flip-bytes", "flip-byte")),
        ("kind that is not there", edit("flip-bytes", "earthquake")),
        ("unknown moment", edit("after-backups", "after-backup")),
        ("unknown target", edit("backup:latest", "backup:newest")),
        ("target without files", edit("backup:latest", "notifier")),
        ("path that leads out", edit("base/*/*", "../*")),
        ("path that is absolute", edit("\"**\"", "\"/**\"")),
        ("path that is no pattern", edit("base/*/*", "base/a**")),
        (
            "both ends of a choice",
            with_fault(
                "truncate-file",
                "target='cluster'\npath='a'\nkeep_bytes=1\nkeep_percent=2",
            ),
        ),
        (
            "neither end of a choice",
            with_fault("truncate-file", "target='cluster'\npath='a'"),
        ),
        (
            "bad hex",
            with_fault("append-bytes", "target='cluster'\npath='a'\nhex='xyz'"),
        ),
        (
            "bad mode",
            with_fault("chmod", "target='cluster'\npath='a'\nmode='0999'"),
        ),
        (
            "relation and path",
            with_fault("append-bytes", "target='cluster'\npath='a'\nrelation='b'\nhex='00'"),
        ),
        (
            "relation in the archive",
            with_fault("append-bytes", "target='archive'\nrelation='b'\nhex='00'"),
        ),
        (
            "older copy of nothing",
            with_fault("swap-file", "target='cluster'\npath='a'\nfrom='archive'"),
        ),
        (
            "page without its bytes",
            with_fault("corrupt-page", "target='cluster'\nrelation='a'\nblock=1"),
        ),
        (
            "refused to the superuser",
            with_fault("sql", "target='cluster'\nstatements='x'\nrefused=true"),
        ),
        (
            "role that is not there",
            with_fault("sql", "target='cluster'\nstatements='x'\nrole='validator'"),
        ),
        (
            "behaviour of another service",
            with_fault("service", "target='config-store'\ndoes='status'\nstatus=500"),
        ),
        ("no behaviour", with_fault("service", "target='app'\ndoes='dwon'")),
        (
            "cannot be counted",
            with_fault("service", "target='notifier'\ndoes='down'\ntimes=1"),
        ),
        (
            "service of the database",
            with_fault("service", "target='cluster'\ndoes='down'"),
        ),
        (
            "disk that is not its own",
            with_fault("fill-disk", "target='cluster'").replace(", storage_size='128MiB'", ""),
        ),
        (
            "disk that is too small",
            with_fault("fill-disk", "target='cluster'").replace("128MiB", "1MiB"),
        ),
        ("step without a sign", with_fault("clock", "target='cluster'\nstep='2h'")),
        (
            "clock of a cluster that is given up",
            with_fault("clock", "target='cluster'\nstep='-2h'").replace("at='failure'", "at='cutover'"),
        ),
        (
            "unknown role of the operator",
            edit("[expect]", "[operator]\nroles = [\"Admin\"]\n\n[expect]"),
        ),
        (
            "nothing else than nothing",
            edit("detected_by = [\"backup-manifest\"]", "only = true"),
        ),
        ("bad LSN", edit("0/3000028", "3000028")),
        ("bad time", edit("{ lsn = \"0/3000028\" }", "{ time = \"yesterday\" }")),
        (
            "bad recovery target",
            edit("{ lsn = \"0/3000028\" }", "\"before-failur\""),
        ),
        ("target in a dump", edit("\"pgbackrest\"", "\"dump\"")),
        (
            "target without WAL",
            edit("streaming = \"synchronous\"", "archive = false"),
        ),
        (
            "options of two tools",
            edit("backups = 3", "backups = 3\nbackup_options = [\"--compress=9\"]"),
        ),
        (
            "options that lead elsewhere",
            edit("backups = 3", "backups = 3\nbackup_options = [\"--pgdat=/tmp\"]"),
        ),
        (
            "options that are short",
            edit("backups = 3", "backups = 3\nbackup_options = [\"-D\", \"/tmp\"]"),
        ),
        (
            "role for what is no dump",
            edit("backups = 3", "backups = 3\nbackup_role = \"app_admin\""),
        ),
        (
            "expiry of what is no backup",
            with_fault("expire-backup", "target='archive'"),
        ),
        (
            "target before no fault",
            with_fault("chmod", "target='archive'\npath='a'\nmode='0000'") + "[recovery]\ntarget='before-fault'\n",
        ),
        (
            "between one backup",
            with_fault("fill-disk", "target='cluster'")
                .replace("at='failure'", "at='between-backups'")
                .replace("given={", "given={backups=1, "),
        ),
        (
            "broken after a false alarm",
            with_fault("setting", "target='restored'\nname='a'")
                .replace("at='failure'", "at='restored'")
                .replace("recovered", "false-alarm"),
        ),
        (
            "small disk that nothing fills",
            with_fault("clock", "target='cluster'\nstep='-2h'").replace("given={", "given={storage_size='128MiB', "),
        ),
        (
            "small disk on disk",
            with_fault("fill-disk", "target='cluster'").replace("given={", "given={storage='disk', "),
        ),
        (
            "recovered by nobody",
            edit("[expect]", "[operator]\nroles = [\"AppAdmin\"]\n\n[expect]"),
        ),
        (
            "recovered from nothing",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[given]\nbackups=0\n[expect]\noutcome='recovered'\n".to_owned(),
        ),
        (
            "manifest of a dump",
            edit("[\"basebackup\", \"pgbackrest\"]", "\"dump\"").replace("target = { lsn = \"0/3000028\" }", ""),
        ),
        (
            "manifest in a false alarm",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[expect]\noutcome='false-alarm'\ndetected_by=['backup-manifest']\n"
                .to_owned(),
        ),
        (
            "WAL that is not kept",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[given]\narchive=false\n[expect]\noutcome='recovered'\ndetected_by=['wal-continuity']\n"
                .to_owned(),
        ),
        (
            "check that stands twice",
            edit("[\"backup-manifest\"]", "[\"backup-manifest\", \"backup-manifest\"]"),
        ),
        ("missing key beside a like one", edit("at = \"failure\"\n", "")),
        ("step of a recovery", edit("rejected = 1", "at_step = 9")),
        ("step that there is not", edit("rejected = 1", "at_step = 15")),
        (
            "false alarm at another step",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[expect]\noutcome='false-alarm'\nat_step=3\n".to_owned(),
        ),
        (
            "tries in a false alarm",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[expect]\noutcome='false-alarm'\ntries=1\n".to_owned(),
        ),
        (
            "tries before there is a choice",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[expect]\noutcome='refused'\nat_step=2\ntries=1\n".to_owned(),
        ),
        (
            "commits of nobody",
            edit("commits = 600", "commits = 0").replace("rejected = 1", "least_commits = 1"),
        ),
        (
            "answer of no service",
            "id='a'\ntitle='t'\nwhy='w'\nsource='s'\n[expect]\noutcome='not-recovered'\n[[expect.answer]]\nsql='SELECT 1'\nis='1'\n"
                .to_owned(),
        ),
        (
            "answer without a value",
            edit("rejected = 1", "[[expect.answer]]\nsql = \"SELECT 1\""),
        ),
        ("finding that says nothing", edit("rejected = 1", "findings = [\"\"]")),
        ("no versions", edit("commits = 600", "versions = 0")),
        ("more rejected than taken", edit("rejected = 1", "rejected = 4")),
        ("rejected in a false alarm", edit("\"recovered\"", "\"false-alarm\"")),
        ("backup that is not taken", edit("backup:latest", "backup:4")),
        ("backup before it is taken", edit("after-backups", "before-backups")),
        ("restored before it is", edit("backup:latest", "restored")),
        (
            "archive that is not there",
            edit("backup:latest", "archive").replace("backups = 3", "backups = 3\narchive = false"),
        ),
    ];
    let mut text = String::new();
    for (name, toml) in cases {
        let result = read(&toml);
        assert!(result.is_err(), "not refused: {name}");
        let error = result.unwrap_err();
        writeln!(text, "{name}\n  {error}").unwrap();
    }
    insta::assert_snapshot!("refusals", text);
}

#[test]
fn catalogue_has_each_id_once_and_each_file_in_its_place() {
    let a = catalogue::scenario_of(Path::new("one/mine.toml"), GOOD, &words()).unwrap();
    let b = catalogue::scenario_of(Path::new("two/mine.toml"), GOOD, &words()).unwrap();
    let errors = [
        catalogue::sorted(vec![b, a]).unwrap_err().to_string(),
        catalogue::scenario_of(Path::new("one/yours.toml"), GOOD, &words())
            .unwrap_err()
            .to_string(),
        catalogue::scenario_of(Path::new("mine.toml"), GOOD, &words())
            .unwrap_err()
            .to_string(),
        find(&super::all(&words()).unwrap(), "drop-tabel")
            .unwrap_err()
            .to_string(),
        resolve(&["logicle/".to_owned()], &words()).unwrap_err().to_string(),
        resolve(&["./nothing.toml".to_owned()], &words())
            .unwrap_err()
            .to_string(),
    ];
    insta::assert_snapshot!("catalogue_refusals", errors.join("\n"));
}

#[test]
fn catalogue_is_sound() {
    let scenarios = super::all(&words()).unwrap();
    assert!(scenarios.is_sorted_by_key(|scenario| (&scenario.group, &scenario.id)));
    insta::assert_snapshot!("show", show(find(&scenarios, "latest-backup-corrupt").unwrap()));
}

#[test]
fn selectors_are_ids_groups_and_files() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), GOOD).unwrap();
    let selectors = ["drop-table", "logical/", file.path().to_str().unwrap(), "drop-table"].map(str::to_owned);
    let chosen = resolve(&selectors, &words()).unwrap();
    assert_eq!(chosen.iter().filter(|scenario| scenario.id == "drop-table").count(), 1);
    assert_eq!(chosen[0].id, "drop-table");
    assert!(
        chosen
            .iter()
            .any(|scenario| scenario.id == "mine" && scenario.group.is_empty())
    );

    let twin = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(twin.path(), GOOD).unwrap();
    let both = [file.path(), twin.path()].map(|path| path.to_str().unwrap().to_owned());
    assert!(matches!(
        resolve(&both, &words()),
        Err(super::ScenarioError::DuplicateId { .. })
    ));
}

#[test]
fn the_readme_names_everything() {
    let readme = include_str!("../../../scenarios/README.md");
    let names = |all: &[&str]| all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let mut known = names(FaultTarget::NAMES);
    known.extend(fault::kinds().iter().map(|kind| format!("| `{}` |", kind.name)));
    known.extend(names(&Moment::ALL.iter().map(|value| value.name()).collect::<Vec<_>>()));
    known.extend(names(
        &Process::ALL.iter().map(|value| value.name()).collect::<Vec<_>>(),
    ));
    known.extend(names(
        &SignalName::ALL.iter().map(|value| value.name()).collect::<Vec<_>>(),
    ));
    known.extend(names(
        &Streaming::ALL.iter().map(|value| value.name()).collect::<Vec<_>>(),
    ));
    known.extend(names(
        &Behaviour::ALL.iter().map(|value| value.name()).collect::<Vec<_>>(),
    ));
    known.extend(names(
        &ServerDeed::ALL.iter().map(|value| value.name()).collect::<Vec<_>>(),
    ));
    known.extend(names(
        &PageChecksum::ALL.iter().map(|value| value.name()).collect::<Vec<_>>(),
    ));
    known.extend(names(
        &Pick::ALL
            .iter()
            .filter(|pick| **pick != Pick::Largest)
            .map(|value| value.name())
            .collect::<Vec<_>>(),
    ));
    let missing: Vec<_> = known.iter().filter(|name| !readme.contains(*name)).collect();
    assert!(missing.is_empty(), "not in scenarios/README.md: {missing:?}");
}

/// The same rule, said in another way: `**` is any number of names, `*` any characters of one.
fn means(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], path) => !path.is_empty(),
        (["**", rest @ ..], path) => (0..=path.len()).any(|skipped| means(rest, &path[skipped..])),
        ([one, rest @ ..], [name, names @ ..]) => means_name(one, name) && means(rest, names),
        _ => false,
    }
}

fn means_name(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|end| (0..=end.len()).any(|skipped| means_name(rest, &end[skipped..]))),
    }
}

proptest! {
    #[test]
    fn globs_mean_what_the_readme_says(
        pattern in prop::collection::vec("\\*\\*|[ab*]{1,2}|\\.a", 1..4),
        path in prop::collection::vec("[ab]{1,2}|\\.a", 1..4),
    ) {
        // `**` is a name by itself; beside other characters it is refused.
        prop_assume!(pattern.iter().all(|name| *name == "**" || !name.contains("**")));
        let selection = Selection::of(glob::Pattern::new(&pattern.join("/")).unwrap(), None);
        let names = |names: &[String]| names.iter().map(String::as_str).collect::<Vec<_>>().join("/");
        let (pattern_names, path_names): (Vec<_>, Vec<_>) =
            (pattern.iter().map(String::as_str).collect(), path.iter().map(String::as_str).collect());
        prop_assert_eq!(
            selection.matches(&path.join("/")), means(&pattern_names, &path_names),
            "{} and {}", names(&pattern), names(&path)
        );
    }

    #[test]
    fn no_text_makes_the_parser_panic(from in 0..GOOD.len(), length in 0..40_usize, insert in "[\\[\\]{}=\"a1.\n é]{0,4}") {
        let end = (from + length).min(GOOD.len());
        let text = format!("{}{insert}{}", &GOOD[..from], &GOOD[end..]);
        let _ = read(&text).map_err(|error| error.to_string());
    }
}

/// All kinds of faults, and the backup systems of the examples.
pub(super) fn words() -> Vocabulary<'static> {
    static KINDS: LazyLock<Kinds> = LazyLock::new(fault::kinds);
    let physical = Capabilities {
        point_in_time: true,
        physical: true,
        as_any_role: false,
    };
    let dump = Capabilities {
        point_in_time: false,
        physical: false,
        as_any_role: true,
    };
    Vocabulary {
        kinds: &KINDS,
        systems: vec![("basebackup", physical), ("pgbackrest", physical), ("dump", dump)],
    }
}

fn circumstances(system: &str) -> Circumstances<'_> {
    static WORDS: LazyLock<Vocabulary<'static>> = LazyLock::new(words);
    Circumstances {
        system,
        words: &WORDS,
        seed_data: "200 scripts, 3 versions each, 1.5 KiB a version".to_owned(),
        seed: None,
        segment_mb: 1,
        commits: 500,
        writers: 4,
        rpo: Duration::from_millis(10),
        rto: Duration::from_hours(4),
        storage: "in memory, without fsync",
    }
}

#[test]
fn the_plan_of_a_dry_run() {
    let all = catalogue::all(&words()).unwrap();
    let scenario = find(&all, "latest-bad-plus-gap").unwrap();
    insta::assert_snapshot!("plan", plan(scenario, &circumstances("basebackup")));
}

#[test]
fn a_plan_says_what_is_known_of_each_backup() {
    let all = catalogue::all(&words()).unwrap();
    let mut words = String::new();
    for id in [
        "dump-reaches-further",
        "five-methods-fail",
        "wrong-timeline",
        "stop-wal-unarchived",
        "archiver-dead",
        "partial-tail-torn",
        "second-disaster",
    ] {
        let scenario = find(&all, id).unwrap();
        let system = scenario.given.mixed().unwrap_or_else(|| "basebackup".to_owned());
        let text = plan(scenario, &circumstances(&system));
        let (_, rest) = text.split_once("choose from\n").unwrap();
        let candidates = rest.lines().take_while(|line| !line.contains("Recovery target"));
        let _ = writeln!(words, "{id}");
        words.extend(candidates.flat_map(|line| [line, "\n"]));
    }
    insta::assert_snapshot!("plan_candidates", words);
}

#[test]
fn every_plan_names_every_fault_backup_and_check() {
    for scenario in catalogue::all(&words()).unwrap() {
        let system = scenario.given.mixed().unwrap_or_else(|| "basebackup".to_owned());
        let text = plan(&scenario, &circumstances(&system));
        for fault in &scenario.faults {
            assert!(text.contains(&format!("(line {})", fault.line)), "{text}");
        }
        for number in 1..=scenario.given.backups {
            let id = format!("  {}-{number}  ", scenario.given.method(&system, number));
            assert!(text.contains(&id), "{id}: {text}");
        }
        for check in scenario.expect.detected_by.iter().flatten() {
            assert!(text.contains(check.about()), "{text}");
        }
    }
}

#[test]
fn several_methods_in_one_drill_and_segments_by_a_backup_are_read() {
    let mixed = GOOD.replace(
        "backup = [\"basebackup\", \"pgbackrest\"]\nbackups = 3",
        "methods = [\"basebackup\", \"dump\", \"dump\"]",
    );
    let given = read(&mixed).unwrap().given;
    assert_eq!((given.backups, given.mixed().as_deref()), (3, Some("basebackup+dump")));
    assert_eq!(
        (given.method("basebackup+dump", 1), given.method("basebackup+dump", 3)),
        ("basebackup", "dump")
    );
    assert_eq!(given.method("dump", 1), "dump", "--backup decides for all");
    let both = GOOD.replace("backups = 3", "methods = [\"dump\"]");
    assert!(
        read(&both)
            .unwrap_err()
            .to_string()
            .contains("remove `backup` and `backups`")
    );

    let segment = |text: &str| {
        let fault = with_fault("remove-files", &format!("target='archive'\nsegment='{text}'"));
        read(&fault).map(|scenario| scenario.faults[0].files.as_ref().unwrap().segment.unwrap())
    };
    let after = SegmentOf {
        place: SegmentPlace::After,
        backup: Which::Number(2),
    };
    assert_eq!(segment("after backup:2").unwrap(), after);
    let end = SegmentOf {
        place: SegmentPlace::End,
        backup: Which::Latest,
    };
    assert_eq!(segment("end of backup:latest").unwrap(), end);
    for wrong in ["after backup:all", "before backup:1", "after", "end of cluster"] {
        assert!(
            segment(wrong).unwrap_err().to_string().contains("after backup:2"),
            "{wrong}"
        );
    }
    for (target, path) in [
        ("cluster", "segment='after backup:1'"),
        ("archive", "path='*'\nsegment='after backup:1'"),
    ] {
        let refused = read(&with_fault("remove-files", &format!("target='{target}'\n{path}")));
        assert!(refused.is_err(), "{target} {path}");
    }
}

#[test]
fn a_clone_needs_one_backup_and_an_archive() {
    let refused = |target: &str| read(&with_fault("promote-clone", &format!("target='{target}'"))).is_err();
    assert!(!refused("backup:latest") && refused("backup:all") && refused("archive"));
    let without = with_fault("promote-clone", "target='backup:1'").replace("given={", "given={archive=false, ");
    assert!(read(&without).unwrap_err().to_string().contains("keep an archive"));
}
