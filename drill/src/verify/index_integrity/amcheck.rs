//! What amcheck says of a database, if the server has it.

use postgres_protocol::escape::escape_identifier;
use reports::text::left_out;
use tokio_postgres::{Client, Row, Transaction};

use super::{Problem, Tally};
use crate::errors::damage;

/// Valid B-trees of a database, and their tables.
const TREES: &str =
    "SELECT i.indexrelid, i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE c.relam = 403 AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND i.indisready
       AND c.relnamespace IS DISTINCT FROM to_regnamespace('drill_amcheck')";
/// Tables with rows of the usual kind.
const TABLES: &str =
    "SELECT c.oid, c.oid::regclass::text AS name FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname = 'heap'
     WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'";

/// Whether the server has it.
pub(super) async fn is_available(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'";
    Ok(client.query_opt(available, &[]).await?.is_some())
}

/// Looks at every B-tree (`bt_index_check` takes no lock that keeps a writer waiting; what it may do beyond, descending
/// from the root for each row, is left out) and at every table. Everything runs in a transaction that is rolled back, the
/// creation of the extension included, so that nothing of it stays.
pub(super) async fn look(client: &mut Client) -> Result<Option<Tally>, tokio_postgres::Error> {
    if !is_available(client).await? {
        return Ok(None);
    }
    let mut tally = Tally::default();
    let mut transaction = client.transaction().await?;
    let installed = "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'amcheck'";
    let schema = if let Some(row) = transaction.query_opt(installed, &[]).await? {
        row.try_get::<_, String>(0)?
    } else {
        // A service's event triggers are for its own definitions, and this one is rolled back.
        let create = "SET LOCAL session_replication_role = replica; CREATE SCHEMA drill_amcheck; CREATE EXTENSION amcheck SCHEMA drill_amcheck";
        transaction.batch_execute(create).await?;
        "drill_amcheck".to_owned()
    };
    let schema = escape_identifier(&schema);
    // All in one statement: most are fine. Where the server stops at one, each is asked by itself.
    let all = format!(
        "SELECT {schema}.bt_index_check(index => t.indexrelid::regclass, heapallindexed => true) FROM ({TREES}) AS t"
    );
    let trees = transaction.query(TREES, &[]).await?;
    tally.trees = trees.len();
    let sql = format!("SELECT {schema}.bt_index_check(index => $1::oid::regclass, heapallindexed => true)");
    if !is_silent(&mut transaction, &all, trees.len()).await? {
        for tree in &trees {
            let (oid, name): (u32, &str) = (tree.try_get(0)?, tree.try_get(1)?);
            if let Asked::Damaged(reason) = ask(&mut transaction, &sql, oid).await? {
                tally.problems.push(Problem::of_named(name, &reason));
            }
        }
    }
    let all = format!(
        "SELECT 1 FROM ({TABLES}) AS t CROSS JOIN LATERAL {schema}.verify_heapam(relation => t.oid::regclass) LIMIT 1"
    );
    let sql = format!(
        "SELECT format('block %s, item %s: %s', blkno, offnum, msg), count(*) OVER () FROM {schema}.verify_heapam(relation => $1::oid::regclass) LIMIT 3"
    );
    let tables = if is_silent(&mut transaction, &all, 0).await? {
        Vec::new()
    } else {
        transaction.query(TABLES, &[]).await?
    };
    for table in &tables {
        let (oid, name): (u32, &str) = (table.try_get(0)?, table.try_get(1)?);
        let complaints: Vec<String> = match ask(&mut transaction, &sql, oid).await? {
            Asked::Answered(rows) => complaints(&rows)?,
            Asked::Damaged(reason) => vec![reason],
            Asked::Gone => continue,
        };
        let complaints = complaints
            .iter()
            .map(|text| Problem::of_table(&format!("table {name}"), text));
        tally.problems.extend(complaints);
    }
    transaction.rollback().await?;
    Ok(Some(tally))
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
async fn is_silent(transaction: &mut Transaction<'_>, sql: &str, rows: usize) -> Result<bool, tokio_postgres::Error> {
    let savepoint = transaction.savepoint("drill_check").await?;
    let answer = savepoint.query(sql, &[]).await;
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
