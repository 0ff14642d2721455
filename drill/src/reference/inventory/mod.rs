//! Objects, rights and settings: for each row of each catalogue of every database its identity and a hash of each column.
//!
//! The server is asked which catalogues and columns there are and what they refer to (`catalogue`); one list has what is left
//! out, with the reasons (`exceptions`). OIDs are resolved to names, column numbers to column names and parsed expressions to
//! texts, so that the same definitions are equal in another cluster. Definitions may hold passwords: an inventory is never
//! written anywhere, and shows none of them.

mod catalogue;
mod compare;
mod cures;
mod exceptions;
mod facts;
mod large_objects;
mod rights;
pub mod roundtrip;
mod rows;
mod settings;
mod sql;

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_postgres::Client;

use self::{
    catalogue::{Catalogues, Whose},
    facts::Statements,
};
pub use self::{
    compare::{Compared, Difference, What, compare},
    cures::{Cure, cures},
    exceptions::{EXCEPTIONS, NOT_IN_DUMPS, SETTINGS},
};
use super::{MAINTENANCE, Reading, ReferenceError};
use crate::postgres::Cluster;

/// A right that is there.
const GRANTED: &str = "granted";
/// A right that is there, and may be passed on.
const GRANTABLE: &str = "granted with grant option";
/// A right that everybody or the owner has by default, and that was taken away.
const WITHDRAWN: &str = "withdrawn";
/// So many databases are read at a time.
const SIDE_BY_SIDE: usize = 8;

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// An object: a row of a catalogue.
    Object,
    /// A role, a membership, an owner, a right.
    Right,
    /// A setting of a database or a role.
    Setting,
    /// A setting of the server or its access lists, which no WAL carries.
    Server,
}

/// Names a fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Empty for what all databases share.
    database: String,
    about: About,
    catalogue: String,
    identity: String,
}

/// What one column of a row says.
#[derive(Clone, PartialEq, Eq)]
struct Value {
    hash: u64,
    /// Flags, numbers, names and deparsed expressions; none of a text that people wrote.
    clear: Option<Arc<str>>,
    /// Whether it may be shown: not an expression.
    shown: bool,
}

/// Shows nothing of what it holds.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What is known of one object, right or setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fact {
    /// The names of the columns.
    columns: Arc<Vec<String>>,
    values: Vec<Value>,
    /// The objects that it belongs to: if one of them is missing as a whole, this fact is not reported as well.
    parents: Vec<String>,
    /// What a statement must call it.
    handle: Handle,
}

/// What a repair needs to know to write its statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Handle {
    /// Nothing.
    #[default]
    None,
    /// An object by its kind and name, as `pg_identify_object` calls them.
    Object(Name),
    /// A trigger by its own name: that of an internal one is not compared.
    Trigger(String),
    /// A privilege on an object, or on a column of it.
    Grant {
        on: Name,
        column: Option<String>,
        grantee: String,
        privilege: String,
    },
    /// A setting of a role, of a database, or of a role in a database; empty for every one.
    Setting {
        role: String,
        database: String,
        name: String,
    },
}

/// An object for people and statements.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: String,
    /// Quoted where it needs it.
    name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Objects, rights and settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    facts: BTreeMap<Key, Fact>,
    /// The rows that came with the server: database, catalogue, and what they sum up to. None if they were not read.
    system: Option<BTreeMap<(String, String), String>>,
}

impl Inventory {
    /// How many facts there are of a kind.
    pub fn count(&self, about: About) -> usize {
        self.facts.keys().filter(|key| key.about == about).count()
    }

    /// Each fact with a hash of all its values, in hexadecimal.
    pub fn hashes(&self) -> impl Iterator<Item = (String, String)> {
        self.facts.iter().map(|(key, fact)| {
            let place = if key.database.is_empty() {
                "every database"
            } else {
                &key.database
            };
            let all = fact
                .values
                .iter()
                .fold(0_u64, |all, value| all.rotate_left(7) ^ value.hash);
            (
                format!("{place}: {}: {}", key.catalogue, key.identity),
                format!("{all:016x}"),
            )
        })
    }

    /// The roles that do not come with the server.
    pub fn roles(&self) -> Vec<String> {
        let roles = self.facts.iter().filter(|(key, _)| key.catalogue == "pg_authid");
        roles
            .filter_map(|(_, fact)| fact.clear("rolname").map(str::to_owned))
            .filter(|name| !name.starts_with("pg_"))
            .collect()
    }

    /// What an attribute of a role says: `rolcanlogin`, …
    pub fn role_attribute(&self, role: &str, attribute: &str) -> Option<&str> {
        self.role(role)?.clear(attribute)
    }
}

impl Inventory {
    /// Whether a role has the same attribute in both.
    pub fn same_attribute(&self, other: &Self, role: &str, attribute: &str) -> bool {
        let value = |inventory: &Self| Some(inventory.role(role)?.value(attribute)?.hash);
        value(self) == value(other)
    }

    /// Whether a role may do more than was granted to itself: a superuser, a member of another role.
    pub fn is_more_than_itself(&self, role: &str) -> bool {
        let member = format!("membership of role {role} in ");
        self.role_attribute(role, "rolsuper") == Some("t")
            || self.facts.keys().any(|key| key.identity.starts_with(&member))
    }

