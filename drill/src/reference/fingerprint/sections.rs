//! The sections that get one fingerprint each: a table's rows with all columns, or with those that never change; and the large
//! objects.
//!
//! They are read from the catalogue, so that a table which a migration adds is covered without a change here.
//!
//! A column is hashed as it is stored if the hash of its type tells all its values apart, and a dump changes no number in it.
//! Any other column is hashed in its text form: types for which PostgreSQL holds different values for equal (`1.0` and `1.00`,
//! `-0` and `0`, blanks at the end of a `char(n)`, `citext`), values stored by OID (enums, `regclass`, `aclitem`), and types
//! without a hash.

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, Row};

use super::FingerprintError;

/// The section that is no table: every large object with its bytes.
pub const LARGE_OBJECTS: &str = "large objects";

/// Tables whose rows are changed in place, and the columns that this concerns.
pub type Changing<'a> = &'a [(&'a str, &'a [&'a str])];

/// What a relation with rows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A table, or a partition of one; a partitioned table has no rows of its own.
    Table,
    /// A materialised view.
    MaterialisedView,
    /// A table whose rows are another server's.
    ForeignTable,
}

/// A column, and how it is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as the server prints it.
    pub type_name: String,
    /// Whether its type has a collation.
    pub collatable: bool,
    /// Whether it is hashed in its text form.
    pub as_text: bool,
}

impl Column {
    /// What is hashed. By bytes: under a collation that is not deterministic, different texts have the same hash, and
    /// another one in another version of ICU.
    fn expression(&self) -> String {
        let text = if self.as_text { "::text" } else { "" };
        let bytes = if self.as_text || self.collatable {
            " COLLATE pg_catalog.\"C\""
        } else {
            ""
        };
        format!("{}{text}{bytes}", escape_identifier(&self.name))
    }
}

/// A relation that has rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whether a crash empties it.
    pub unlogged: bool,
    /// Whether it has rows to read: a materialised view may never have been computed.
    pub populated: bool,
    /// Its size with that of its TOAST table; of each no more than a segment (1 GiB) is counted.
    pub bytes: u64,
    /// The partitioned table at the root, if it is a partition.
    pub part_of: Option<String>,
    /// Whether it belongs to an extension.
    pub of_extension: bool,
    /// The column that is its primary key, if that is one integer.
    pub key: Option<String>,
    /// Its columns, by name: their order differs between partitions, and after a dump.
    pub columns: Vec<Column>,
}

/// A schema and a name in it, each in quotes.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", escape_identifier(schema), escape_identifier(name))
}

impl Relation {
    /// `"schema"."table"`.
    pub fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// All of its rows with all of its columns.
    pub fn section(&self) -> Section {
        self.section_of(self.columns.clone(), self.name.clone(), false)
    }

    fn section_of(&self, columns: Vec<Column>, name: String, changing: bool) -> Section {
        let expressions: Vec<_> = columns.iter().map(Column::expression).collect();
        let only = if self.kind == Kind::Table { "ONLY " } else { "" };
        Section {
            name,
            from: format!("{only}{}", self.qualified()),
            key: self
                .key
                .as_ref()
                .map(|key| format!("{}::bigint", escape_identifier(key))),
            hash: format!("hash_record_extended(ROW({}), 0)", expressions.join(", ")),
            table: Some(self.qualified()),
            columns,
            changing,
        }
    }
}

/// Rows that have one fingerprint together. `from`, `key` and `hash` are SQL, quoted where needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// For people: the table, and which columns if not all.
    pub name: String,
    /// What to select from.
    pub from: String,
    /// A bigint that names a row; without one a difference cannot be narrowed down.
    pub key: Option<String>,
    /// The hash of a row.
    pub hash: String,
    /// The table; none for large objects.
    pub table: Option<String>,
    /// The columns that are hashed.
    pub columns: Vec<Column>,
    /// Whether the service changes rows in place that were there before.
    pub changing: bool,
}

