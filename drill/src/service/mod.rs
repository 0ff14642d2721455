//! The application under drill. What is known of it is known here and nowhere else.
//!
//! [`Service`] is the interface to it. Every part but its database is optional; what needs a missing part is left out. So a
//! schema of which nothing is known is a service as well ([`AnySchema`]). [`Writes`] is what its writers do and which rows that
//! leaves, [`Serves`] what it answers over HTTP. [`transformations`] is the service of the fixture, and the only folder that
//! knows its tables.

mod answering;
mod error;
mod identity;
mod probe;
mod serves;
mod sizing;
pub mod transformations;
mod writes;

use std::sync::Arc;

pub use answering::Failing;
pub use error::ServiceError;
pub use fixtures::{ConnectionString, Credentials, Progress, Role, enforcement::Refused};
pub use identity::Identity;
pub use probe::Probe;
pub use serves::{Post, Served, Serves};
pub use sizing::{Sizing, wal_segment_mb};
pub use transformations::Transformations;
pub use writes::{Planned, Rows, Share, WriteError, Writer, Writes};

use futures_util::future::BoxFuture;

use crate::{
    postgres::Cluster,
    reference::{ReferringTable, fingerprint::sections::Changing},
    registry::Registry,
};

/// Makes a service for one drill, from the size of its seed data and the seed of every random choice.
pub type MakeService = fn(Sizing, u64) -> Arc<dyn Service>;

/// The services of drill itself. The first is the default.
pub fn services() -> Registry<MakeService> {
    Registry::new("service").with(
        transformations::NAME,
        "transformation scripts with their versions, attachments and an audit trail; the reference application",
        |sizing, seed| Arc::new(Transformations::new(sizing, seed)),
    )
}

/// What a drill must know of the application whose database it recovers.
pub trait Service: Send + Sync {
    /// Its database.
    fn database(&self) -> &str;

    /// Makes the four roles with their passwords, its database, and the structure of that, in a new cluster that runs. The
    /// default makes an empty database that belongs to [`Role::AppAdmin`].
    fn create<'a>(
        &'a self,
        cluster: &'a Cluster,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(empty_database(cluster, credentials, self.database()))
    }

    /// Fills the database; answers the tables that it filled, each with its rows.
    fn seed<'a>(
        &'a self,
        _cluster: &'a Cluster,
        _progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Vec<(String, u64)>, ServiceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// What the seed data is, for people.
    fn seed_in_words(&self) -> String {
        "none".to_owned()
    }

    /// About how many bytes of content are seeded.
    fn seed_bytes(&self) -> u64 {
        0
    }

    /// What writers do, and which rows that leaves. Without it nobody writes, and no ledger tells what is lost.
    fn writes(&self) -> Option<&dyn Writes> {
        None
    }

    /// What it answers over HTTP. Without it no smoke test is planned.
    fn serves(&self) -> Option<&dyn Serves> {
        None
    }

    /// The query that stands for "the application can work". Without one, a successful login is enough.
    fn probe(&self) -> Option<&str> {
        None
    }

    /// Tables of the schema `public` that the read-only role is shown to be unable to write to.
    fn tables(&self) -> &[&str] {
        &[]
    }

    /// Those whose rows the ledger and the seed's fingerprint cover one by one.
    fn answered_tables(&self) -> &[&str] {
        &[]
    }

    /// What writers change in rows of these tables that were there before; all other rows they only add.
    fn changing(&self) -> Changing<'static> {
        &[]
    }

    /// Contents that are stored with their hash.
    fn stored_hashes(&self) -> Option<&StoredHashes> {
        None
    }

    /// What the database must take and refuse, by the schema's own rules.
    fn rules(&self) -> Option<&Rules> {
        None
    }

    /// A table of which each row refers to a large object.
    fn large_objects(&self) -> Option<&ReferringTable> {
        None
    }

    /// The table whose ids the ledger records, quoted as the server quotes it.
    fn numbered_table(&self) -> Option<&str> {
        None
    }

    /// A write by a client that was not told of the cutover.
    fn stray_write(&self) -> Option<&str> {
        None
    }
}

/// Statements over contents that are stored with a hash of their own.
#[derive(Debug, Clone, Copy)]
pub struct StoredHashes {
    /// What is read, for people.
    pub table: &'static str,
    /// Answers how many contents there are, and how many of them have another hash than is stored (two `bigint`).
    pub counts: &'static str,
    /// Answers the key of each of the first few that differ, and the beginning of its content (two `text`).
    pub mismatches: &'static str,
}

/// The rules of a schema, tried out in a transaction that is rolled back, as the application's role.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What the service does every day.
    pub taken: &'static [&'static str],
    /// What breaks one rule each.
    pub refused: &'static [Refused],
}

/// A service of which nothing is known but its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnySchema {
    /// The database.
    pub database: String,
}

/// The roles, and an empty database.
///
/// # Errors
/// If they are there already, or the server refuses.
pub async fn empty_database(cluster: &Cluster, credentials: &Credentials, name: &str) -> Result<(), ServiceError> {
    let admin = cluster.connect("postgres", "postgres").await?;
    fixtures::create_roles(&admin, credentials).await?;
    fixtures::create_database(&admin, name).await?;
    Ok(())
}

impl Service for AnySchema {
    fn database(&self) -> &str {
        &self.database
    }
}
