//! Checks: each states what it expects, what it found, how long it took, and what it could not see.
//!
//! One file a check. A check returns [`Found`], or an error if it could not run, and [`timed`] makes an Unknown of
//! that: never a pass. The pure ledger checker is in [`ledger`]; which checks run when is in [`crate::recovery`].

pub mod catalog_inventory;
pub mod collations;
pub mod content_fingerprint;
pub mod content_hash;
pub mod databases;
pub mod enforcement;
pub mod fingerprint;
pub mod index_integrity;
pub mod isolation;
pub mod ledger;
pub mod ledger_prefix;
pub mod page_checksums;
pub mod privileges;
pub mod referential_integrity;
pub mod replay;
pub mod restore_log;
pub mod row_counts;
pub mod sequences;
pub mod server_start;
pub mod smoke;
pub mod suite;
pub mod wal_continuity;

use std::{error::Error, time::Instant};

use reports::{CheckId, CheckResult, Phase, Verdict, text::shortened};
use tokio_postgres::{
    Client,
    error::{DbError, SqlState},
};

use crate::{
    postgres::{Cluster, connection},
    record::milliseconds,
    reference::Truth,
    values,
};

/// A cluster under verification, and what is known of what it should contain.
///
/// Checks take this and nothing else; each opens the connections that it needs.
pub struct Subject<'a> {
    /// The cluster, accepting connections.
    pub cluster: &'a Cluster,
    /// Its name in the evidence: `source`, `restored-1`.
    pub name: &'a str,
    /// At which point of the drill it is looked at.
    pub phase: Phase,
    /// Passwords of the roles.
    pub credentials: &'a fixtures::Credentials,
    /// What was true at the point that it reached.
    pub truth: Option<&'a Truth>,
}

impl Subject<'_> {
    /// Connects as superuser to the application's database.
    ///
    /// # Errors
    /// If the server lets nobody in.
    pub async fn superuser(&self) -> Result<Client, tokio_postgres::Error> {
        self.database(fixtures::DATABASE).await
    }

    /// Connects as superuser to any database.
    ///
    /// # Errors
    /// If the server lets nobody in.
    pub async fn database(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        self.connect(&self.cluster.config("postgres", database)).await
    }

    /// Connects as a role with its password, as that role's users would.
    ///
    /// # Errors
    /// If the server does not let it in.
    pub async fn login(&self, role: fixtures::Role) -> Result<Client, tokio_postgres::Error> {
        self.connect(&self.config(role)).await
    }

    /// How a role logs in with its password.
    pub fn config(&self, role: fixtures::Role) -> tokio_postgres::Config {
        let mut config = self.cluster.config(role.name(), fixtures::DATABASE);
        config.password(self.credentials.password(role));
        config
    }

    pub(crate) async fn connect(&self, config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
        connection::verifying(config).await
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    verdict: Verdict,
    expected: String,
    actual: String,
    detail: String,
}

impl Found {
    /// It found what it expected.
    pub fn pass(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Pass,
            expected: expected.into(),
            actual: actual.into(),
            detail: String::new(),
        }
    }

    /// It found something else.
    pub fn fail(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::pass(expected, actual)
        }
    }

    /// It ran and cannot tell.
    pub fn unknown(expected: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unknown,
            ..Self::pass(expected, "")
        }
        .detail(reason)
    }

    /// Pass if `holds`, else fail.
    pub fn judge(holds: bool, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::from_holds(holds),
            ..Self::pass(expected, actual)
        }
    }

    /// Adds details: first offending keys, or what the check cannot see.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Runs a check and times it; an error becomes Unknown with the whole chain of reasons.
pub async fn timed<E: Error + 'static>(
    check: CheckId,
    phase: Phase,
    subject: &str,
    work: impl Future<Output = Result<Found, E>>,
) -> CheckResult {
    let began = Instant::now();
    let mut found = work
        .await
        .unwrap_or_else(|error| Found::unknown(check.about(), chain(&error)));
    if found.detail == found.actual {
        found.detail.clear(); // once is enough
    }
    CheckResult {
        check,
        phase,
        subject: subject.to_owned(),
        verdict: found.verdict,
        expected: found.expected,
        actual: found.actual,
        duration_ms: milliseconds(began.elapsed()),
        detail: found.detail,
    }
}

/// An error in words; of a server's no more than may be said (see [`values`]).
fn told(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<DbError>() {
        Some(said) => format!("{}: {}", said.severity(), values::message(said)),
        None => error.to_string(),
    }
}

/// An error and its sources in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = told(error);
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {}", told(cause));
        let cancelled = cause
            .downcast_ref::<DbError>()
            .is_some_and(|error| *error.code() == SqlState::QUERY_CANCELED);
        if cancelled {
            text.push_str(" (nothing moved any more)");
        }
        source = cause.source();
    }
    text
}

/// Connects to a database.
///
/// # Errors
/// Why not, in words.
pub async fn connect(database: &tokio_postgres::Config) -> Result<Client, String> {
    connection::verifying(database).await.map_err(|error| chain(&error))
}

/// What an error says of damage, if it does: corrupted data or index, an internal error, a file that cannot be read. A
/// check that meets one has found something; any other error only keeps it from looking.
pub fn damage(error: &tokio_postgres::Error) -> Option<String> {
    let error = error.as_db_error()?;
    let code = error.code().code();
    let speaks_of_damage = code.starts_with("XX") || code == "58P01" || code == "58030";
    speaks_of_damage.then(|| format!("{} ({code})", values::message(error)))
}

/// The first few of many, and how many are left out.
pub fn first_few<T: std::fmt::Display>(all: &[T]) -> String {
    const FEW: usize = 5;
    shortened(all, FEW)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
