//! Index against sequential scan: the same question asked both ways, for each kind of index.
//!
//! A sequential scan fills a temporary table with groups of rows (a key, how many rows, a sum over their places in the
//! table); then the index is asked for each group, and must come to the same. The other indexes of the table are hidden
//! from the planner within the transaction, and its plan is looked at: a comparison that did not use the index in
//! question proves nothing.

use serde_json::Value;
use tokio_postgres::{SimpleQueryMessage, Transaction};

use super::Index;

/// A group's key, for people.
const KEYS: &str =
    "left((SELECT string_agg(value, ', ') FROM jsonb_each_text(to_jsonb(p) - 'drill_c' - 'drill_s')), 80)";

/// Groups that are looked up at most.
pub(super) const SAMPLE: i64 = 5000;

/// One way to ask an index.
pub(super) enum Probe {
    /// All of it, in its order (B-tree).
    InOrder,
    /// Groups of rows, and the condition that finds them again.
    Groups {
        /// The query that fills the table, by sequential scan. Columns `drill_c`, `drill_s`, and keys.
        fill: String,
        /// The condition on the table; `p` is the group.
        find: String,
    },
}

/// What came of it.
pub(super) enum Answer {
    /// Both scans agree; `partly` if there were more groups than were looked up.
    Agrees { partly: bool },
    /// They do not.
    Differs(String),
    /// The plan does not use the index, so that nothing is proven.
    NotUsed,
}

/// The probes that suit an index.
pub(super) fn probes(index: &Index) -> Vec<Probe> {
    match (index.method.as_str(), index.key_type.as_str()) {
        ("btree", _) => vec![Probe::InOrder, equality(index)],
        ("brin", _) => vec![ranges(index)],
        ("gin" | "gist", "tsvector") => vec![lexemes(index)],
        ("gin", _) if index.is_array || index.key_type == "jsonb" => {
            let key = &index.keys[0];
            vec![Probe::Groups {
                fill: grouped(index, 1),
                find: format!("{key} @> p.drill_k0 AND {key} = p.drill_k0"),
            }]
        }
        _ => vec![equality(index)],
    }
}

/// Rows with the same key, all columns of it.
fn equality(index: &Index) -> Probe {
    let find: Vec<_> = index
        .keys
        .iter()
        .enumerate()
        .map(|(n, key)| format!("{key} = p.drill_k{n}"))
        .collect();
    Probe::Groups {
        fill: grouped(index, index.keys.len()),
        find: find.join(" AND "),
    }
}

/// Groups by the first `columns` columns of the key. NULLs equal nothing; the B-tree's walk in order sees them.
fn grouped(index: &Index, columns: usize) -> String {
    let names: Vec<_> = (0..columns).map(|n| format!("drill_k{n}")).collect();
    let selected: Vec<_> = names
        .iter()
        .zip(&index.keys)
        .map(|(name, key)| format!("{key} AS {name}"))
        .collect();
    let present: Vec<_> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    format!(
        "SELECT {names}, count(*) AS drill_c, sum(hashtid(drill_t)) AS drill_s
           FROM (SELECT {selected}, ctid AS drill_t FROM {table} WHERE {condition}) x
          WHERE {present} GROUP BY {names} ORDER BY drill_s",
        names = names.join(", "),
        selected = selected.join(", "),
        table = index.table,
        condition = index.condition,
        present = present.join(" AND "),
    )
}

/// Full text: rows by lexeme.
fn lexemes(index: &Index) -> Probe {
    let (key, table, condition) = (&index.keys[0], &index.table, &index.condition);
    Probe::Groups {
        fill: format!(
            "SELECT lexeme AS drill_k0, count(*) AS drill_c, sum(hashtid(drill_t)) AS drill_s
               FROM (SELECT {key} AS drill_v, ctid AS drill_t FROM {table} WHERE {condition}) x, unnest(drill_v)
              GROUP BY lexeme ORDER BY drill_s"
        ),
        find: format!(r"{key} @@ ('''' || replace(replace(p.drill_k0, '\', '\\'), '''', '''''') || '''')::tsquery"),
    }
}

/// BRIN: the whole domain in ranges of about as many rows each; finer towards both ends, where a summary that was not
/// kept up is wrong.
fn ranges(index: &Index) -> Probe {
    let (key, table, condition) = (&index.keys[0], &index.table, &index.condition);
    let rows = format!("(SELECT {key} AS drill_k, ctid AS drill_t FROM {table} WHERE {condition}) x");
    Probe::Groups {
        fill: format!(
            "WITH bound AS MATERIALIZED (SELECT percentile_disc(ARRAY[0.001, 0.01, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.625,
                                         0.75, 0.875, 0.9375, 0.99, 0.999]) WITHIN GROUP (ORDER BY drill_k) AS b FROM {rows})
             SELECT min(drill_k) AS drill_k0, max(drill_k) AS drill_k1, count(*) AS drill_c, sum(hashtid(drill_t)) AS drill_s
               FROM {rows}, bound WHERE drill_k IS NOT NULL GROUP BY width_bucket(drill_k, b) ORDER BY drill_s"
        ),
        find: format!("{key} >= p.drill_k0 AND {key} <= p.drill_k1"),
    }
}

