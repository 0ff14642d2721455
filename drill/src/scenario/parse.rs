//! Reads a scenario file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use reports::{CheckId, Outcome, Role};
use toml::de::{DeTable, DeValue};

use super::{
    Destination, Expect, Fault, FaultTarget, Given, KINDS, Moment, ObjectivesOverride, RecoveryWish, Scenario,
    ScenarioError, StorageWish, Streaming, Target,
    item::Item,
    named::hint,
    reader::{Source, Table},
    rules,
};

/// Below this a cluster and some seed data find no room.
const MINIMUM_STORAGE: u64 = 96 << 20;

/// Reads a user's file.
pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
    let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path, "")
}

/// Reads a scenario from `text`, which came from `path` and belongs to `group` (empty outside the catalogue).
pub fn parse(text: &str, path: &Path, group: &str) -> Result<Scenario, ScenarioError> {
    let file = path.display().to_string();
    let source = Source { file: &file, text };
    let document = DeTable::parse(text).map_err(|error| ScenarioError::Syntax {
        place: source.place(error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', "; "),
    })?;

    let mut top = Table::new(source, "the file", 0, document.get_ref());
    let id = top.need("id", id)?;
    let title = top.need("title", Item::text)?;
    let why = top.need("why", Item::text)?;
    let origin = top.need("source", Item::text)?;
    let given = top.take("given");
    let operator_item = top.take("operator");
    let roles = operator_item.map(operator).transpose()?.flatten();
    let recovery = top.take("recovery");
    let objectives = top.maybe("objectives", objectives)?;
    let faults = top.maybe("fault", faults)?.unwrap_or_default();
    let expect = top.need("expect", Ok)?;
    let scenario = Scenario {
        id,
        title,
        why,
        source: origin,
        group: group.to_owned(),
        given: given.map(read_given).transpose()?.unwrap_or_default(),
        objectives: objectives.unwrap_or_default(),
        faults: faults.iter().map(|(fault, _)| fault.clone()).collect(),
        roles,
        recovery: recovery.map(read_recovery).transpose()?.unwrap_or_default(),
        expect: read_expect(expect)?,
        path: PathBuf::from(path),
        text: text.to_owned(),
    };
    top.finish()?;

    let places = rules::Places {
        given: given.map_or(0, |item| item.start()),
        operator: operator_item.map_or(0, |item| item.start()),
        recovery: recovery.map_or(0, |item| item.start()),
        faults: faults.iter().map(|(_, start)| *start).collect(),
        expect: expect.start(),
    };
    rules::check(&scenario, source, &places)?;
    Ok(scenario)
}

fn id(item: Item<'_>) -> Result<String, ScenarioError> {
    let text = item.text()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text)
    } else {
        Err(item.bad("an id names a directory; use small letters, digits and `-` between them"))
    }
}

fn read_given(item: Item<'_>) -> Result<Given, ScenarioError> {
    let mut table = item.table("[given]")?;
    let unsaid = Given::default();
    let names = |item: Item<'_>| item.one_or_more()?.into_iter().map(Item::text).collect();
    let backup: Option<Vec<String>> = table.maybe("backup", names)?;
    let backups = table.maybe("backups", |item| item.count(0))?;
    let methods = table.take("methods");
    if let Some(item) = methods.filter(|_| backup.is_some() || backups.is_some()) {
        return Err(item.bad("it names the system of each backup; remove `backup` and `backups`"));
    }
    let methods: Vec<String> = methods.map(names).transpose()?.unwrap_or_default();
    let count = match methods.len() {
        0 => unsaid.backups,
        several => u32::try_from(several).unwrap_or(u32::MAX),
    };
    let given = Given {
        backup: backup.unwrap_or_default(),
        methods,
        backups: backups.unwrap_or(count),
        wal_in_backup: table
            .maybe("wal_in_backup", Item::boolean)?
            .unwrap_or(unsaid.wal_in_backup),
        backup_options: table.maybe("backup_options", backup_options)?.unwrap_or_default(),
        backup_role: table.maybe("backup_role", |item| {
            item.one_of(&fixtures::Role::ALL, fixtures::Role::name)
        })?,
        foreign_backup: table
            .maybe("foreign_backup", Item::boolean)?
            .unwrap_or(unsaid.foreign_backup),
        archive: table.maybe("archive", Item::boolean)?.unwrap_or(unsaid.archive),
        streaming: table
            .maybe("streaming", Item::choice::<Streaming>)?
            .unwrap_or(unsaid.streaming),
        commits: table.maybe("commits", |item| item.integer(0, u64::MAX))?,
        writers: table.maybe("writers", |item| item.count(1))?,
        storage: table.maybe("storage", Item::choice::<StorageWish>)?,
        storage_bytes: table.maybe("storage_size", |item| size(item, MINIMUM_STORAGE))?,
        restore_bytes: table.maybe("restore_size", |item| size(item, 1 << 20))?,
        settings: table.maybe("settings", settings)?.unwrap_or_default(),
    };
    table.finish()?;
    Ok(given)
}

