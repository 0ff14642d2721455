//! `privileges`: roles and grants are as recorded with the backup, roles get in with their passwords, and the role that
//! validates cannot write.
//!
//! The recorded lines are part of the [`Inventory`], marked by [`PREFIX`]; the catalog inventory leaves them to this
//! check. What it cannot see: the passwords of other roles, and rights that `pg_hba.conf` takes away or gives. PostgreSQL
//! has no right to withhold for making large objects: a role that turns its read-only setting off can make some.

mod cures;

use std::collections::BTreeSet;

use fixtures::Role;
use reports::{CheckId, CheckResult};
use tokio_postgres::{Client, error::SqlState};

pub use self::cures::cures;
use super::{Found, Subject, catalog_inventory::Inventory, chain, first_few, texts, timed};
use crate::postgres::connection;

/// Marks the lines of an inventory that are about privileges.
pub const PREFIX: &str = "privilege: ";

/// Queries that return one text column, a line each.
const QUERIES: &[&str] = &[
    // attributes; of a password only its kind
    "SELECT format('role %s: super %s, inherit %s, createrole %s, createdb %s, login %s, replication %s, bypassrls %s, connections %s, valid until %s, password %s',
            rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
            coalesce(rolvaliduntil::text, 'ever'), CASE WHEN rolpassword IS NULL THEN 'none' WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram-sha-256' ELSE 'md5' END)
       FROM pg_authid WHERE rolname !~ '^pg_'",
    "SELECT format('member %s of %s: admin %s, inherit %s, set %s', m.member::regrole, m.roleid::regrole, m.admin_option,
            coalesce(to_jsonb(m)->>'inherit_option', 'by role'), coalesce(to_jsonb(m)->>'set_option', 'true'))
       FROM pg_auth_members m WHERE m.member::regrole::text !~ '^pg_'",
    "SELECT format('setting of role %s: %s', setrole::regrole, setting) FROM pg_db_role_setting, unnest(setconfig) AS setting
      WHERE setrole <> 0",
    "SELECT format('relation %s: owner %s', c.oid::regclass, relowner::regrole) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')",
    "SELECT format('grant on relation %s to %s: %s%s', c.oid::regclass, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END,
            privilege_type, CASE WHEN is_grantable THEN ' with grant option' ELSE '' END)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
            aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner)))
      WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')",
    "SELECT format('grant on column %s.%I to %s: %s', attrelid::regclass, attname, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type)
       FROM pg_attribute, aclexplode(attacl) WHERE attacl IS NOT NULL AND NOT attisdropped AND attrelid >= 16384",
    "SELECT format('grant on function %s, owner %s, to %s: %s', p.oid::regprocedure, proowner::regrole, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type)
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(coalesce(proacl, acldefault('f', proowner)))
      WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'",
    "SELECT format('grant on schema %s, owner %s, to %s: %s', nspname, nspowner::regrole, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type)
       FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'",
    "SELECT format('grant on type %s, owner %s, to %s: %s', t.oid::regtype, typowner::regrole, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type)
       FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace, aclexplode(coalesce(typacl, acldefault('T', typowner)))
      WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND typtype IN ('d', 'e')",
    "SELECT format('grant on database %s, owner %s, to %s: %s', datname, datdba::regrole, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type)
       FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = current_database()",
    "SELECT format('default grant by %s in %s on %s to %s: %s', defaclrole::regrole, coalesce(n.nspname, 'every schema'), defaclobjtype,
            CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, privilege_type)
       FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(defaclacl)",
    // one line a kind of large object: their number changes as people work
    "SELECT DISTINCT format('large objects, owner %s: %s', lomowner::regrole, coalesce(array_to_string(lomacl, ' '), 'owner only'))
       FROM pg_largeobject_metadata",
];

/// The lines about privileges, as superuser.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn read(client: &Client) -> Result<BTreeSet<String>, tokio_postgres::Error> {
    let lines = texts(client, QUERIES).await?;
    Ok(lines.into_iter().map(|line| format!("{PREFIX}{line}")).collect())
}

/// Roles that were recorded and that a script of pg_dumpall does not create.
pub fn roles_missing(recorded: &Inventory, globals: &str) -> Vec<String> {
    let created: BTreeSet<String> = globals
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE ROLE ")?.strip_suffix(';'))
        .map(
            |name| match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => name.to_owned(),
            },
        )
        .collect();
    let roles = recorded.0.iter().filter_map(|line| {
        let (name, _) = line
            .strip_prefix(PREFIX)?
            .strip_prefix("role ")?
            .split_once(": super ")?;
        Some(name.to_owned())
    });
    roles.filter(|role| !created.contains(role)).collect()
}

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::Privileges, subject.phase, subject.name, async {
        let expected =
            "roles and grants as recorded, every role gets in with its password, drill_validator cannot write";
        let superuser = subject.superuser().await?;
        let (mut problems, mut unverified) = logins(subject).await;
        let found = read(&superuser).await?;
        let mut recorded = 0;
        match recorded_lines(subject.inventory) {
            Some(lines) => {
                recorded = lines.len();
                problems.extend(
                    lines
                        .difference(&found)
                        .map(|line| format!("missing: {}", &line[PREFIX.len()..])),
                );
                problems.extend(
                    found
                        .difference(&lines)
                        .map(|line| format!("not recorded: {}", &line[PREFIX.len()..])),
                );
            }
            None => unverified.push("no privileges were recorded with this backup".to_owned()),
        }
        if let Ok(validator) = subject.login(Role::DrillValidator).await {
            let attempts = attempts(&superuser).await?;
            for read_only in ["on", "off"] {
                writes(&validator, &attempts, read_only, &mut problems, &mut unverified).await?;
            }
        }
        if problems.is_empty() && !unverified.is_empty() {
            return Ok::<_, tokio_postgres::Error>(Found::unknown(expected, first_few(&unverified)));
        }
        let actual = format!("{recorded} recorded rights and attributes, {} problems", problems.len());
        Ok(Found::judge(problems.is_empty(), expected, actual).detail(first_few(&problems)))
    })
    .await
}