    /// Whether a role, or everybody, was granted a privilege on an object.
    pub fn may(&self, role: &str, privilege: &str, object: &str) -> bool {
        self.facts.values().any(|fact| match &fact.handle {
            Handle::Grant {
                on,
                grantee,
                privilege: granted,
                ..
            } => {
                granted == privilege
                    && (grantee == role || grantee == "PUBLIC")
                    && fact.clear("right") != Some(WITHDRAWN)
                    && on.to_string() == object
            }
            _ => false,
        })
    }

    fn role(&self, role: &str) -> Option<&Fact> {
        let mut roles = self.facts.iter().filter(|(key, _)| key.catalogue == "pg_authid");
        roles
            .find(|(_, fact)| fact.clear("rolname") == Some(role))
            .map(|(_, fact)| fact)
    }
}

impl Fact {
    fn value(&self, column: &str) -> Option<&Value> {
        self.values.get(self.columns.iter().position(|name| name == column)?)
    }

    fn clear(&self, column: &str) -> Option<&str> {
        self.value(column)?.clear.as_deref()
    }
}

/// How a session must be set so that the same definition gives the same text everywhere.
const SESSION: &str = "SET search_path = pg_catalog; SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres';
  SET extra_float_digits = 1; SET bytea_output = 'hex'; SET quote_all_identifiers = off; SET jit = off; SET statement_timeout = 0;
  SET lock_timeout = '10s'; SET default_transaction_isolation = 'repeatable read'; SET row_security = off; SET client_min_messages = error";

/// Reads the inventory of a cluster.
///
/// # Errors
/// If they cannot be read.
pub async fn read(cluster: &Cluster, reading: &Reading) -> Result<Inventory, ReferenceError> {
    let first = reading.database.as_deref().unwrap_or(MAINTENANCE);
    let client = cluster.connect("postgres", first).await?;
    let query = |what| {
        move |source| ReferenceError::Query {
            what,
            database: first.to_owned(),
            source,
        }
    };
    let mut inventory = Inventory {
        system: reading.system_rows.then(BTreeMap::new),
        ..Inventory::default()
    };
    if reading.database.is_none() {
        let answers = sql::rows(&client, &format!("{}; {}", settings::SETTINGS, settings::ACCESS_LISTS)).await;
        facts::server(&mut inventory, &answers.map_err(query("the server's settings"))?);
    }
    client.batch_execute(SESSION).await.map_err(query("its session"))?;
    let catalogues = Catalogues::of(&client)
        .await
        .map_err(query("what pg_catalog is made of"))?;
    let databases = match &reading.database {
        Some(_) => Vec::new(),
        None => others(&client).await.map_err(query("the list of databases"))?,
    };
    let whose = if reading.database.is_some() {
        Whose::Both
    } else {
        Whose::Cluster
    };
    let statements = |whose| Statements::new(&catalogues, whose, reading.system_rows);
    let (shared, each) = (statements(whose), statements(Whose::Database));
    let one = |database: String| {
        let (catalogues, each) = (&*catalogues, &each);
        async move {
            let client = cluster.connect("postgres", &database).await?;
            let set = client.batch_execute(SESSION).await;
            let read = async {
                set?;
                facts::read(&client, catalogues, each, None).await
            };
            let read = read.await.map_err(|source| ReferenceError::Query {
                what: "the catalogues",
                database: database.clone(),
                source,
            })?;
            Ok::<_, ReferenceError>((database, read))
        }
    };
    let together = async {
        let read = facts::read(&client, &catalogues, &shared, reading.snapshot.as_deref()).await;
        read.map_err(query("the catalogues"))
    };
    let all = stream::iter(databases.into_iter().map(one))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect::<Vec<_>>();
    let (shared, each) = tokio::try_join!(together, all)?;
    inventory.take(reading.database.as_deref().unwrap_or_default(), shared);
    for (database, read) in each {
        inventory.take(&database, read);
    }
    Ok(inventory)
}

/// The databases that can be connected to.
async fn others(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let databases = "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' AND datconnlimit <> -2 ORDER BY 1";
    let answers = sql::rows(client, databases).await?;
    Ok(answers
        .into_iter()
        .flatten()
        .map(|row| row.text(0).to_owned())
        .collect())
}

impl Inventory {
    fn take(&mut self, database: &str, read: facts::Read) {
        for ((mut key, fact), shared) in read.facts {
            if !shared {
                database.clone_into(&mut key.database);
            }
            self.facts.insert(key, fact);
        }
        if let Some(system) = &mut self.system {
            let sums = read.system.into_iter();
            system.extend(sums.map(|(catalogue, sum)| ((database.to_owned(), catalogue), sum)));
        }
    }
}

/// Every column of `pg_catalog` that is read, and as what.
#[cfg(test)]
pub(crate) async fn covered(client: &Client) -> Result<BTreeMap<(String, String), String>, tokio_postgres::Error> {
    Ok(Catalogues::read(client).await?.covered())
}