/// Every relation with rows in every schema but the system's and the temporary ones, the largest first. Sizes are the
/// files', because a function that asks for them would wait for whoever holds a lock. `$1` is the types whose own hash
/// will do; a domain is as what it is made of.
const RELATIONS: &str = "
WITH RECURSIVE as_stored (type) AS (
    SELECT unnest($1::text[])::regtype::oid
    UNION ALL
    SELECT t.oid FROM as_stored s JOIN pg_type t ON t.typbasetype = s.type AND t.typtype = 'd'
), relation AS (
    SELECT c.*, n.nspname, coalesce((pg_stat_file(pg_relation_filepath(c.oid), true)).size, 0)
              + coalesce((pg_stat_file(pg_relation_filepath(nullif(c.reltoastrelid, 0)), true)).size, 0) AS bytes
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'm', 'f') AND c.relpersistence <> 't'
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
), columns AS (
    SELECT a.attrelid, array_agg(a.attname::text) AS names, array_agg(format_type(a.atttypid, a.atttypmod)) AS types,
           array_agg(a.attcollation <> 0) AS collatable, array_agg(a.atttypid NOT IN (SELECT type FROM as_stored)) AS as_text
      FROM pg_attribute a JOIN relation c ON c.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
     GROUP BY a.attrelid
)
SELECT c.nspname, c.relname, c.relkind::text, c.relpersistence = 'u', c.relispopulated, c.bytes,
       CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::regclass::text END,
       c.oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND objsubid = 0 AND deptype = 'e'),
       k.attname, coalesce(a.names, '{}'), coalesce(a.types, '{}'), coalesce(a.collatable, '{}'), coalesce(a.as_text, '{}')
  FROM relation c LEFT JOIN columns a ON a.attrelid = c.oid
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
  LEFT JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
                          AND k.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
 ORDER BY c.bytes DESC, c.nspname, c.relname";

/// Types of which two values are the same if their hashes are, and whose hash no dump changes.
const AS_STORED: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "oid",
    "text",
    "varchar",
    "name",
    "bytea",
    "uuid",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "inet",
    "cidr",
];

/// Reads from the catalogue which relations with rows there are.
///
/// # Errors
/// If the catalogue cannot be read.
pub async fn relations(client: &Client) -> Result<Vec<Relation>, FingerprintError> {
    let rows = client.query(RELATIONS, &[&AS_STORED]).await;
    let rows = rows.map_err(FingerprintError::Catalogue)?;
    rows.iter()
        .map(|row| relation(row).map_err(FingerprintError::Catalogue))
        .collect()
}

fn relation(row: &Row) -> Result<Relation, tokio_postgres::Error> {
    let names: Vec<String> = row.try_get(9)?;
    let types: Vec<String> = row.try_get(10)?;
    let collatable: Vec<bool> = row.try_get(11)?;
    let as_text: Vec<bool> = row.try_get(12)?;
    let mut columns: Vec<Column> = names
        .into_iter()
        .zip(types)
        .zip(collatable.into_iter().zip(as_text))
        .map(|((name, type_name), (collatable, as_text))| Column {
            name,
            type_name,
            collatable,
            as_text,
        })
        .collect();
    columns.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Relation {
        schema: row.try_get(0)?,
        name: row.try_get(1)?,
        kind: match row.try_get(2)? {
            "m" => Kind::MaterialisedView,
            "f" => Kind::ForeignTable,
            _ => Kind::Table,
        },
        unlogged: row.try_get(3)?,
        populated: row.try_get(4)?,
        bytes: row.try_get::<_, i64>(5)?.cast_unsigned(),
        part_of: row.try_get(6)?,
        of_extension: row.try_get(7)?,
        key: row.try_get(8)?,
        columns,
    })
}

/// Reads the sections of the tables in `public`, the largest table first. A table of `changing` has two: all columns, and
/// those that never change.
///
/// # Errors
/// If the catalogue cannot be read.
pub async fn sections(client: &Client, changing: Changing<'_>) -> Result<Vec<Section>, FingerprintError> {
    let mut sections = Vec::new();
    for table in relations(client).await? {
        if table.schema != "public" || table.kind != Kind::Table || table.unlogged {
            continue;
        }
        let changes = changing.iter().find(|(changing, _)| *changing == table.name);
        sections.push(table.section_of(table.columns.clone(), table.name.clone(), changes.is_some()));
        if let Some((name, changes)) = changes {
            let fixed = table
                .columns
                .iter()
                .filter(|column| !changes.contains(&column.name.as_str()));
            let name = format!("{name}, columns that never change");
            sections.push(table.section_of(fixed.cloned().collect(), name, false));
        }
    }
    sections.push(Section {
        name: LARGE_OBJECTS.to_owned(),
        from: "pg_catalog.pg_largeobject_metadata".to_owned(),
        key: Some("oid::bigint".to_owned()),
        hash: "hash_record_extended(ROW(oid, lo_get(oid)), 0)".to_owned(),
        table: None,
        columns: Vec::new(),
        changing: false,
    });
    Ok(sections)
}
