//! References: records of the service's cluster at several moments, and what a cluster is compared with.
//!
//! A restored cluster is right if it equals the service's cluster at the recovery point that was reached: not at the backup,
//! not at the failure. So the service's cluster is recorded at several moments ([`Record`]), and the records are kept in order
//! ([`Log`]); those around the recovery point make the [`Truth`] that checks compare with. A record has two kinds of fact, each
//! in its file: [`inventory`] (every object, right and setting) and [`content`] (the rows of every table).

pub mod content;
pub mod fingerprint;
pub mod inventory;
mod log;
mod marks;
pub mod sequences;
mod summary;

use tokio_postgres::Client;

use self::{content::Content, inventory::Inventory, marks::Marks};
pub use self::{
    log::{Log, Reached, Scope, SharedLog, Truth},
    summary::Summary,
};
use crate::postgres::{Cluster, ClusterError, Lsn, SystemIdentifier, TimelineId};

/// Tables larger than this are recorded at backups and right before the failure only, in bytes.
pub const LARGE_TABLE_BYTES: u64 = 64 << 20;

/// Which parts of a cluster are read, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// One database only, as a dump has it, and the roles; else every database that takes connections.
    pub database: Option<String>,
    /// The exported snapshot of that database in which it is read.
    pub snapshot: Option<String>,
    /// Whether the catalogue rows that come with the server (OIDs below 16384) are summed up as well.
    pub system_rows: bool,
    /// Tables larger than so many bytes are left out.
    pub largest_bytes: Option<u64>,
    /// The table whose rows refer to large objects, if there is one.
    pub large_objects: Option<ReferringTable>,
    /// Tables that another comparison covers row by row: database, and name as in `"schema"."table"`.
    pub answered_elsewhere: Vec<(String, String)>,
}

/// A table of the schema `public` of which each row refers to a large object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferringTable {
    /// Its name.
    pub table: &'static str,
    /// The column that names the row.
    pub key: &'static str,
    /// The column with the large object's number.
    pub column: &'static str,
}

/// What was true at one moment.
#[derive(Debug, Clone)]
pub struct Record {
    /// When: `seeding`, the id of a backup, `after …`, `right before the failure`.
    pub moment: String,
    /// The cluster.
    pub system: SystemIdentifier,
    /// The timeline that it was on.
    pub timeline: TimelineId,
    /// Where its WAL stood before the first snapshot was taken: what was committed by then was seen.
    pub from: Lsn,
    /// Where its WAL stood after the last snapshot was taken: what was seen was committed by then.
    pub until: Lsn,
    /// The snapshot of the maintenance database, as `pg_current_snapshot()` prints it.
    pub snapshot: String,
    /// Replication slots: no restore brings them back.
    pub slots: Vec<String>,
    /// Which transaction wrote which row of the catalogues.
    pub(crate) marks: Marks,
    /// Objects, rights and settings.
    pub inventory: Inventory,
    /// Rows.
    pub content: Content,
}

/// A record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ClusterError),
    /// A query failed.
    #[error("cannot read {what} of database {database}")]
    Query {
        /// What was read.
        what: &'static str,
        /// Where.
        database: String,
        /// Why not.
        source: tokio_postgres::Error,
    },
    /// The server answered something else than was asked for.
    #[error("the server answered {what} of database {database} with {answer:?}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// Where.
        database: String,
        /// What came.
        answer: String,
    },
}

/// The database that every cluster has for maintenance.
pub const MAINTENANCE: &str = "postgres";

impl Record {
    /// Records the present state of a running cluster. If nobody wrote to a catalogue since `last` was taken, the inventory of
    /// `last` is used again.
    ///
    /// # Errors
    /// If any part cannot be read: a record is whole or none.
    pub async fn take(
        cluster: &Cluster,
        moment: &str,
        reading: &Reading,
        last: Option<&Self>,
    ) -> Result<Self, ReferenceError> {
        let client = cluster.connect("postgres", MAINTENANCE).await?;
        let before = Standing::read(&client).await?;
        // The marks are read first: what is written after that makes the next record read everything again.
        let defined = async {
            let marks = marks::read(cluster).await?;
            let inventory = match last.filter(|last| last.system == before.system && last.marks == marks) {
                Some(last) => last.inventory.clone(),
                None => inventory::read(cluster, reading).await?,
            };
            Ok((marks, inventory))
        };
        let ((marks, inventory), content) = tokio::try_join!(defined, content::read(cluster, reading))?;
        let after = Standing::read(&client).await?;
        Ok(Self {
            moment: moment.to_owned(),
            system: before.system,
            timeline: before.timeline,
            from: before.lsn,
            until: after.lsn,
            snapshot: before.snapshot,
            slots: before.slots,
            marks,
            inventory,
            content,
        })
    }
}

/// Where a server's WAL stands.
struct Standing {
    system: SystemIdentifier,
    timeline: TimelineId,
    lsn: Lsn,
    snapshot: String,
    slots: Vec<String>,
}

impl Standing {
    async fn read(client: &Client) -> Result<Self, ReferenceError> {
        const WHAT: &str = "where the WAL stands";
        const SQL: &str = "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
                                  pg_current_wal_insert_lsn()::text, pg_current_snapshot()::text,
                                  ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE NOT temporary ORDER BY 1)
                             FROM pg_control_system()";
        let texts = async {
            let row = client.query_one(SQL, &[]).await?;
            let words: [String; 4] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
            Ok((words, row.try_get(4)?))
        };
        let ([system, timeline, lsn, snapshot], slots) = texts.await.map_err(|source| ReferenceError::Query {
            what: WHAT,
            database: MAINTENANCE.to_owned(),
            source,
        })?;
        let parsed = || {
            Some(Self {
                system: system.parse().ok()?,
                timeline: TimelineId(u32::from_str_radix(&timeline, 16).ok()?),
                lsn: log::end_of_record(lsn.parse().ok()?),
                snapshot,
                slots,
            })
        };
        parsed().ok_or_else(|| ReferenceError::Answer {
            what: WHAT,
            database: MAINTENANCE.to_owned(),
            answer: format!("{system}, {timeline}, {lsn}"),
        })
    }
}
