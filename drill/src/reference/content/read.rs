//! Reads contents: as superuser, in one read-only snapshot per database, by sequential scans.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use postgres_protocol::escape::escape_identifier;
use tokio_postgres::Client;

use super::{
    super::{MAINTENANCE, Reading, ReferenceError, ReferringTable},
    Content, Database, LargeObjects, Rows, Table, TableKind, Unreadable,
};
use crate::{
    postgres::Cluster,
    reference::{
        fingerprint::{FingerprintError, Grain, Kind, Relation, Sessions, Task, Within, qualified, relations},
        sequences,
    },
};

/// Databases that are read at a time. A large table has workers of its own.
const AT_A_TIME: usize = 2;
/// A smaller table is read before a parallel worker has started.
const WORKERS_FROM: &str = "SET min_parallel_table_scan_size = '8MB'";
/// Every database that takes connections, but `template0`, which nobody changes.
const DATABASES: &str =
    "SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 AND datname <> 'template0'";

/// Whether a database holds anything of its own.
const ANYTHING: &str =
    "SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_largeobject_metadata)";

/// Each large object with a hash of its owner and its bytes. Zeros at the end of a page do not count, because a hole has no
/// page where a restored object has zeros; the length is that of the last page.
const LARGE_OBJECTS: &str = "
SELECT m.oid, hash_record_extended(ROW(pg_get_userbyid(m.lomowner), coalesce(p.bytes, 0), p.hashes, p.products), 0)
  FROM pg_largeobject_metadata m LEFT JOIN (
       SELECT loid, max(ends) AS bytes, sum(h) FILTER (WHERE NOT empty) AS hashes,
              sum((h >> 32) * (h & 4294967295)) FILTER (WHERE NOT empty) AS products
         FROM (SELECT loid, pageno * (current_setting('block_size')::bigint / 4) + octet_length(data) AS ends,
                      hash_record_extended(ROW(pageno, rtrim(data, '\\x00')), 0) AS h, rtrim(data, '\\x00') = '' AS empty
                 FROM pg_largeobject OFFSET 0) AS page
        GROUP BY loid) AS p ON p.loid = m.oid";
const LARGE_OBJECTS_BYTES: &str = "SELECT (pg_stat_file(pg_relation_filepath('pg_largeobject'), true)).size";

/// Reads the contents of a cluster for a record.
///
/// # Errors
/// If any part of it cannot be read.
pub async fn read(cluster: &Cluster, reading: &Reading) -> Result<Content, ReferenceError> {
    let names = databases(cluster, reading).await?;
    let read = stream::iter(names).map(async |name| {
        let failed = |source| ReferenceError::Query {
            what: "the rows",
            database: name.clone(),
            source,
        };
        let (mut database, errors, sessions) = database(cluster, reading, &name)
            .await
            .map_err(|error| failed(error.into_source()))?;
        if let Some(sessions) = sessions {
            // Where they cannot be read, nothing is excused by them and nothing refused.
            database.sequences = sequences::recorded(sessions.client()).await.unwrap_or_default();
        }
        match errors.into_iter().next() {
            Some(error) => Err(failed(error)),
            None => Ok((name, database)),
        }
    });
    Ok(Content {
        databases: read.buffer_unordered(AT_A_TIME).try_collect().await?,
    })
}

/// Reads the contents of a cluster to be compared; what cannot be read is noted in its place.
///
/// # Errors
/// If not even the databases can be listed.
pub async fn look(cluster: &Cluster, reading: &Reading) -> Result<Content, ReferenceError> {
    let names = databases(cluster, reading).await?;
    let read = stream::iter(names).map(async |name| {
        let database = match database(cluster, reading, &name).await {
            Ok((database, ..)) => database,
            Err(error) => Database {
                unreadable: Some(Unreadable::of(&error.into_source())),
                ..Database::default()
            },
        };
        (name, database)
    });
    Ok(Content {
        databases: read.buffer_unordered(AT_A_TIME).collect().await,
    })
}

async fn databases(cluster: &Cluster, reading: &Reading) -> Result<Vec<String>, ReferenceError> {
    if let Some(database) = &reading.database {
        return Ok(vec![database.clone()]);
    }
    let client = cluster.connect("postgres", MAINTENANCE).await?;
    let names = async {
        let rows = client.query(DATABASES, &[]).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()
    };
    names.await.map_err(|source| ReferenceError::Query {
        what: "which databases there are",
        database: MAINTENANCE.to_owned(),
        source,
    })
}

