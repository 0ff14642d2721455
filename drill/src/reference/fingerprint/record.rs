//! The fingerprint of a database at one moment, and how the present rows are compared with it.
//!
//! Up to [`ROWS_LIMIT`] rows of a table are recorded with the hash of each, so that rows which may since have changed can
//! be taken out of the sum, and a difference be narrowed down to rows without the lost source. A larger table has sums by
//! ranges of keys instead.

use reports::text::{counted, number};
use tokio_postgres::Config;

use super::{FingerprintError, Grain, Scanned, Section, Sessions, Sums, Task, Within, scan::connections, sections};
use crate::{reference::fingerprint::sections::Changing, values};

/// Most rows of a section that are recorded one by one, with 16 bytes each.
pub const ROWS_LIMIT: u64 = 1 << 20;
/// Ranges have 1,024 keys …
const RANGE_SHIFT: u32 = 10;
/// … and more where that would make more ranges than this.
const RANGES_LIMIT: i64 = 4096;
/// Differing rows that are shown to who may see them.
const SHOWN: usize = 5;
/// Differing ranges that are looked into.
const RANGES_OPENED: usize = 64;

/// What a database held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// Section by section.
    pub sections: Vec<Recorded>,
}

/// What a section held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The section.
    pub section: Section,
    /// All its rows.
    pub total: Sums,
    /// The largest key; the smallest there is if it had no row.
    pub max_key: i64,
    /// More finely.
    pub detail: Detail,
}

/// A section's sums, more finely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// It has no key.
    None,
    /// By `key >> shift`.
    Ranges {
        /// That shift.
        shift: u32,
        /// Ascending.
        sums: Vec<(i64, Sums)>,
    },
    /// Key and hash of each row, ascending.
    Rows(Vec<(i64, i64)>),
}

impl Reference {
    /// Records what the database holds now.
    ///
    /// # Errors
    /// If a table cannot be read; a reference is whole or none.
    pub async fn take(database: &Config, changing: Changing<'_>) -> Result<Self, FingerprintError> {
        let sessions = Sessions::open(database, None, connections()).await?;
        let sections = sections(sessions.client(), changing).await?;
        let mut extents = Vec::with_capacity(sections.len());
        for section in &sections {
            extents.push(Extent::of(&sessions, section).await?);
        }
        let tasks: Vec<_> = sections
            .iter()
            .zip(&extents)
            .map(|(section, extent)| Task {
                section,
                within: Within::default(),
                grain: extent.grain(section),
            })
            .collect();
        let scans = sessions.run(&tasks).await;
        let mut recorded = Vec::with_capacity(tasks.len());
        for ((task, extent), scanned) in tasks.iter().zip(&extents).zip(scans) {
            let scanned = scanned?;
            recorded.push(Recorded {
                section: task.section.clone(),
                total: scanned.total(),
                max_key: extent.max,
                detail: match (scanned, task.grain) {
                    (Scanned::Rows(rows), _) => Detail::Rows(rows),
                    (Scanned::Ranges(sums), Grain::Ranges(shift)) => Detail::Ranges { shift, sums },
                    _ => Detail::None,
                },
            });
        }
        Ok(Self { sections: recorded })
    }

    /// Rows of all tables; those of a table in two sections count once.
    pub fn rows(&self) -> u64 {
        let tables = self.sections.iter().enumerate();
        let first = tables.filter(|(at, it)| {
            !self.sections[..*at]
                .iter()
                .any(|earlier| earlier.section.from == it.section.from)
        });
        first.map(|(_, recorded)| recorded.total.rows).sum()
    }
}

/// How many rows a section has, and from which key to which.
struct Extent {
    rows: u64,
    min: i64,
    max: i64,
}

