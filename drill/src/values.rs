//! Values of rows: whether messages may hold them, and how they are kept out of what servers and their tools say.
//!
//! Evidence is handed around, and what is in it must be no secret: checks, steps, findings, reports and logs name tables,
//! columns and keys, and nothing else of a row. `--show-values` is for whoever looks into a difference and may see the
//! data. It holds for the process: errors are worded wherever they occur.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::DbError;

static SHOWN: AtomicBool = AtomicBool::new(false);
/// What stands in the place of a value.
const WITHHELD: &str = "[withheld]";
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

/// What a server or one of its tools wrote, line by line, without what may be the value of a row.
pub fn keep_out(text: &str) -> String {
    if are_shown() { text.to_owned() } else { withhold(text) }
}

/// What may follow these in a line of a server's log or of a tool's is a value, a row, or a statement with values in it.
const QUOTING: [&str; 4] = ["STATEMENT:", "QUERY:", "Command was:", "Query was:"];
/// Lines of these kinds speak of what the server itself does.
const OF_THE_SERVER: [&str; 8] = [
    "CONTEXT:  WAL redo",
    "CONTEXT:  while ",
    "CONTEXT:  writing block",
    "CONTEXT:  automatic ",
    "CONTEXT:  PL/pgSQL function",
    "DETAIL:  The failed archive command was",
    "DETAIL:  Last completed transaction",
    "DETAIL:  Consistent recovery state",
];
const SEVERITIES: [&str; 6] = ["ERROR:", "FATAL:", "PANIC:", "WARNING:", "NOTICE:", "INFO:"];

fn withhold(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut message_at, mut cut) = (None, false);
    for line in text.lines() {
        // A server begins every further line of a message with a tab; a tool begins every message with its name.
        let goes_on = line.starts_with('\t') || (cut && !begins_a_message(line));
        if goes_on && cut {
            continue;
        }
        if line.contains("CONTEXT:") && line.contains("at RAISE") {
            // Whatever a function says, it may have read in a row.
            if let Some(said) = message_at.and_then(|at: usize| lines.get_mut(at)) {
                *said = up_to_severity(said);
            }
        }
        let kept = without_value(line);
        cut = kept.len() < line.len();
        if SEVERITIES.iter().any(|severity| line.contains(severity)) {
            message_at = Some(lines.len());
        }
        lines.push(kept);
    }
    let mut kept = lines.join("\n");
    if text.ends_with('\n') && !kept.is_empty() {
        kept.push('\n');
    }
    kept
}

fn begins_a_message(line: &str) -> bool {
    line.starts_with("pg_")
        || line.starts_with("psql:")
        || line.starts_with(|first: char| first.is_ascii_digit())
        || ["CONTEXT:", "DETAIL:", "HINT:"]
            .iter()
            .any(|kind| line.starts_with(kind))
        || SEVERITIES.iter().any(|severity| line.starts_with(severity))
}

fn up_to_severity(line: &str) -> String {
    let end = SEVERITIES
        .iter()
        .filter_map(|severity| Some(line.find(severity)? + severity.len()))
        .min();
    end.map_or_else(|| WITHHELD.to_owned(), |end| format!("{}  {WITHHELD}", &line[..end]))
}

