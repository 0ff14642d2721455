//! Contents: the rows of every table of every database, and each large object.
//!
//! A table is kept as three numbers ([`Sums`]), a large object as a hash. [`read`] takes a record, which is complete or fails;
//! [`look`] reads a cluster that is to be compared with records, where a table that cannot be read is a finding.
//! [`compare()`] lists the differences.

mod compare;
mod read;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    compare::{Counted, Differences, compare},
    read::{look, read},
};
use crate::reference::fingerprint::{Column, Sums, speaks_of_data};

/// What a cluster's databases hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// By name.
    pub databases: BTreeMap<String, Database>,
}

/// What one holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Database {
    /// By name, as in `"schema"."table"`.
    pub tables: BTreeMap<String, Table>,
    /// Large objects.
    pub large_objects: LargeObjects,
    /// Large objects that the service's own rows refer to: the ledger covers these rows.
    pub referred: BTreeSet<u32>,
    /// Sequences, of a record.
    pub sequences: Sequences,
    /// Why nothing of it can be read.
    pub unreadable: Option<Unreadable>,
}

/// What is kept of a database's sequences, by name, as in `schema.sequence`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sequences {
    /// Sequences whose next number is in use already, or that have no number left.
    pub behind: BTreeSet<String>,
    /// The next number of each sequence that is WAL-logged and does not cycle.
    pub next: BTreeMap<String, i64>,
}

/// A table, a partition or a materialised view.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its columns, by name.
    pub columns: Vec<Column>,
    /// What it is.
    pub kind: TableKind,
    /// Its rows.
    pub rows: Rows,
}

/// The kinds of table that a dump treats differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// Any other.
    Plain,
    /// A partition, with the partitioned table at the root: a dump may load a row into another partition.
    PartOf(String),
    /// Computed from other tables, and computed anew when a dump is restored.
    MaterialisedView,
    /// Made and filled by its extension when a dump is restored.
    OfExtension,
}

/// A table's rows, or why they are not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// What they add up to.
    Sums(Sums),
    /// Another comparison covers them, row by row.
    Elsewhere,
    /// Too many to be read at that moment.
    TooLarge,
    /// A crash empties the table, and no backup brings its rows back.
    Unlogged,
    /// They are on another server.
    Foreign,
    /// A materialised view that was never computed, or emptied.
    Unpopulated,
    /// They are not in the backup, but made anew when a dump is restored.
    MadeByRestore,
    /// The server cannot read them.
    Unreadable(Unreadable),
}

/// A database's large objects.
#[derive(Debug, Clone, PartialEq)]
pub enum LargeObjects {
    /// The hash of each one's bytes and owner.
    Read(BTreeMap<u32, i64>),
    /// Too many to be read at that moment.
    TooLarge,
    /// The server cannot read them.
    Unreadable(Unreadable),
}

impl Default for LargeObjects {
    fn default() -> Self {
        Self::Read(BTreeMap::new())
    }
}

/// Why something cannot be read, without a word of what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What the server said.
    pub message: String,
    /// Whether the error reports damage to the data, and not only a failed attempt.
    pub damaged: bool,
}

impl Unreadable {
    fn of(error: &tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            Some(error) => format!("{} ({})", crate::values::message(error), error.code().code()),
            None => crate::errors::chain(error),
        };
        Self {
            message,
            damaged: speaks_of_data(error),
        }
    }
}

impl Content {
    /// A table of a database.
    pub fn table(&self, database: &str, name: &str) -> Option<&Table> {
        self.databases.get(database)?.tables.get(name)
    }

    /// Tables whose rows another comparison covers, as [`super::Reading`] names them.
    pub fn answered_elsewhere(&self) -> Vec<(String, String)> {
        let all = self.databases.iter().flat_map(|(database, it)| {
            it.tables
                .iter()
                .filter(|(_, table)| table.rows == Rows::Elsewhere)
                .map(|(name, _)| (database.clone(), name.clone()))
        });
        all.collect()
    }
}
