//! The structure of `pg_catalog`, read from the server itself: its catalogues, their columns, and what these refer to. The
//! statements that read it are made from that, so that a catalogue or a column of another version is covered without being
//! named here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_postgres::Client;

use super::{
    exceptions::{EXCEPTIONS, named},
    rights,
    sql::{Raw, rows},
};

/// The first OID of an object that `initdb` did not make.
pub(super) const FIRST_USER: u32 = 16384;
/// Catalogues of which every row is read, those that come with the server included: people change them as well. All
/// shared catalogues are read so, too.
const EVERY_ROW: [&str; 3] = ["pg_namespace", "pg_language", "pg_extension"];
/// Shared catalogues whose rows belong to one database, and the column that says which.
const OF_ONE_DATABASE: [(&str, &str); 2] = [("pg_shdepend", "dbid"), ("pg_subscription", "subdbid")];
/// Catalogues that `pg_identify_object` does not know in every version, and what tells their rows apart.
const NATURAL_KEYS: [(&str, &[&str]); 3] = [
    ("pg_enum", &["enumtypid", "enumlabel"]),
    ("pg_auth_members", &["roleid", "member", "grantor"]),
    ("pg_replication_origin", &["roname"]),
];
/// Catalogues without a primary key.
const WITHOUT_KEY: [(&str, &[&str]); 2] = [
    (
        "pg_depend",
        &[
            "classid",
            "objid",
            "objsubid",
            "refclassid",
            "refobjid",
            "refobjsubid",
            "deptype",
        ],
    ),
    (
        "pg_shdepend",
        &["classid", "objid", "objsubid", "refclassid", "refobjid", "deptype"],
    ),
];
/// Numbers of columns that `pg_get_catalog_foreign_keys` does not mention: catalogue, column, and the column that says
/// of which relation.
const COLUMN_NUMBERS: [(&str, &str, &str); 3] = [
    ("pg_constraint", "confdelsetcols", "conrelid"),
    ("pg_publication_rel", "prattrs", "prrelid"),
    ("pg_attribute", "attnum", "attrelid"),
];
/// Parsed texts that need another function than `pg_get_expr` of the relation that the row is about.
const DEPARSED: [(&str, &str, &str); 5] = [
    ("pg_class", "relpartbound", "pg_get_expr(c.relpartbound, c.oid)"),
    ("pg_proc", "prosqlbody", "pg_get_function_sqlbody(c.oid)"),
    ("pg_rewrite", "ev_action", "pg_get_ruledef(c.oid)"),
    (
        "pg_statistic_ext",
        "stxexprs",
        "pg_get_statisticsobjdef_expressions(c.oid)::text",
    ),
    (
        "pg_trigger",
        "tgqual",
        "CASE WHEN c.tgqual IS NOT NULL THEN pg_get_triggerdef(c.oid) END",
    ),
];
/// Columns that are read through an expression instead of as they are.
const INSTEAD: [(&str, &str, &str); 5] = [
    (
        "pg_class",
        "relnatts",
        "(SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)",
    ),
    (
        "pg_enum",
        "enumsortorder",
        "(SELECT count(*) FROM pg_enum e WHERE e.enumtypid = c.enumtypid AND e.enumsortorder <= c.enumsortorder)",
    ),
    // Of a key it says only how it was made: with its partition, or before that was attached, as by a dump.
    (
        "pg_constraint",
        "connoinherit",
        "CASE WHEN c.contype NOT IN ('p', 'u', 'x') THEN c.connoinherit END",
    ),
    // The name of a trigger that the server made has an OID in it; its constraint, function and type are read as well.
    (
        "pg_trigger",
        "tgname",
        "CASE WHEN c.tgisinternal THEN 'internal' ELSE c.tgname::text END",
    ),
    // Beside a parsed default this is only its text.
    (
        "pg_type",
        "typdefault",
        "CASE WHEN c.typdefaultbin IS NULL THEN c.typdefault END",
    ),
];
/// List columns whose order means nothing, besides all whose name ends in `options`.
const UNORDERED: [&str; 4] = ["proconfig", "evttags", "subpublications", "polroles"];

