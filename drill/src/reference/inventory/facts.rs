//! Turns rows of catalogues into facts: the numbers of objects become names.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use tokio_postgres::Client;

use super::{
    About, Fact, Handle, Inventory, Key, Value,
    catalogue::{Catalogue, Catalogues, Column, Kind, Whose},
    large_objects, rights,
    rows::Rows,
    settings::of_the_service,
    sql::{Raw, rows},
};

/// An object: its catalogue and its number.
pub(super) type Object = (u32, u32);

/// The statements that read a database.
pub(super) struct Statements {
    tables: Vec<usize>,
    grants: usize,
    whose: Whose,
    sql: String,
}

impl Statements {
    pub(super) fn new(catalogues: &Catalogues, whose: Whose, system_rows: bool) -> Self {
        let (mut tables, mut sql) = (Vec::new(), Vec::new());
        for (at, catalogue) in catalogues.all.iter().enumerate() {
            if let Some(statement) = catalogue.users(whose) {
                tables.push(at);
                sql.push(statement);
            }
        }
        let grants = rights::grants(catalogues, whose);
        let number = grants.len();
        sql.extend(grants);
        if whose != Whose::Cluster {
            sql.extend([rights::SWITCHED_OFF, rights::LARGE_OBJECTS].map(str::to_owned));
        }
        if whose != Whose::Database {
            sql.push(rights::ROLE_SETTINGS.to_owned());
        }
        if system_rows && whose != Whose::Cluster {
            sql.extend(catalogues.all.iter().filter_map(Catalogue::system));
        }
        Self {
            tables,
            grants: number,
            whose,
            sql: sql.join(";\n"),
        }
    }
}

/// The facts of a database, each with whether all databases share it.
#[derive(Default)]
pub(super) struct Read {
    pub(super) facts: Vec<((Key, Fact), bool)>,
    pub(super) system: BTreeMap<String, String>,
}

/// Reads a database in one transaction.
pub(super) async fn read(
    client: &Client,
    catalogues: &Catalogues,
    statements: &Statements,
    snapshot: Option<&str>,
) -> Result<Read, tokio_postgres::Error> {
    let snapshot = snapshot.map(|name| format!("SET TRANSACTION SNAPSHOT '{}';", name.replace('\'', "''")));
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{}",
            snapshot.unwrap_or_default()
        ))
        .await?;
    let mut answers = rows(client, &statements.sql).await?.into_iter();
    let mut tables = Vec::new();
    for at in &statements.tables {
        tables.push((&catalogues.all[*at], answers.next().unwrap_or_default()));
    }
    let grants: Vec<Raw> = answers.by_ref().take(statements.grants).flatten().collect();
    let mut next = |wanted: bool| {
        if wanted {
            answers.next().unwrap_or_default()
        } else {
            Vec::new()
        }
    };
    let of_database = statements.whose != Whose::Cluster;
    let (off, large) = (next(of_database), next(of_database));
    let role_settings = next(statements.whose != Whose::Database);
    let mut rows = Rows::new(catalogues);
    rows.hide(&mut tables);
    rows.learn(&tables);
    let mut wanted = rows.wanted(&tables);
    let class = |name: &str| catalogues.by_name.get(name).copied().unwrap_or(0);
    wanted.extend(off.iter().filter_map(|row| Some((class("pg_class"), row.number(0)?))));
    for row in &grants {
        let table = if row.text(0) == "pg_attribute" {
            "pg_class"
        } else {
            row.text(0)
        };
        wanted.extend(row.number(1).map(|object| (class(table), object)));
        wanted.extend(row.number(3).map(|role| (class("pg_authid"), role)));
    }
    rows.name(client, &wanted, &tables).await?;
    client.batch_execute("COMMIT").await?;
    let mut read = Read::default();
    for (catalogue, of_it) in &tables {
        let names = Arc::new(
            catalogue
                .compared()
                .map(|(_, column)| column.name.clone())
                .collect::<Vec<_>>(),
        );
        for row in of_it {
            rows.facts(catalogue, row, &names, &mut read);
        }
    }
    for row in &grants {
        rows.grant(row, &mut read);
    }
    for row in &off {
        let relation = rows.called(class("pg_class"), row.number(0).unwrap_or(0));
        let key = key(About::Object, "switched off", format!("{} of {relation}", row.text(1)));
        let mut fact = plain("enforced", "switched off");
        fact.parents.push(relation.to_string());
        read.facts.push(((key, fact), false));
    }
    for row in &large {
        let identity = large_objects::identity(row.text(0), row.value(1));
        let key = key(About::Right, large_objects::CATALOGUE, identity);
        read.facts.push(((key, Fact::default()), false));
    }
    for row in &role_settings {
        read.facts.push((role_setting(row), true));
    }
    for sum in answers.flatten() {
        read.system
            .insert(sum.text(0).to_owned(), format!("{} {}", sum.text(1), sum.text(2)));
    }
    Ok(read)
}

