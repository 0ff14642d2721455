//! What was there before the first writer.

use serde::{Deserialize, Serialize};

use crate::text::{bytes, counted};

/// What was seeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeded {
    /// The tables, each with what it holds.
    pub tables: Vec<SeededTable>,
    /// Size of the database on disk after loading, in bytes.
    pub database_bytes: u64,
}

/// A table and its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeededTable {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
}

impl Seeded {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

/// `1,010 rows in 4 tables; 9.4 MiB`
impl std::fmt::Display for Seeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rows, tables) = (counted(self.rows(), "row"), counted(self.tables.len(), "table"));
        write!(f, "{rows} in {tables}; {}", bytes(self.database_bytes))
    }
}
