//! Checks: each states what it expects, what it found, how long it took, and what it could not see.
//!
//! One file a check. A check returns [`Found`](crate::record::check::Found), or an error if it could not run;
//! [`timed`](crate::record::check::timed) makes an Unknown of that, never a pass. [`plan()`] says which checks make sense with
//! what is known, [`run`] runs them. The pure ledger checker is in [`ledger`]; [`crate::recovery`] decides when to check.

pub mod catalog_inventory;
pub mod collations;
pub mod content_fingerprint;
pub mod content_hash;
pub mod databases;
pub mod enforcement;
pub mod index_integrity;
pub mod isolation;
pub mod ledger;
pub mod ledger_prefix;
pub mod page_checksums;
pub mod plan;
pub mod privileges;
pub mod referential_integrity;
pub mod replay;
pub mod restore_log;
pub mod row_counts;
pub mod sequences;
pub mod server_start;
pub mod smoke;
pub mod wal_continuity;

pub use plan::{Knowledge, plan, run};

use reports::Phase;
use tokio_postgres::Client;

use crate::{
    errors::chain,
    postgres::{Cluster, connection},
    reference::Truth,
    service::{Credentials, Role, Service},
};

/// A cluster under verification, and what is known of what it should contain.
///
/// Checks take this and nothing else; each opens the connections that it needs.
pub struct Subject<'a> {
    /// The cluster, accepting connections.
    pub cluster: &'a Cluster,
    /// Its name in the evidence: `source`, `restored-1`.
    pub name: &'a str,
    /// At which point of the drill it is looked at.
    pub phase: Phase,
    /// The application whose database it has.
    pub service: &'a dyn Service,
    /// Passwords of the roles.
    pub credentials: &'a Credentials,
    /// What was true at the point that it reached.
    pub truth: Option<&'a Truth>,
}

impl Subject<'_> {
    /// Connects as superuser to the application's database.
    ///
    /// # Errors
    /// If the server lets nobody in.
    pub async fn superuser(&self) -> Result<Client, tokio_postgres::Error> {
        self.database(self.service.database()).await
    }

    /// Connects as superuser to any database.
    ///
    /// # Errors
    /// If the server lets nobody in.
    pub async fn database(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        self.connect(&self.cluster.config("postgres", database)).await
    }

    /// Connects as a role with its password, as that role's users would.
    ///
    /// # Errors
    /// If the server does not let it in.
    pub async fn login(&self, role: Role) -> Result<Client, tokio_postgres::Error> {
        self.connect(&self.config(role)).await
    }

    /// How a role logs in with its password.
    pub fn config(&self, role: Role) -> tokio_postgres::Config {
        let mut config = self.cluster.config(role.name(), self.service.database());
        config.password(self.credentials.password(role));
        config
    }

    pub(crate) async fn connect(&self, config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
        connection::verifying(config).await
    }
}

/// Connects to a database.
///
/// # Errors
/// Why not, in words.
pub async fn connect(database: &tokio_postgres::Config) -> Result<Client, String> {
    connection::verifying(database).await.map_err(|error| chain(&error))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
