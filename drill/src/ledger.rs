//! The ledger: what writers sent and what they were promised, journalled outside the database.
//!
//! Every operation is written before it is sent (`invoked`) and again after its answer (`acknowledged`, `rejected`,
//! or `indeterminate` when the connection died with the commit under way). The file is append-only JSON lines; each
//! record is one `write` of one line, so a killed harness leaves at most one torn line at the end. `ledger/history.rs` reads it
//! back into a compact [`History`]; what a history proves is worked out in [`crate::verify::ledger`].

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{postgres::Lsn, record::nanoseconds};

mod facts;
mod history;
mod rows;

pub use facts::{PgTime, author, author_number, digest};
pub use history::{History, LedgerError, Operation, content_prefix};
pub use rows::{
    AttachmentRow, AuditRow, Called, KeyRow, Recovered, SeedFacts, SeededKey, SequenceRow, VersionRow,
    seeded_keys_named,
};

/// The first line: whose ledger this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerHeader {
    /// The run.
    pub run_id: String,
    /// The drill within the run.
    pub drill: String,
    /// Seed of the workload.
    pub seed: u64,
}

/// What an operation does. Each also writes one audit row in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A new key with its version 1.
    #[serde(rename = "create-script")]
    Create,
    /// The next version of a key.
    AddVersion,
    /// Marks a key as deleted.
    SoftDelete,
    /// Takes that back.
    Restore,
    /// A large object beside a key.
    Attach,
}

impl OperationKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create-script",
            Self::AddVersion => "add-version",
            Self::SoftDelete => "soft-delete",
            Self::Restore => "restore",
            Self::Attach => "attach",
        }
    }
}

/// The writer number of the application itself, which the drill asks to write once the service runs again. These commits say
/// nothing about what a restore brought back.
pub const RESUMED: u32 = u32::MAX;

/// What is known of an operation before it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Which writer.
    pub writer: u32,
    /// What it does.
    pub kind: OperationKind,
    /// The key it concerns; a new key's id is known only with the answer.
    #[serde(rename = "script", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<i64>,
    /// The version that the key has afterwards.
    pub version: i32,
    /// SHA-256 of the content or attachment that is written, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The time in every row that it writes: the writer's own, not the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_at: Option<PgTime>,
    /// [`digest`] of what else a new key's row says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<u64>,
    /// Size of an attachment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// What the server answered, and what else became known of the operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The key's id.
    #[serde(rename = "script", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<i64>,
    /// Insert position of the WAL before the commit: the commit record is not before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn_before: Option<Lsn>,
    /// Insert position after the commit: the commit record ends not after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn_after: Option<Lsn>,
    /// "UpdatedAt" of the key as the server's trigger set it, read in the transaction and before its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<PgTime>,
    /// Why, where it was not acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One line of the ledger after the header: flat, so that people can read and grep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Number of the operation: 1, 2, 3 … in the order of invocation.
    op: u64,
    at_utc: DateTime<Utc>,
    /// Nanoseconds on the drill's monotonic clock.
    t_ns: u64,
    phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<OperationKind>,
    #[serde(rename = "script", default, skip_serializing_if = "Option::is_none")]
    key: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows_at: Option<PgTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<String>,
    /// Name of a new key, as ledgers of earlier versions have it.
    #[serde(default, skip_serializing)]
    name: Option<String>,
    /// Its description, likewise.
    #[serde(default, skip_serializing)]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lsn_before: Option<Lsn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lsn_after: Option<Lsn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<PgTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    Invoked,
    Acknowledged,
    Rejected,
    Indeterminate,
}

enum Entry {
    Invoked(Intent),
    Answered(Answered, Answer),
}

/// What is kept of a new key's name and description.
fn facts_of(name: Option<&str>, description: Option<&str>) -> Option<u64> {
    Some(digest([Some(name?), description]))
}