impl Extent {
    async fn of(sessions: &Sessions, section: &Section) -> Result<Self, FingerprintError> {
        let key = section.key.as_deref().unwrap_or("0::bigint");
        let sql = format!("SELECT count(*), min({key}), max({key}) FROM {}", section.from);
        let read = async {
            let row = sessions.client().query_one(&sql, &[]).await?;
            let (min, max): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
            let rows = row.try_get::<_, i64>(0)?.cast_unsigned();
            Ok(Self {
                rows,
                min: min.unwrap_or(i64::MIN),
                max: max.unwrap_or(i64::MIN),
            })
        };
        read.await.map_err(|source| FingerprintError::Scan {
            section: section.name.clone(),
            source,
        })
    }

    fn grain(&self, section: &Section) -> Grain {
        if section.key.is_none() {
            return Grain::Whole;
        }
        if self.rows <= ROWS_LIMIT {
            return Grain::Rows;
        }
        let too_many = |shift: &u32| (self.max >> shift) - (self.min >> shift) > RANGES_LIMIT;
        Grain::Ranges((RANGE_SHIFT..63).find(|shift| !too_many(shift)).unwrap_or(63))
    }
}

impl Recorded {
    /// Which rows can be compared, and what they must add up to: those recorded (rows with larger keys were added since),
    /// without those that may have changed since (`changed`, ascending).
    pub fn comparable(&self, changed: &[i64]) -> (Within, Sums) {
        let mut within = Within {
            max_key: Some(self.max_key),
            ..Within::default()
        };
        if changed.is_empty() {
            return (within, self.total);
        }
        within.except_shift = self.shift().unwrap_or(0);
        within.except = changed.iter().map(|key| key >> within.except_shift).collect();
        within.except.dedup();
        let kept = |value: i64| within.except.binary_search(&value).is_err();
        let sums = match &self.detail {
            Detail::None => self.total,
            Detail::Ranges { sums, .. } => sums
                .iter()
                .filter(|(range, _)| kept(*range))
                .map(|(_, sums)| *sums)
                .sum(),
            Detail::Rows(rows) => rows
                .iter()
                .filter(|(key, _)| kept(*key))
                .map(|(_, hash)| Sums::of(*hash))
                .sum(),
        };
        (within, sums)
    }

    fn shift(&self) -> Option<u32> {
        match self.detail {
            Detail::Ranges { shift, .. } => Some(shift),
            Detail::None | Detail::Rows(_) => None,
        }
    }

    /// Finds the rows that make the difference: first the ranges of keys whose sums differ, then the rows in these.
    /// One line each.
    ///
    /// # Errors
    /// If the section cannot be read.
    pub async fn narrow(&self, sessions: &Sessions, within: &Within) -> Result<Vec<String>, FingerprintError> {
        let name = &self.section.name;
        let kept = |value: i64| within.except.binary_search(&value).is_err();
        let shift = self.shift().unwrap_or(RANGE_SHIFT);
        let expected = match &self.detail {
            Detail::None => {
                return Ok(vec![format!(
                    "{name} differs; it has no integer key to narrow that down by"
                )]);
            }
            Detail::Ranges { sums, .. } => sums.iter().filter(|(range, _)| kept(*range)).copied().collect(),
            Detail::Rows(rows) => by_range(rows.iter().filter(|(key, _)| kept(*key)), shift),
        };
        let found = match self.scan(sessions, within.clone(), Grain::Ranges(shift)).await? {
            Scanned::Ranges(ranges) => ranges,
            Scanned::Whole(_) | Scanned::Rows(_) => Vec::new(),
        };
        let ranges = differences(&expected, &found);
        if ranges.is_empty() {
            return Ok(vec![format!(
                "{name} differs as a whole, and no range of its keys does on a second reading"
            )]);
        }
        let Detail::Rows(rows) = &self.detail else {
            let rows = |sums: Option<Sums>| sums.map_or(0, |sums| sums.rows);
            let line = |(range, expected, found): &(i64, Option<Sums>, Option<Sums>)| {
                let (first, last) = (range << shift, ((range + 1) << shift) - 1);
                format!(
                    "{name}: keys {first} to {last} differ ({}, {} expected)",
                    counted(rows(*found), "row"),
                    number(rows(*expected))
                )
            };
            return Ok(ranges.iter().map(line).collect());
        };
        let opened: Vec<i64> = ranges.iter().take(RANGES_OPENED).map(|(range, ..)| *range).collect();
        let in_opened = |key: i64| opened.binary_search(&(key >> shift)).is_ok();
        let expected: Vec<_> = rows
            .iter()
            .filter(|(key, _)| kept(*key) && in_opened(*key))
            .copied()
            .collect();
        let only = Within {
            only: Some(opened.clone()),
            only_shift: shift,
            ..within.clone()
        };
        let found = match self.scan(sessions, only, Grain::Rows).await? {
            Scanned::Rows(rows) => rows,
            Scanned::Whole(_) | Scanned::Ranges(_) => Vec::new(),
        };
        let mut lines = Vec::new();
        for (key, expected, found) in differences(&expected, &found) {
            let line = match (expected, found) {
                (Some(_), None) => format!("{name} {key} is missing"),
                (None, _) => format!("{name} {key} was not there"),
                (Some(_), Some(_)) => format!("{name} {key} is not what it was"),
            };
            let row = if found.is_some() && values::are_shown() && lines.len() < SHOWN {
                self.row(sessions, key).await
            } else {
                None
            };
            lines.push(row.map_or_else(|| line.clone(), |row| format!("{line}, it is {}", values::shown(&row))));
        }
        if ranges.len() > opened.len() {
            lines.push(format!(
                "… and rows in {} of {}",
                counted(ranges.len() - opened.len(), "more range"),
                counted(1_u64 << shift, "key")
            ));
        }
        Ok(lines)
    }

