//! What stands in the catalog is in force: the application's role is refused what breaks a rule of the schema, and only
//! that.
//!
//! An inventory reads names and definitions; whether the server acts by them is known once somebody tries. A row of each
//! table is written as the service does, then each rule is broken once, in one transaction that is rolled back; SQLSTATEs
//! tell why a statement was refused. A rule that the catalog does not have, or that is switched off in it, is not tried: the
//! inventory judges that. What it costs: two numbers of each sequence. What it cannot see: rules for which there is no
//! statement.

use std::{collections::HashSet, time::Duration};

use reports::{
    CheckId, CheckResult,
    text::{counted, lasting},
};
use tokio_postgres::Client;

use super::Subject;
use crate::{
    record::check::{Found, first_few, timed},
    service::{Refused, Role, Rules},
};

/// How long the statements may take together, and how long each may wait for a lock.
const PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PATIENCE: &str = "2s";

/// Rules that the catalog has and that are switched on: constraints, unique indexes, columns that are NOT NULL.
const IN_FORCE: &str = r"
SELECT conname::text FROM pg_constraint o
 WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = o.oid AND t.tgenabled IN ('D', 'R'))
UNION SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique AND i.indisvalid
UNION SELECT format('%s.%s', c.relname, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
       WHERE c.relnamespace = 'public'::regnamespace AND a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped";

/// The check, as the application's role. A result of `catalog-inventory`: what is recorded there must also hold. `None` where
/// no rules are known.
pub async fn check(subject: &Subject<'_>) -> Option<CheckResult> {
    let rules = subject.service.rules()?;
    let name = format!("{} (in force)", subject.name);
    let check = timed(CheckId::CatalogInventory, subject.phase, &name, async {
        let expected = "what the service does is taken, what breaks a rule of the schema is refused";
        let mut config = subject.config(Role::TransformationApp);
        config.options(format!("-c lock_timeout={LOCK_PATIENCE}"));
        let tried = async {
            let client = subject.connect(&config).await?;
            tried_out(&client, rules).await
        };
        let (rules, problems) = match tokio::time::timeout(PATIENCE, tried).await {
            Ok(tried) => tried?,
            Err(_) => return Ok(Found::fail(expected, format!("no answer within {}", lasting(PATIENCE)))),
        };
        let actual = format!(
            "{} tried out, {}",
            counted(rules, "rule"),
            counted(problems.len(), "problem")
        );
        Ok::<_, tokio_postgres::Error>(Found::judge(problems.is_empty(), expected, actual).detail(first_few(&problems)))
    });
    Some(check.await)
}

/// How many rules were tried, and what is wrong. Of a refusal the SQLSTATE is told and not the message: that may hold values
/// of a row.
async fn tried_out(client: &Client, rules: &Rules) -> Result<(usize, Vec<String>), tokio_postgres::Error> {
    let rows = client.query(IN_FORCE, &[]).await?;
    let in_force: HashSet<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    client.batch_execute("BEGIN").await?;
    for statement in rules.taken {
        if let Some(code) = refusal(client, statement).await? {
            return Ok((0, vec![format!("what the service writes is refused: {code}")]));
        }
    }
    let rules: Vec<&Refused> = rules.refused.iter().filter(|rule| in_force.contains(rule.by)).collect();
    let mut problems = Vec::new();
    client.batch_execute("SAVEPOINT rule").await?;
    for rule in &rules {
        let Refused {
            by,
            sqlstate,
            statement,
        } = rule;
        match refusal(client, statement).await? {
            None => problems.push(format!("{by} is not in force: what it forbids was taken")),
            Some(code) if code == *sqlstate => {}
            Some(code) => problems.push(format!("what {by} forbids was refused with {code}, not {sqlstate}")),
        }
        client.batch_execute("ROLLBACK TO SAVEPOINT rule").await?;
    }
    client.batch_execute("ROLLBACK").await?;
    Ok((rules.len(), problems))
}

/// The SQLSTATE with which the server refuses a statement; none if it takes it.
async fn refusal(client: &Client, statement: &str) -> Result<Option<String>, tokio_postgres::Error> {
    match client.batch_execute(statement).await {
        Ok(()) => Ok(None),
        Err(error) => match error.code() {
            Some(code) => Ok(Some(code.code().to_owned())),
            None => Err(error),
        },
    }
}
