//! What writers do, and which rows that leaves.
//!
//! An operation is one transaction on one *key*: it creates the key with its version 1, adds a version, marks the key as deleted
//! or takes that back, or puts an attachment beside it. Each leaves an audit row besides. Pacing, the ledger and the answer to
//! a commit are the workload's; what is written, and how it is read back, is the service's.

use futures_util::future::BoxFuture;
use tokio_postgres::{Client, Statement};

use super::Served;
use crate::ledger::{Answer, Intent, OperationKind, Recovered, SeedFacts};

/// What writers do, and which rows that leaves.
pub trait Writes: Send + Sync {
    /// What was there before the first operation.
    fn seed(&self) -> SeedFacts;

    /// One writer.
    fn writer(&self, share: Share) -> Box<dyn Writer>;

    /// Seeded keys that so many writers may change, ascending.
    fn theirs(&self, writers: u32) -> Vec<i64>;

    /// Reads every row that came after the seed, and those of the seeded keys in `touched`, as the read-only role and in one
    /// snapshot.
    fn read<'a>(
        &'a self,
        validator: &'a mut Client,
        touched: Vec<i64>,
    ) -> BoxFuture<'a, Result<Rows, tokio_postgres::Error>>;

    /// The tables whose rows are counted, each with those that were seeded.
    fn tables(&self) -> Vec<(&'static str, u64)>;

    /// The tables to which an operation adds a row.
    fn adds_to(&self, kind: OperationKind) -> &'static [&'static str];

    /// What a key holds, or one version of it, for those who may see it.
    fn value<'a>(&'a self, validator: &'a Client, key: i64, version: Option<i32>) -> BoxFuture<'a, Option<String>>;
}

/// Which part of the work is one writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Number of the writer, from 0.
    pub number: u32,
    /// How many there are.
    pub writers: u32,
    /// Seed of every random choice.
    pub seed: u64,
}

/// One writer's idea of what to write. It has a share of the keys to itself, so that the order of what happens to a key is
/// the order of its operations.
pub trait Writer: Send + Sync {
    /// What to do next; everything that is needed to say so before it is sent.
    fn next(&mut self) -> Planned;

    /// Prepares the statements of a new connection.
    fn prepare<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, Result<Vec<Statement>, tokio_postgres::Error>>;

    /// Does what was planned as operation `number`, in a transaction that is open. Its last statement tells the insert position
    /// of the WAL, which goes into the answer with whatever else becomes known.
    fn write<'a>(
        &'a self,
        client: &'a Client,
        statements: &'a [Statement],
        number: u64,
        planned: &'a Planned,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Result<(), WriteError>>;

    /// It was acknowledged: the keys are as it left them.
    fn acknowledged(&mut self, planned: &Planned, answer: &Answer);

    /// Nobody knows what became of it, or it contradicts what is there: its key is left alone from now on.
    fn given_up(&mut self, planned: &Planned);
}

/// An operation that is about to be sent.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What is journalled of it.
    pub intent: Intent,
    /// Which of the writer's keys it is about; none for a new one.
    pub owned: Option<usize>,
    /// What it writes and nobody journals.
    pub texts: Vec<String>,
}

/// What was read of a database that writers wrote to.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// For the ledger.
    pub recovered: Recovered,
    /// What the application must serve.
    pub served: Option<Served>,
}

/// Why an operation came to nothing before its commit.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The key that it changes is not there.
    #[error("what it changes is not there")]
    NoKey,
    /// The server said no, or nothing.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
}

impl WriteError {
    /// Whether the server takes writes, and only this one does not fit what is there (class 23, integrity constraints).
    pub fn contradicts(&self) -> bool {
        match self {
            Self::NoKey => true,
            Self::Database(error) => error.code().is_some_and(|code| code.code().starts_with("23")),
        }
    }
}
