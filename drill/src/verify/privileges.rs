//! `privileges`: roles and rights are as they were, roles get in with their passwords, and the role that validates cannot
//! write.
//!
//! Rights are part of the inventory ([`crate::reference::inventory`]), which leaves them to this check: every access
//! control list of every object, the server's own included. What it cannot see: the passwords of other roles, and rights
//! that `pg_hba.conf` takes away or gives. PostgreSQL has no right to withhold for making large objects: a role that turns
//! its read-only setting off can make some.

use reports::{
    CheckId, CheckResult,
    text::{counted, number},
};
use tokio_postgres::{Client, error::SqlState};

use super::{
    Subject,
    catalog_inventory::{Look, named},
};
use crate::{
    errors::chain,
    record::check::{Found, first_few, timed},
    reference::{
        Truth,
        inventory::{self, About, Cure, Inventory},
    },
    service::Role,
    service::Service,
};

/// The check.
pub async fn check(subject: &Subject<'_>, look: &Look<'_>) -> CheckResult {
    timed(CheckId::Privileges, subject.phase, subject.name, async {
        let expected =
            "roles and rights as they were, every role gets in with its password, drill_validator cannot write";
        let (truth, compared) = match look {
            Look::Compared(truth, compared) => (*truth, compared),
            Look::Damaged(text) => {
                return Ok(Found::fail(expected, "the catalogues cannot be read").detail(text.clone()));
            }
            Look::Unknown(reason) => return Ok(Found::unknown(expected, reason.clone())),
        };
        let superuser = subject.superuser().await?;
        let (mut problems, mut unverified) = logins(subject, truth).await;
        if let Ok(validator) = subject.login(Role::DrillValidator).await {
            let attempts = attempts(&superuser, truth, subject.service).await?;
            for read_only in ["on", "off"] {
                writes(&validator, &attempts, read_only, &mut problems, &mut unverified).await?;
            }
        }
        let differences = compared.about(&[About::Right]);
        let all = differences.len() + problems.len();
        if all == 0 && !unverified.is_empty() {
            return Ok::<_, tokio_postgres::Error>(Found::unknown(expected, first_few(&unverified)));
        }
        let recorded = truth.newest().map_or(0, |record| record.inventory.count(About::Right));
        let actual = format!(
            "{} recorded rights and attributes, {}",
            number(recorded as u64),
            counted(all, "problem")
        );
        Ok(Found::judge(all == 0, expected, actual).detail(named(&differences, &problems)))
    })
    .await
}

/// The repair: rights, memberships, owners and role attributes put back to what they were; what was not there is taken
/// away. `None` if something differs that no statement covers: a role that is gone, a password.
pub fn cures(look: &Look<'_>) -> Option<Vec<Cure>> {
    let Look::Compared(_, compared) = look else { return None };
    inventory::cures(&compared.about(&[About::Right]))
}

/// Every role that could log in, and that the service did not change since, logs in with its password and with no other.
/// Returns the problems, and what could not be verified.
async fn logins(subject: &Subject<'_>, truth: &Truth) -> (Vec<String>, Vec<String>) {
    let (mut problems, mut unverified) = (Vec::new(), Vec::new());
    for role in Role::ALL.into_iter().filter(|role| could_log_in(truth, role.name())) {
        if let Err(error) = subject.login(role).await {
            match error.code() {
                // What it may connect to is a right, and compared as one.
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
                Some(_) => problems.push(format!("{role} cannot log in: {}", chain(&error))),
                None => unverified.push(format!("{role} cannot log in: {}", chain(&error))),
            }
        }
        let mut wrong = subject.cluster.config(role.name(), subject.service.database());
        match wrong.password("not-the-password").connect(tokio_postgres::NoTls).await {
            Ok(_) => problems.push(format!("{role} gets in with a wrong password")),
            Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => {}
            Err(error) => unverified.push(format!("{role} with a wrong password: {}", chain(&error))),
        }
    }
    (problems, unverified)
}

/// Whether a role could log in with its first password, both before and after the point that was reached.
fn could_log_in(truth: &Truth, role: &str) -> bool {
    let around = [truth.newest(), truth.next()];
    let mut around = around.into_iter().flatten().map(|record| &record.inventory);
    around.all(|inventory| {
        let same = truth
            .before
            .last()
            .is_none_or(|first| first.inventory.same_attribute(inventory, role, "rolpassword"));
        same && inventory.role_attribute(role, "rolcanlogin") == Some("t")
            && inventory.role_attribute(role, "rolvaliduntil").is_none()
    })
}

/// A statement that a role without the right to write must be refused, though it would change no row.
struct Attempt {
    statement: String,
    /// Whether it only changes the role.
    changes_role: bool,
    /// Asks the server for the right that it takes.
    right: Option<&'static str>,
}

