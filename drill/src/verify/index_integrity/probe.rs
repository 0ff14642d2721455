//! Index against sequential scan: the same question asked both ways in one statement, for each kind of index.
//!
//! A statement has parts with names (`WITH heap_0 AS MATERIALIZED …`): those whose name begins with `heap` are read by a
//! sequential scan, the others must use the index in question and no other, which the plan tells (`plan`): a comparison
//! that did not use the index proves nothing. One statement sees one state of the database, whoever writes meanwhile. It
//! answers a row for each thing that is wrong: the number of the probe, what is wrong, and whether the visibility map is to
//! blame.
//!
//! A sequential scan that must not use a partial index hides its condition from the planner in a CASE.

use super::index::{Column, Index};

/// Groups, or rows, that are looked up at most where equality finds few of them each.
pub(super) const SAMPLE: i64 = 5000;
/// Rows that are looked up at most where an operator may find many, or where each look reads a summary of the whole table.
const FEW: i64 = 100;

/// One way to ask an index.
pub(super) enum Probe {
    /// All of it, in its order (B-tree); whether what a scan of the index alone says is the same; whether a unique index
    /// has the same key twice.
    Walk,
    /// All of it, by what is NULL and what is not (GiST, SP-GiST).
    Nulls,
    /// Groups of rows with the same key, all columns of it.
    Groups,
    /// Rows by lexeme (full text).
    Lexemes(usize),
    /// Ranges of a column's whole domain (BRIN).
    Ranges(usize),
    /// Each row by its own key in one column: it must be among what the operator finds.
    Itself(usize),
}

/// The probes that suit an index, and why a column of it has none.
pub(super) fn probes(index: &Index) -> (Vec<Probe>, Vec<String>) {
    let mut missing = Vec::new();
    let mut probes = match index.method.as_str() {
        "btree" => vec![Probe::Walk],
        "gist" | "spgist" => vec![Probe::Nulls],
        _ => Vec::new(),
    };
    if index.method == "btree" || index.method == "hash" {
        if !index.system {
            probes.push(Probe::Groups);
        }
        return (probes, missing);
    }
    for (n, column) in index.columns.iter().enumerate() {
        probes.push(match (index.method.as_str(), column) {
            ("brin", Column { bounds: Some(_), .. }) => Probe::Ranges(n),
            ("gin" | "gist", Column { key_type, .. }) if key_type == "tsvector" => Probe::Lexemes(n),
            (_, Column { same: Some(_), .. }) => Probe::Itself(n),
            (_, Column { key_type, .. }) => {
                missing.push(format!(
                    "no operator of its family finds a value of {key_type} by itself"
                ));
                continue;
            }
        });
    }
    (probes, missing)
}

impl Probe {
    /// Whether rows or groups beyond a limit are passed over.
    pub(super) fn samples(&self) -> bool {
        matches!(self, Self::Groups | Self::Lexemes(_) | Self::Itself(_))
    }

    /// What it asks, for people.
    pub(super) fn asks(&self) -> &'static str {
        match self {
            Self::Walk => "a walk in its order",
            Self::Nulls => "a walk",
            Self::Groups => "equal keys",
            Self::Lexemes(_) => "lexemes",
            Self::Ranges(_) => "ranges",
            Self::Itself(_) => "a row's own key",
        }
    }

    /// The statement's parts (`WITH …`) and the query for what is wrong, both with the probe's number in their names.
    pub(super) fn sql(&self, index: &Index, number: usize) -> (String, String) {
        match self {
            Self::Walk => walk(index, number),
            Self::Nulls => nulls(index, number),
            Self::Groups => groups(index, number),
            Self::Lexemes(n) => lexemes(index, &index.columns[*n], number),
            Self::Ranges(n) => ranges(index, &index.columns[*n], number),
            Self::Itself(n) => itself(index, &index.columns[*n], number),
        }
    }
}

/// The rows of the index's table, by sequential scan: `columns` and their place `t`.
fn heap(index: &Index, columns: &str) -> String {
    let (table, condition) = (&index.table, &index.condition);
    let hidden = if condition == "true" {
        String::new()
    } else {
        format!(" WHERE CASE WHEN ({condition}) THEN 1 ELSE 0 END = 1")
    };
    format!("(SELECT {columns}, ctid AS t FROM {table}{hidden} OFFSET 0) x")
}

/// The columns of the key, named `k0`, `k1`, …
fn keys(index: &Index) -> (String, Vec<String>) {
    let names: Vec<_> = (0..index.columns.len()).map(|n| format!("k{n}")).collect();
    let selected: Vec<_> = index
        .columns
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("{} AS {name}", column.key))
        .collect();
    (selected.join(", "), names)
}

