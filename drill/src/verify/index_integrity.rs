//! `index-integrity`: indexes and tables agree.
//!
//! Two ways, side by side. amcheck, where it is there: `bt_index_check(…, heapallindexed)` for every B-tree and
//! `verify_heapam` for every table of the application. And for indexes of every kind: what the index finds against what
//! a sequential scan found (`probe`). Everything runs in a transaction that is rolled back, the creation of the
//! extension included, so that nothing of it stays. What it cannot see: keys that were not sampled.

mod probe;

use std::collections::BTreeSet;

use postgres_protocol::escape::escape_identifier;
use reports::{CheckId, CheckResult};
use tokio_postgres::{IsolationLevel, Transaction};

use super::{Found, Subject, damage, first_few, timed};

const EXPECTED: &str = "every index valid, and finding what a sequential scan finds";

/// An index of the application's tables.
struct Index {
    oid: u32,
    table_oid: u32,
    name: String,
    bare_name: String,
    table: String,
    method: String,
    key_type: String,
    is_array: bool,
    keys: Vec<String>,
    condition: String,
    valid: bool,
    order: String,
}

/// A key that does not sort by the collation of its column (an expression: by the database's) has its own beside it.
const INDEXES: &str = r"
WITH key AS (
  SELECT i.indexrelid, n, CASE WHEN k.coll = 0 OR k.coll = coalesce(a.attcollation, 100) THEN pg_get_indexdef(i.indexrelid, n, true)
                               ELSE format('(%s) COLLATE %s', pg_get_indexdef(i.indexrelid, n, true), k.coll::regcollation) END AS key
    FROM pg_index i CROSS JOIN generate_series(1, i.indnkeyatts) AS n
   CROSS JOIN LATERAL (SELECT i.indcollation[n - 1] AS coll, i.indkey[n - 1] AS column) k
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.column AND k.column <> 0)
SELECT i.indexrelid, i.indrelid, i.indexrelid::regclass::text, c.relname::text, i.indrelid::regclass::text, m.amname::text,
       format_type(t.oid, NULL), t.typcategory = 'A' OR t.oid = 'anyarray'::regtype,
       ARRAY(SELECT k.key FROM key k WHERE k.indexrelid = i.indexrelid ORDER BY n),
       coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'), i.indisvalid AND i.indisready AND i.indislive,
       (SELECT string_agg(k.key || CASE i.indoption[n - 1] WHEN 0 THEN '' WHEN 3 THEN ' DESC'
                          WHEN 1 THEN ' DESC NULLS LAST' ELSE ' NULLS FIRST' END, ', ' ORDER BY n)
          FROM key k WHERE k.indexrelid = i.indexrelid)
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_am m ON m.oid = c.relam
  JOIN pg_opclass o ON o.oid = i.indclass[0]
  JOIN pg_class r ON r.oid = i.indrelid AND r.relpersistence <> 't'
  JOIN pg_type t ON t.oid = o.opcintype
  JOIN pg_namespace s ON s.oid = c.relnamespace
 WHERE s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 ORDER BY 3";

/// Something that is wrong, and the index that is to blame; none where it is a table.
struct Problem {
    index: Option<String>,
    text: String,
}