/// Options of a backup tool, each with its value behind a `=`; none that leads it elsewhere.
fn backup_options(item: Item<'_>) -> Result<Vec<String>, ScenarioError> {
    const PLACES: [&str; 13] = [
        "pgdata",
        "file",
        "target",
        "waldir",
        "tablespace-mapping",
        "config",
        "host",
        "port",
        "username",
        "dbname",
        "slot",
        "snapshot",
        "format",
    ];
    let option = |item: Item<'_>| {
        let text = item.text()?;
        let name = text
            .strip_prefix("--")
            .map(|long| long.split('=').next().unwrap_or_default());
        match name {
            None | Some("") => Err(item.bad("write a long option, its value behind a `=`: \"--compress=9\"")),
            // Tools take a name that is cut short as well.
            Some(name) if PLACES.iter().any(|place| place.starts_with(name)) => {
                Err(item.bad("where a backup comes from and goes to is not the scenario's to say; leave it out"))
            }
            Some(_) => Ok(text),
        }
    };
    item.list()?.into_iter().map(option).collect()
}

/// A size such as `64MiB`, and not less than what can be meant.
fn size(item: Item<'_>, least: u64) -> Result<u64, ScenarioError> {
    let bytes = item.string()?.parse::<bytesize::ByteSize>();
    let bytes = bytes.map_err(|_| item.bad("write a size such as \"128MiB\""))?.as_u64();
    match bytes {
        bytes if bytes >= least => Ok(bytes),
        _ => Err(item.bad(format!("that is too little; write at least \"{}MiB\"", least >> 20))),
    }
}

pub(super) const ROLES: [(Role, &str); 3] = [
    (Role::RecoveryOperator, "RecoveryOperator"),
    (Role::AppAdmin, "AppAdmin"),
    (Role::Validator, "Validator"),
];

/// The roles of `[operator]`.
fn operator(item: Item<'_>) -> Result<Option<Vec<Role>>, ScenarioError> {
    let mut table = item.table("[operator]")?;
    let roles = table.maybe("roles", |item| {
        let roles = item
            .list()?
            .into_iter()
            .map(|item| item.one_of(&ROLES, |(_, name)| name));
        roles.map(|role| role.map(|(role, _)| role)).collect()
    })?;
    table.finish()?;
    Ok(roles)
}

fn settings(item: Item<'_>) -> Result<BTreeMap<String, String>, ScenarioError> {
    item.table("`settings`")?
        .rest()
        .map(|item| {
            let value = match item.value() {
                DeValue::String(text) => text.to_string(),
                DeValue::Boolean(true) => "on".to_owned(),
                DeValue::Boolean(false) => "off".to_owned(),
                DeValue::Integer(_) => item.integer_text()?,
                DeValue::Float(number) => number.as_str().to_owned(),
                _ => return Err(item.wrong_type("a string, a number, or true or false")),
            };
            Ok((item.key().to_owned(), value))
        })
        .collect()
}

fn objectives(item: Item<'_>) -> Result<ObjectivesOverride, ScenarioError> {
    let mut table = item.table("[objectives]")?;
    let objectives = ObjectivesOverride {
        rpo: table.maybe("rpo", Item::duration)?,
        rto: table.maybe("rto", Item::duration)?,
    };
    table.finish()?;
    Ok(objectives)
}

/// The faults, each with the offset at which it begins.
fn faults(item: Item<'_>) -> Result<Vec<(Fault, usize)>, ScenarioError> {
    let list = item
        .list()
        .map_err(|_| item.wrong_type("a list of tables, each beginning with [[fault]]"))?;
    list.into_iter().map(|item| Ok((fault(item)?, item.start()))).collect()
}

