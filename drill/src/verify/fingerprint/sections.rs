//! What is fingerprinted as one: a table's rows with all columns, or with those that never change; and large objects.
//!
//! Read from the catalogue, so that a table which a migration adds is covered without a word here.

use postgres_protocol::escape::escape_identifier;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::FingerprintError;

/// The section that is no table: every large object with its bytes.
pub const LARGE_OBJECTS: &str = "large objects";

/// Tables whose rows are changed in place, and the columns that this concerns.
pub type Changing<'a> = &'a [(&'a str, &'a [&'a str])];

/// Rows that have one fingerprint together. The fields are SQL, quoted where needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// For people: the table, and which columns if not all.
    pub name: String,
    /// What to select from.
    pub from: String,
    /// A bigint that names a row; without one a difference cannot be narrowed down.
    pub key: Option<String>,
    /// The columns that are hashed, in the table's order.
    pub columns: String,
    /// Of these, the ones whose type has no hash; they are hashed in their text form.
    pub as_text: Vec<String>,
    /// Whether the service changes rows in place that were there before.
    pub changing: bool,
}

impl Section {
    /// The hash of a row.
    pub fn hash(&self) -> String {
        format!("hash_record_extended(ROW({}), 0)", self.columns)
    }
}

/// Every permanent table of schema `public`, its key if that is one integer, and its columns with whether they have a hash.
///
/// A type is followed through domains and arrays to what it is made of. That has a hash if it is an enum, or if there
/// is a default hash operator class with a 64-bit function for it or for what it is binary-coercible to (PostgreSQL
/// manual, chapter 38.16.3). All others count as without, ranges and composites as well: their text form is as good.
const TABLES: &str = "
WITH RECURSIVE attribute AS (
    SELECT c.oid AS relation, c.relname, a.attnum, a.attname, a.atttypid
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE n.nspname = 'public' AND c.relpersistence = 'p' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND a.attnum > 0 AND NOT a.attisdropped
), made_of (relation, attnum, type) AS (
    SELECT relation, attnum, atttypid FROM attribute
    UNION ALL
    SELECT m.relation, m.attnum, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END
      FROM made_of m JOIN pg_type t ON t.oid = m.type
     WHERE t.typtype = 'd' OR t.typsubscript = 'array_subscript_handler'::regproc
), without_hash AS (
    SELECT m.relation, m.attnum FROM made_of m JOIN pg_type t ON t.oid = m.type
     WHERE t.typtype NOT IN ('d', 'e') AND t.typsubscript <> 'array_subscript_handler'::regproc
       AND NOT EXISTS (
           SELECT FROM pg_opclass o JOIN pg_am am ON am.oid = o.opcmethod AND am.amname = 'hash'
             JOIN pg_amproc p ON p.amprocfamily = o.opcfamily AND p.amprocnum = 2
                             AND p.amproclefttype = o.opcintype AND p.amprocrighttype = o.opcintype
            WHERE o.opcdefault AND (o.opcintype = t.oid OR EXISTS (
                SELECT FROM pg_cast
                 WHERE castsource = t.oid AND casttarget = o.opcintype AND castmethod = 'b' AND castcontext = 'i')))
)
SELECT a.relname,
       (SELECT k.attname FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = i.indkey[0]
         WHERE i.indrelid = a.relation AND i.indisprimary AND i.indnkeyatts = 1
           AND k.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)),
       array_agg(a.attname ORDER BY a.attnum),
       array_agg(EXISTS (SELECT FROM without_hash w WHERE w.relation = a.relation AND w.attnum = a.attnum)
                 ORDER BY a.attnum)
  FROM attribute a GROUP BY a.relation, a.relname ORDER BY pg_table_size(a.relation) DESC, a.relname";

/// Reads the sections from the catalogue, the largest table first. A table of `changing` has two: all columns, and
/// those that never change.
///
/// # Errors
/// If the catalogue cannot be read.
pub async fn sections(client: &Client, changing: Changing<'_>) -> Result<Vec<Section>, FingerprintError> {
    let tables = client.query(TABLES, &[]).await.map_err(FingerprintError::Catalogue)?;
    let mut sections = Vec::with_capacity(tables.len() + 2);
    for row in tables {
        let get = FingerprintError::Catalogue;
        let table: String = row.try_get(0).map_err(get)?;
        let key: Option<String> = row.try_get(1).map_err(get)?;
        let names: Vec<String> = row.try_get(2).map_err(get)?;
        let as_text: Vec<bool> = row.try_get(3).map_err(get)?;
        let columns: Vec<(String, bool)> = names.into_iter().zip(as_text).collect();
        let changes = changing
            .iter()
            .find(|(changing, _)| *changing == table)
            .map(|(_, columns)| *columns);
        sections.push(section(&table, key.as_deref(), &columns, changes.is_some()));
        if let Some(changes) = changes {
            let fixed: Vec<_> = columns
                .into_iter()
                .filter(|(name, _)| !changes.contains(&name.as_str()))
                .collect();
            let mut fixed = section(&table, key.as_deref(), &fixed, false);
            fixed.name = format!("{table}, columns that never change");
            sections.push(fixed);
        }
    }
    sections.push(Section {
        name: LARGE_OBJECTS.to_owned(),
        from: "pg_catalog.pg_largeobject_metadata".to_owned(),
        key: Some("oid::bigint".to_owned()),
        columns: "oid, lo_get(oid)".to_owned(),
        as_text: Vec::new(),
        changing: false,
    });
    Ok(sections)
}

fn section(table: &str, key: Option<&str>, columns: &[(String, bool)], changing: bool) -> Section {
    let expressions = columns.iter().map(|(name, as_text)| {
        let name = escape_identifier(name);
        if *as_text { format!("{name}::text") } else { name }
    });
    Section {
        name: table.to_owned(),
        from: format!("public.{}", escape_identifier(table)),
        key: key.map(|key| format!("{}::bigint", escape_identifier(key))),
        columns: expressions.collect::<Vec<_>>().join(", "),
        as_text: columns
            .iter()
            .filter(|(_, as_text)| *as_text)
            .map(|(name, _)| format!("{table}.{name}"))
            .collect(),
        changing,
    }
}