/// Facts of the server: its settings and its access lists.
pub(super) fn server(inventory: &mut Inventory, answers: &[Vec<Raw>]) {
    let settings = answers.first().into_iter().flatten().filter(|row| of_the_service(row));
    for row in settings {
        let mut fact = plain("value", row.text(1));
        for value in &mut fact.values {
            value.shown = row.flag(2);
        }
        let key = key(About::Server, "pg_settings", format!("setting {}", row.text(0)));
        inventory.facts.insert(key, fact);
    }
    for row in answers.get(1).into_iter().flatten() {
        let mut fact = plain("lines", row.text(1));
        for value in &mut fact.values {
            (value.shown, value.clear) = (false, None);
        }
        inventory
            .facts
            .insert(key(About::Server, "files", row.text(0).to_owned()), fact);
    }
}

fn role_setting(row: &Raw) -> (Key, Fact) {
    let (database, role, name) = (row.text(0), row.text(1), row.text(2));
    let of = match (role, database) {
        ("", "") => "every role".to_owned(),
        (role, "") => format!("role {role}"),
        ("", database) => format!("database {database}"),
        (role, database) => format!("role {role} in database {database}"),
    };
    let mut fact = plain("value", row.text(3));
    for value in &mut fact.values {
        value.shown = false;
    }
    fact.parents = vec![format!("role {role}"), format!("database {database}")];
    fact.handle = Handle::Setting {
        role: role.to_owned(),
        database: database.to_owned(),
        name: name.to_owned(),
    };
    (
        key(About::Setting, "pg_db_role_setting", format!("setting {name} of {of}")),
        fact,
    )
}

pub(super) fn key(about: About, catalogue: &str, identity: String) -> Key {
    Key {
        database: String::new(),
        about,
        catalogue: catalogue.to_owned(),
        identity,
    }
}

pub(super) fn plain(column: &str, value: &str) -> Fact {
    Fact {
        columns: Arc::new(vec![column.to_owned()]),
        values: vec![Value::new(Some(value), true, true)],
        ..Fact::default()
    }
}

impl Value {
    pub(super) fn new(text: Option<&str>, clear: bool, shown: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            clear: text.filter(|_| clear).map(Arc::from),
            shown,
        }
    }
}

impl Catalogue {
    /// The columns that are compared, with their places in a row.
    pub(super) fn compared(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(at, column)| {
            let number = column.name == "oid" || matches!(column.kind, Kind::ClassOf | Kind::SubObject | Kind::Owner);
            !number && !self.key.contains(at)
        })
    }

    pub(super) fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|other| other.name == column)
    }

    /// The object that a row is.
    pub(super) fn own(&self, row: &Raw) -> Option<Object> {
        Some((self.oid, row.number(self.position("oid").filter(|_| self.has_oid)?)?))
    }
}