impl Line {
    fn new(op: u64, at_utc: DateTime<Utc>, t_ns: u64, entry: Entry) -> Self {
        let phase = match &entry {
            Entry::Invoked(_) => Phase::Invoked,
            Entry::Answered(Answered::Acknowledged, _) => Phase::Acknowledged,
            Entry::Answered(Answered::Rejected, _) => Phase::Rejected,
            Entry::Answered(Answered::Indeterminate, _) => Phase::Indeterminate,
        };
        let line = Self {
            op,
            at_utc,
            t_ns,
            phase,
            writer: None,
            kind: None,
            key: None,
            version: None,
            sha256: None,
            rows_at: None,
            facts: None,
            name: None,
            description: None,
            size_bytes: None,
            lsn_before: None,
            lsn_after: None,
            updated_at: None,
            reason: None,
        };
        match entry {
            Entry::Invoked(intent) => Self {
                writer: Some(intent.writer),
                kind: Some(intent.kind),
                key: intent.key,
                version: Some(intent.version),
                sha256: intent.sha256,
                rows_at: intent.rows_at,
                facts: intent.facts.map(|facts| format!("{facts:016x}")),
                size_bytes: intent.size_bytes,
                ..line
            },
            Entry::Answered(_, answer) => Self {
                key: answer.key,
                lsn_before: answer.lsn_before,
                lsn_after: answer.lsn_after,
                updated_at: answer.updated_at,
                reason: answer.reason,
                ..line
            },
        }
    }

    /// `None` if an invocation does not say what it does.
    fn into_entry(self) -> Option<Entry> {
        let answered = match self.phase {
            Phase::Invoked => {
                return Some(Entry::Invoked(Intent {
                    writer: self.writer?,
                    kind: self.kind?,
                    key: self.key,
                    version: self.version?,
                    sha256: self.sha256,
                    rows_at: self.rows_at,
                    facts: match self.facts {
                        Some(facts) => u64::from_str_radix(&facts, 16).ok(),
                        None => facts_of(self.name.as_deref(), self.description.as_deref()),
                    },
                    size_bytes: self.size_bytes,
                }));
            }
            Phase::Acknowledged => Answered::Acknowledged,
            Phase::Rejected => Answered::Rejected,
            Phase::Indeterminate => Answered::Indeterminate,
        };
        Some(Entry::Answered(
            answered,
            Answer {
                key: self.key,
                lsn_before: self.lsn_before,
                lsn_after: self.lsn_after,
                updated_at: self.updated_at,
                reason: self.reason,
            },
        ))
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// The commit was acknowledged.
    Acknowledged,
    /// The server refused it, or the connection died before the commit was sent: it cannot be there.
    Rejected,
    /// The commit was sent and never answered (or the harness died before it could note the answer).
    Indeterminate,
}

/// The journal while it is written.
pub struct Ledger {
    path: PathBuf,
    started: Instant,
    next: AtomicU64,
    file: Mutex<(File, Option<io::Error>)>,
}

impl Ledger {
    /// Starts a new ledger; times count from `started`.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn create(path: &Path, header: &LedgerHeader, started: Instant) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let mut line = serde_json::to_vec(header)?;
        line.push(b'\n');
        file.write_all(&line)?;
        Ok(Self {
            path: path.to_owned(),
            started,
            next: AtomicU64::new(1),
            file: Mutex::new((file, None)),
        })
    }

    /// Goes on with a ledger that was closed, after the operations that `history` read from it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn reopen(path: &Path, history: &History, started: Instant) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            started,
            next: AtomicU64::new(history.operations.len() as u64 + 1),
            file: Mutex::new((OpenOptions::new().append(true).open(path)?, None)),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Journals an operation that is about to be sent and returns its number; `None` if it could not be journalled,
    /// and then it must not be sent.
    pub fn invoked(&self, intent: Intent) -> Option<u64> {
        let op = self.next.fetch_add(1, Ordering::Relaxed);
        self.append(op, Entry::Invoked(intent)).then_some(op)
    }

    /// Journals an operation's answer.
    pub fn answered(&self, op: u64, answered: Answered, answer: Answer) {
        self.append(op, Entry::Answered(answered, answer));
    }

    /// The first error that stood in the way of a complete journal.
    ///
    /// # Errors
    /// That error.
    pub fn close(&self) -> io::Result<()> {
        match self.file.lock().unwrap_or_else(PoisonError::into_inner).1.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn append(&self, op: u64, entry: Entry) -> bool {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Stamped under the lock: the file's order is the order of its times.
        let line = Line::new(op, Utc::now(), nanoseconds(self.started.elapsed()), entry);
        let written = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            file.0.write_all(&line)
        });
        match written {
            Ok(()) => true,
            Err(error) => {
                file.1.get_or_insert(error);
                false
            }
        }
    }
}
