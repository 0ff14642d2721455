//! Fingerprints of content: what a table holds, in three numbers, computed where the rows are.
//!
//! A row has one 64-bit hash over all its columns ([`sections()`] says which, and how a type without a hash is helped).
//! A table has [`Sums`] of these hashes, which do not depend on the order of its rows. [`scan`] asks the server for
//! them in one parallel sequential scan a table, tables side by side; [`record`] keeps them and finds the rows that make a
//! difference. When that is done, and what a difference means, is in [`crate::verify::content_fingerprint`].

pub mod record;
pub mod scan;
pub mod sections;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;

use tokio_postgres::error::SqlState;

pub use scan::{Grain, Scanned, Sessions, Task, Within};
pub use sections::{Column, Kind, Relation, Section, qualified, relations, sections};

/// A set of rows in three numbers: how many, the sum of their hashes, and the sum of the products of each hash's halves;
/// sums are modulo 2^64.
///
/// Why two sums, and why the second is of products: PostgreSQL makes a row's hash of its columns' hashes as
/// `31 * (31 * a + b) + c` (`hash_record_extended` in rowtypes.c). That is linear, so that two rows which swap the contents of
/// a column have the same sum of hashes as before. The product of a hash's halves is not linear in its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many rows.
    pub rows: u64,
    /// Sum of the hashes.
    pub hashes: u64,
    /// Sum of the products of each hash's upper half (signed) and lower half (unsigned).
    pub products: u64,
}

impl Sums {
    /// The sums of one row with this hash.
    pub fn of(hash: i64) -> Self {
        let product = (hash >> 32).wrapping_mul(hash & 0xFFFF_FFFF);
        Self {
            rows: 1,
            hashes: hash.cast_unsigned(),
            products: product.cast_unsigned(),
        }
    }

    /// Both sets together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows.wrapping_add(other.rows),
            hashes: self.hashes.wrapping_add(other.hashes),
            products: self.products.wrapping_add(other.products),
        }
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// A fingerprint could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// No connection.
    #[error("cannot open the connections that fingerprints are taken with")]
    Connect(#[source] tokio_postgres::Error),
    /// The catalogue cannot be read.
    #[error("cannot read which tables there are to fingerprint")]
    Catalogue(#[source] tokio_postgres::Error),
    /// A table cannot be read to its end.
    #[error("cannot read {section}")]
    Scan {
        /// What was read.
        section: String,
        /// What the server said.
        source: tokio_postgres::Error,
    },
}

impl FingerprintError {
    /// Whether this says something about the data and not about the check: the table or a column of it is gone, or what
    /// is stored is damaged or its file cannot be read.
    pub fn is_finding(&self) -> bool {
        matches!(self, Self::Scan { source, .. } | Self::Catalogue(source) if speaks_of_data(source))
    }

    /// What the server said.
    pub fn into_source(self) -> tokio_postgres::Error {
        match self {
            Self::Connect(source) | Self::Catalogue(source) | Self::Scan { source, .. } => source,
        }
    }
}

/// Whether reading failed because of the stored data, and not because of the connection, the transaction, a missing right, a
/// lock, a lack of space or a cancellation (PostgreSQL manual, appendix A).
pub fn speaks_of_data(error: &tokio_postgres::Error) -> bool {
    const OTHERWISE: &[&str] = &["08", "25", "28", "40", "53", "55", "57"];
    let Some(error) = error.as_db_error() else { return false };
    // A file that the server may not open has the code of a right that is missing; these come from aclchk.c.
    let of_a_right = *error.code() == SqlState::INSUFFICIENT_PRIVILEGE && error.file() == Some("aclchk.c");
    !of_a_right && !OTHERWISE.iter().any(|class| error.code().code().starts_with(class))
}
