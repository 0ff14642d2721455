//! Compares an inventory with the truth.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use super::{
    About, Fact, GRANTED, Handle, Inventory, Key, WITHDRAWN,
    exceptions::{DEPENDENCIES_IN_DUMPS, NOT_IN_DUMPS, named},
};
use crate::reference::{Scope, Truth};

/// In which way something differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was recorded, and is not there.
    Missing,
    /// It is there, and was not recorded.
    Extra,
    /// It is there, and these columns say something else.
    Changed(Vec<String>),
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// In which database; empty for what all share.
    pub database: String,
    /// Whether that is another one than the service's.
    pub(super) elsewhere: bool,
    /// What it is about.
    pub about: About,
    /// The catalogue that says so.
    pub catalogue: String,
    /// What it is, for people.
    pub identity: String,
    /// What is wrong with it.
    pub what: What,
    pub(super) recorded: Option<Fact>,
    pub(super) found: Option<Fact>,
}

/// What a comparison says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    /// What is not as it should be.
    pub differences: Vec<Difference>,
    /// What the service itself changed around the point that was reached: whatever was found of it is right.
    pub changed: Vec<String>,
    /// How many objects, rights and settings were compared.
    pub facts: usize,
}

/// Compares what was found with what is true. Where the records before and after the point that was reached differ, the service
/// itself made the change, and it is only listed.
pub fn compare(truth: &Truth, found: &Inventory) -> Compared {
    let Some(newest) = truth.newest() else {
        return Compared::default();
    };
    let next = truth.next().map(|record| &record.inventory);
    let with = Sides {
        home: &truth.home,
        scope: &truth.scope,
        newest: &newest.inventory,
        next,
        backup: truth.backup.as_ref().map(|record| &record.inventory),
        found,
    };
    let mut compared = with.compare();
    let with_system = |records: &[std::sync::Arc<crate::reference::Record>]| {
        records
            .iter()
            .find(|record| record.inventory.system.is_some())
            .map(std::sync::Arc::clone)
    };
    if !matches!(truth.scope, Scope::Database(_))
        && let Some(before) = with_system(&truth.before)
    {
        let after = with_system(&truth.after);
        compared.system(
            &before.inventory,
            after.as_deref().map(|record| &record.inventory),
            found,
            &truth.home,
        );
    }
    compared
}

/// The inventories on both sides of a comparison.
struct Sides<'a> {
    home: &'a str,
    scope: &'a Scope,
    newest: &'a Inventory,
    next: Option<&'a Inventory>,
    backup: Option<&'a Inventory>,
    found: &'a Inventory,
}

impl Sides<'_> {
    fn compare(&self) -> Compared {
        let keys: BTreeSet<&Key> = self.newest.facts.keys().chain(self.found.facts.keys()).collect();
        let mut compared = Compared::default();
        for key in keys.into_iter().filter(|key| self.concerns(key)) {
            let found = self.found.facts.get(key);
            let (reference, next) = match key.about {
                About::Server => (self.backup, None),
                _ => (Some(self.newest), self.next),
            };
            let Some(reference) = reference else { continue };
            let recorded = reference.facts.get(key);
            if let Some(next) = next
                && next.facts.get(key) != recorded
            {
                compared.changed.push(key.to_string());
                continue;
            }
            // What only one of two servers knows of waited for a restart there, or was set by its place.
            if key.about == About::Server && (recorded.is_none() || found.is_none()) {
                continue;
            }
            compared.facts += usize::from(recorded.is_some());
            if let Some(what) = self.differs(key, recorded, found) {
                compared.differences.push(Difference {
                    database: key.database.clone(),
                    elsewhere: !key.database.is_empty() && key.database != self.home,
                    about: key.about,
                    catalogue: key.catalogue.clone(),
                    identity: key.identity.clone(),
                    what,
                    recorded: recorded.cloned(),
                    found: found.cloned(),
                });
            }
        }
        Self::leave_out_what_follows(&mut compared);
        compared
    }

    /// Whether the scope brings back what a key names.
    fn concerns(&self, key: &Key) -> bool {
        let Scope::Database(database) = self.scope else {
            return true;
        };
        if named(NOT_IN_DUMPS, &key.catalogue, "*") || key.about == About::Server {
            return false;
        }
        let ours = format!("database {}", postgres_protocol::escape::escape_identifier(database));
        let names_ours = |text: &str| text.ends_with(&format!("database {database}")) || text.contains(&ours);
        match key.catalogue.as_str() {
            "pg_depend" => DEPENDENCIES_IN_DUMPS
                .iter()
                .any(|kind| key.identity.ends_with(&format!("({kind})"))),
            _ if !key.database.is_empty() => key.database == *database,
            "pg_database" | "pg_shdescription" | "pg_shseclabel" | "pg_db_role_setting" | "owner"
                if key.identity.contains("database ") =>
            {
                names_ours(&key.identity) || names_ours(key.identity.split(" to ").next().unwrap_or_default())
            }
            _ => true,
        }
    }

    fn differs(&self, key: &Key, recorded: Option<&Fact>, found: Option<&Fact>) -> Option<What> {
        let (recorded, found) = match (recorded, found) {
            (None, None) => return None,
            (Some(_), None) => return Some(What::Missing),
            (None, Some(_)) => return Some(What::Extra),
            (Some(recorded), Some(found)) => (recorded, found),
        };
        let of_dump = matches!(self.scope, Scope::Database(_));
        let columns = recorded.columns.iter().filter(|column| {
            let left_out = of_dump && named(NOT_IN_DUMPS, &key.catalogue, column);
            !left_out && recorded.value(column) != found.value(column)
        });
        let columns: Vec<String> = columns.cloned().collect();
        (!columns.is_empty()).then_some(What::Changed(columns))
    }

    /// Leaves out differences that follow from others: what belongs to a missing or extra object, and the dependencies of one
    /// that differs. A missing role is for `privileges` to report, so its comment and its settings stay.
    fn leave_out_what_follows(compared: &mut Compared) {
        let parents = |difference: &Difference| {
            let fact = difference.recorded.as_ref().or(difference.found.as_ref());
            fact.map_or(Vec::new(), |fact| fact.parents.clone())
        };
        let whole = |difference: &Difference| difference.what == What::Missing || difference.what == What::Extra;
        let named = |told: &[About]| -> HashSet<(String, String)> {
            let differences = compared.differences.iter();
            differences
                .filter(|difference| told.contains(&difference.about) && whole(difference))
                .map(|difference| (difference.database.clone(), difference.identity.clone()))
                .collect()
        };
        let objects = named(&[About::Object, About::Server]);
        let objects_and_rights = named(&[About::Object, About::Server, About::Right]);
        let touched: HashSet<(String, String)> = compared
            .differences
            .iter()
            .filter(|difference| !is_dependency(difference))
            .flat_map(|difference| {
                let mut all = parents(difference);
                all.push(difference.identity.clone());
                all.into_iter().map(|identity| (difference.database.clone(), identity))
            })
            .collect();
        let follows = |difference: &Difference| {
            let known = |among: &HashSet<(String, String)>| {
                parents(difference).into_iter().any(|parent| {
                    parent != difference.identity
                        && (among.contains(&(difference.database.clone(), parent.clone()))
                            || among.contains(&(String::new(), parent)))
                })
            };
            if is_dependency(difference) {
                known(&touched)
            } else if difference.about == About::Right {
                whole(difference) && known(&objects_and_rights)
            } else {
                whole(difference) && known(&objects)
            }
        };
        compared.differences.retain(|difference| !follows(difference));
    }
}