/// What a column says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that is hashed as it is; `true` if it may be shown, as numbers and letters may.
    Plain(bool),
    /// An object of that catalogue.
    Refers(String),
    /// Objects of that catalogue.
    RefersToMany(String, bool),
    /// The catalogue of an object whose number is in another column.
    ClassOf,
    /// The number of an object whose catalogue is in that column, and of a column of it in that one.
    Object(usize, Option<usize>),
    /// The number of a column of that object.
    SubObject,
    /// Numbers of columns of the relation in that column.
    ColumnsOf(usize),
    /// A parsed expression, as text.
    Deparsed,
    /// The role that owns the object: a right.
    Owner,
}

/// A column of a catalogue.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// How it is read.
    select: String,
}

/// A catalogue.
#[derive(Debug, Clone)]
pub(super) struct Catalogue {
    pub(super) name: String,
    pub(super) oid: u32,
    pub(super) shared: bool,
    pub(super) has_oid: bool,
    pub(super) columns: Vec<Column>,
    /// The columns that tell its rows apart, where `pg_identify_object` does not.
    pub(super) key: Vec<usize>,
    /// How system rows are summed up: all columns that are compared, but rights.
    summed: Vec<String>,
    users: String,
}

/// All catalogues.
#[derive(Debug, Clone)]
pub(super) struct Catalogues {
    pub(super) all: Vec<Catalogue>,
    pub(super) by_name: BTreeMap<String, u32>,
    /// The columns that hold rights: catalogue, whether it is shared, column.
    pub(super) rights: Vec<(String, bool, String)>,
}

const COLUMNS: &str = "SELECT c.relname, c.oid, c.relisshared, a.attname, format_type(a.atttypid, NULL), a.attnum = ANY (i.indkey)
   FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
  WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND c.oid < 16384 AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY c.relname COLLATE \"C\", a.attnum";
const REFERENCES: &str = "SELECT f.relname, k.fkcols[1], coalesce(k.fkcols[2], ''), p.relname, k.is_array
   FROM pg_get_catalog_foreign_keys() k JOIN pg_class f ON f.oid = k.fktable JOIN pg_class p ON p.oid = k.pktable";

impl Catalogues {
    /// What the catalogues of a server's version are made of. It is read once for each version: what users may define does not
    /// change it.
    pub(super) async fn of(client: &Client) -> Result<Arc<Self>, tokio_postgres::Error> {
        static KNOWN: Mutex<BTreeMap<i32, Arc<Catalogues>>> = Mutex::new(BTreeMap::new());
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let version = rows(client, "SHOW server_version_num").await?;
        let version = version.into_iter().flatten().next().unwrap_or_default();
        let version = version.text(0).parse().unwrap_or(0);
        if let Some(catalogues) = known().get(&version) {
            return Ok(Arc::clone(catalogues));
        }
        let catalogues = Arc::new(Self::read(client).await?);
        known().insert(version, Arc::clone(&catalogues));
        Ok(catalogues)
    }

    /// Reads the structure from the server.
    pub(super) async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let mut answers = rows(client, &format!("{COLUMNS}; {REFERENCES}")).await?.into_iter();
        let (columns, references) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
        let mut tables: Vec<(String, Vec<Raw>)> = Vec::new();
        for row in columns {
            match tables.last_mut() {
                Some((name, rows)) if *name == row.text(0) => rows.push(row),
                _ => tables.push((row.text(0).to_owned(), vec![row])),
            }
        }
        let by_name = tables
            .iter()
            .filter_map(|(name, rows)| Some((name.clone(), rows.first()?.number(1)?)))
            .collect();
        let all = tables
            .iter()
            .filter(|(name, _)| {
                !named(EXCEPTIONS, name, "*") && !rights::INSTEAD_OF_ROWS.iter().any(|(table, _)| table == name)
            })
            .map(|(name, rows)| catalogue(name, rows, &references))
            .collect();
        let rights = tables
            .iter()
            .flat_map(|(_, rows)| rows)
            .filter(|row| rights::is_acl(row.text(0), row.text(4)))
            .map(|row| (row.text(0).to_owned(), row.flag(2), row.text(3).to_owned()))
            .collect();
        Ok(Self { all, by_name, rights })
    }
}