/// The recorded lines; none if the inventory is from before they were recorded.
fn recorded_lines(inventory: Option<&Inventory>) -> Option<BTreeSet<String>> {
    let lines: BTreeSet<_> = inventory?
        .0
        .iter()
        .filter(|line| line.starts_with(PREFIX))
        .cloned()
        .collect();
    (!lines.is_empty()).then_some(lines)
}

/// Every role logs in with its password, and with no other. Problems, and what could not be told.
async fn logins(subject: &Subject<'_>) -> (Vec<String>, Vec<String>) {
    let (mut problems, mut unverified) = (Vec::new(), Vec::new());
    for role in Role::ALL {
        if let Err(error) = subject.login(role).await {
            let list = if error.as_db_error().is_some() {
                &mut problems
            } else {
                &mut unverified
            };
            list.push(format!("{role} cannot log in: {}", chain(&error)));
        }
        let mut wrong = subject.cluster.config(role.name(), fixtures::DATABASE);
        match connection::verifying(wrong.password("not-the-password")).await {
            Ok(_) => problems.push(format!("{role} gets in with a wrong password")),
            Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => {}
            Err(error) => unverified.push(format!("{role} with a wrong password: {}", chain(&error))),
        }
    }
    (problems, unverified)
}

/// Statements that a role without the right to write must be refused, though none would change a row.
async fn attempts(superuser: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let tables = "SELECT c.oid::regclass::text,
                         (SELECT quote_ident(attname) FROM pg_attribute a WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                             AND attidentity = '' AND attgenerated = '' ORDER BY attnum LIMIT 1)
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relpersistence <> 't'
                   ORDER BY 1";
    let mut attempts = vec![
        "CREATE TABLE public.drill_attempt ()".to_owned(),
        "CREATE SCHEMA drill_attempt".to_owned(),
        format!("SET LOCAL ROLE {}", Role::AppAdmin),
    ];
    for row in superuser.query(tables, &[]).await? {
        let table: &str = row.get(0);
        attempts.push(format!("INSERT INTO {table} DEFAULT VALUES"));
        attempts.push(format!("DELETE FROM {table} WHERE false"));
        if let Some(column) = row.get::<_, Option<&str>>(1) {
            attempts.push(format!("UPDATE {table} SET {column} = {column} WHERE false"));
        }
    }
    let sequences = "SELECT seqrelid::regclass::text FROM pg_sequence ORDER BY 1 LIMIT 1";
    attempts.extend(
        superuser
            .query(sequences, &[])
            .await?
            .iter()
            .map(|row| format!("SELECT nextval('{}')", row.get::<_, &str>(0))),
    );
    Ok(attempts)
}

/// Tries to write, each time in a transaction that is rolled back.
async fn writes(
    validator: &Client,
    attempts: &[String],
    read_only: &str,
    problems: &mut Vec<String>,
    unverified: &mut Vec<String>,
) -> Result<(), tokio_postgres::Error> {
    validator
        .batch_execute(&format!("SET default_transaction_read_only = {read_only}"))
        .await?;
    for attempt in attempts {
        validator.batch_execute("BEGIN").await?;
        let outcome = validator.batch_execute(attempt).await;
        validator.batch_execute("ROLLBACK").await?;
        let refused = [&SqlState::INSUFFICIENT_PRIVILEGE, &SqlState::READ_ONLY_SQL_TRANSACTION];
        match outcome {
            Ok(()) => {
                // Changing the role is no write yet: with read-only on, the server still refuses the write.
                if read_only == "off" || !attempt.starts_with("SET ") {
                    problems.push(format!("drill_validator may: {attempt}"));
                }
            }
            Err(error) if error.code().is_some_and(|code| refused.contains(&code)) => {}
            Err(error) => unverified.push(format!("{attempt}: {}", chain(&error))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Inventory, roles_missing};

    #[test]
    fn roles_that_a_script_does_not_create_are_named() {
        let lines = [
            "privilege: role app_admin: super f, inherit t",
            "privilege: role a \"b\": c: super f, inherit t",
            "privilege: setting of role app_admin: x",
            "table app: 1",
        ];
        let recorded = Inventory(lines.map(str::to_owned).into());
        let whole = "CREATE ROLE app_admin;\nALTER ROLE app_admin WITH LOGIN;\nCREATE ROLE \"a \"\"b\"\": c\";\n";
        assert!(roles_missing(&recorded, whole).is_empty());
        assert_eq!(
            roles_missing(&recorded, "-- CREATE ROLE app_admin;"),
            [r#"a "b": c"#, "app_admin"]
        );
    }
}
