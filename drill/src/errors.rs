//! Errors in words: one chain of reasons, and what an error of the server says of damage. Of what a server said no more is
//! told than may be ([`crate::values`]).

use std::error::Error;

use tokio_postgres::error::{DbError, SqlState};

use crate::values;

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

/// A database error in words: SQLSTATE and message, or the operating system's reason.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} {} ({})", db.severity(), values::message(db), db.code().code()),
        None => error
            .source()
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}

/// What an error says of damage, if it does: corrupted data or index, an internal error, a file that cannot be read. A
/// check that meets one has found something; any other error only keeps it from looking.
pub fn damage(error: &tokio_postgres::Error) -> Option<String> {
    let error = error.as_db_error()?;
    let code = error.code().code();
    let speaks_of_damage = code.starts_with("XX") || code == "58P01" || code == "58030";
    speaks_of_damage.then(|| format!("{} ({code})", values::message(error)))
}
