//! The application under drill: what nobody else may know of it.
//!
//! [`Service`] is the door to it. Every part but its database is optional, so that *any schema, nothing known* is a service
//! like others ([`AnySchema`]): what needs a part that is not there is not done. [`transformations`] is the fixture's, and the
//! only file that knows a table of it.

mod answering;
mod identity;
mod probe;
pub mod transformations;

pub use answering::Failing;
pub use identity::Identity;
pub use probe::Probe;
pub use transformations::Transformations;

use crate::reference::{ReferringTable, fingerprint::sections::Changing};

/// What a drill must know of the application whose database it recovers.
pub trait Service: Send + Sync {
    /// Its database.
    fn database(&self) -> &str;

    /// The query that stands for "the application can work". Without one, to be let in must do.
    fn probe(&self) -> Option<&str> {
        None
    }

    /// Tables of the schema `public` that the read-only role is shown to be unable to write to.
    fn tables(&self) -> &[&str] {
        &[]
    }

    /// Those whose rows the ledger and the seed's fingerprint answer for, one by one.
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

    /// The table whose numbers the ledger knows, quoted as the server quotes it.
    fn numbered_table(&self) -> Option<&str> {
        None
    }

    /// What somebody writes who was not told that the service runs elsewhere.
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
    pub refused: &'static [fixtures::enforcement::Refused],
}

/// A service of which nothing is known but its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnySchema {
    /// The database.
    pub database: String,
}

impl Service for AnySchema {
    fn database(&self) -> &str {
        &self.database
    }
}
