//! What the numbers in a database's rows stand for: names of objects and of columns, and from them what each row says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tokio_postgres::Client;

use super::{
    About, Fact, Handle, Name, Value,
    catalogue::{Catalogue, Catalogues, Column, Kind},
    facts::{Object, Read, key, plain},
    rights,
    sql::{Raw, rows},
};

/// What is known of the numbers in a database's rows.
pub(super) struct Rows<'a> {
    catalogues: &'a Catalogues,
    names: HashMap<Object, Name>,
    /// Live columns of relations: number, name, and which of the live ones it is.
    columns: HashMap<u32, BTreeMap<i32, (String, usize)>>,
    /// Temporary objects and what belongs to TOAST.
    hidden: HashSet<Object>,
    /// What goes with what.
    parents: HashMap<Object, Vec<Object>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(catalogues: &'a Catalogues) -> Self {
        Self {
            catalogues,
            names: HashMap::new(),
            columns: HashMap::new(),
            hidden: HashSet::new(),
            parents: HashMap::new(),
        }
    }

    /// The objects that a column of a row refers to.
    fn referred(&self, column: &Column, value: Option<&str>, row: &Raw) -> Vec<Object> {
        let class = |name: &str| self.catalogues.by_name.get(name).copied();
        let objects = match &column.kind {
            Kind::Refers(table) => class(table).map(|class| (class, numbers(value))),
            Kind::RefersToMany(table, _) => class(table).map(|class| (class, numbers(value))),
            Kind::Owner => class("pg_authid").map(|class| (class, numbers(value))),
            Kind::Object(class, _) => row.number(*class).map(|class| (class, numbers(value))),
            _ => None,
        };
        let (class, numbers) = objects.unwrap_or_default();
        let numbers = numbers.into_iter().filter_map(|number| u32::try_from(number).ok());
        numbers
            .filter(|number| *number != 0)
            .map(|number| (class, number))
            .collect()
    }

    fn all_referred(&self, catalogue: &Catalogue, row: &Raw) -> Vec<Object> {
        let columns = catalogue.columns.iter().enumerate();
        columns
            .flat_map(|(at, column)| self.referred(column, row.value(at), row))
            .collect()
    }

    /// Leaves out what is in temporary schemas or in that of TOAST, and what refers to it.
    pub(super) fn hide(&mut self, tables: &mut [(&Catalogue, Vec<Raw>)]) {
        if let Some((schemas, rows)) = tables.iter().find(|(catalogue, _)| catalogue.name == "pg_namespace") {
            let name = schemas.position("nspname").unwrap_or(0);
            let hidden = rows.iter().filter(|row| {
                let name = row.text(name);
                ["pg_toast", "pg_temp_"].iter().any(|prefix| name.starts_with(prefix))
            });
            self.hidden = hidden.filter_map(|row| schemas.own(row)).collect();
        }
        let mut before = 0;
        while self.hidden.len() > before {
            before = self.hidden.len();
            for (catalogue, rows) in &mut *tables {
                let hides = |row: &Raw| {
                    self.all_referred(catalogue, row)
                        .iter()
                        .any(|object| self.hidden.contains(object))
                };
                let (hidden, kept) = std::mem::take(rows).into_iter().partition(hides);
                *rows = kept;
                let hidden: Vec<Raw> = hidden;
                self.hidden.extend(hidden.iter().filter_map(|row| catalogue.own(row)));
            }
        }
    }

    /// Takes in what other rows need: the columns of relations, and which object belongs to which.
    pub(super) fn learn(&mut self, tables: &[(&Catalogue, Vec<Raw>)]) {
        for (catalogue, rows) in tables {
            let at = |column: &str| catalogue.position(column).unwrap_or(usize::MAX);
            if catalogue.name == "pg_attribute" {
                let (relation, number, name) = (at("attrelid"), at("attnum"), at("attname"));
                for row in rows {
                    let columns = self.columns.entry(row.number(relation).unwrap_or(0)).or_default();
                    columns.insert(row.text(number).parse().unwrap_or(0), (row.text(name).to_owned(), 0));
                }
            }
            if catalogue.name == "pg_depend" {
                for row in rows {
                    let pair = |class: &str, object: &str| Some((row.number(at(class))?, row.number(at(object))?));
                    let ends = (pair("classid", "objid"), pair("refclassid", "refobjid"));
                    if let (Some(object), Some(parent)) = ends
                        && ["a", "i", "P", "S"].contains(&row.text(at("deptype")))
                    {
                        self.parents.entry(object).or_default().push(parent);
                    }
                }
            }
        }
        for columns in self.columns.values_mut() {
            for (rank, (_, known)) in columns.values_mut().enumerate() {
                *known = rank + 1;
            }
        }
    }

    /// Everything that must have a name.
    pub(super) fn wanted(&self, tables: &[(&Catalogue, Vec<Raw>)]) -> BTreeSet<Object> {
        let mut wanted = BTreeSet::new();
        for (catalogue, rows) in tables {
            for row in rows {
                wanted.extend(self.all_referred(catalogue, row));
            }
        }
        let unnamed = tables
            .iter()
            .filter(|(catalogue, _)| catalogue.has_oid && !catalogue.key.is_empty());
        let unnamed: HashSet<u32> = unnamed.map(|(catalogue, _)| catalogue.oid).collect();
        wanted.retain(|(class, _)| !unnamed.contains(class));
        wanted.extend(
            self.parents
                .values()
                .flatten()
                .filter(|(class, _)| !unnamed.contains(class)),
        );
        wanted
    }

    pub(super) async fn name(
        &mut self,
        client: &Client,
        wanted: &BTreeSet<Object>,
        tables: &[(&Catalogue, Vec<Raw>)],
    ) -> Result<(), tokio_postgres::Error> {
        let list = |part: fn(&Object) -> u32| {
            let numbers: Vec<_> = wanted.iter().map(|object| part(object).to_string()).collect();
            numbers.join(",")
        };
        let sql = format!(
            "SELECT t.class, t.object, i.type, i.identity
               FROM unnest('{{{}}}'::oid[], '{{{}}}'::oid[]) AS t (class, object), pg_identify_object(t.class, t.object, 0) AS i",
            list(|object| object.0),
            list(|object| object.1)
        );
        for row in rows(client, &sql).await?.into_iter().flatten() {
            let name = Name {
                kind: row.text(2).to_owned(),
                name: row.value(3).unwrap_or("that is gone").to_owned(),
            };
            self.names
                .insert((row.number(0).unwrap_or(0), row.number(1).unwrap_or(0)), name);
        }
        self.name_internal_triggers(tables);
        Ok(())
    }

    /// The names of triggers that the server made have numbers in them.
    fn name_internal_triggers(&mut self, tables: &[(&Catalogue, Vec<Raw>)]) {
        let Some((triggers, rows)) = tables.iter().find(|(catalogue, _)| catalogue.name == "pg_trigger") else {
            return;
        };
        let at = |column: &str| triggers.position(column).unwrap_or(usize::MAX);
        for row in rows.iter().filter(|row| row.flag(at("tgisinternal"))) {
            let part = |column: &str| {
                let at = at(column);
                let objects = triggers.columns.get(at).map(|of| self.referred(of, row.value(at), row));
                let object = objects.unwrap_or_default().into_iter().next();
                object.map_or(String::new(), |(class, number)| self.called(class, number).to_string())
            };
            let (relation, function, constraint) = (part("tgrelid"), part("tgfoid"), part("tgconstraint"));
            let name = Name {
                kind: "trigger".to_owned(),
                name: format!("of {constraint} on {relation}: {function} ({})", row.text(at("tgtype"))),
            };
            if let Some(own) = triggers.own(row) {
                self.names.insert(own, name);
            }
        }
    }

    pub(super) fn called(&self, class: u32, number: u32) -> Name {
        self.names.get(&(class, number)).cloned().unwrap_or_else(|| Name {
            kind: "object".to_owned(),
            name: number.to_string(),
        })
    }

    /// What a column says, in words that hold in any cluster.
    fn value(&self, column: &Column, value: Option<&str>, row: &Raw) -> Value {
        let joined = |mut names: Vec<String>, sorted: bool| {
            if sorted {
                names.sort();
            }
            Value::new(value.map(|_| names.join(", ")).as_deref(), true, true)
        };
        let named = || {
            let named = numbers(value).into_iter().map(|number| {
                if number == 0 {
                    return "-".to_owned();
                }
                let objects = self.referred(column, Some(&number.to_string()), row);
                let object = objects.first();
                object.map_or(number.to_string(), |(class, number)| {
                    self.called(*class, *number).to_string()
                })
            });
            named.collect::<Vec<_>>()
        };
        match &column.kind {
            Kind::Plain(clear) => Value::new(value, *clear, true),
            Kind::Deparsed => Value::new(value, true, false),
            Kind::RefersToMany(_, unordered) => joined(named(), *unordered),
            Kind::Object(_, Some(sub)) => {
                let mut names = named();
                names.extend(self.part(row, *sub, value));
                joined(names, false)
            }
            Kind::ColumnsOf(relation) => {
                let relation = row.number(*relation).unwrap_or(0);
                let columns = numbers(value)
                    .into_iter()
                    .map(|number| self.column(relation, number, column));
                joined(columns.collect(), false)
            }
            _ => joined(named(), false),
        }
    }

    /// A column of a relation by its number: its name; of `pg_attribute` itself, which of the live ones it is.
    fn column(&self, relation: u32, number: i64, column: &Column) -> String {
        let known = i32::try_from(number)
            .ok()
            .and_then(|number| self.columns.get(&relation)?.get(&number));
        match known {
            Some((_, rank)) if column.name == "attnum" => rank.to_string(),
            Some((name, _)) => name.clone(),
            None => number.to_string(),
        }
    }

    /// `column x`, where a row is about a part of an object.
    fn part(&self, row: &Raw, sub: usize, object: Option<&str>) -> Option<String> {
        let number: i32 = row.text(sub).parse().ok().filter(|number| *number != 0)?;
        let relation = object?
            .parse()
            .ok()
            .and_then(|relation: u32| self.columns.get(&relation));
        let name = relation.and_then(|columns| columns.get(&number));
        Some(format!(
            "column {}",
            name.map_or(number.to_string(), |(name, _)| name.clone())
        ))
    }

    /// The identity of a row, and what it goes with.
    fn identity(&self, catalogue: &Catalogue, row: &Raw) -> (String, Vec<String>) {
        let parent = |object: &Object| self.called(object.0, object.1).to_string();
        if catalogue.key.is_empty() {
            let own = catalogue.own(row).unwrap_or_default();
            let parents = self.parents.get(&own).into_iter().flatten().map(parent).collect();
            return (parent(&own), parents);
        }
        let (mut parts, mut parents) = (Vec::new(), Vec::new());
        for at in &catalogue.key {
            let column = &catalogue.columns[*at];
            if matches!(column.kind, Kind::ClassOf | Kind::SubObject) {
                continue;
            }
            parents.extend(self.referred(column, row.value(*at), row).iter().map(parent));
            let clear = self.value(column, row.value(*at), row).clear;
            parts.push(clear.map_or_else(|| row.text(*at).to_owned(), |clear| clear.to_string()));
        }
        if catalogue.name == "pg_attribute" {
            let name = row.text(catalogue.position("attname").unwrap_or(usize::MAX));
            let relation = parents.first().map_or("", String::as_str);
            return (format!("column {name} of {relation}"), parents);
        }
        let words = match (catalogue.name.as_str(), parts.as_slice()) {
            ("pg_description" | "pg_shdescription", [object]) => format!("comment on {object}"),
            ("pg_depend" | "pg_shdepend", [object, on, kind]) => format!("dependency of {object} on {on} ({kind})"),
            ("pg_enum", [of, label]) => format!("value {label} of {of}"),
            ("pg_auth_members", [role, member, by]) => format!("membership of {member} in {role}, granted by {by}"),
            ("pg_inherits", [child, number]) => format!("parent {number} of {child}"),
            (name, _) => format!("{} ({name})", parts.join(", ")),
        };
        (words, parents)
    }

    pub(super) fn facts(&self, catalogue: &Catalogue, row: &Raw, names: &Arc<Vec<String>>, read: &mut Read) {
        let (identity, parents) = self.identity(catalogue, row);
        let about = match catalogue.name.as_str() {
            "pg_authid" | "pg_auth_members" => About::Right,
            _ => About::Object,
        };
        let own = catalogue.own(row).map(|(class, number)| self.called(class, number));
        let owner = catalogue.columns.iter().position(|column| column.kind == Kind::Owner);
        if let (Some(owner), Some(own)) = (owner, &own)
            && self.has_owner(catalogue, row, own)
        {
            let role = self.value(&catalogue.columns[owner], row.value(owner), row);
            let fact = Fact {
                columns: Arc::new(vec!["owner".to_owned()]),
                values: vec![role],
                parents: vec![identity.clone()],
                handle: Handle::Object(own.clone()),
            };
            let key = key(About::Right, "owner", format!("owner of {own}"));
            read.facts.push(((key, fact), catalogue.shared));
        }
        let values = catalogue
            .compared()
            .map(|(at, column)| self.value(column, row.value(at), row))
            .collect();
        let handle = match (catalogue.name.as_str(), own) {
            ("pg_trigger", _) => Handle::Trigger(row.text(catalogue.columns.len()).to_owned()),
            (_, Some(own)) => Handle::Object(own),
            _ => Handle::None,
        };
        let fact = Fact {
            columns: Arc::clone(names),
            values,
            parents,
            handle,
        };
        let shared = catalogue.shared && !["pg_shdepend", "pg_subscription"].contains(&catalogue.name.as_str());
        read.facts.push(((key(about, &catalogue.name, identity), fact), shared));
    }

    /// Whether an object has an owner of its own: an index has its table's, a row type and an array their type's.
    fn has_owner(&self, catalogue: &Catalogue, row: &Raw, own: &Name) -> bool {
        let flag = |column: &str| catalogue.position(column).map_or("", |at| row.text(at));
        match catalogue.name.as_str() {
            "pg_class" => !["i", "I", "c"].contains(&flag("relkind")),
            "pg_type" => {
                flag("typtype") != "m" && !own.name.ends_with("[]") && {
                    let relation = flag("typrelid").parse().ok();
                    let class = self.catalogues.by_name.get("pg_class");
                    let kind = class
                        .zip(relation)
                        .filter(|(_, relation)| *relation != 0)
                        .map(|(class, relation)| self.called(*class, relation).kind);
                    kind.is_none_or(|kind| kind == "composite type")
                }
            }
            _ => true,
        }
    }

    pub(super) fn grant(&self, row: &Raw, read: &mut Read) {
        let table = row.text(0);
        let class = |name: &str| self.catalogues.by_name.get(name).copied().unwrap_or(0);
        let object = (
            class(if table == "pg_attribute" { "pg_class" } else { table }),
            row.number(1).unwrap_or(0),
        );
        if self.hidden.contains(&object) {
            return;
        }
        let on = self.called(object.0, object.1);
        let column = self
            .part(row, 2, row.value(1))
            .map(|part| part.trim_start_matches("column ").to_owned());
        let grantee = match row.number(3) {
            Some(0) | None => "PUBLIC".to_owned(),
            Some(role) => self.called(class("pg_authid"), role).name,
        };
        let privilege = row.text(4).to_owned();
        let of_column = column
            .as_ref()
            .map(|column| format!("column {column} of "))
            .unwrap_or_default();
        let identity = format!("{privilege} on {of_column}{on} to {grantee}");
        let mut fact = plain("right", rights::state(row));
        fact.parents = vec![on.to_string(), format!("role {grantee}")];
        fact.handle = Handle::Grant {
            on,
            column,
            grantee,
            privilege,
        };
        let shared = self
            .catalogues
            .rights
            .iter()
            .any(|(name, shared, _)| name == table && *shared);
        read.facts.push(((key(About::Right, table, identity), fact), shared));
    }
}

/// The numbers in `7`, `7 8` or `{7,8}`.
fn numbers(value: Option<&str>) -> Vec<i64> {
    let words = value
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit() && c != '-');
    words.filter_map(|word| word.parse().ok()).collect()
}
