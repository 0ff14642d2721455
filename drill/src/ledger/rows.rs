//! What the comparison needs beside the ledger: rows of the recovered database, and what was there before the first operation.
//! Plain data; the service reads the rows.

use super::{History, OperationKind, PgTime};

/// Rows read from the recovered database: those that the workload can have touched, and enough others to notice rows that
/// nobody wrote.
///
/// Keys are all those with an id above [`SeedFacts::max_key`] and those that [`seeded_keys_named`] lists,
/// whether or not the recovered database says that they were touched. Each list is in the order given here, as from
/// `ORDER BY`; [`Recovered::sort`] makes sure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every audit row of an operation, by operation.
    pub audit: Vec<AuditRow>,
    /// The row of each key, by id.
    pub keys: Vec<KeyRow>,
    /// The versions of those keys, by key and version.
    pub versions: Vec<VersionRow>,
    /// Attachments that an operation made, by operation.
    pub attachments: Vec<AttachmentRow>,
    /// The sequences behind identity columns, in any order.
    pub sequences: Vec<SequenceRow>,
    /// Violations of the schema: a NULL where none may be, with table, row and column; a table without its sequence. A row that
    /// cannot be identified without the missing value is only listed here.
    pub malformed: Vec<String>,
}

/// What an operation says of itself in the database. 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditRow {
    /// Number of the operation.
    pub operation: u64,
    /// The key; 0 for null.
    pub key: i64,
    /// The version that the key has afterwards; 0 for null.
    pub version: i32,
    /// What it did; `None` for a text that is no operation's.
    pub kind: Option<OperationKind>,
    /// The writer that it names as its author; `None` for anybody else.
    pub author: Option<u16>,
    /// When it happened.
    pub at: PgTime,
}

/// The row of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub id: i64,
    /// Its current version.
    pub current_version: i32,
    /// Whether it is marked as deleted.
    pub deleted: bool,
    /// [`digest`](crate::ledger::digest) of what else it says.
    pub facts: u64,
    /// When it was made.
    pub created: PgTime,
    /// When it was changed last.
    pub updated: PgTime,
    /// When it was marked as deleted; 0 for null.
    pub deleted_at: PgTime,
}

/// A version of a key. 64 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VersionRow {
    /// The key.
    pub key: i64,
    /// Its number.
    pub version: i32,
    /// First 16 bytes of the SHA-256 of its content as it is now.
    pub content: u128,
    /// First 16 bytes of the hash that is stored with it.
    pub stored: u128,
    /// The writer that it names as its author; `None` for anybody else.
    pub author: Option<u16>,
    /// When it was made.
    pub at: PgTime,
}

/// An attachment, with its large object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachmentRow {
    /// The key.
    pub key: i64,
    /// The operation that made it.
    pub operation: u64,
    /// First 16 bytes of the SHA-256 of the large object's bytes; 0 if there is no such large object.
    pub content: u128,
    /// First 16 bytes of the hash that is stored with it.
    pub stored: u128,
    /// [`digest`](crate::ledger::digest) of the size that is stored with it.
    pub facts: u64,
    /// When it was made.
    pub at: PgTime,
}

/// A sequence behind an identity column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceRow {
    /// Its name or its table's, qualified or not.
    pub name: String,
    /// Whether keys come from it.
    pub is_of_keys: bool,
    /// The last number it gave out: `last_value`, or one less while `is_called` is false.
    pub last_value: i64,
    /// The largest id in its table; 0 if the table is empty.
    pub largest_used: i64,
}

impl Recovered {
    /// Puts the rows in order; quick where they already are.
    pub fn sort(&mut self) {
        self.audit.sort_by_key(|row| row.operation);
        self.keys.sort_by_key(|row| row.id);
        self.versions.sort_by_key(|row| (row.key, row.version));
        self.attachments.sort_by_key(|row| row.operation);
    }

    /// The first of the lists that is not in its order, if one is not.
    pub fn out_of_order(&self) -> Option<&'static str> {
        let ordered = [
            ("audit rows", self.audit.is_sorted_by_key(|row| row.operation)),
            ("key rows", self.keys.is_sorted_by_key(|row| row.id)),
            (
                "version rows",
                self.versions.is_sorted_by_key(|row| (row.key, row.version)),
            ),
            (
                "attachment rows",
                self.attachments.is_sorted_by_key(|row| row.operation),
            ),
        ];
        ordered.into_iter().find(|(_, sorted)| !sorted).map(|(rows, _)| rows)
    }
}

/// What was there before the first operation.
pub struct SeedFacts {
    /// Seeded keys have the ids 1 to this; writers' keys have larger ones.
    pub max_key: i64,
    /// A seeded key as it was seeded; asked only for ids from 1 to [`SeedFacts::max_key`].
    pub key: Box<dyn Fn(i64) -> SeededKey + Send + Sync>,
    /// The names of things, for messages.
    pub called: Called,
}

/// What messages call the things in their examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Called {
    /// One key: `script`.
    pub key: &'static str,
    /// The column that holds the content of a version.
    pub content: &'static str,
    /// The columns whose digest a key's row has.
    pub facts: &'static str,
}

/// A key as it was seeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededKey {
    /// Its versions are 1 to this, which is its current one.
    pub versions: i32,
    /// Whether it was seeded as soft-deleted.
    pub deleted: bool,
    /// When it was last changed, and deleted if it is; 0 if unknown.
    pub changed: PgTime,
}

impl SeedFacts {
    /// The key as it was seeded, if it was.
    pub fn seeded(&self, key: i64) -> Option<SeededKey> {
        (1..=self.max_key).contains(&key).then(|| (self.key)(key))
    }
}

/// The seeded keys that any operation of the ledger concerns, ascending: their rows belong into [`Recovered`].
pub fn seeded_keys_named(history: &History, max_key: i64) -> Vec<i64> {
    let named = history.operations.iter().map(|operation| operation.key);
    let mut keys: Vec<i64> = named.filter(|key| (1..=max_key).contains(key)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
