//! `referential-integrity`: no row refers to a row that is not there.
//!
//! Orphans are computed from the tables with index scans off (the index that would answer may be what is damaged), in
//! every database and for every foreign key that counts as valid: one that is NOT VALID promises nothing of the rows that
//! were there before it, and whether it should be, or its triggers be switched off, is for `catalog-inventory` to say. What
//! it cannot see: references that no constraint declares.

use reports::{
    CheckId, CheckResult,
    text::{counted, left_out},
};
use tokio_postgres::{Client, Row, error::SqlState};

use super::{Subject, databases};
use crate::{
    errors::damage,
    record::check::{Found, first_few, timed},
};

const EXPECTED: &str = "no orphans under a foreign key that counts as valid";

/// A foreign key with everything that the query for its orphans needs. One with a PERIOD (from PostgreSQL 18 on) is
/// satisfied by several rows together, which no comparison of rows one by one can tell.
const FOREIGN_KEYS: &str = r"
SELECT format('%I on %s', o.conname, o.conrelid::regclass) AS name, o.confmatchtype = 'f' AS full,
       coalesce((to_jsonb(o) ->> 'conperiod')::bool, false) AS period,
       CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || o.conrelid::regclass AS child,
       CASE WHEN p.relkind = 'p' THEN '' ELSE 'ONLY ' END || o.confrelid::regclass AS parent,
       array_agg(format('c.%I', a.attname) ORDER BY k.n) AS columns,
       array_agg(format('p.%I OPERATOR(%I.%s) c.%I', b.attname, s.nspname, e.oprname, a.attname) ORDER BY k.n) AS matches
  FROM pg_constraint o
  JOIN pg_class c ON c.oid = o.conrelid
  JOIN pg_class p ON p.oid = o.confrelid
 CROSS JOIN unnest(o.conkey, o.confkey, o.conpfeqop) WITH ORDINALITY AS k(child, parent, operator, n)
  JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.child
  JOIN pg_attribute b ON b.attrelid = o.confrelid AND b.attnum = k.parent
  JOIN pg_operator e ON e.oid = k.operator
  JOIN pg_namespace s ON s.oid = e.oprnamespace
 WHERE o.contype = 'f' AND o.conparentid = 0 AND o.convalidated
 GROUP BY o.oid, c.relkind, p.relkind ORDER BY 1";

/// What was found in one database.
#[derive(Default)]
struct Look {
    keys: usize,
    problems: Vec<String>,
    not_planned: Vec<String>,
}

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::ReferentialIntegrity, subject.phase, subject.name, async {
        let looks = databases::each_with_relations(subject, |_, client| look(client)).await?;
        let (mut keys, mut problems, mut not_planned) = (0, Vec::new(), Vec::new());
        for (database, look) in looks.found {
            let place = databases::place(subject, &database);
            keys += look.keys;
            problems.extend(look.problems.iter().map(|text| format!("{place}{text}")));
            not_planned.extend(look.not_planned.iter().map(|text| format!("{place}{text}")));
        }
        let mut details = Vec::new();
        if !problems.is_empty() {
            details.push(first_few(&problems));
        }
        if !not_planned.is_empty() {
            details.push(format!("not planned: {}", first_few(&not_planned)));
        }
        let actual = format!(
            "{}, {}",
            counted(keys, "foreign key"),
            counted(problems.len(), "problem")
        );
        let found = Found::judge(problems.is_empty(), EXPECTED, actual).detail(details.join("; "));
        databases::unless_failed::<tokio_postgres::Error>(found, looks.failed)
    })
    .await
}

/// Orphans in one database.
async fn look(client: Client) -> Result<Look, tokio_postgres::Error> {
    client
        .batch_execute(
            "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
             SET enable_nestloop = off; SET work_mem = '64MB'; SET row_security = off; SET default_transaction_read_only = on",
        )
        .await?;
    let keys = client.query(FOREIGN_KEYS, &[]).await?;
    let mut look = Look::default();
    for key in &keys {
        let name: &str = key.try_get("name")?;
        if key.try_get("period")? {
            look.not_planned
                .push(format!("{name}: several rows together may satisfy a PERIOD"));
            continue;
        }
        look.keys += 1;
        match client.query_one(&orphans(key)?, &[]).await {
            Ok(row) if row.try_get::<_, i64>(0)? == 0 => {}
            Ok(row) => {
                let (count, places): (i64, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
                look.problems.push(format!(
                    "{} by {name}, at {}",
                    counted(count, "orphan"),
                    at(&places, count)
                ));
            }
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => look.keys -= 1, // dropped meanwhile
            Err(error) => match damage(&error) {
                Some(reason) => look.problems.push(format!("{name} cannot be read: {reason}")),
                None => return Err(error),
            },
        }
    }
    Ok(look)
}

/// Where the first few are, and how many are left out.
fn at(places: &[String], count: i64) -> String {
    let more = u64::try_from(count)
        .unwrap_or_default()
        .saturating_sub(places.len() as u64);
    let places = places.iter().cloned().chain(left_out(more));
    places.collect::<Vec<_>>().join(", ")
}

/// How many orphans, and where the first few are: their keys are their owners' and stand in no report. A NULL in a key
/// refers to nothing; under MATCH FULL a key that is NULL only in part is a violation by itself.
fn orphans(key: &Row) -> Result<String, tokio_postgres::Error> {
    let (columns, matches): (Vec<String>, Vec<String>) = (key.try_get("columns")?, key.try_get("matches")?);
    let (child, parent): (&str, &str) = (key.try_get("child")?, key.try_get("parent")?);
    let all = |suffix: &str, by: &str| {
        columns
            .iter()
            .map(|column| format!("{column} {suffix}"))
            .collect::<Vec<_>>()
            .join(by)
    };
    let mut condition = format!(
        "{} AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {})",
        all("IS NOT NULL", " AND "),
        matches.join(" AND ")
    );
    if key.try_get("full")? {
        let part = format!("({}) AND ({})", all("IS NULL", " OR "), all("IS NOT NULL", " OR "));
        condition = format!("({condition}) OR ({part})");
    }
    Ok(format!(
        "WITH orphan AS MATERIALIZED (SELECT concat(c.tableoid::regclass, ' ', c.ctid) AS place FROM {child} c WHERE {condition})
         SELECT (SELECT count(*) FROM orphan), ARRAY(SELECT place FROM orphan LIMIT 3)"
    ))
}