impl Problem {
    fn of(index: &str, what: &str) -> Self {
        Self {
            index: Some(index.to_owned()),
            text: format!("{index}{what}"),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What became of the indexes.
#[derive(Default)]
struct Tally {
    problems: Vec<Problem>,
    unverified: Vec<String>,
    remarks: Vec<String>,
}

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::IndexIntegrity, subject.phase, subject.name, async {
        let (tally, indexes) = look(subject).await?;
        let found = if tally.problems.is_empty() && !tally.unverified.is_empty() {
            Found::unknown(EXPECTED, format!("not verified: {}", first_few(&tally.unverified)))
        } else {
            let actual = format!("{indexes} indexes, {} problems", tally.problems.len());
            let details: Vec<_> = [first_few(&tally.problems), tally.remarks.join("; ")]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            Found::judge(tally.problems.is_empty(), EXPECTED, actual).detail(details.join("; "))
        };
        Ok::<_, tokio_postgres::Error>(found)
    })
    .await
}

/// Every problem, for who wants more than the first few.
///
/// # Errors
/// If the server cannot be asked.
pub async fn problems(subject: &Subject<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    let problems = look(subject).await?.0.problems;
    Ok(problems.into_iter().map(|problem| problem.text).collect())
}

/// The repair: a REINDEX of each index that is wrong. `None` if a table is wrong as well, which no index can be built from.
///
/// # Errors
/// If the server cannot be asked.
pub async fn cures(subject: &Subject<'_>) -> Result<Option<Vec<String>>, tokio_postgres::Error> {
    let problems = look(subject).await?.0.problems;
    let indexes: Option<BTreeSet<String>> = problems.into_iter().map(|problem| problem.index).collect();
    Ok(indexes.map(|indexes| indexes.iter().map(|index| format!("REINDEX INDEX {index}")).collect()))
}

/// Both ways side by side; hands out how many indexes were compared.
async fn look(subject: &Subject<'_>) -> Result<(Tally, usize), tokio_postgres::Error> {
    let (mut first, mut second) = (subject.superuser().await?, subject.superuser().await?);
    let (mut tally, (compared, indexes)) = tokio::try_join!(amcheck(&mut first), probes(&mut second))?;
    tally.problems.extend(compared.problems);
    tally.unverified.extend(compared.unverified);
    tally.remarks.extend(compared.remarks);
    Ok((tally, indexes))
}

/// What amcheck says, if the server has it.
async fn amcheck(client: &mut tokio_postgres::Client) -> Result<Tally, tokio_postgres::Error> {
    let mut tally = Tally::default();
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'";
    if client.query_opt(available, &[]).await?.is_none() {
        tally
            .remarks
            .push("amcheck is not there: B-trees were compared with sequential scans, keys by sample".into());
        return Ok(tally);
    }
    let mut transaction = client.transaction().await?;
    let installed = "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'amcheck'";
    let schema = if let Some(row) = transaction.query_opt(installed, &[]).await? {
        row.get::<_, String>(0)
    } else {
        let create = "CREATE SCHEMA drill_amcheck; CREATE EXTENSION amcheck SCHEMA drill_amcheck";
        transaction.batch_execute(create).await?;
        "drill_amcheck".to_owned()
    };
    let schema = escape_identifier(&schema);
    let listed = "SELECT i.indexrelid, i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   WHERE c.relam = 403 AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND c.relnamespace <> to_regnamespace('drill_amcheck')";
    let trees = transaction.query(listed, &[]).await?;
    let sql = format!("SELECT {schema}.bt_index_check(index => $1::oid::regclass, heapallindexed => true)");
    for tree in &trees {
        if let Err(error) = in_savepoint(&mut transaction, &sql, tree.get(0)).await? {
            tally.problems.push(Problem::of(tree.get(1), &format!(": {error}")));
        }
    }
    let listed = "SELECT c.oid, c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')";
    let sql = format!(
        "SELECT format('block %s, item %s: %s', blkno, offnum, msg) FROM {schema}.verify_heapam(relation => $1::oid::regclass) LIMIT 3"
    );
    for table in &transaction.query(listed, &[]).await? {
        let complaints = in_savepoint(&mut transaction, &sql, table.get(0)).await?;
        let complaints = complaints.map(|rows| rows.iter().map(|row| row.get::<_, String>(0)).collect());
        let complaints: Vec<String> = complaints.unwrap_or_else(|error| vec![error]);
        tally.problems.extend(complaints.into_iter().map(|text| Problem {
            index: None,
            text: format!("table {}: {text}", table.get::<_, &str>(1)),
        }));
    }
    transaction.rollback().await?;
    tally.remarks.push(format!(
        "amcheck looked at {} B-trees, those of the catalog included",
        trees.len()
    ));
    Ok(tally)
}

/// Runs a query of which an error that speaks of damage is an answer.
async fn in_savepoint(
    transaction: &mut Transaction<'_>,
    sql: &str,
    relation: u32,
) -> Result<Result<Vec<tokio_postgres::Row>, String>, tokio_postgres::Error> {
    let savepoint = transaction.savepoint("drill_check").await?;
    match savepoint.query(sql, &[&relation]).await {
        Ok(rows) => savepoint.commit().await.map(|()| Ok(rows)),
        Err(error) => match damage(&error) {
            Some(reason) => savepoint.rollback().await.map(|()| Err(reason)),
            None => Err(error),
        },
    }
}

/// Compares every index with sequential scans; hands out how many there are.
async fn probes(client: &mut tokio_postgres::Client) -> Result<(Tally, usize), tokio_postgres::Error> {
    let mut tally = Tally::default();
    let indexes = client.query(INDEXES, &[]).await?;
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    let mut sampled = 0;
    for row in &indexes {
        let index = Index::of(row);
        if !index.valid {
            tally.problems.push(Problem::of(&index.name, " is invalid"));
            continue;
        }
        for probe in probe::probes(&index) {
            let savepoint = transaction.savepoint("drill_probe").await?;
            match probe::run(&savepoint, &index, &probe).await {
                Ok(probe::Answer::Agrees { partly }) => sampled += usize::from(partly),
                Ok(probe::Answer::Differs(how)) => tally.problems.push(Problem::of(&index.name, &format!(": {how}"))),
                Ok(probe::Answer::NotUsed) => tally
                    .unverified
                    .push(format!("{}: the planner does not use it", index.name)),
                Err(error) => match (damage(&error), error.as_db_error()) {
                    (Some(reason), _) => tally.problems.push(Problem::of(&index.name, &format!(": {reason}"))),
                    (None, Some(reason)) => tally.unverified.push(format!("{}: {}", index.name, reason.message())),
                    (None, None) => return Err(error),
                },
            }
            savepoint.rollback().await?;
        }
    }
    transaction.rollback().await?;
    if sampled > 0 {
        tally.remarks.push(format!(
            "of {sampled} indexes only a sample of {} keys was looked up",
            probe::SAMPLE
        ));
    }
    Ok((tally, indexes.len()))
}

impl Index {
    fn of(row: &tokio_postgres::Row) -> Self {
        Self {
            oid: row.get(0),
            table_oid: row.get(1),
            name: row.get(2),
            bare_name: row.get(3),
            table: row.get(4),
            method: row.get(5),
            key_type: row.get(6),
            is_array: row.get(7),
            keys: row.get(8),
            condition: row.get(9),
            valid: row.get(10),
            order: row.get(11),
        }
    }
}
