//! From differences to the statements that put them right: a flag that is off, a right that is missing or too much, an
//! owner, a setting. Nothing is made up that is gone, and nothing is redefined.

use std::fmt::Write as _;

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::{About, Difference, Fact, GRANTABLE, GRANTED, Handle, Name, WITHDRAWN, What, large_objects};

/// A statement, its database, and its text for people, without what may be secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cure {
    /// The database; empty for any.
    pub database: String,
    /// The statement.
    pub statement: String,
    /// The same for people.
    pub told: String,
}

impl Cure {
    /// A statement that says nothing secret.
    pub fn new(database: &str, statement: String) -> Self {
        Self {
            database: database.to_owned(),
            told: statement.clone(),
            statement,
        }
    }
}

impl std::fmt::Debug for Cure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.told, self.database)
    }
}

/// The statements that cure all of these differences; none if one of them is more than a statement puts right.
pub fn cures(differences: &[&Difference]) -> Option<Vec<Cure>> {
    let mut cures = Vec::new();
    let (large, differences): (Vec<&Difference>, Vec<&Difference>) = differences
        .iter()
        .partition(|difference| difference.catalogue == large_objects::CATALOGUE);
    if !large.is_empty() {
        cures.push(large_objects::cure(&large)?);
    }
    for difference in differences {
        for statement in cured(difference)? {
            let told = match (&difference.about, statement.split_once(" = ")) {
                (About::Setting, Some((before, _))) => format!("{before} = …"),
                _ => statement.clone(),
            };
            let cure = Cure {
                database: difference.database.clone(),
                statement,
                told,
            };
            if !cures.contains(&cure) {
                cures.push(cure);
            }
        }
    }
    Some(cures)
}

fn cured(difference: &Difference) -> Option<Vec<String>> {
    match difference.about {
        About::Object => flags(difference),
        About::Setting => setting(difference).map(|statement| vec![statement]),
        About::Right => right(difference).map(|statement| vec![statement]),
        About::Server => None,
    }
}

/// Statements that switch on again what is off and was on.
fn flags(difference: &Difference) -> Option<Vec<String>> {
    let What::Changed(columns) = &difference.what else {
        return None;
    };
    let (recorded, found) = (difference.recorded.as_ref()?, difference.found.as_ref()?);
    if columns.is_empty() {
        return None;
    }
    let mut statements = Vec::new();
    for column in columns {
        let was = recorded.clear(column)?;
        let relation = |column: &str| found.clear(column).and_then(without_kind);
        let name = |column: &str| found.clear(column).map(escape_identifier);
        let statement = match (difference.catalogue.as_str(), column.as_str(), was) {
            ("pg_trigger", "tgenabled", _) => {
                let Handle::Trigger(trigger) = &found.handle else {
                    return None;
                };
                let (how, trigger) = (enabled("TRIGGER", was)?, escape_identifier(trigger));
                format!("ALTER TABLE {} {how} {trigger}", relation("tgrelid")?)
            }
            ("pg_rewrite", "ev_enabled", _) => {
                let how = enabled("RULE", was)?;
                format!("ALTER TABLE {} {how} {}", relation("ev_class")?, name("rulename")?)
            }
            ("pg_event_trigger", "evtenabled", _) => {
                let how = enabled("", was)?;
                format!("ALTER EVENT TRIGGER {} {}", name("evtname")?, how.trim_end())
            }
            ("pg_constraint", "convalidated", "t") => match (found.clear("conrelid")?, found.clear("contypid")?) {
                ("-", domain) => {
                    format!(
                        "ALTER DOMAIN {} VALIDATE CONSTRAINT {}",
                        without_kind(domain)?,
                        name("conname")?
                    )
                }
                (table, _) => {
                    format!(
                        "ALTER TABLE {} VALIDATE CONSTRAINT {}",
                        without_kind(table)?,
                        name("conname")?
                    )
                }
            },
            ("pg_index", "indisvalid" | "indisready", "t") => {
                let index = difference
                    .identity
                    .strip_prefix("index ")?
                    .strip_suffix(" (pg_index)")?;
                format!("REINDEX INDEX {index}")
            }
            ("pg_class", "relrowsecurity", "t") => {
                format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", own(found)?.name)
            }
            ("pg_class", "relforcerowsecurity", "t") => {
                format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", own(found)?.name)
            }
            _ => return None,
        };
        if !statements.contains(&statement) {
            statements.push(statement);
        }
    }
    Some(statements)
}