fn is_dependency(difference: &Difference) -> bool {
    ["pg_depend", "pg_shdepend"].contains(&difference.catalogue.as_str())
}

impl Compared {
    /// The rows that came with the server, catalogue by catalogue.
    fn system(&mut self, before: &Inventory, after: Option<&Inventory>, found: &Inventory, home: &str) {
        let (Some(before), Some(found)) = (&before.system, &found.system) else {
            return;
        };
        let after = after.and_then(|inventory| inventory.system.as_ref());
        for ((database, catalogue), sum) in before {
            let key = (database.clone(), catalogue.clone());
            let identity = format!("rows of {catalogue} that come with the server");
            if after.is_some_and(|after| after.get(&key).is_some_and(|other| other != sum)) {
                self.changed.push(identity);
                continue;
            }
            self.facts += 1;
            if found.get(&key).is_some_and(|other| other != sum) {
                self.differences.push(Difference {
                    database: database.clone(),
                    elsewhere: *database != home,
                    about: About::Object,
                    catalogue: catalogue.clone(),
                    identity,
                    what: What::Changed(Vec::new()),
                    recorded: None,
                    found: None,
                });
            }
        }
    }

    /// The differences of some kinds.
    pub fn about(&self, kinds: &[About]) -> Vec<&Difference> {
        let differences = self.differences.iter();
        differences
            .filter(|difference| kinds.contains(&difference.about))
            .collect()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity)?;
        if self.database.is_empty() {
            return Ok(());
        }
        write!(f, " in {}", self.database)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, more) = match &self.what {
            What::Missing => ("missing", String::new()),
            What::Extra => ("not recorded", String::new()),
            What::Changed(columns) => ("changed", self.columns(columns)),
        };
        let verb = match (&self.recorded, &self.found) {
            (None, Some(found)) if found.right() == Some(WITHDRAWN) => "withdrawn",
            (Some(recorded), None) if recorded.right() == Some(WITHDRAWN) => "no longer withdrawn",
            _ => verb,
        };
        write!(f, "{verb}: {}{more}", self.identity)?;
        if !self.elsewhere {
            return Ok(());
        }
        write!(f, " (database {})", self.database)
    }
}

impl Difference {
    /// The columns, with what they say where that may be shown.
    fn columns(&self, columns: &[String]) -> String {
        let text = |fact: &Option<Fact>, column: &str| {
            let value = fact.as_ref()?.value(column)?;
            let short = |text: &str| text.chars().take(80).collect::<String>();
            value.shown.then(|| value.clear.as_deref().map(short))?
        };
        let one = |column: &String| match (text(&self.recorded, column), text(&self.found, column)) {
            (Some(was), Some(is)) => format!("{column} {was}, now {is}"),
            _ => column.clone(),
        };
        if columns.is_empty() {
            return String::new();
        }
        format!(" ({})", columns.iter().map(one).collect::<Vec<_>>().join("; "))
    }
}

impl Fact {
    /// What a right says, if this is one.
    pub(super) fn right(&self) -> Option<&str> {
        match &self.handle {
            Handle::Grant { .. } => Some(self.clear("right").unwrap_or(GRANTED)),
            _ => None,
        }
    }
}