    /// A row as it is now, for who may see it. Of what it was only a hash is known.
    async fn row(&self, sessions: &Sessions, key: i64) -> Option<String> {
        let Section { from, key: column, .. } = &self.section;
        let sql = format!(
            "SELECT to_jsonb(r)::text FROM {from} r WHERE {} = {key}",
            column.as_deref()?
        );
        let row = sessions.client().query_opt(&sql, &[]).await.ok()??;
        row.try_get(0).ok()
    }

    async fn scan(&self, sessions: &Sessions, within: Within, grain: Grain) -> Result<Scanned, FingerprintError> {
        let task = [Task {
            section: &self.section,
            within,
            grain,
        }];
        sessions
            .run(&task)
            .await
            .pop()
            .unwrap_or(Ok(Scanned::Whole(Sums::default())))
    }
}

fn by_range<'a>(rows: impl Iterator<Item = &'a (i64, i64)>, shift: u32) -> Vec<(i64, Sums)> {
    let mut ranges: Vec<(i64, Sums)> = Vec::new();
    for (key, hash) in rows {
        let (range, sums) = (key >> shift, Sums::of(*hash));
        match ranges.last_mut() {
            Some((last, total)) if *last == range => *total = total.plus(sums),
            _ => ranges.push((range, sums)),
        }
    }
    ranges
}

/// What differs between two lists in ascending order: the key, what was expected and what was found.
fn differences<T: Copy + PartialEq>(expected: &[(i64, T)], found: &[(i64, T)]) -> Vec<(i64, Option<T>, Option<T>)> {
    let (mut expected, mut found) = (expected.iter().peekable(), found.iter().peekable());
    let mut differences = Vec::new();
    loop {
        let (wanted, there) = (expected.peek().copied(), found.peek().copied());
        match (wanted, there) {
            (None, None) => return differences,
            (Some(&(key, value)), there) if there.is_none_or(|there| key < there.0) => {
                differences.push((key, Some(value), None));
                expected.next();
            }
            (wanted, Some(&(key, value))) if wanted.is_none_or(|wanted| key < wanted.0) => {
                differences.push((key, None, Some(value)));
                found.next();
            }
            (wanted, there) => {
                if let (Some(&(key, wanted)), Some(&(_, there))) = (wanted, there)
                    && wanted != there
                {
                    differences.push((key, Some(wanted), Some(there)));
                }
                expected.next();
                found.next();
            }
        }
    }
}
