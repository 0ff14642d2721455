//! Fingerprints of content: what a table holds, in three numbers, computed where the rows are.
//!
//! A row has one 64-bit hash over all its columns ([`sections()`] says which, and how a type without a hash is helped).
//! A table has [`Sums`] of these hashes, which do not depend on the order of its rows. [`scan`] asks the server for
//! them in one parallel sequential scan a table, tables side by side; [`record`] keeps them and finds the rows that make a
//! difference. When that is done, and what a difference means, is in [`super::content_fingerprint`].

pub mod record;
pub mod scan;
pub mod sections;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

pub use scan::{Grain, Scanned, Sessions, Task, Within};
pub use sections::{Section, sections};

/// A set of rows in three numbers: how many, the sum of their hashes, and the sum of the products of each hash's halves;
/// sums are modulo 2^64.
///
/// Why two sums, and why the second is of products: PostgreSQL makes a row's hash of its columns' hashes as
/// `31 * (31 * a + b) + c` (`hash_record_extended` in rowtypes.c). That is linear, so that two rows which swap the contents of
/// a column have the same sum of hashes as before. The product of a hash's halves is not linear in its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

    /// This set without the other, which must be part of it.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            rows: self.rows.wrapping_sub(other.rows),
            hashes: self.hashes.wrapping_sub(other.hashes),
            products: self.products.wrapping_sub(other.products),
        }
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// `rows hashes products`, the sums in hexadecimal.
impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:016x} {:016x}", self.rows, self.hashes, self.products)
    }
}

impl FromStr for Sums {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let malformed = || FingerprintError::Malformed { text: text.to_owned() };
        let mut parts = text.split(' ');
        let mut next = |radix| {
            parts
                .next()
                .and_then(|part| u64::from_str_radix(part, radix).ok())
                .ok_or_else(malformed)
        };
        Ok(Self {
            rows: next(10)?,
            hashes: next(16)?,
            products: next(16)?,
        })
    }
}

impl From<Sums> for String {
    fn from(sums: Sums) -> Self {
        sums.to_string()
    }
}

impl TryFrom<String> for Sums {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
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
    /// The server answered with something that is no number.
    #[error("{text:?} is not a fingerprint")]
    Malformed {
        /// What it answered.
        text: String,
    },
}

impl FingerprintError {
    /// Whether this says something about the data and not about the check: the table or a column of it is gone, or what
    /// is stored is damaged or its file is gone (PostgreSQL manual, appendix A: class 42, class XX and class 58).
    pub fn is_finding(&self) -> bool {
        let Self::Scan { source, .. } = self else { return false };
        let telling = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_COLUMN,
            SqlState::DATA_CORRUPTED,
            SqlState::INDEX_CORRUPTED,
        ];
        source.code().is_some_and(|code| telling.contains(code)) || super::damage(source).is_some()
    }
}
