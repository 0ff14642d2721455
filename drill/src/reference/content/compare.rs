//! Compares the contents of a cluster with what was recorded.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reports::text::{counted, number};

use super::{
    super::{Record, Scope, Truth},
    Content, Database, LargeObjects, Rows, Table, TableKind, Unreadable,
};
use crate::reference::fingerprint::Sums;

/// How what was found differs from what was recorded. Each entry is for people and begins with a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many tables and large objects are as recorded.
    pub alike: Counted,
    /// What is wrong: the table first, then how.
    pub wrong: Vec<String>,
    /// What could not be looked at.
    pub unknown: Vec<String>,
    /// Tables that the service changed around the recovery point: whatever they hold is right.
    pub changed: Vec<String>,
    /// Tables that are not compared, by the reason.
    pub not_compared: BTreeMap<&'static str, Vec<String>>,
    /// Tables that no record knows.
    pub unknown_to_records: Vec<String>,
}

/// How many tables, and how many large objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tables.
    pub tables: usize,
    /// Large objects.
    pub large_objects: usize,
}

/// Compares what was found with the truth.
pub fn compare(truth: &Truth, found: &Content) -> Differences {
    let contents = |records: &'_ [Arc<Record>], of: fn(&Content) -> Cow<'_, Content>| -> Vec<Content> {
        records.iter().map(|record| of(&record.content).into_owned()).collect()
    };
    let as_is: fn(&Content) -> Cow<'_, Content> = |content| Cow::Borrowed(content);
    let of = match &truth.scope {
        Scope::Database(_) => |content: &Content| Cow::Owned(content.as_dumped()),
        Scope::Cluster | Scope::Source => as_is,
    };
    let (before, after) = (contents(&truth.before, of), contents(&truth.after, of));
    Comparison {
        before: &before,
        after: &after,
        serving: truth.scope == Scope::Source,
    }
    .run(&of(found))
}

/// What the records on one side of the recovery point, the nearest first, say of something.
enum Known<'a, T> {
    /// There is no record.
    NoRecord,
    /// None of them has read it.
    Unread,
    /// It was not there; `nearest` if the nearest record says so, and not one farther away.
    Absent { nearest: bool },
    /// This is what it was.
    As { it: &'a T, nearest: bool },
}

impl<'a, T> Known<'a, T> {
    /// Goes through records; `left_out` says of what is there that it was not read.
    fn of(records: impl Iterator<Item = Option<&'a T>>, left_out: impl Fn(&T) -> bool) -> Self {
        let mut known = Self::NoRecord;
        for (at, it) in records.enumerate() {
            let nearest = at == 0;
            match it {
                Some(it) if left_out(it) => known = Self::Unread,
                Some(it) => return Self::As { it, nearest },
                None => return Self::Absent { nearest },
            }
        }
        known
    }
}

/// What follows from both sides.
enum Decision<'a, T> {
    MustBe(&'a T),
    Changed,
    /// No record has it.
    NotOurs,
    /// It was there and was not read.
    NotRead,
}

/// Where both sides agree, it must be so; where they differ, the service changed it; without a later record the earlier
/// one decides, if it is the nearest.
fn decide<'a, T: PartialEq>(before: &Known<'a, T>, after: &Known<'a, T>) -> Decision<'a, T> {
    match (before, after) {
        (Known::As { it, .. }, Known::As { it: then, .. }) if *it == *then => Decision::MustBe(it),
        (Known::As { it, nearest: true }, Known::NoRecord) => Decision::MustBe(it),
        (Known::As { .. }, Known::NoRecord | Known::Unread) | (Known::Absent { nearest: false } | Known::Unread, _) => {
            Decision::NotRead
        }
        (Known::As { .. }, Known::As { .. } | Known::Absent { .. })
        | (Known::Absent { nearest: true }, Known::As { .. } | Known::Unread) => Decision::Changed,
        (Known::Absent { nearest: true }, Known::NoRecord | Known::Absent { .. }) | (Known::NoRecord, _) => {
            Decision::NotOurs
        }
    }
}

const TOO_LARGE: &str = "too large to be read when it was last recorded";

struct Comparison<'a> {
    before: &'a [Content],
    after: &'a [Content],
    /// Whether it is being written to.
    serving: bool,
}

