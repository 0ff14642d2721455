//! Statements as superuser: what people and migrations do to a healthy server.

use reports::text::counted;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::{Done, FaultError};
use crate::{postgres::Cluster, values};

/// Who runs the statements, and whether the server must refuse them.
pub(super) struct Who<'a> {
    /// A role with its password; the superuser if there is none.
    pub(super) role: Option<(fixtures::Role, &'a str)>,
    /// Every statement must be refused for want of permission.
    pub(super) refused: bool,
}

/// Runs `statements` one after the other in one session of `database`.
///
/// Each goes over the simple protocol by itself, so that commands which refuse a transaction block work as well.
pub(super) async fn run(
    cluster: &mut Cluster,
    database: &str,
    statements: &[String],
    who: &Who<'_>,
) -> Result<Done, FaultError> {
    let session = match who.role {
        None => cluster.connect(super::SUPERUSER, database).await,
        Some((role, password)) => cluster.connect_with_password(role.name(), database, password).await,
    };
    let client = session.map_err(|source| FaultError::Connect {
        database: database.to_owned(),
        source: Box::new(source),
    })?;
    let mut touched = Vec::new();
    for statement in statements {
        let answers = execute(&client, statement).await;
        if who.refused {
            touched.push(refusal(statement, answers)?);
            continue;
        }
        let answers = answers.map_err(|source| FaultError::Statement {
            statement: statement.clone(),
            source,
        })?;
        let rows: u64 = answers
            .iter()
            .map(|answer| match answer {
                SimpleQueryMessage::CommandComplete(rows) => *rows,
                _ => 0,
            })
            .sum();
        if rows == 0 && changes_rows(statement) {
            let why = format!("no row was affected by {statement}");
            return Err(FaultError::NoEffect { kind: "sql", why });
        }
        touched.push(if changes_rows(statement) {
            format!("{statement} ({})", counted(rows, "row"))
        } else {
            statement.clone()
        });
    }
    let role = who.role.map_or(super::SUPERUSER, |(role, _)| role.name());
    let summary = match touched.as_slice() {
        [one] => format!("in database {database} as {role}: {one}"),
        many => format!("in database {database} as {role}: {}", counted(many.len(), "statement")),
    };
    Ok(Done::new(summary, touched))
}

/// What the server said when it refused; an error if it did not, or for another reason.
fn refusal<T>(statement: &str, answer: Result<T, tokio_postgres::Error>) -> Result<String, FaultError> {
    let Err(source) = answer else {
        return Err(FaultError::NotRefused {
            statement: statement.to_owned(),
        });
    };
    let codes = [&SqlState::INSUFFICIENT_PRIVILEGE, &SqlState::READ_ONLY_SQL_TRANSACTION];
    match source.as_db_error() {
        Some(db) if codes.contains(&db.code()) => Ok(format!(
            "{statement} was refused: {} ({})",
            values::message(db),
            db.code().code()
        )),
        _ => Err(FaultError::Statement {
            statement: statement.to_owned(),
            source,
        }),
    }
}

/// Executes one statement. Under live writers it may be the victim of a deadlock; whoever types it would try again.
async fn execute(client: &Client, statement: &str) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
    const TRIES: u32 = 20;
    let mut tried = 1;
    loop {
        match client.simple_query(statement).await {
            Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) && tried < TRIES => tried += 1,
            answers => return answers,
        }
    }
}

/// Whether a statement is there to change rows: one that changes none has failed.
pub(super) fn changes_rows(statement: &str) -> bool {
    let mut rest = statement.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment.split_once('\n').map_or("", |(_, after)| after.trim_start());
    }
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    ["insert", "update", "delete", "merge", "with"].contains(&word.to_ascii_lowercase().as_str())
}
