//! `server-start`: the server accepts connections, is out of recovery, and answers the application's query.
//!
//! On the failed source it tells an operator what is the matter (step 2); on a restored cluster it must pass.

use std::time::Duration;

use crate::{
    errors::describe,
    postgres::connection,
    record::check::{Found, timed},
    service::Probe,
};
use reports::{CheckId, CheckResult, Phase};

/// How long a connection attempt may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an investigation found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// Nobody answers, or whoever answers lets nobody in.
    Unreachable(String),
    /// It accepts connections and cannot serve the application.
    Damaged(String),
    /// It replays WAL, or waits at its recovery target, and takes no writes.
    InRecovery,
    /// It serves.
    Healthy,
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "unreachable: {reason}"),
            Self::Damaged(reason) => write!(f, "damaged: {reason}"),
            Self::InRecovery => f.write_str("it is still in recovery"),
            Self::Healthy => f.write_str("healthy"),
        }
    }
}

/// Connects and queries as the application would.
pub async fn diagnose(application: &Probe) -> Diagnosis {
    let mut database = application.login.clone();
    database.connect_timeout(PATIENCE);
    let client = match tokio::time::timeout(PATIENCE, connection::verifying(&database)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Diagnosis::Unreachable(describe(&error)),
        Err(_) => return Diagnosis::Unreachable(format!("no answer within {}", reports::text::lasting(PATIENCE))),
    };
    match client.query_one("SELECT pg_is_in_recovery()", &[]).await {
        Ok(row) => match row.try_get(0) {
            Ok(true) => return Diagnosis::InRecovery,
            Ok(false) => {}
            Err(error) => return Diagnosis::Damaged(describe(&error)),
        },
        Err(error) => return Diagnosis::Damaged(describe(&error)),
    }
    match application.ask(&client).await {
        Ok(()) => Diagnosis::Healthy,
        Err(error) => Diagnosis::Damaged(describe(&error)),
    }
}

/// The check.
pub async fn check(application: &Probe, phase: Phase, subject: &str) -> (CheckResult, Diagnosis) {
    let diagnosis = diagnose(application).await;
    let expected = "accepts connections, out of recovery, answers the application's query";
    let found = Found::judge(diagnosis == Diagnosis::Healthy, expected, diagnosis.to_string());
    // Only a server that nobody can reach, or that cannot be used at all, did not start.
    let result = timed(CheckId::ServerStart, phase, subject, async {
        Ok::<_, std::convert::Infallible>(found)
    });
    (result.await, diagnosis)
}
