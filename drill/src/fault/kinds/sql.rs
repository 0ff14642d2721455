//! Statements as superuser: what people and migrations do to a healthy server.

use reports::text::counted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::{
    fault::{Deed, Doing, Done, FaultError, SUPERUSER, World},
    postgres::Cluster,
    scenario::{Changes, DatabaseRole, Fault, Kind, Needs, OneOrMore, Scenario, Text},
    service::Role,
    values,
};

/// Runs statements as superuser, or as a role that must be refused, one after the other in one session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// One statement a string.
    pub statements: OneOrMore<Text>,
    /// In which database; absent: the application's.
    pub database: Option<Text>,
    /// Who runs them, instead of the superuser.
    pub role: Option<DatabaseRole>,
    /// Whether the server must refuse every one of them for want of permission.
    #[serde(default)]
    pub refused: bool,
}

impl Kind for Sql {
    fn name() -> &'static str {
        "sql"
    }

    fn needs() -> Needs {
        Needs::Server
    }

    fn in_words(&self, fault: &Fault) -> String {
        let role = self.role.map_or("superuser", |DatabaseRole(role)| role.name());
        let statements = self.statements.0.join("; ");
        let refused = if self.refused { ", which must be refused" } else { "" };
        let whose = fault.whose();
        let place = match &self.database {
            Some(database) => format!("in database {} of {whose}", &**database),
            None => format!("in {whose}"),
        };
        format!("{place}, as {role}{refused}: {statements}")
    }

    fn suits(&self, _: &Fault, _: &Scenario) -> Result<(), String> {
        if self.refused && self.role.is_none() {
            return Err("nothing is refused to the superuser; name the `role` that must be refused".to_owned());
        }
        Ok(())
    }

    fn changes(&self) -> Changes {
        Changes::Contents
    }
}

impl Deed for Sql {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        let (credentials, database) = (world.credentials, self.database.as_deref().unwrap_or(world.database));
        let role = self.role.map(|DatabaseRole(role)| (role, credentials.password(role)));
        Box::pin(async move { self.run(world.cluster(fault)?, database, role).await })
    }
}

impl Sql {
    /// Runs the statements one after the other in one session, as a role with its password or as superuser.
    ///
    /// Each goes over the simple protocol by itself, so that commands which refuse a transaction block work as well.
    async fn run(&self, cluster: &mut Cluster, database: &str, role: Option<(Role, &str)>) -> Result<Done, FaultError> {
        let session = match role {
            None => cluster.connect(SUPERUSER, database).await,
            Some((role, password)) => cluster.connect_with_password(role.name(), database, password).await,
        };
        let client = session.map_err(|source| FaultError::Connect {
            database: database.to_owned(),
            source: Box::new(source),
        })?;
        let mut touched = Vec::new();
        for statement in self.statements.0.iter().map(|text| &**text) {
            let answers = execute(&client, statement).await;
            if self.refused {
                touched.push(refusal(statement, answers)?);
                continue;
            }
            let answers = answers.map_err(|source| FaultError::Statement {
                statement: statement.to_owned(),
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
                return Err(FaultError::NoEffect {
                    kind: Self::name(),
                    why,
                });
            }
            touched.push(if changes_rows(statement) {
                format!("{statement} ({})", counted(rows, "row"))
            } else {
                statement.to_owned()
            });
        }
        let role = role.map_or(SUPERUSER, |(role, _)| role.name());
        let summary = match touched.as_slice() {
            [one] => format!("in database {database} as {role}: {one}"),
            many => format!("in database {database} as {role}: {}", counted(many.len(), "statement")),
        };
        Ok(Done::new(summary, touched))
    }
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
pub(in crate::fault) fn changes_rows(statement: &str) -> bool {
    let mut rest = statement.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment.split_once('\n').map_or("", |(_, after)| after.trim_start());
    }
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    ["insert", "update", "delete", "merge", "with"].contains(&word.to_ascii_lowercase().as_str())
}