/// Three scans: of the table; of the index with a visit to each row; of the index alone, which believes the index's own
/// copy of the keys and, where the visibility map says so, that every row is visible.
fn walk(index: &Index, number: usize) -> (String, String) {
    // Every type of a catalogue's keys has a hash, none is NULL, and there are many of them.
    let catalogue = index.system && index.natural;
    let hash_of_keys = if catalogue {
        "coalesce(sum(hash_record_extended(k, 0)), 0)"
    } else {
        "coalesce(sum(hashtextextended(k::text, 0)), 0)"
    };
    let (table, condition, order) = (&index.table, &index.condition, &index.order);
    let (selected, names) = keys(index);
    let names = names.join(", ");
    let by_index =
        |columns: &str| format!("(SELECT {columns} FROM {table} WHERE {condition} ORDER BY {order} OFFSET 0) x");
    let hash = if index.plain { hash_of_keys } else { "0" };
    let disorder = match (index.natural, catalogue && index.unique) {
        (true, true) => "count(*) FILTER (WHERE k <= before)",
        (true, false) => "count(*) FILTER (WHERE k < before)",
        (false, _) => "0",
    };
    let mut parts = vec![
        format!(
            "heap_{number} AS MATERIALIZED (SELECT {SEEN}, {hash} AS h FROM (SELECT ROW({names}) AS k, t FROM {}) y)",
            heap(index, &selected)
        ),
        format!(
            "index_{number} AS MATERIALIZED (SELECT {SEEN}, {disorder} AS d
               FROM (SELECT t, k, lag(k) OVER () AS before FROM (SELECT ROW({names}) AS k, t FROM {}) y) z)",
            by_index(&format!("{selected}, ctid AS t"))
        ),
    ];
    let mut wrong = vec![
        differing(number),
        format!(
            "SELECT {number}, format('%s keys out of order or more than once', d), 'index' FROM index_{number} WHERE d > 0"
        ),
    ];
    if index.plain {
        parts.push(format!(
            "only_{number} AS MATERIALIZED (SELECT count(*) AS c, {hash_of_keys} AS h FROM (SELECT ROW({names}) AS k FROM {}) y)",
            by_index(&selected)
        ));
        // A visit to a dead row marks its entry as dead, and a scan of the index alone then passes over it: that one is first.
        wrong.insert(
            0,
            format!("SELECT {number} AS n, '' AS what, '' AS whose FROM only_{number} WHERE c IS NULL"),
        );
        wrong.push(format!(
            "SELECT {number}, format('rows: %s by sequential scan, %s by a scan of the index alone', h.c, o.c), 'map'
               FROM heap_{number} h, only_{number} o, index_{number} i WHERE h.c <> o.c AND h.c = i.c"
        ));
        wrong.push(format!(
            "SELECT {number}, 'its own keys are not those of its table', 'index'
               FROM heap_{number} h, only_{number} o WHERE h.c = o.c AND h.h <> o.h"
        ));
    }
    if index.unique && !catalogue {
        let present = if index.nulls_distinct {
            format!("WHERE num_nulls({names}) = 0")
        } else {
            String::new()
        };
        parts.push(format!(
            "heap_twice_{number} AS MATERIALIZED (SELECT count(*) AS c
               FROM (SELECT 1 FROM {} {present} GROUP BY {names} HAVING count(t) > 1) y)",
            heap(index, &selected)
        ));
        wrong.push(format!(
            "SELECT {number}, format('it is unique, and its table has keys more than once: %s', c), 'table'
               FROM heap_twice_{number} WHERE c > 0"
        ));
    }
    (parts.join(",\n"), wrong.join(" UNION ALL "))
}

/// How many rows, and a sum over their places.
const SEEN: &str = "count(*) AS c, coalesce(sum(hashtid(t)), 0) AS s";

fn differing(number: usize) -> String {
    format!(
        "SELECT {number} AS n, format('rows: %s by sequential scan, %s by index', h.c, i.c) AS what, 'index' AS whose
           FROM heap_{number} h, index_{number} i WHERE (h.c, h.s) <> (i.c, i.s)"
    )
}

fn nulls(index: &Index, number: usize) -> (String, String) {
    let (table, condition, key) = (&index.table, &index.condition, &index.columns[0].key);
    let part = |test: &str| format!("SELECT ctid AS t FROM {table} WHERE ({condition}) AND ({key}) {test}");
    let parts = format!(
        "heap_{number} AS MATERIALIZED (SELECT {SEEN} FROM {}),
         index_{number} AS MATERIALIZED (SELECT {SEEN} FROM ({} UNION ALL {}) y)",
        heap(index, "1 AS k0"),
        part("IS NOT NULL"),
        part("IS NULL"),
    );
    (parts, differing(number))
}

