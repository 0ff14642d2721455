//! Errors in words: an error with its sources in one line, and whether a server's error reports damage. What a server said is
//! repeated without values of rows ([`crate::values`]).

use std::error::Error;

use tokio_postgres::error::{DbError, SqlState};

use crate::values;

/// An error in words; a server's without values of rows (see [`values`]).
fn describe_one(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<DbError>() {
        Some(said) => format!("{}: {}", said.severity(), values::message(said)),
        None => error.to_string(),
    }
}

/// An error and its sources in one line; a source that adds nothing to the text before it is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = describe_one(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let more = describe_one(cause);
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
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

/// The error in words, if it reports damage: corrupted data or index, an internal error, a file that cannot be read. For a
/// check that is a finding; any other error only keeps the check from looking.
pub fn damage(error: &tokio_postgres::Error) -> Option<String> {
    let error = error.as_db_error()?;
    let code = error.code().code();
    let speaks_of_damage = code.starts_with("XX") || code == "58P01" || code == "58030";
    speaks_of_damage.then(|| format!("{} ({code})", values::message(error)))
}
