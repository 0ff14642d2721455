//! The statements that put rights and role attributes back to what was recorded with the backup: derived from the
//! difference of two sets of lines, pure.

use std::{collections::BTreeSet, fmt::Write as _};

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::Client;

use super::{PREFIX, read, recorded_lines};
use crate::verify::catalog_inventory::Inventory;

/// The repair: rights, memberships and role attributes put back to what was recorded; what was not recorded is taken away.
/// `None` if something differs that this does not cover (a role that is gone, an owner, a password) or nothing was recorded.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn cures(
    superuser: &Client,
    inventory: Option<&Inventory>,
) -> Result<Option<Vec<String>>, tokio_postgres::Error> {
    let Some(recorded) = recorded_lines(inventory) else {
        return Ok(None);
    };
    Ok(cured(&recorded, &read(superuser).await?))
}

fn cured(recorded: &BTreeSet<String>, found: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut statements = Vec::new();
    for line in found.difference(recorded) {
        let line = line.strip_prefix(PREFIX)?;
        match line.split_once(": ")? {
            // Its recorded attributes are set below.
            (role, _) if role.starts_with("role ") && recorded.iter().any(|other| names(other, role)) => {}
            _ => statements.push(right(line, "REVOKE", "FROM")?),
        }
    }
    for line in recorded.difference(found) {
        let line = line.strip_prefix(PREFIX)?;
        match line.split_once(": ")? {
            (role, attributes) if role.starts_with("role ") => {
                found.iter().find(|other| names(other, role))?; // a role that is gone took more with it than its name
                statements.push(alter_role(role.strip_prefix("role ")?, attributes)?);
            }
            _ => statements.push(right(line, "GRANT", "TO")?),
        }
    }
    Some(statements)
}

/// Whether a line is about a role: `role app_admin`.
fn names(line: &str, role: &str) -> bool {
    line.strip_prefix(PREFIX)
        .and_then(|line| line.strip_prefix(role))
        .is_some_and(|rest| rest.starts_with(": "))
}

/// A statement that grants or revokes what a line says. Names are quoted in the line where they need it, but for those
/// of schemas, databases and roles.
fn right(line: &str, verb: &str, to: &str) -> Option<String> {
    if let Some(rest) = line.strip_prefix("member ") {
        let (member, role) = rest.split_once(": ")?.0.split_once(" of ")?;
        return Some(format!("{verb} {role} {to} {member}"));
    }
    let (object, privilege) = line.strip_prefix("grant on ")?.rsplit_once(": ")?;
    let (object, grantee) = object.rsplit_once(" to ")?;
    let (privilege, option) = match privilege.strip_suffix(" with grant option") {
        Some(privilege) => (privilege, if verb == "GRANT" { " WITH GRANT OPTION" } else { "" }),
        None => (privilege, ""),
    };
    let (kind, name) = object.split_once(' ')?;
    let without_owner = |name: &str| name.rsplit_once(", owner ").map(|(name, _)| name.to_owned());
    let on = match kind {
        // Only sequences know USAGE among relations; what else they know is granted as on a table.
        "relation" if privilege == "USAGE" => format!("SEQUENCE {name}"),
        "relation" => format!("TABLE {name}"),
        "function" => format!("FUNCTION {}", without_owner(name)?),
        "schema" => format!("SCHEMA {}", escape_identifier(&without_owner(name)?)),
        "database" => format!("DATABASE {}", escape_identifier(&without_owner(name)?)),
        _ => return None,
    };
    Some(format!("{verb} {privilege} ON {on} {to} {grantee}{option}"))
}

/// Sets a role's attributes: `super f, inherit t, … connections -1, …`. Its password and its end of life stay.
fn alter_role(role: &str, attributes: &str) -> Option<String> {
    let mut statement = format!("ALTER ROLE {}", escape_identifier(role));
    for attribute in attributes.split(", ") {
        let (name, value) = attribute.split_once(' ')?;
        match (name, value) {
            ("connections", limit) => {
                let limit: i32 = limit.parse().ok()?;
                write!(statement, " CONNECTION LIMIT {limit}").ok()?;
            }
            ("valid" | "password", _) => {}
            ("super", value) => write!(statement, " {}SUPERUSER", no(value)?).ok()?,
            (name, value) => write!(statement, " {}{}", no(value)?, name.to_uppercase()).ok()?,
        }
    }
    Some(statement)
}

fn no(value: &str) -> Option<&'static str> {
    match value {
        "t" => Some(""),
        "f" => Some("NO"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PREFIX, cured};

    fn lines(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| format!("{PREFIX}{line}")).collect()
    }

    #[test]
    fn rights_are_put_back_and_what_was_not_recorded_is_taken_away() {
        let recorded = lines(&[
            "grant on relation \"AuditEvents\" to transformation_app: INSERT",
            "grant on relation \"A_Id_seq\" to transformation_app: USAGE with grant option",
            "grant on schema public, owner pg_database_owner, to drill_validator: USAGE",
            "grant on function \"F\"(text,bytea), owner app_admin, to public: EXECUTE",
            "member recovery_operator of pg_monitor: admin f, inherit true, set true",
            "role recovery_operator: super f, inherit t, createrole f, createdb f, login t, replication t, bypassrls f, connections -1, valid until ever, password scram-sha-256",
        ]);
        let found = lines(&[
            "grant on relation \"AuditEvents\" to drill_validator: INSERT",
            "role recovery_operator: super f, inherit t, createrole f, createdb f, login t, replication f, bypassrls f, connections 3, valid until ever, password scram-sha-256",
        ]);
        let expected = [
            "REVOKE INSERT ON TABLE \"AuditEvents\" FROM drill_validator",
            "GRANT EXECUTE ON FUNCTION \"F\"(text,bytea) TO public",
            "GRANT USAGE ON SEQUENCE \"A_Id_seq\" TO transformation_app WITH GRANT OPTION",
            "GRANT INSERT ON TABLE \"AuditEvents\" TO transformation_app",
            "GRANT USAGE ON SCHEMA \"public\" TO drill_validator",
            "GRANT pg_monitor TO recovery_operator",
            "ALTER ROLE \"recovery_operator\" NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN REPLICATION NOBYPASSRLS CONNECTION LIMIT -1",
        ];
        assert_eq!(cured(&recorded, &found).unwrap_or_default(), expected);
    }

    #[test]
    fn what_no_statement_covers_is_left_to_another_candidate() {
        let role = "role app_admin: super f, inherit t, connections -1, valid until ever, password none";
        assert_eq!(cured(&lines(&[role]), &lines(&[])), None, "a role that is gone");
        assert_eq!(cured(&lines(&[]), &lines(&[role])), None, "a role that nobody recorded");
        let owner = lines(&["relation \"AuditEvents\": owner app_admin"]);
        assert_eq!(cured(&owner, &lines(&[])), None);
        let column = lines(&["grant on column \"AuditEvents\".\"Id\" to public: SELECT"]);
        assert_eq!(cured(&lines(&[]), &column), None);
        assert_eq!(cured(&owner, &owner), Some(Vec::new()));
    }
}