fn catalogue(name: &str, described: &[Raw], references: &[Raw]) -> Catalogue {
    let references: Vec<&Raw> = references.iter().filter(|row| row.text(0) == name).collect();
    let compared: Vec<&Raw> = described
        .iter()
        .filter(|row| !named(EXCEPTIONS, name, row.text(3)) && !rights::is_acl(name, row.text(4)))
        .collect();
    let position = |column: &str| compared.iter().position(|row| row.text(3) == column);
    let has_oid = position("oid").is_some();
    let columns: Vec<Column> = compared
        .iter()
        .map(|row| {
            let (column, kind) = (row.text(3), row.text(4));
            let kind = kind_of(name, column, kind, &references, &position);
            Column {
                name: column.to_owned(),
                select: select(name, column, row.text(4), &kind, &references),
                kind,
            }
        })
        .collect();
    let listed = |list: &[(&str, &[&str])]| {
        let (_, keys) = list.iter().find(|(table, _)| *table == name)?;
        Some(keys.iter().filter_map(|key| position(key)).collect::<Vec<_>>())
    };
    let primary = || {
        let keys = compared.iter().enumerate().filter(|(_, row)| row.flag(5));
        keys.map(|(at, _)| at).collect()
    };
    let key = listed(&NATURAL_KEYS)
        .or_else(|| listed(&WITHOUT_KEY))
        .unwrap_or_else(|| if has_oid { Vec::new() } else { primary() });
    let shared = described.first().is_some_and(|row| row.flag(2));
    let users = if shared || EVERY_ROW.contains(&name) {
        "true".to_owned()
    } else if has_oid {
        format!("c.oid >= {FIRST_USER}")
    } else {
        let numbers = key.iter().map(|at| &columns[*at]).filter(|column| {
            let refers = matches!(column.kind, Kind::Refers(_) | Kind::Object(..));
            refers && column.name != "refclassid"
        });
        let numbers: Vec<_> = numbers
            .map(|column| format!("c.{}::oid >= {FIRST_USER}", column.name))
            .collect();
        let of_schemas = (name == "pg_description").then(|| {
            let classes = EVERY_ROW.map(|table| format!("'{table}'::regclass"));
            format!("c.classoid IN ({})", classes.join(", "))
        });
        numbers.into_iter().chain(of_schemas).collect::<Vec<_>>().join(" OR ")
    };
    Catalogue {
        name: name.to_owned(),
        oid: described.first().and_then(|row| row.number(1)).unwrap_or(0),
        shared,
        has_oid,
        summed: compared.iter().map(|row| format!("c.{}", row.text(3))).collect(),
        columns,
        key,
        users: format!("({users})"),
    }
}

fn kind_of(
    table: &str,
    column: &str,
    kind: &str,
    references: &[&Raw],
    position: &impl Fn(&str) -> Option<usize>,
) -> Kind {
    let single = references
        .iter()
        .find(|row| row.text(1) == column && row.text(2).is_empty());
    let numbers = references.iter().find(|row| row.text(2) == column);
    let unlisted = COLUMN_NUMBERS
        .iter()
        .find(|(name, field, _)| *name == table && *field == column);
    let relation = numbers
        .map(|row| row.text(1))
        .or(unlisted.map(|(.., relation)| *relation));
    if let Some(at) = relation.and_then(position) {
        return Kind::ColumnsOf(at);
    }
    if kind == "pg_node_tree" {
        return Kind::Deparsed;
    }
    if column.ends_with("classid") || column == "classoid" {
        return Kind::ClassOf;
    }
    if column.ends_with("objsubid") {
        return Kind::SubObject;
    }
    if column.ends_with("objid") || column == "objoid" {
        let class = position(&column.replace("obj", "class"));
        let sub = position(&format!("{}subid", column.trim_end_matches("id").trim_end_matches('o')));
        return class.map_or(Kind::Plain(true), |class| Kind::Object(class, sub));
    }
    match single {
        Some(row) if row.text(3) == "pg_authid" && is_owner(column) => Kind::Owner,
        Some(row) if row.flag(4) => Kind::RefersToMany(row.text(3).to_owned(), UNORDERED.contains(&column)),
        Some(row) => Kind::Refers(row.text(3).to_owned()),
        None if column == "oid" => Kind::Refers(table.to_owned()),
        None => Kind::Plain(matches!(
            kind,
            "boolean" | "\"char\"" | "name" | "smallint" | "integer" | "bigint" | "timestamp with time zone"
        )),
    }
}

fn is_owner(column: &str) -> bool {
    column.ends_with("owner") || column == "datdba"
}

