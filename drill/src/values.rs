//! Values of rows: whether messages may hold them, and how they are kept out of what servers and their tools say.
//!
//! Evidence is handed around, and what is in it must be no secret: checks, steps, findings, reports and logs name tables,
//! columns and keys, and nothing else of a row. `--show-values` is for whoever looks into a difference and may see the
//! data. The choice is one for the whole process, because errors are put into words everywhere.

mod log;
mod tool;

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::DbError;

static SHOWN: AtomicBool = AtomicBool::new(false);
/// So much of a row or a value is shown.
const LONGEST: usize = 400;

/// Whether messages may hold values of rows from now on.
pub fn show(shown: bool) {
    SHOWN.store(shown, Ordering::Relaxed);
}

/// Whether messages may hold values of rows.
pub fn are_shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

/// What a server's error says, without its severity.
pub fn message(error: &DbError) -> String {
    if !are_shown() {
        return fixtures::message_without_values(error);
    }
    let detail = error.detail().map(|detail| format!(" ({detail})"));
    format!("{}{}", error.message(), detail.unwrap_or_default())
}

/// A value or a row as it is shown: on one line and not too long.
pub fn shown(value: &str) -> String {
    let line = value.replace(['\n', '\r'], " ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What a server wrote into its log, without what may be the value of a row.
pub fn of_log(text: &str) -> String {
    if are_shown() {
        text.to_owned()
    } else {
        log::withhold(text)
    }
}

/// What a tool wrote on stderr, without what may be the value of a row.
pub fn of_tool(text: &str) -> String {
    if are_shown() {
        text.to_owned()
    } else {
        tool::withhold(text)
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_shown_is_on_one_line_and_not_too_long() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"é".repeat(500)).chars().count(), 401);
    }
}