/// One database, what the server said where it could not read, and the sessions that read it; none where it holds nothing.
async fn database(
    cluster: &Cluster,
    reading: &Reading,
    name: &str,
) -> Result<(Database, Vec<tokio_postgres::Error>, Option<Sessions>), FingerprintError> {
    let config = cluster.config("postgres", name);
    let sessions = Sessions::open(&config, reading.snapshot.as_deref(), 1).await?;
    let client = sessions.client();
    client
        .batch_execute(WORKERS_FROM)
        .await
        .map_err(FingerprintError::Connect)?;
    let row = client.query_one(ANYTHING, &[]).await;
    if !row
        .and_then(|row| row.try_get(0))
        .map_err(FingerprintError::Catalogue)?
    {
        return Ok((Database::default(), Vec::new(), None));
    }
    let relations = relations(client).await?;
    let known: Vec<Option<Rows>> = relations
        .iter()
        .map(|relation| without_reading(relation, reading, name))
        .collect();
    let to_read = relations.iter().zip(&known).filter(|(_, known)| known.is_none());
    let sections: Vec<_> = to_read.map(|(relation, _)| relation.section()).collect();
    let tasks: Vec<_> = sections
        .iter()
        .map(|section| Task {
            section,
            within: Within::default(),
            grain: Grain::Whole,
        })
        .collect();
    let mut scans = sessions.run(&tasks).await.into_iter();
    let (mut tables, mut errors) = (BTreeMap::new(), Vec::new());
    for (relation, known) in relations.into_iter().zip(known) {
        let rows = match known {
            Some(rows) => rows,
            None => match scans.next() {
                Some(Ok(scanned)) => Rows::Sums(scanned.total()),
                Some(Err(error)) => {
                    let error = error.into_source();
                    let unreadable = Unreadable::of(&error);
                    errors.push(error);
                    Rows::Unreadable(unreadable)
                }
                None => continue, // as many scans as were asked for
            },
        };
        let qualified = relation.qualified();
        let kind = match relation {
            Relation {
                kind: Kind::MaterialisedView,
                ..
            } => TableKind::MaterialisedView,
            Relation { of_extension: true, .. } => TableKind::OfExtension,
            Relation {
                part_of: Some(root), ..
            } => TableKind::PartOf(root),
            _ => TableKind::Plain,
        };
        let columns = relation.columns;
        tables.insert(qualified, Table { columns, kind, rows });
    }
    let mut database = Database {
        tables,
        ..Database::default()
    };
    if let Some(ReferringTable { table, column, .. }) = reading.large_objects {
        let table = qualified("public", table);
        if database.tables.contains_key(&table) {
            // Which objects rows refer to only excuses some; where it cannot be read, the table itself says so.
            database.referred = referred(client, &table, column).await.unwrap_or_default();
        }
    }
    database.large_objects = match large_objects(client, reading.largest_bytes).await {
        Ok(large_objects) => large_objects,
        Err(error) => {
            let unreadable = Unreadable::of(&error);
            errors.push(error);
            LargeObjects::Unreadable(unreadable)
        }
    };
    Ok((database, errors, Some(sessions)))
}

/// What is known of a relation's rows without reading them.
fn without_reading(relation: &Relation, reading: &Reading, database: &str) -> Option<Rows> {
    let elsewhere = |(of, table): &(String, String)| of == database && *table == relation.qualified();
    if relation.kind == Kind::ForeignTable {
        Some(Rows::Foreign)
    } else if relation.unlogged {
        Some(Rows::Unlogged)
    } else if !relation.populated {
        Some(Rows::Unpopulated)
    } else if reading.answered_elsewhere.iter().any(elsewhere) {
        Some(Rows::Elsewhere)
    } else if reading.largest_bytes.is_some_and(|largest| relation.bytes > largest) {
        Some(Rows::TooLarge)
    } else {
        None
    }
}

async fn referred(client: &Client, table: &str, column: &str) -> Result<BTreeSet<u32>, tokio_postgres::Error> {
    let sql = format!("SELECT {}::oid FROM {table}", escape_identifier(column));
    guarded(client, async {
        let rows = client.query(&sql, &[]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    })
    .await
}

async fn large_objects(client: &Client, largest_bytes: Option<u64>) -> Result<LargeObjects, tokio_postgres::Error> {
    guarded(client, async {
        if let Some(largest) = largest_bytes {
            let row = client.query_one(LARGE_OBJECTS_BYTES, &[]).await?;
            let bytes: Option<i64> = row.try_get(0)?;
            if bytes.is_some_and(|bytes| bytes.cast_unsigned() > largest) {
                return Ok(LargeObjects::TooLarge);
            }
        }
        let rows = client.query(LARGE_OBJECTS, &[]).await?;
        let read = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(LargeObjects::Read(read.collect::<Result<_, tokio_postgres::Error>>()?))
    })
    .await
}

/// In a subtransaction: what cannot be read must not end the transaction that reads the rest.
async fn guarded<T>(
    client: &Client,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    client.batch_execute("SAVEPOINT reading").await?;
    let result = work.await;
    let end = if result.is_ok() {
        "RELEASE reading"
    } else {
        "ROLLBACK TO reading"
    };
    let ended = client.batch_execute(end).await;
    result.and_then(|value| ended.map(|()| value))
}