fn fault(item: Item<'_>) -> Result<Fault, ScenarioError> {
    let mut table = item.table("[[fault]]")?;
    let at = table.need("at", Item::choice::<Moment>)?;
    let kind = table.need("kind", |item| {
        let name = item.string()?;
        let names = || KINDS.iter().map(|kind| kind.name);
        KINDS
            .iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| item.bad(format!("no such kind of fault; {}", hint(name, names()))))
    })?;
    let target = table.need("target", |item| {
        let name = item.string()?;
        let target =
            FaultTarget::from_name(name).ok_or_else(|| item.bad(hint(name, FaultTarget::NAMES.iter().copied())))?;
        if !kind.needs.met_by(target) {
            return Err(item.bad(format!("`{}` acts on {}", kind.name, kind.needs.targets())));
        }
        Ok(target)
    })?;
    let action = kind.read(&mut table)?;
    table.finish()?;
    Ok(Fault {
        at,
        target,
        action,
        line: item.place().line,
    })
}

fn read_recovery(item: Item<'_>) -> Result<RecoveryWish, ScenarioError> {
    let mut table = item.table("[recovery]")?;
    let target = table.maybe("target", target)?.unwrap_or_default();
    let into = table
        .maybe("into", Item::choice::<Destination>)?
        .unwrap_or(Destination::New);
    table.finish()?;
    Ok(RecoveryWish { target, into })
}

fn target(item: Item<'_>) -> Result<Target, ScenarioError> {
    if let Some(name) = item.value().as_str() {
        return match name {
            "end" => Ok(Target::End),
            "before-failure" => Ok(Target::BeforeFailure),
            "before-fault" => Ok(Target::BeforeFault),
            _ => Err(item.bad(format!(
                "an LSN or a time goes into a table, {{ lsn = \"0/3000028\" }}; {}",
                hint(name, Target::NAMES)
            ))),
        };
    }
    let mut table = item
        .table("`target`")
        .map_err(|_| item.wrong_type("a name, { lsn = \"…\" }, { time = \"…\" } or { moment = \"…\" }"))?;
    let lsn = table.maybe("lsn", lsn)?;
    let time = table.maybe("time", time)?;
    let moment = table.maybe("moment", moment_before_the_failure)?;
    let target = match (lsn, time, moment) {
        (Some(lsn), None, None) => Target::Lsn(lsn),
        (None, Some(time), None) => Target::Time(time),
        (None, None, Some(moment)) => Target::Moment(moment),
        (None, None, None) => return Err(table.missing("lsn")),
        _ => return Err(item.bad("it has more than one of `lsn`, `time` and `moment`; leave one of them")),
    };
    table.finish()?;
    Ok(target)
}

fn moment_before_the_failure(item: Item<'_>) -> Result<Moment, ScenarioError> {
    let moment = item.choice::<Moment>()?;
    if Target::MOMENTS.contains(&moment) {
        return Ok(moment);
    }
    Err(item.bad(format!(
        "at {moment} there is nothing left to recover to; name a moment up to `failure`"
    )))
}

fn lsn(item: Item<'_>) -> Result<String, ScenarioError> {
    let text = item.string()?;
    let half = |part: &str| (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_hexdigit());
    match text.split_once('/') {
        Some((high, low)) if half(high) && half(low) => Ok(text.to_owned()),
        _ => Err(item.bad("write an LSN as PostgreSQL does: \"0/3000028\"")),
    }
}

fn time(item: Item<'_>) -> Result<DateTime<Utc>, ScenarioError> {
    let text = match item.value() {
        DeValue::Datetime(time) => time.to_string(),
        _ => item.string()?.to_owned(),
    };
    DateTime::parse_from_rfc3339(&text)
        .map(|time| time.to_utc())
        .map_err(|_| item.bad("write a time with its offset, as in RFC 3339: \"2026-01-31T12:00:00Z\""))
}

pub(super) const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Recovered, "recovered"),
    (Outcome::RecoveredRpoMissed, "recovered-rpo-missed"),
    (Outcome::RecoveredRtoMissed, "recovered-rto-missed"),
    (Outcome::RecoveredBothMissed, "recovered-both-missed"),
    (Outcome::NotRecovered, "not-recovered"),
    (Outcome::Refused, "refused"),
    (Outcome::FalseAlarm, "false-alarm"),
];

fn read_expect(item: Item<'_>) -> Result<Expect, ScenarioError> {
    let mut table = item.table("[expect]")?;
    let expect = Expect {
        outcome: table
            .need("outcome", |item| item.one_of(&OUTCOMES, |(_, name)| name))?
            .0,
        detected_by: table.maybe("detected_by", |item| {
            item.list()?
                .into_iter()
                .map(|item| item.one_of(CheckId::ALL, CheckId::id))
                .collect()
        })?,
        only: table.maybe("only", Item::boolean)?.unwrap_or(false),
        rejected: table.maybe("rejected", |item| item.count(0))?,
    };
    table.finish()?;
    Ok(expect)
}
