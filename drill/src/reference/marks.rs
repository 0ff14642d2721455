//! Detects changes of catalogues, by the transaction that wrote each row (`xmin`) and the row's place (`ctid`).
//!
//! Reading every catalogue takes a tenth of a second in each database. Where each row is still where the last record saw it,
//! written by the same transaction, nothing was defined, granted or set since, and that record's inventory still holds.
//! Only statements are noticed that way, not damage: a cluster that is to be judged is read in full.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use tokio_postgres::Client;

use super::{MAINTENANCE, ReferenceError};
use crate::postgres::Cluster;

/// What every row of every catalogue adds up to, database by database.
pub(crate) type Marks = BTreeMap<String, String>;

const DATABASES: &str =
    "SELECT datname::text FROM pg_database WHERE datallowconn AND datname <> 'template0' AND datconnlimit <> -2";

/// The statement that sums up. Statistics are no definitions; large objects, and who depends on whom for their sake, come
/// and go as people work.
const STATEMENT: &str = "
SELECT string_agg(format('SELECT %L, count(*), sum(xmin::text::bigint), sum(hashtid(ctid)::bigint) FROM pg_catalog.%I', relname, relname),
                  ' UNION ALL ' ORDER BY relname)
  FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
   AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', 'pg_largeobject_metadata', 'pg_shdepend')";

/// Of large objects only whose they are and who may read them: that is part of an inventory.
const KINDS: &str =
    "SELECT coalesce(string_agg(DISTINCT concat(' ', lomowner, lomacl), ''), '') FROM pg_largeobject_metadata";

/// Reads the marks of a cluster.
///
/// # Errors
/// If a database cannot be read.
pub(super) async fn read(cluster: &Cluster) -> Result<Marks, ReferenceError> {
    let client = cluster.connect("postgres", MAINTENANCE).await?;
    let failed = |database: &str| {
        let database = database.to_owned();
        move |source| ReferenceError::Query {
            what: "what was written to the catalogues",
            database,
            source,
        }
    };
    let rows = client.query(DATABASES, &[]).await.map_err(failed(MAINTENANCE))?;
    let names = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<String>, _>>();
    let each = names.map_err(failed(MAINTENANCE))?.into_iter().map(async |name| {
        let client = cluster.connect("postgres", &name).await?;
        let mark = of(&client).await.map_err(failed(&name))?;
        Ok::<_, ReferenceError>((name, mark))
    });
    Ok(try_join_all(each).await?.into_iter().collect())
}

async fn of(client: &Client) -> Result<String, tokio_postgres::Error> {
    let statement: String = client.query_one(STATEMENT, &[]).await?.try_get(0)?;
    let all = format!("SELECT md5(string_agg(m::text, ' ')) || ({KINDS}) FROM ({statement}) AS m");
    client.query_one(&all, &[]).await?.try_get(0)
}
