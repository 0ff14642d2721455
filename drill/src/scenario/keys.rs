//! Keys that several kinds of faults have in common.

use chrono::TimeDelta;

use super::{
    FaultTarget, Keep, Named as _, Pick, Replacement, ScenarioError, SegmentOf, SegmentPlace, Selection, Which,
    item::Item, reader::Table,
};

pub(super) fn files(table: &mut Table<'_>) -> Result<Selection, ScenarioError> {
    let relation = table.take("relation");
    let segment = table.take("segment");
    let pick = table.maybe("pick", Item::choice::<Pick>)?;
    let Some(instead) = relation.or(segment) else {
        return Ok(Selection {
            path: table.need("path", pattern)?,
            pick,
            relation: None,
            segment: None,
        });
    };
    if table.take("path").is_some() || relation.is_some() && segment.is_some() {
        return Err(instead.bad("another key says already which file; keep one of `path`, `relation` and `segment`"));
    }
    Ok(Selection {
        path: glob::Pattern::default(),
        pick,
        relation: relation.map(Item::text).transpose()?,
        segment: segment.map(segment_of).transpose()?,
    })
}

fn segment_of(item: Item<'_>) -> Result<SegmentOf, ScenarioError> {
    let text = item.string()?;
    let read = |place: &SegmentPlace| {
        let backup = text.strip_prefix(place.name())?.strip_prefix(' ')?;
        match FaultTarget::from_name(backup)? {
            FaultTarget::Backup(backup) if backup != Which::All => Some(SegmentOf { place: *place, backup }),
            _ => None,
        }
    };
    SegmentPlace::ALL
        .iter()
        .find_map(read)
        .ok_or_else(|| item.bad("write \"start of\", \"end of\" or \"after\" and one backup: \"after backup:2\""))
}

fn pattern(item: Item<'_>) -> Result<glob::Pattern, ScenarioError> {
    let text = item.text()?;
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(item.bad("a fault stays inside of its target; write a path relative to the target's directory"));
    }
    if text.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(item.bad("it has an empty part; write names or patterns with one `/` between them"));
    }
    glob::Pattern::new(&text)
        .map_err(|error| item.bad(format!("{}; `*` stays within a name, `**` is any depth", error.msg)))
}

pub(super) fn offset(item: Item<'_>) -> Result<u64, ScenarioError> {
    item.integer(0, u64::MAX)
}

pub(super) fn length(table: &mut Table<'_>) -> Result<u64, ScenarioError> {
    table.need("bytes", |item| item.integer(1, u64::MAX))
}

pub(super) fn keep(table: &mut Table<'_>) -> Result<Keep, ScenarioError> {
    let bytes = table.maybe("keep_bytes", |item| item.integer(0, u64::MAX))?;
    let percent = table.take("keep_percent");
    match (bytes, percent) {
        (Some(bytes), None) => Ok(Keep::Bytes(bytes)),
        (None, Some(percent)) => Ok(Keep::Percent(percent.integer(0, 99)?)),
        (Some(_), Some(percent)) => Err(percent.bad("`keep_bytes` says already how much stays; remove one of them")),
        (None, None) => Err(table.missing("keep_bytes")),
    }
}

pub(super) fn replacement(item: Item<'_>) -> Result<Replacement, ScenarioError> {
    let mut table = item.table("`with`")?;
    let path = table.maybe("path", pattern)?;
    let text = table.maybe("text", |text| Ok(text.string()?.to_owned()))?;
    let with = match (path, text) {
        (Some(path), None) => Replacement::File(path),
        (None, Some(text)) => Replacement::Text(text),
        (Some(_), Some(_)) => return Err(item.bad("it has both a `path` and a `text`; remove one of them")),
        (None, None) => return Err(table.missing("path")),
    };
    table.finish()?;
    Ok(with)
}

pub(super) fn mode(item: Item<'_>) -> Result<u32, ScenarioError> {
    let text = item.string()?;
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| item.bad("write permissions as an octal number in quotes: \"0600\""))
}

/// A backup that an older copy comes from.
pub(super) fn older(item: Item<'_>) -> Result<Which, ScenarioError> {
    match FaultTarget::from_name(item.string()?) {
        Some(FaultTarget::Backup(which)) if which != Which::All => Ok(which),
        _ => Err(item.bad("an older copy comes from one backup: backup:latest, backup:oldest or backup:N")),
    }
}

/// A step of a clock: a duration of whole seconds with its sign.
pub(super) fn step(item: Item<'_>) -> Result<TimeDelta, ScenarioError> {
    let bad = || item.bad("write a step of whole seconds with its sign: \"-2h\" or \"+90s\"");
    let text = item.string()?;
    let (forward, length) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(length), _) => (true, length),
        (None, Some(length)) => (false, length),
        (None, None) => return Err(bad()),
    };
    let length = humantime::parse_duration(length).map_err(|_| bad())?;
    let length = TimeDelta::from_std(length).map_err(|_| bad())?;
    if length.subsec_nanos() != 0 || length.is_zero() || length > TimeDelta::days(3650) {
        return Err(bad());
    }
    Ok(if forward { length } else { -length })
}
