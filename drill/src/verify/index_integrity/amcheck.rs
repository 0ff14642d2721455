//! What amcheck says of a database, if the server has it.

use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;
use reports::text::left_out;
use tokio_postgres::{Client, Row, Transaction};

use super::{super::Subject, Problem, Tally};
use crate::{errors::damage, reference::fingerprint::scan::cores};

/// Valid B-trees of a database.
const TREES: &str = "SELECT i.indexrelid, i.indexrelid::regclass::text, coalesce(pg_relation_size(c.oid), 0)
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relam = 403 AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND i.indisready";
/// Tables with rows of the usual kind.
const TABLES: &str = "SELECT c.oid, c.oid::regclass::text, coalesce(pg_relation_size(c.oid), 0)
     FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname = 'heap'
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'";

/// Whether the server has it.
pub(super) async fn is_available(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'";
    Ok(client.query_opt(available, &[]).await?.is_some())
}

/// A database smaller than this is looked at in one session, in bytes: another one costs more than it saves. Tests of this crate
/// use several, as trials use one.
pub(super) const SMALL_BYTES: i64 = if cfg!(test) { 0 } else { 64 << 20 };

/// amcheck's own functions under names of ours. What creates them is rolled back; an extension can be there once, and several
/// sessions would wait for each other.
fn functions(schema: &str) -> String {
    // A service's event triggers are for its own definitions, and this one is rolled back.
    format!(
        "SET LOCAL session_replication_role = replica; CREATE SCHEMA {schema};
         CREATE FUNCTION {schema}.bt_index_check(index regclass, heapallindexed boolean) RETURNS void
           AS '$libdir/amcheck', 'bt_index_check' LANGUAGE C STRICT;
         CREATE FUNCTION {schema}.verify_heapam(relation regclass, on_error_stop boolean DEFAULT false,
             check_toast boolean DEFAULT false, skip text DEFAULT 'none', startblock bigint DEFAULT NULL,
             endblock bigint DEFAULT NULL, blkno OUT bigint, offnum OUT integer, attnum OUT integer, msg OUT text)
           RETURNS SETOF record AS '$libdir/amcheck', 'verify_heapam' LANGUAGE C"
    )
}

/// A B-tree or a table.
struct Relation {
    oid: u32,
    name: String,
    bytes: i64,
    is_tree: bool,
}

/// Looks at every B-tree (`bt_index_check` takes no lock that keeps a writer waiting; what it may do beyond, descending
/// from the root for each row, is left out) and at every table; large databases in several sessions side by side. Everything
/// runs in transactions that are rolled back, so that nothing of it stays.
pub(super) async fn look(
    subject: &Subject<'_>,
    database: &str,
    first: Client,
) -> Result<Option<Tally>, tokio_postgres::Error> {
    if !is_available(&first).await? {
        return Ok(None);
    }
    let relations = relations(&first).await?;
    let trees = relations.iter().filter(|relation| relation.is_tree).count();
    let bytes: i64 = relations.iter().map(|relation| relation.bytes).sum();
    let sessions = if bytes < SMALL_BYTES { 1 } else { cores() };
    let shares = shares(relations, sessions).into_iter().enumerate();
    let first = Mutex::new(Some(first));
    let looks = shares.map(async |(number, share)| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut client = match first {
            Some(client) => client,
            None => subject.database(database).await?,
        };
        look_at(&mut client, number, &share).await
    });
    let mut tally = Tally {
        trees,
        ..Tally::default()
    };
    for problems in try_join_all(looks).await? {
        tally.problems.extend(problems);
    }
    Ok(Some(tally))
}

async fn relations(client: &Client) -> Result<Vec<Relation>, tokio_postgres::Error> {
    let mut relations = Vec::new();
    for (sql, is_tree) in [(TREES, true), (TABLES, false)] {
        for row in client.query(sql, &[]).await? {
            relations.push(Relation {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                bytes: row.try_get(2)?,
                is_tree,
            });
        }
    }
    Ok(relations)
}

