//! `referential-integrity`: no row refers to a row that is not there, and the constraints that guard it are in force.
//!
//! Orphans are computed from the tables with index scans off (the index that would answer may be what is damaged), for
//! every foreign key in `pg_constraint`. What it cannot see: references that no constraint declares.

use reports::{CheckId, CheckResult};
use tokio_postgres::Row;

use super::{Found, Subject, damage, first_few, timed};

/// A foreign key with everything that the query for its orphans needs.
const FOREIGN_KEYS: &str = r"
SELECT format('%I on %s', o.conname, o.conrelid::regclass) AS name, o.convalidated, o.confmatchtype = 'f' AS full,
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
 WHERE o.contype = 'f' AND o.conparentid = 0
 GROUP BY o.oid, c.relkind, p.relkind ORDER BY 1";

/// Triggers that are not fired as they should be; a foreign key is enforced by internal ones.
const DISABLED: &str = r"
SELECT format('%s on %s is %s', CASE WHEN t.tgisinternal THEN 'a trigger of ' || coalesce(o.conname, t.tgname) ELSE t.tgname END,
              t.tgrelid::regclass, CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'for replicas only' ELSE 'always on' END)
  FROM pg_trigger t LEFT JOIN pg_constraint o ON o.oid = t.tgconstraint
 WHERE t.tgenabled IN ('D', 'R') ORDER BY 1";

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::ReferentialIntegrity, subject.phase, subject.name, async {
        let expected = "no orphans, every foreign key validated, every trigger enabled";
        let mut client = subject.superuser().await?;
        let transaction = client.build_transaction().read_only(true).start().await?;
        transaction
            .batch_execute(
                "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
                 SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'; SET LOCAL row_security = off",
            )
            .await?;
        let keys = transaction.query(FOREIGN_KEYS, &[]).await?;
        let mut problems = Vec::new();
        for key in &keys {
            let name: &str = key.get("name");
            if !key.get::<_, bool>("convalidated") {
                problems.push(format!("{name} is NOT VALID"));
            }
            match transaction.query_one(&orphans(key), &[]).await {
                Ok(row) if row.get::<_, i64>(0) == 0 => {}
                Ok(row) => {
                    let examples: Vec<String> = row.get(1);
                    problems.push(format!("{} orphans by {name}: {}", row.get::<_, i64>(0), examples.join(", ")));
                }
                Err(error) => match damage(&error) {
                    Some(reason) => return Ok(Found::fail(expected, format!("{name} cannot be read: {reason}"))),
                    None => return Err(error),
                },
            }
        }
        problems.extend(transaction.query(DISABLED, &[]).await?.iter().map(|row| row.get::<_, String>(0)));
        let actual = format!("{} foreign keys, {} problems", keys.len(), problems.len());
        Ok::<_, tokio_postgres::Error>(Found::judge(problems.is_empty(), expected, actual).detail(first_few(&problems)))
    })
    .await
}

/// How many orphans, and the keys of the first few. A NULL in a key refers to nothing; under MATCH FULL a key that is
/// NULL only in part is a violation by itself.
fn orphans(key: &Row) -> String {
    let (columns, matches): (Vec<String>, Vec<String>) = (key.get("columns"), key.get("matches"));
    let (child, parent): (&str, &str) = (key.get("child"), key.get("parent"));
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
    if key.get("full") {
        let part = format!("({}) AND ({})", all("IS NULL", " OR "), all("IS NOT NULL", " OR "));
        condition = format!("({condition}) OR ({part})");
    }
    let text = columns.join(", ");
    format!(
        "WITH orphan AS MATERIALIZED (SELECT concat_ws(', ', {text}) AS key FROM {child} c WHERE {condition})
         SELECT (SELECT count(*) FROM orphan), ARRAY(SELECT key FROM orphan LIMIT 3)"
    )
}