/// Groups of rows of the table (`fill`: columns `c`, `s` and what `find` speaks of as `p`), each looked for by the index.
fn looked_up(index: &Index, number: usize, fill: &str, find: &str) -> (String, String) {
    let (table, condition) = (&index.table, &index.condition);
    let parts = format!(
        "heap_{number} AS MATERIALIZED ({fill}),
         index_{number} AS MATERIALIZED (
           SELECT count(*) AS differing, (array_agg(format('rows: %s by sequential scan, %s by index', p.c, i.c)))[1] AS what
             FROM heap_{number} p, LATERAL (SELECT count(*) AS c, coalesce(sum(hashtid(ctid)), 0) AS s
                                              FROM {table} WHERE ({condition}) AND {find}) i
            WHERE (i.c, i.s) <> (p.c, p.s))"
    );
    let wrong = format!(
        "SELECT {number} AS n, format('%s keys find other rows: %s', differing, what) AS what, 'index' AS whose
           FROM index_{number} WHERE differing > 0"
    );
    (parts, wrong)
}

/// NULLs equal nothing; the walk in order sees them.
fn groups(index: &Index, number: usize) -> (String, String) {
    let (selected, names) = keys(index);
    let find = index.columns.iter().zip(&names).map(|(column, name)| {
        let equals = column.same.as_deref().unwrap_or("=");
        format!("{} {equals} p.{name}", column.key)
    });
    let find: Vec<_> = find.collect();
    let names = names.join(", ");
    let fill = format!(
        "SELECT {names}, count(*) AS c, sum(hashtid(t)) AS s FROM {}
          WHERE num_nulls({names}) = 0 GROUP BY {names} ORDER BY s LIMIT {SAMPLE}",
        heap(index, &selected)
    );
    looked_up(index, number, &fill, &find.join(" AND "))
}

fn lexemes(index: &Index, column: &Column, number: usize) -> (String, String) {
    let key = &column.key;
    let fill = format!(
        "SELECT lexeme AS k0, count(*) AS c, sum(hashtid(t)) AS s FROM {}, unnest(x.k0) GROUP BY lexeme ORDER BY s LIMIT {SAMPLE}",
        heap(index, &format!("{key} AS k0"))
    );
    let find = format!(r"{key} @@ ('''' || replace(replace(p.k0, '\', '\\'), '''', '''''') || '''')::tsquery");
    looked_up(index, number, &fill, &find)
}

/// The whole domain in ranges of about as many rows each; finer towards both ends, where a summary that was not kept up is
/// wrong.
fn ranges(index: &Index, column: &Column, number: usize) -> (String, String) {
    let key = &column.key;
    let (least, greatest) = column.bounds.clone().unwrap_or_default();
    let rows = heap(index, &format!("{key} AS k0"));
    let fill = format!(
        "SELECT percentile_disc(0) WITHIN GROUP (ORDER BY k0) AS low, percentile_disc(1) WITHIN GROUP (ORDER BY k0) AS high,
                count(*) AS c, sum(hashtid(t)) AS s
           FROM {rows}, (SELECT percentile_disc(ARRAY[0.001, 0.01, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.9375,
                                0.99, 0.999]) WITHIN GROUP (ORDER BY k0) AS b FROM {rows} WHERE t IS NOT NULL) bound
          WHERE k0 IS NOT NULL GROUP BY width_bucket(k0, b)"
    );
    let find = format!("{key} {greatest} p.high AND {key} {least} p.low");
    looked_up(index, number, &fill, &find)
}

/// A row whose key the operator does not accept as its own (an empty range overlaps nothing) is left out.
fn itself(index: &Index, column: &Column, number: usize) -> (String, String) {
    let (table, condition, key) = (&index.table, &index.condition, &column.key);
    let same = column.same.as_deref().unwrap_or("=");
    let limit = if column.equality && index.method != "brin" {
        SAMPLE
    } else {
        FEW
    };
    let parts = format!(
        "heap_{number} AS MATERIALIZED (SELECT k0, t FROM {}
                                         WHERE k0 IS NOT NULL AND k0 {same} k0 ORDER BY hashtid(t) LIMIT {limit}),
         index_{number} AS MATERIALIZED (
           SELECT count(*) FILTER (WHERE i.c <> 1) AS missing, count(*) AS c
             FROM heap_{number} p, LATERAL (SELECT count(*) FILTER (WHERE ctid = p.t) AS c
                                              FROM {table} WHERE ({condition}) AND {key} {same} p.k0) i)",
        heap(index, &format!("{key} AS k0"))
    );
    let wrong = format!(
        "SELECT {number} AS n, format('%s of %s rows are not found by their own key', missing, c) AS what, 'index' AS whose
           FROM index_{number} WHERE missing > 0"
    );
    (parts, wrong)
}