/// All of them, but those that the reference itself allows, or that a rule of the service turns into something else.
async fn attempts(
    superuser: &Client,
    truth: &Truth,
    service: &dyn Service,
) -> Result<Vec<Attempt>, tokio_postgres::Error> {
    let around = [truth.newest(), truth.next()];
    let around: Vec<&Inventory> = around.into_iter().flatten().map(|record| &record.inventory).collect();
    let role = Role::DrillValidator.name();
    if around.iter().any(|inventory| inventory.is_more_than_itself(role)) {
        return Ok(Vec::new());
    }
    let may = |privilege: &str, object: &str| around.iter().any(|inventory| inventory.may(role, privilege, object));
    let mut attempts = Vec::new();
    let mut attempt = |privilege: &str, object: &str, statement: String| {
        if !may(privilege, object) {
            attempts.push(Attempt {
                statement,
                changes_role: privilege == "MEMBER",
                right: match (privilege, object) {
                    ("CREATE", "schema public") => Some("SELECT has_schema_privilege('public', 'CREATE')"),
                    ("CREATE", _) => Some("SELECT has_database_privilege(current_database(), 'CREATE')"),
                    _ => None,
                },
            });
        }
    };
    attempt(
        "CREATE",
        "schema public",
        "CREATE TABLE public.drill_attempt ()".to_owned(),
    );
    attempt(
        "CREATE",
        &format!("database {}", service.database()),
        "CREATE SCHEMA drill_attempt".to_owned(),
    );
    attempt("MEMBER", "", format!("SET LOCAL ROLE {}", Role::AppAdmin));
    let tables = "SELECT relname::text,
                         (SELECT quote_ident(attname) FROM pg_attribute a WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                             AND attidentity = '' AND attgenerated = '' ORDER BY attnum LIMIT 1)
                    FROM pg_class c WHERE relnamespace = to_regnamespace('public') AND relkind = 'r' AND relname = ANY ($1)
                     AND NOT EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid) ORDER BY 1";
    for row in superuser.query(tables, &[&service.tables()]).await? {
        let table = format!("public.\"{}\"", row.try_get::<_, String>(0)?);
        let object = format!("table {table}");
        attempt("INSERT", &object, format!("INSERT INTO {table} DEFAULT VALUES"));
        attempt("DELETE", &object, format!("DELETE FROM {table} WHERE false"));
        if let Some(column) = row.try_get::<_, Option<String>>(1)? {
            attempt(
                "UPDATE",
                &object,
                format!("UPDATE {table} SET {column} = {column} WHERE false"),
            );
        }
    }
    let sequences = "SELECT d.objid::regclass::text FROM pg_depend d
                       JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                       JOIN pg_class t ON t.oid = d.refobjid
                      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                        AND t.relnamespace = to_regnamespace('public') AND t.relname = ANY ($1) ORDER BY 1";
    for row in superuser.query(sequences, &[&service.tables()]).await? {
        let sequence: String = row.try_get(0)?;
        let object = format!("sequence public.{sequence}");
        if !may("UPDATE", &object) {
            attempt("USAGE", &object, format!("SELECT nextval('{sequence}')"));
        }
    }
    Ok(attempts)
}

/// Tries to write, each time in a transaction that is rolled back.
async fn writes(
    validator: &Client,
    attempts: &[Attempt],
    read_only: &str,
    problems: &mut Vec<String>,
    unverified: &mut Vec<String>,
) -> Result<(), tokio_postgres::Error> {
    validator
        .batch_execute(&format!("SET default_transaction_read_only = {read_only}"))
        .await?;
    for Attempt {
        statement,
        changes_role,
        right,
    } in attempts
    {
        validator.batch_execute("BEGIN").await?;
        let outcome = validator.batch_execute(statement).await;
        validator.batch_execute("ROLLBACK").await?;
        let refused = [&SqlState::INSUFFICIENT_PRIVILEGE, &SqlState::READ_ONLY_SQL_TRANSACTION];
        match outcome {
            Ok(()) => {
                // Changing the role is no write yet: with read-only on, the server still refuses the write.
                if read_only == "off" || !changes_role {
                    problems.push(format!("drill_validator may: {statement}"));
                }
            }
            Err(error) if error.code().is_some_and(|code| refused.contains(&code)) => {}
            // Something else refused it, such as an event trigger: the server says whether the right is there.
            Err(error) => match right {
                Some(right) if !validator.query_one(*right, &[]).await?.try_get::<_, bool>(0)? => {}
                _ => unverified.push(format!("{statement}: {}", chain(&error))),
            },
        }
    }
    Ok(())
}
