//! A record in hashes. It is kept with the backup that was taken beside it, so that the backup can be judged where the service
//! is gone. It holds no definition and no row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Record, content::Rows};
use crate::postgres::{Lsn, TimelineId};

/// A record in hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The timeline that the cluster was on.
    pub timeline: TimelineId,
    /// Where its WAL stood when everything was read.
    pub until: Lsn,
    /// Each object, right and setting with a hash of all that was read of it, in hexadecimal.
    pub facts: BTreeMap<String, String>,
    /// Each table with how many rows it had and the sums of their hashes; `not read` where the rows are covered elsewhere or were
    /// not read.
    pub tables: BTreeMap<String, String>,
}

impl Record {
    /// The record in hashes.
    pub fn summary(&self) -> Summary {
        let databases = self.content.databases.iter();
        let tables = databases.flat_map(|(database, content)| {
            content.tables.iter().map(move |(table, read)| {
                let rows = match &read.rows {
                    Rows::Sums(sums) => format!("{} rows, {:016x} {:016x}", sums.rows, sums.hashes, sums.products),
                    _ => "not read".to_owned(),
                };
                (format!("{database}: {table}"), rows)
            })
        });
        Summary {
            timeline: self.timeline,
            until: self.until,
            facts: self.inventory.hashes().collect(),
            tables: tables.collect(),
        }
    }
}