/// The expression that reads a column as a text that says the same in every cluster, or as numbers to be resolved.
fn select(table: &str, column: &str, kind: &str, as_what: &Kind, references: &[&Raw]) -> String {
    let listed = |list: &[(&str, &str, &str)]| {
        let found = list.iter().find(|(name, field, _)| *name == table && *field == column);
        found.map(|(.., sql)| (*sql).to_owned())
    };
    if let Some(sql) = listed(&INSTEAD) {
        return sql;
    }
    match as_what {
        Kind::Deparsed => listed(&DEPARSED).unwrap_or_else(|| {
            // The relation whose columns the row speaks of by number, else the one that it is about.
            let numbered = references.iter().find(|row| !row.text(2).is_empty());
            let about = references.iter().find(|row| row.text(3) == "pg_class");
            let relation = numbered.or(about);
            let relation = relation.map_or("0".to_owned(), |row| format!("c.{}", row.text(1)));
            format!("pg_get_expr(c.{column}, {relation})")
        }),
        Kind::Refers(_) | Kind::Owner | Kind::Object(..) | Kind::ClassOf => format!("c.{column}::oid"),
        _ if kind == "aclitem[]" => {
            format!("(SELECT array_agg(x::text ORDER BY x::text) FROM unnest(c.{column}) AS x)")
        }
        _ if kind == "text[]" && (column.ends_with("options") || UNORDERED.contains(&column)) => {
            format!("(SELECT array_agg(x ORDER BY x COLLATE \"C\") FROM unnest(c.{column}) AS x)")
        }
        _ => format!("c.{column}"),
    }
}

impl Catalogue {
    /// The statement that reads the rows of users: all columns in their order.
    pub(super) fn users(&self, whose: Whose) -> Option<String> {
        let of_one = OF_ONE_DATABASE.iter().find(|(name, _)| *name == self.name);
        let belongs = match (self.shared, of_one, whose) {
            (false, _, Whose::Database | Whose::Both) | (true, None, Whose::Cluster | Whose::Both) => "true".to_owned(),
            (true, Some((_, column)), whose) => {
                let here = "(SELECT oid FROM pg_database WHERE datname = current_database())";
                match whose {
                    Whose::Database => format!("c.{column} = {here}"),
                    Whose::Cluster => format!("c.{column} = 0"),
                    Whose::Both => format!("c.{column} IN (0, {here})"),
                }
            }
            _ => return None,
        };
        let but = match self.name.as_str() {
            "pg_attribute" => " AND c.attnum > 0 AND NOT c.attisdropped",
            "pg_database" => " AND c.datname <> 'template0'",
            // Large objects come and go as people work.
            "pg_shdepend" | "pg_description" | "pg_seclabel" | "pg_init_privs" => {
                " AND c.CLASS <> 'pg_largeobject'::regclass"
            }
            _ => "",
        };
        let but = but.replace(
            "CLASS",
            if self.name == "pg_shdepend" {
                "classid"
            } else {
                "classoid"
            },
        );
        let mut columns: Vec<&str> = self.columns.iter().map(|column| column.select.as_str()).collect();
        // What a statement about this trigger must call it.
        columns.extend((self.name == "pg_trigger").then_some("c.tgname"));
        Some(format!(
            "SELECT {} FROM pg_catalog.{} AS c WHERE {} AND {belongs}{but}",
            columns.join(", "),
            self.name,
            self.users
        ))
    }

    /// The statement that sums up the rows that came with the server; none if all of them are read.
    pub(super) fn system(&self) -> Option<String> {
        (self.users != "(true)").then(|| {
            format!(
                "SELECT '{}', count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0) FROM pg_catalog.{} AS c WHERE NOT {}",
                self.name,
                self.summed.join(", "),
                self.name,
                self.users
            )
        })
    }
}

/// Whose rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those of a database.
    Database,
    /// Those that all databases share.
    Cluster,
    /// Both.
    Both,
}

impl Catalogues {
    /// Every column that is read, as what it is read.
    #[cfg(test)]
    pub(super) fn covered(&self) -> BTreeMap<(String, String), String> {
        let columns = self.all.iter().flat_map(|catalogue| {
            let named = |column: &Column| {
                (
                    (catalogue.name.clone(), column.name.clone()),
                    format!("{:?}", column.kind),
                )
            };
            catalogue.columns.iter().map(named)
        });
        let rights = self
            .rights
            .iter()
            .map(|(table, _, column)| ((table.clone(), column.clone()), "rights".to_owned()));
        let instead = rights::INSTEAD_OF_ROWS.iter().flat_map(|(table, columns)| {
            let named = |column: &&str| (((*table).to_owned(), (*column).to_owned()), "rights".to_owned());
            columns.iter().map(named)
        });
        columns.chain(rights).chain(instead).collect()
    }
}