impl<'a> Comparison<'a> {
    fn run(&self, found: &Content) -> Differences {
        let mut differences = Differences::default();
        let all = self.before.iter().chain(self.after).chain([found]);
        let names: BTreeSet<&str> = all
            .flat_map(|content| content.databases.keys().map(String::as_str))
            .collect();
        for name in names {
            match found.databases.get(name) {
                Some(Database {
                    unreadable: Some(why), ..
                }) => differences.unreadable(name, why),
                Some(database) => {
                    self.tables(name, database, &mut differences);
                    self.large_objects(name, database, &mut differences);
                }
                None => self.missing(name, &mut differences),
            }
        }
        differences
    }

    /// A database that is not there: one line for all that was in it.
    fn missing(&self, database: &str, differences: &mut Differences) {
        let mut gone = Differences::default();
        self.tables(database, &Database::default(), &mut gone);
        if !gone.wrong.is_empty() {
            let tables = gone.wrong.len();
            differences.wrong.push(format!(
                "database {database} is not there, with its {}",
                counted(tables, "table")
            ));
        }
        differences.changed.extend(gone.changed);
    }

    fn tables(&self, database: &str, found: &Database, differences: &mut Differences) {
        let recorded = self.before.iter().chain(self.after);
        let names: BTreeSet<&str> = recorded
            .filter_map(|content| content.databases.get(database))
            .chain([found])
            .flat_map(|it| it.tables.keys())
            .map(String::as_str)
            .collect();
        for name in names {
            let left_out = |table: &Table| table.rows == Rows::TooLarge;
            let known = |side: &'a [Content]| Known::of(side.iter().map(|it| it.table(database, name)), left_out);
            let (before, after) = (known(self.before), known(self.after));
            let told = format!("{database}.{name}");
            match decide(&before, &after) {
                Decision::MustBe(expected) => differences.table(told, expected, found.tables.get(name)),
                Decision::Changed => differences.changed.push(told),
                Decision::NotRead => differences.leave_out(TOO_LARGE, told),
                Decision::NotOurs => differences.unknown_to_records.push(told),
            }
        }
    }

    fn large_objects(&self, database: &str, found: &Database, differences: &mut Differences) {
        let left_out = |objects: &LargeObjects| *objects == LargeObjects::TooLarge;
        let known = |side: &'a [Content]| {
            let objects = side
                .iter()
                .map(|content| content.databases.get(database).map(|it| &it.large_objects));
            Known::of(objects, left_out)
        };
        let told = || format!("{database}, large objects");
        let (before, after) = match (known(self.before), known(self.after)) {
            (Known::As { it, nearest: true }, Known::NoRecord) => (it, None),
            (Known::As { it, .. }, Known::As { it: then, .. }) => (it, Some(then)),
            (Known::As { .. } | Known::Unread | Known::Absent { nearest: false }, Known::NoRecord | Known::Unread) => {
                return differences.leave_out(TOO_LARGE, told());
            }
            // The whole database came or went about then.
            _ => return,
        };
        let (LargeObjects::Read(before), None | Some(LargeObjects::Read(_))) = (before, after) else {
            return; // a record has read them or left them out
        };
        let after = match after {
            Some(LargeObjects::Read(after)) => Some(after),
            _ => None,
        };
        let there = match &found.large_objects {
            LargeObjects::Read(there) => there,
            LargeObjects::TooLarge => return differences.leave_out(TOO_LARGE, told()),
            LargeObjects::Unreadable(why) => return differences.unreadable(&told(), why),
        };
        for (oid, hash) in before {
            if after.is_some_and(|after| after.get(oid) != Some(hash)) {
                differences.changed.push(format!("{database}, large object {oid}"));
                continue;
            }
            match there.get(oid) {
                Some(found) if found == hash => differences.alike.large_objects += 1,
                Some(_) => differences
                    .wrong
                    .push(format!("{database}, large object {oid}: is not what it was")),
                None => differences
                    .wrong
                    .push(format!("{database}, large object {oid}: is missing")),
            }
        }
        if after.is_none() && !self.serving {
            let extra = there
                .keys()
                .filter(|oid| !before.contains_key(oid) && !found.referred.contains(oid));
            differences
                .wrong
                .extend(extra.map(|oid| format!("{database}, large object {oid}: was not there")));
        }
    }
}