/// Shares them out, the largest first, each to whoever has the least.
fn shares(mut relations: Vec<Relation>, sessions: usize) -> Vec<Vec<Relation>> {
    relations.sort_by_key(|relation| std::cmp::Reverse(relation.bytes));
    let mut shares: Vec<(i64, Vec<Relation>)> = (0..sessions.max(1)).map(|_| (0, Vec::new())).collect();
    for relation in relations {
        if let Some((bytes, share)) = shares.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += relation.bytes;
            share.push(relation);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// One session's share.
async fn look_at(
    client: &mut Client,
    number: usize,
    share: &[Relation],
) -> Result<Vec<Problem>, tokio_postgres::Error> {
    let mut problems = Vec::new();
    let schema = format!("drill_amcheck_{number}");
    let mut transaction = client.transaction().await?;
    transaction.batch_execute(&functions(&schema)).await?;
    let (trees, tables): (Vec<&Relation>, Vec<&Relation>) = share.iter().partition(|relation| relation.is_tree);
    let oids = |of: &[&Relation]| of.iter().map(|relation| relation.oid).collect::<Vec<u32>>();
    // All in one statement: most are fine. Where the server stops at one, each is asked by itself.
    let all = format!("SELECT {schema}.bt_index_check(t::regclass, true) FROM unnest($1::oid[]) AS t");
    let sql = format!("SELECT {schema}.bt_index_check($1::oid::regclass, true)");
    if !is_silent(&mut transaction, &all, &oids(&trees), trees.len()).await? {
        for tree in &trees {
            if let Asked::Damaged(reason) = ask(&mut transaction, &sql, tree.oid).await? {
                problems.push(Problem::of_named(&tree.name, &reason));
            }
        }
    }
    let all = format!(
        "SELECT 1 FROM unnest($1::oid[]) AS t CROSS JOIN LATERAL {schema}.verify_heapam(relation => t::regclass) LIMIT 1"
    );
    let sql = format!(
        "SELECT format('block %s, item %s: %s', blkno, offnum, msg), count(*) OVER () FROM {schema}.verify_heapam(relation => $1::oid::regclass) LIMIT 3"
    );
    if !is_silent(&mut transaction, &all, &oids(&tables), 0).await? {
        for table in &tables {
            let complaints: Vec<String> = match ask(&mut transaction, &sql, table.oid).await? {
                Asked::Answered(rows) => complaints(&rows)?,
                Asked::Damaged(reason) => vec![reason],
                Asked::Gone => continue,
            };
            let name = format!("table {}", table.name);
            problems.extend(complaints.iter().map(|text| Problem::of_table(&name, text)));
        }
    }
    transaction.rollback().await?;
    Ok(problems)
}

/// The first few of what is wrong with a table, and how much is left out.
fn complaints(rows: &[Row]) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut told: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let all: i64 = rows.first().map_or(Ok(0), |row| row.try_get(1))?;
    let more = left_out(all.unsigned_abs().saturating_sub(told.len() as u64));
    if let (Some(last), Some(more)) = (told.last_mut(), more) {
        *last = format!("{last}; {more}");
    }
    Ok(told)
}

/// Whether a statement answers with so many rows and no error.
async fn is_silent(
    transaction: &mut Transaction<'_>,
    sql: &str,
    of: &[u32],
    rows: usize,
) -> Result<bool, tokio_postgres::Error> {
    let savepoint = transaction.savepoint("drill_check").await?;
    let answer = savepoint.query(sql, &[&of]).await;
    savepoint.rollback().await?;
    match answer {
        Ok(answered) => Ok(answered.len() == rows),
        Err(error) if error.as_db_error().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

enum Asked {
    Answered(Vec<Row>),
    Damaged(String),
    /// It was dropped since it was listed.
    Gone,
}

/// Runs a query of which an error that speaks of damage is an answer.
async fn ask(transaction: &mut Transaction<'_>, sql: &str, relation: u32) -> Result<Asked, tokio_postgres::Error> {
    let savepoint = transaction.savepoint("drill_check").await?;
    let error = match savepoint.query(sql, &[&relation]).await {
        Ok(rows) => return savepoint.commit().await.map(|()| Asked::Answered(rows)),
        Err(error) => error,
    };
    savepoint.rollback().await?;
    let there = "SELECT 1 FROM pg_class WHERE oid = $1";
    if error.as_db_error().is_some() && transaction.query_opt(there, &[&relation]).await?.is_none() {
        return Ok(Asked::Gone);
    }
    damage(&error).map(Asked::Damaged).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::{Relation, shares};

    #[test]
    fn the_largest_is_shared_out_first_and_nothing_is_left_out() {
        let relation = |oid, bytes| Relation {
            oid,
            name: String::new(),
            bytes,
            is_tree: true,
        };
        let all = [(1, 10), (2, 70), (3, 0), (4, 30), (5, 40)];
        let shared = shares(all.into_iter().map(|(oid, bytes)| relation(oid, bytes)).collect(), 2);
        let oids = |share: &Vec<Relation>| share.iter().map(|relation| relation.oid).collect::<Vec<_>>();
        assert_eq!(shared.iter().map(oids).collect::<Vec<_>>(), [vec![2, 1], vec![5, 4, 3]]);
    }
}
