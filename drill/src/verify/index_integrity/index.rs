//! What the catalog says of the indexes of a database.

use tokio_postgres::{Client, Row};

#[expect(clippy::struct_excessive_bools, reason = "each is a column of the catalog")]
/// An index that has rows of its own: of a table, a partition, a materialised view or a system catalogue.
pub(super) struct Index {
    pub(super) oid: u32,
    pub(super) table_oid: u32,
    /// As SQL names it.
    pub(super) name: String,
    /// As a plan names it.
    pub(super) bare_name: String,
    pub(super) table: String,
    pub(super) method: String,
    /// Whether it belongs to the server: of a catalogue or of a TOAST table.
    pub(super) system: bool,
    pub(super) valid: bool,
    pub(super) unique: bool,
    pub(super) nulls_distinct: bool,
    /// Whether every column of it is a column of the table, so that a scan of it alone can answer.
    pub(super) plain: bool,
    /// Whether rows compare as the index sorts them.
    pub(super) natural: bool,
    pub(super) condition: String,
    pub(super) order: String,
    pub(super) columns: Vec<Column>,
    /// Why running transactions may keep the planner from it.
    pub(super) young: bool,
    /// Bytes of it and of its table: what each of its probes reads.
    pub(super) bytes: i64,
}

/// A column of an index's key.
pub(super) struct Column {
    /// What is indexed, with its collation if that is not the table column's.
    pub(super) key: String,
    /// Type that its operators take.
    pub(super) key_type: String,
    /// The operator of the index's own family by which a row finds itself: equality where there is one.
    pub(super) same: Option<String>,
    /// Whether that is equality.
    pub(super) equality: bool,
    /// `>=` and `<=`, of an index that keeps the least and the greatest.
    pub(super) bounds: Option<(String, String)>,
}

/// Every index but those of temporary tables. Shared catalogues are the same in each database. A key that does not sort by
/// the collation of its column (an expression: by the database's) has its own beside it.
const INDEXES: &str = r"
WITH operator AS MATERIALIZED (
  SELECT family, type, min(sql) FILTER (WHERE strategy = 1) AS first, min(sql) FILTER (WHERE strategy = 5) AS last,
         (array_agg(sql ORDER BY rank) FILTER (WHERE rank IS NOT NULL))[1] AS same,
         min(sql) FILTER (WHERE name = '>=' AND strategy = 4) AS least,
         min(sql) FILTER (WHERE name = '<=' AND strategy = 2) AS greatest
    FROM (SELECT a.amopfamily AS family, a.amoplefttype AS type, a.amopstrategy AS strategy, p.oprname AS name,
                 array_position(ARRAY['=', '~=', '@>', '<@', '&&'], p.oprname::text) AS rank,
                 format('OPERATOR(%I.%s)', s.nspname, p.oprname) AS sql
            FROM pg_amop a JOIN pg_operator p ON p.oid = a.amopopr JOIN pg_namespace s ON s.oid = p.oprnamespace
           WHERE a.amoplefttype = a.amoprighttype AND a.amoppurpose = 's') o
   GROUP BY family, type),
part AS MATERIALIZED (
  SELECT i.indexrelid, n, o.opcintype AS type, o.opcdefault AS usual, i.indoption[n - 1] AS option,
         CASE WHEN k.coll = 0 OR k.coll = coalesce(a.attcollation, 100) THEN pg_get_indexdef(i.indexrelid, n, true)
              ELSE format('(%s) COLLATE %s', pg_get_indexdef(i.indexrelid, n, true), k.coll::regcollation) END AS key,
         r.first, r.last, r.same, r.least, r.greatest
    FROM pg_index i CROSS JOIN generate_series(1, i.indnkeyatts) AS n
   CROSS JOIN LATERAL (SELECT i.indcollation[n - 1] AS coll, i.indkey[n - 1] AS column) k
    JOIN pg_opclass o ON o.oid = i.indclass[n - 1]
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.column AND k.column <> 0
    LEFT JOIN operator r ON r.family = o.opcfamily AND r.type = o.opcintype),
key AS MATERIALIZED (
  SELECT indexrelid, bool_and(usual AND option = 0) AS is_natural,
         string_agg(format('%s USING %s NULLS %s', key, CASE WHEN option & 1 = 1 THEN last ELSE first END,
                           CASE WHEN option & 2 = 2 THEN 'FIRST' ELSE 'LAST' END), ', ' ORDER BY n) AS ordered,
         array_agg(key ORDER BY n) AS keys, array_agg(format_type(type, NULL) ORDER BY n) AS types,
         array_agg(same ORDER BY n) AS same, array_agg(least ORDER BY n) AS least, array_agg(greatest ORDER BY n) AS greatest
    FROM part GROUP BY indexrelid)
SELECT i.indexrelid, i.indrelid, i.indexrelid::regclass::text, c.relname::text, i.indrelid::regclass::text, m.amname::text,
       c.oid < 16384 OR s.nspname = 'pg_toast', i.indisvalid AND i.indisready AND i.indislive, i.indisunique,
       NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false), 0 <> ALL (i.indkey::int2[]),
       k.is_natural, coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'), i.indcheckxmin,
       CASE m.amname WHEN 'btree' THEN k.ordered END, k.keys, k.types, k.same, k.least, k.greatest,
       coalesce(pg_relation_size(i.indexrelid) + pg_relation_size(i.indrelid), 0)
  FROM pg_index i
  JOIN key k USING (indexrelid)
  JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_am m ON m.oid = c.relam
  JOIN pg_class r ON r.oid = i.indrelid AND r.relpersistence <> 't' AND r.relispopulated
  JOIN pg_namespace s ON s.oid = c.relnamespace
 WHERE NOT c.relisshared OR current_database() = $1
 ORDER BY 3";

impl Index {
    /// Every index of the database that `client` is connected to, and in the service's own those that all databases share.
    pub(super) async fn all(client: &Client, home: &str) -> Result<Vec<Self>, tokio_postgres::Error> {
        let rows = client.query(INDEXES, &[&home]).await?;
        rows.iter().map(Self::of).collect()
    }

    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let (keys, types): (Vec<String>, Vec<String>) = (row.try_get(15)?, row.try_get(16)?);
        let same: Vec<Option<String>> = row.try_get(17)?;
        let (least, greatest): (Vec<Option<String>>, Vec<Option<String>>) = (row.try_get(18)?, row.try_get(19)?);
        let columns = keys
            .into_iter()
            .zip(types)
            .zip(same)
            .zip(least.into_iter().zip(greatest));
        let columns = columns.map(|(((key, key_type), same), bounds)| Column {
            key,
            key_type,
            equality: same.as_ref().is_some_and(|same| same.ends_with(".=)")),
            same,
            bounds: bounds.0.zip(bounds.1),
        });
        Ok(Self {
            oid: row.try_get(0)?,
            table_oid: row.try_get(1)?,
            name: row.try_get(2)?,
            bare_name: row.try_get(3)?,
            table: row.try_get(4)?,
            method: row.try_get(5)?,
            system: row.try_get(6)?,
            valid: row.try_get(7)?,
            unique: row.try_get(8)?,
            nulls_distinct: row.try_get(9)?,
            plain: row.try_get(10)?,
            natural: row.try_get::<_, Option<bool>>(11)?.unwrap_or(false),
            condition: row.try_get(12)?,
            young: row.try_get(13)?,
            order: row.try_get::<_, Option<String>>(14)?.unwrap_or_default(),
            columns: columns.collect(),
            bytes: row.try_get(20)?,
        })
    }
}