/// How a trigger or a rule is switched on as it was; one that was off stays so.
fn enabled(what: &str, was: &str) -> Option<String> {
    let how = match was {
        "O" => "ENABLE",
        "A" => "ENABLE ALWAYS",
        "R" => "ENABLE REPLICA",
        _ => return None,
    };
    Some(format!("{how} {what}"))
}

fn own(fact: &Fact) -> Option<&Name> {
    match &fact.handle {
        Handle::Object(name) => Some(name),
        _ => None,
    }
}

/// `public.t` of `table public.t`.
fn without_kind(called: &str) -> Option<&str> {
    let kinds = [
        "partitioned table ",
        "foreign table ",
        "materialized view ",
        "table ",
        "view ",
        "type ",
        "domain ",
    ];
    kinds.iter().find_map(|kind| called.strip_prefix(kind))
}

/// A setting of a database or a role.
fn setting(difference: &Difference) -> Option<String> {
    let fact = difference.recorded.as_ref().or(difference.found.as_ref())?;
    let Handle::Setting { role, database, name } = &fact.handle else {
        return None;
    };
    let mut statement = match (role.as_str(), database.as_str()) {
        ("", "") => "ALTER ROLE ALL".to_owned(),
        ("", database) => format!("ALTER DATABASE {}", escape_identifier(database)),
        (role, "") => format!("ALTER ROLE {}", escape_identifier(role)),
        (role, database) => format!(
            "ALTER ROLE {} IN DATABASE {}",
            escape_identifier(role),
            escape_identifier(database)
        ),
    };
    // `my.setting` has two names.
    let quoted = name.split('.').map(escape_identifier).collect::<Vec<_>>().join(".");
    match &difference.recorded {
        Some(recorded) => {
            let value = recorded.clear("value")?;
            let value = if LISTS.contains(&name.as_str()) {
                value.to_owned() // a list is stored as it is written
            } else {
                escape_literal(value).trim_start().to_owned()
            };
            let _ = write!(statement, " SET {quoted} = {value}");
        }
        None => {
            let _ = write!(statement, " RESET {quoted}");
        }
    }
    Some(statement)
}

/// Settings whose value is a list of names, each quoted where it needs it.
const LISTS: [&str; 8] = [
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "shared_preload_libraries",
    "local_preload_libraries",
    "unix_socket_directories",
    "DateStyle",
    "createrole_self_grant",
];

fn right(difference: &Difference) -> Option<String> {
    let recorded = difference.recorded.as_ref();
    match difference.catalogue.as_str() {
        "owner" => owner(difference),
        "pg_authid" => role(difference),
        "pg_auth_members" => membership(difference),

        _ => {
            let fact = recorded.or(difference.found.as_ref())?;
            let was = recorded.and_then(Fact::right);
            let is = difference.found.as_ref().and_then(Fact::right);
            grant(&fact.handle, was, is)
        }
    }
}

/// One missing right is granted, one too many is revoked.
fn grant(handle: &Handle, was: Option<&str>, is: Option<&str>) -> Option<String> {
    let Handle::Grant {
        on,
        column,
        grantee,
        privilege,
    } = handle
    else {
        return None;
    };
    // Default privileges are named by what is said of them: `for role a in schema b on tables`.
    if on.kind == "default acl" {
        let (whose, kind) = on.name.rsplit_once(" on ")?;
        let statement = granted(&format!("{privilege} ON {kind}"), grantee, was, is)?;
        return Some(format!("ALTER DEFAULT PRIVILEGES {whose} {statement}"));
    }
    let kind = match on.kind.as_str() {
        "table" | "view" | "materialized view" | "foreign table" | "partitioned table" => "TABLE",
        "sequence" => "SEQUENCE",
        "function" | "procedure" | "aggregate" => "ROUTINE",
        "schema" => "SCHEMA",
        "database" => "DATABASE",
        "tablespace" => "TABLESPACE",
        "type" | "composite type" => "TYPE",
        "language" => "LANGUAGE",
        "parameter ACL" => "PARAMETER",
        "foreign-data wrapper" => "FOREIGN DATA WRAPPER",
        "server" => "FOREIGN SERVER",
        _ => return None,
    };
    let of_column = column
        .as_ref()
        .map(|column| format!(" ({})", escape_identifier(column)));
    let what = format!("{privilege}{} ON {kind} {}", of_column.unwrap_or_default(), on.name);
    granted(&what, grantee, was, is)
}