const SEQUENTIAL: &str =
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
    SET LOCAL enable_bitmapscan = off; SET LOCAL work_mem = '64MB'; SET LOCAL row_security = off";
const BY_INDEX: &str =
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_tidscan = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off;
    SET LOCAL enable_memoize = off; SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off;
    SET LOCAL max_parallel_workers_per_gather = 0";

/// Asks both ways. The caller rolls back.
pub(super) async fn run(
    transaction: &Transaction<'_>,
    index: &Index,
    probe: &Probe,
) -> Result<Answer, tokio_postgres::Error> {
    let (table, condition) = (&index.table, &index.condition);
    transaction.batch_execute(SEQUENTIAL).await?;
    let (ask, groups) = match probe {
        Probe::InOrder => {
            let fill = format!(
                "SELECT count(*) AS drill_c, coalesce(sum(hashtid(ctid)), 0) AS drill_s FROM {table} WHERE {condition}"
            );
            transaction
                .batch_execute(&format!("CREATE TEMP TABLE drill_group ON COMMIT DROP AS {fill}"))
                .await?;
            let by_index = format!(
                "SELECT count(*) AS c, coalesce(sum(hashtid(t)), 0) AS s
                   FROM (SELECT ctid AS t FROM {table} WHERE {condition} ORDER BY {} OFFSET 0) x",
                index.order
            );
            (
                format!(
                    "'all rows' AS name, p.drill_c, i.c FROM drill_group p, ({by_index}) i WHERE (i.c, i.s) <> (p.drill_c, p.drill_s)"
                ),
                0,
            )
        }
        Probe::Groups { fill, find } => {
            let fill = format!(
                "CREATE TEMP TABLE drill_group ON COMMIT DROP AS {fill} LIMIT {}",
                SAMPLE + 1
            );
            transaction.batch_execute(&fill).await?;
            let groups: i64 = transaction
                .query_one("SELECT count(*) FROM drill_group", &[])
                .await?
                .get(0);
            let by_index = format!(
                "SELECT count(*) AS c, coalesce(sum(hashtid(ctid)), 0) AS s FROM {table} WHERE ({condition}) AND {find}"
            );
            (
                format!(
                    "{KEYS} AS name, p.drill_c, i.c FROM drill_group p, LATERAL ({by_index}) i WHERE (i.c, i.s) <> (p.drill_c, p.drill_s)"
                ),
                groups,
            )
        }
    };
    transaction.batch_execute(BY_INDEX).await?;
    let bitmap = matches!(probe, Probe::Groups { .. }) && index.method != "btree" && index.method != "hash";
    transaction
        .batch_execute(if bitmap {
            "SET LOCAL enable_bitmapscan = on"
        } else {
            "SET LOCAL enable_bitmapscan = off"
        })
        .await?;
    // Only this transaction sees it, and it is rolled back.
    let hide = "UPDATE pg_index SET indisvalid = (indexrelid = $1) WHERE indrelid = $2";
    transaction.execute(hide, &[&index.oid, &index.table_oid]).await?;
    let sql = format!(
        "SELECT count(*), (array_agg(name || ': ' || drill_c || ' rows by sequential scan, ' || c || ' by index'))[1:2] FROM (SELECT {ask}) d"
    );
    let explained = transaction
        .simple_query(&format!("EXPLAIN (FORMAT JSON) {sql}"))
        .await?;
    let plan = explained.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => serde_json::from_str::<Value>(row.get(0)?).ok(),
        _ => None,
    });
    if !plan.is_some_and(|plan| uses(&plan, &index.bare_name)) {
        return Ok(Answer::NotUsed);
    }
    let row = transaction.query_one(&sql, &[]).await?;
    let differing: i64 = row.get(0);
    if differing == 0 {
        return Ok(Answer::Agrees {
            partly: groups > SAMPLE,
        });
    }
    let examples: Option<Vec<String>> = row.get(1);
    Ok(Answer::Differs(format!(
        "{differing} differ: {}",
        examples.unwrap_or_default().join(", ")
    )))
}

/// Whether a plan scans this index.
fn uses(plan: &Value, index: &str) -> bool {
    match plan {
        Value::Object(fields) => {
            fields.get("Index Name").is_some_and(|name| name == index)
                || fields.values().any(|value| uses(value, index))
        }
        Value::Array(items) => items.iter().any(|item| uses(item, index)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn an_index_is_found_anywhere_in_a_plan() {
        let plan = json!([{ "Plan": { "Plans": [{ "Node Type": "Index Scan", "Index Name": "a" }] } }]);
        assert!(super::uses(&plan, "a") && !super::uses(&plan, "b"));
    }
}
