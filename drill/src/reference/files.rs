//! How many blocks each relation has: a file that was cut short reads as a table with fewer rows, and no error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::postgres::{Cluster, ClusterError};

/// Why block counts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BlockCountError {
    /// The server lets nobody in.
    #[error(transparent)]
    Connect(#[from] ClusterError),
    /// A database could not be asked.
    #[error("cannot read how many blocks the relations of {database} have")]
    Query {
        /// Which.
        database: String,
        /// Why.
        source: tokio_postgres::Error,
    },
}

/// A relation's blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Blocks {
    /// Its name, for people.
    name: String,
    /// Blocks of its main fork.
    blocks: i64,
}

/// Block counts of every relation of every database, by the path of its file. The path names database, tablespace and file
/// node: TRUNCATE, VACUUM FULL, CLUSTER and REINDEX give another one, and so does a dump that is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts(BTreeMap<String, Blocks>);

/// Databases that let connections in; an interrupted DROP leaves one that does not (`datconnlimit` -2).
const DATABASES: &str = "SELECT datname::text FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";

/// Relations that survive a crash. One that is dropped while this runs has no path, or no size, any more.
const RELATIONS: &str = "
SELECT format('%s of database %s', c.oid::regclass, current_database()), pg_relation_filepath(c.oid),
       pg_relation_size(c.oid) / current_setting('block_size')::bigint
  FROM pg_class c WHERE c.relkind IN ('r', 'i', 't', 'm') AND c.relpersistence = 'p'";

impl BlockCounts {
    /// Reads them through the server, which knows of pages that are in no file yet: one query a database.
    ///
    /// # Errors
    /// If the server lets nobody into one of its databases, or does not answer.
    pub async fn read(cluster: &Cluster) -> Result<Self, BlockCountError> {
        let of = |database: &str| {
            let database = database.to_owned();
            move |source| BlockCountError::Query { database, source }
        };
        let listing = cluster.connect("postgres", "postgres").await?;
        let mut counts = BTreeMap::new();
        for row in listing.query(DATABASES, &[]).await.map_err(of("postgres"))? {
            let database: String = row.try_get(0).map_err(of("postgres"))?;
            let client = cluster.connect("postgres", &database).await?;
            for row in client.query(RELATIONS, &[]).await.map_err(of(&database))? {
                let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                let (name, path, blocks): (String, Option<String>, Option<i64>) = read().map_err(of(&database))?;
                if let (Some(path), Some(blocks)) = (path, blocks) {
                    counts.insert(path, Blocks { name, blocks });
                }
            }
        }
        Ok(Self(counts))
    }

    /// Relations of a restored cluster with fewer blocks than they must have. `before` was read at or before the point that
    /// was restored, `after` at the next record behind it, if there is one.
    ///
    /// Tables grow under their writers, and VACUUM cuts empty blocks off their end. Only where both records agree (the same
    /// file, the same number) does it follow that nothing was cut off between them; without a second record the first
    /// decides. More blocks than recorded prove nothing: a crash leaves some behind that nobody uses. A relation that is not
    /// there at all is for the inventory and for `page-checksums` to name.
    pub fn compare(before: &Self, after: Option<&Self>, found: &Self) -> Vec<String> {
        let kept = |path: &str, blocks: &Blocks| {
            after.is_none_or(|after| after.0.get(path).is_some_and(|later| later.blocks == blocks.blocks))
        };
        let recorded = before.0.iter().filter(|(path, blocks)| kept(path, blocks));
        let short = recorded.filter_map(|(path, blocks)| {
            let found = found.0.get(path)?;
            (found.blocks < blocks.blocks).then(|| {
                format!(
                    "{} was cut short: {} of {} blocks ({path})",
                    blocks.name, found.blocks, blocks.blocks
                )
            })
        });
        short.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockCounts, Blocks};

    fn counts(all: &[(&str, i64)]) -> BlockCounts {
        let named = |path: &str| format!("table {path}");
        BlockCounts(
            all.iter()
                .map(|(path, blocks)| {
                    let (name, blocks) = (named(path), *blocks);
                    ((*path).to_owned(), Blocks { name, blocks })
                })
                .collect(),
        )
    }

    #[test]
    fn what_did_not_change_between_two_records_is_not_shorter_at_a_point_between_them() {
        let before = counts(&[("1", 10), ("2", 10), ("3", 10), ("4", 10)]);
        let after = counts(&[("1", 10), ("2", 7), ("3", 12), ("5", 10)]);
        let found = counts(&[("1", 9), ("2", 8), ("3", 9), ("4", 3), ("5", 1)]);
        assert_eq!(
            BlockCounts::compare(&before, Some(&after), &found),
            ["table 1 was cut short: 9 of 10 blocks (1)"]
        );
        assert_eq!(BlockCounts::compare(&before, None, &found).len(), 4);
        assert_eq!(
            BlockCounts::compare(&before, Some(&after), &before),
            Vec::<String>::new()
        );
        assert_eq!(
            BlockCounts::compare(&before, Some(&after), &counts(&[("1", 11)])),
            Vec::<String>::new()
        );
    }
}