fn granted(what: &str, grantee: &str, was: Option<&str>, is: Option<&str>) -> Option<String> {
    Some(match (was, is) {
        (Some(GRANTABLE), _) => format!("GRANT {what} TO {grantee} WITH GRANT OPTION"),
        (Some(GRANTED), Some(GRANTABLE)) => format!("REVOKE GRANT OPTION FOR {what} FROM {grantee}"),
        // What is there by default and was neither given nor taken is given back.
        (Some(GRANTED), _) | (None, Some(WITHDRAWN)) => format!("GRANT {what} TO {grantee}"),
        (Some(WITHDRAWN), _) | (None, Some(_)) => format!("REVOKE {what} FROM {grantee}"),
        _ => return None,
    })
}

/// Gives an object back to its owner.
fn owner(difference: &Difference) -> Option<String> {
    let (recorded, found) = (difference.recorded.as_ref()?, difference.found.as_ref()?);
    let object = own(found)?;
    let kind = match object.kind.as_str() {
        "foreign-data wrapper" => "FOREIGN DATA WRAPPER".to_owned(),
        "statistics object" => "STATISTICS".to_owned(),
        "composite type" => "TYPE".to_owned(),
        "large object" | "extension" | "user mapping" => return None,
        kind => kind.to_uppercase(),
    };
    let role = recorded.clear("owner")?.strip_prefix("role ")?;
    Some(format!("ALTER {kind} {} OWNER TO {role}", object.name))
}

/// Sets the attributes of an existing role back, except its password: an inventory shows none.
fn role(difference: &Difference) -> Option<String> {
    let What::Changed(columns) = &difference.what else {
        return None;
    };
    let recorded = difference.recorded.as_ref()?;
    let mut statement = format!("ALTER ROLE {}", escape_identifier(recorded.clear("rolname")?));
    for column in columns {
        let was = recorded.clear(column);
        let word = match column.as_str() {
            "rolsuper" => "SUPERUSER",
            "rolinherit" => "INHERIT",
            "rolcreaterole" => "CREATEROLE",
            "rolcreatedb" => "CREATEDB",
            "rolcanlogin" => "LOGIN",
            "rolreplication" => "REPLICATION",
            "rolbypassrls" => "BYPASSRLS",
            "rolconnlimit" => {
                let _ = write!(statement, " CONNECTION LIMIT {}", was?);
                continue;
            }
            "rolvaliduntil" => {
                let until = escape_literal(was.unwrap_or("infinity"));
                let _ = write!(statement, " VALID UNTIL {}", until.trim_start());
                continue;
            }
            _ => return None,
        };
        let no = if was? == "t" { "" } else { "NO" };
        let _ = write!(statement, " {no}{word}");
    }
    Some(statement)
}

/// Grants a membership as it was, or revokes one that is extra.
fn membership(difference: &Difference) -> Option<String> {
    let words = difference.identity.strip_prefix("membership of role ")?;
    let (member, rest) = words.split_once(" in role ")?;
    let (role, by) = rest.rsplit_once(", granted by role ").map_or_else(
        || (rest.rsplit_once(", granted by ").map_or(rest, |(role, _)| role), None),
        |(role, by)| (role, Some(by)),
    );
    let by = by.map(|by| format!(" GRANTED BY {by}")).unwrap_or_default();
    if difference.what == What::Extra {
        return Some(format!("REVOKE {role} FROM {member}{by}"));
    }
    let recorded = difference.recorded.as_ref()?;
    let option = |column: &str, word: &str| {
        let value = recorded.clear(column)?;
        Some(format!("{word} {}", if value == "t" { "TRUE" } else { "FALSE" }))
    };
    // Only from PostgreSQL 16 on have memberships more options than one.
    let options = match option("inherit_option", "INHERIT") {
        Some(inherit) => {
            let all = [
                option("admin_option", "ADMIN"),
                Some(inherit),
                option("set_option", "SET"),
            ];
            let all: Vec<_> = all.into_iter().flatten().collect();
            format!(" WITH {}", all.join(", "))
        }
        None if recorded.clear("admin_option") == Some("t") => " WITH ADMIN OPTION".to_owned(),
        None if difference.what != What::Missing => {
            return Some(format!("REVOKE ADMIN OPTION FOR {role} FROM {member}{by}"));
        }
        None => String::new(),
    };
    Some(format!("GRANT {role} TO {member}{options}{by}"))
}