fn without_value(line: &str) -> String {
    let cut_behind = |end: usize| format!("{} {WITHHELD}", line[..end].trim_end());
    for word in QUOTING {
        if let Some(at) = line.find(word) {
            return cut_behind(at + word.len());
        }
    }
    if OF_THE_SERVER.iter().any(|text| line.contains(text)) {
        return line.to_owned();
    }
    if let Some(at) = line.find("DETAIL:") {
        let detail = &line[at..];
        let quotes = ["\"", "'", ")=(", "contains (", "arameters:", "Process "];
        if quotes.iter().any(|quote| detail.contains(quote)) {
            return cut_behind(at + "DETAIL:".len());
        }
        return line.to_owned();
    }
    if let Some(at) = line.find("CONTEXT:") {
        return match line[at..].find("COPY ") {
            Some(_) => line[at..]
                .find(": \"")
                .map_or_else(|| line.to_owned(), |value| cut_behind(at + value + 1)),
            None => cut_behind(at + "CONTEXT:".len()),
        };
    }
    let said = SEVERITIES.iter().filter_map(|severity| line.find(severity)).max();
    if let Some(said) = said {
        // `invalid input syntax for type integer: "…"`, `value "…" is out of range for type smallint`
        for (before, keep) in [(": \"", 1), (" value \"", 6)] {
            if let Some(at) = line[said..].find(before) {
                return cut_behind(said + at + keep);
            }
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{shown, withhold};

    #[test]
    fn a_log_keeps_what_happened_and_no_value() {
        let log = r#"2026-03-02 04:00:00 UTC [7] app@db ERROR:  duplicate key value violates unique constraint "IX_Name"
2026-03-02 04:00:00 UTC [7] app@db DETAIL:  Key ("Name")=(hunter2) already exists.
2026-03-02 04:00:00 UTC [7] app@db STATEMENT:  INSERT INTO t
	VALUES ('hunter2')
2026-03-02 04:00:01 UTC [7] app@db ERROR:  invalid input syntax for type integer: "hunter2"
2026-03-02 04:00:01 UTC [7] app@db CONTEXT:  COPY orders, line 1, column i: "hunter2"
2026-03-02 04:00:01 UTC [7] app@db ERROR:  value "hunter2" is out of range for type smallint
2026-03-02 04:00:02 UTC [7] app@db ERROR:  new row for relation "t" violates check constraint "c"
2026-03-02 04:00:02 UTC [7] app@db DETAIL:  Failing row contains (1, hunter2).
2026-03-02 04:00:03 UTC [7] app@db ERROR:  hunter2 is not allowed
2026-03-02 04:00:03 UTC [7] app@db CONTEXT:  PL/pgSQL function f() line 3 at RAISE
2026-03-02 04:00:04 UTC [8] FATAL:  could not open file "global/pg_filenode.map": No such file or directory
2026-03-02 04:00:05 UTC [8] FATAL:  recovery aborted because of insufficient parameter settings
2026-03-02 04:00:05 UTC [8] DETAIL:  max_connections = 10 is a lower setting than on the primary server, where its value was 100.
2026-03-02 04:00:06 UTC [8] LOG:  archive command failed with exit code 1
2026-03-02 04:00:06 UTC [8] DETAIL:  The failed archive command was: cp "pg_wal/1" '/a/1'
"#;
        let kept = withhold(log);
        assert!(!kept.contains("hunter2"), "{kept}");
        for told in [
            "violates unique constraint \"IX_Name\"",
            "invalid input syntax for type integer: [withheld]",
            "COPY orders, line 1, column i: [withheld]",
            "violates check constraint \"c\"",
            "ERROR:  [withheld]",
            "line 3 at RAISE",
            "could not open file \"global/pg_filenode.map\": No such file or directory",
            "where its value was 100.",
            "cp \"pg_wal/1\" '/a/1'",
        ] {
            assert!(kept.contains(told), "{told}: {kept}");
        }
        assert!(kept.ends_with('\n') && withhold("").is_empty());
    }

    #[test]
    fn what_a_tool_says_of_a_value_is_left_out_however_many_lines_it_has() {
        let said = "pg_restore: error: COPY failed for table \"orders\": ERROR:  invalid input syntax for type json\n\
                    DETAIL:  Token \"hunter2\" is invalid.\n\
                    CONTEXT:  JSON data, line 1: hunter2\n\
                    COPY orders, line 1, column j: \"{hunter2\n\
                    hunter2}\"\n\
                    pg_restore: error: could not execute query: ERROR:  relation \"x\" does not exist\n\
                    Command was: INSERT INTO x VALUES ('hunter2',\n\
                    'hunter2');\n\
                    pg_restore: warning: errors ignored on restore: 2";
        let kept = withhold(said);
        assert!(!kept.contains("hunter2"), "{kept}");
        assert!(kept.contains("COPY failed for table \"orders\"") && kept.contains("relation \"x\" does not exist"));
        assert!(kept.ends_with("errors ignored on restore: 2"), "{kept}");
    }

    #[test]
    fn what_is_shown_is_on_one_line_and_not_too_long() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"é".repeat(500)).chars().count(), 401);
    }
}