impl Differences {
    fn unreadable(&mut self, name: &str, why: &Unreadable) {
        let line = format!("{name}: cannot be read: {}", why.message);
        if why.damaged {
            self.wrong.push(line);
        } else {
            self.unknown.push(line);
        }
    }

    fn leave_out(&mut self, why: &'static str, name: String) {
        self.not_compared.entry(why).or_default().push(name);
    }

    fn table(&mut self, name: String, expected: &Table, found: Option<&Table>) {
        let sums = match &expected.rows {
            Rows::Sums(sums) => sums,
            rows => {
                // Whether it is there at all, and what it is, is for the inventory.
                if let (Rows::MadeByRestore, Some(Rows::Unpopulated)) = (rows, found.map(|found| &found.rows)) {
                    self.wrong.push(format!("{name}: was not computed"));
                } else if let Some(why) = rows.without_comparison() {
                    self.leave_out(why, name);
                }
                return;
            }
        };
        let Some(found) = found else {
            return self
                .wrong
                .push(format!("{name}: is not there, with its {}", counted(sums.rows, "row")));
        };
        match &found.rows {
            // What the columns are called is for the inventory.
            Rows::Sums(there) if there == sums => self.alike.tables += 1,
            Rows::Sums(there) if found.columns == expected.columns => {
                self.wrong.push(rows_differ(&name, *there, *sums));
            }
            Rows::Sums(_) => self.wrong.push(format!("{name}: has other columns")),
            Rows::Unreadable(why) => self.unreadable(&name, why),
            Rows::TooLarge | Rows::Elsewhere => self.leave_out(TOO_LARGE, name),
            Rows::Unpopulated => self.wrong.push(format!(
                "{name}: is not computed, {} expected",
                counted(sums.rows, "row")
            )),
            Rows::Unlogged | Rows::Foreign | Rows::MadeByRestore => {
                self.wrong
                    .push(format!("{name}: is no longer a table whose rows are kept"));
            }
        }
    }
}

fn rows_differ(name: &str, found: Sums, expected: Sums) -> String {
    if found.rows == expected.rows {
        format!("{name}: {}, and not all are what they were", counted(found.rows, "row"))
    } else {
        format!(
            "{name}: {}, {} expected",
            counted(found.rows, "row"),
            number(expected.rows)
        )
    }
}

impl Rows {
    /// Why rows are not compared, in words; none if another comparison does, or there are none.
    fn without_comparison(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge => Some(TOO_LARGE),
            Self::Unlogged => Some("unlogged, so that no backup brings its rows back"),
            Self::Foreign => Some("of another server"),
            Self::MadeByRestore => Some("made anew when a dump is restored"),
            Self::Sums(_) | Self::Elsewhere | Self::Unpopulated | Self::Unreadable(_) => None,
        }
    }
}

impl Content {
    /// The part of it that a dump restores.
    fn as_dumped(&self) -> Self {
        let databases = self.databases.iter();
        Self {
            databases: databases.map(|(name, it)| (name.clone(), it.as_dumped())).collect(),
        }
    }
}

impl Database {
    /// All partitions as one table, without the rows that a dump does not hold.
    fn as_dumped(&self) -> Self {
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        for (name, table) in &self.tables {
            let (name, table) = match &table.kind {
                TableKind::PartOf(root) => (Cow::Borrowed(root), table.clone()),
                TableKind::MaterialisedView | TableKind::OfExtension if matches!(table.rows, Rows::Sums(_)) => {
                    let rows = Rows::MadeByRestore;
                    (Cow::Borrowed(name), Table { rows, ..table.clone() })
                }
                _ => (Cow::Borrowed(name), table.clone()),
            };
            match (tables.get_mut(&*name).map(|first| &mut first.rows), table.rows.clone()) {
                (Some(Rows::Sums(sums)), Rows::Sums(more)) => *sums = sums.plus(more),
                // Of one partition that was not read, nothing is known of the table.
                (Some(rows @ Rows::Sums(_)), not_read) => *rows = not_read,
                (Some(_), _) => {}
                (None, _) => {
                    tables.insert(name.into_owned(), table);
                }
            }
        }
        Self {
            tables,
            large_objects: self.large_objects.clone(),
            referred: self.referred.clone(),
            sequences: self.sequences.clone(),
            unreadable: self.unreadable.clone(),
        }
    }
}
