//! What a server's log says, without values of rows.
//!
//! A line begins with its time, its process (`log_line_prefix` in [`crate::postgres`]) and its severity. Of the messages of the
//! server's own processes all is kept but rows and statements. Of a session, and of whatever else runs somebody's statements,
//! the SQLSTATE decides what of the message is kept ([`fixtures::without_values`]); the rest is dropped. A line that begins in
//! another way is another program's, or a scenario has changed `log_line_prefix`: only its severity is kept.

use fixtures::{Said, WITHHELD, known_words, without_values};

/// Processes that run nobody's statements, by their names in the log.
const THE_SERVERS: [&str; 13] = [
    "postmaster",
    "startup",
    "checkpointer",
    "background writer",
    "walwriter",
    "archiver",
    "walreceiver",
    "autovacuum launcher",
    "logical replication launcher",
    "wal summarizer",
    "io worker",
    "logger",
    "not initialized",
];
const SEVERITIES: [&str; 12] = [
    "LOG", "INFO", "NOTICE", "WARNING", "ERROR", "FATAL", "PANIC", "DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4", "DEBUG5",
];
/// What belongs to the message before it.
const PARTS: [&str; 7] = [
    "DETAIL",
    "HINT",
    "CONTEXT",
    "QUERY",
    "STATEMENT",
    "BACKTRACE",
    "LOCATION",
];
/// What a session says that is neither an error nor somebody's own words.
const OF_A_SESSION: [&str; 10] = [
    "automatic ",
    "checkpoint ",
    "connection ",
    "could not ",
    "disconnection: ",
    "duration: ",
    "process ",
    "standby ",
    "temporary file: ",
    "unexpected EOF ",
];
/// What the server itself was doing, up to where WAL quotes rows.
const DOING: [&str; 4] = ["WAL redo at ", "while ", "writing block", "automatic "];
/// Details of the server's own, whatever they quote.
const DETAILS: [&str; 3] = [
    "The failed archive command was",
    "Last completed transaction",
    "Consistent recovery state",
];

/// One line that begins as lines do.
struct Line<'a> {
    /// When, and by which process.
    process: &'a str,
    /// Up to the severity.
    prefix: &'a str,
    severity: &'a str,
    code: &'a str,
    is_the_servers: bool,
    text: &'a str,
    /// The lines that go on, without the tab that each begins with.
    more: Vec<&'a str>,
}

pub(super) fn withhold(text: &str) -> String {
    let (mut kept, mut entry) = (Kept::default(), Vec::new());
    for line in text.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            match entry.last_mut() {
                Some(Line { more: lines, .. }) => lines.push(more),
                None => kept.withheld(""),
            }
            continue;
        }
        let parsed = parse(line);
        let goes_on = parsed.as_ref().is_some_and(|line| {
            PARTS.contains(&line.severity) && entry.first().is_some_and(|first: &Line| first.process == line.process)
        });
        if !goes_on {
            kept.entry(&entry);
            entry.clear();
        }
        match parsed {
            Some(line) => entry.push(line),
            None if line.starts_with("postgres: ") => kept.line(line), // it could not log yet
            None => kept.withheld(severity_in(line).unwrap_or_default()),
        }
    }
    kept.entry(&entry);
    kept.finish(text.ends_with('\n'))
}

#[derive(Default)]
struct Kept(Vec<String>);

impl Kept {
    fn line(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    /// A line of which nothing is kept but its severity; several without one are told once.
    fn withheld(&mut self, severity: &str) {
        let line = if severity.is_empty() {
            WITHHELD.to_owned()
        } else {
            format!("{severity}:  {WITHHELD}")
        };
        if !severity.is_empty() || self.0.last() != Some(&line) {
            self.0.push(line);
        }
    }

    fn entry(&mut self, entry: &[Line<'_>]) {
        let Some(first) = entry.first() else { return };
        for line in entry {
            let Line { prefix, severity, .. } = line;
            let text = match *severity {
                part if PARTS.contains(&part) => {
                    let text = first.is_the_servers.then(|| detail(part, line.text)).flatten();
                    text.unwrap_or_else(|| WITHHELD.to_owned())
                }
                _ if line.is_the_servers => line.text.to_owned(),
                _ => said(line, entry).unwrap_or_else(|| WITHHELD.to_owned()),
            };
            self.line(format!("{prefix}{severity}:  {text}"));
            if first.is_the_servers && !PARTS.contains(severity) {
                self.0.extend(line.more.iter().map(|more| format!("\t{more}")));
            }
        }
    }

    fn finish(self, with_newline: bool) -> String {
        let mut kept = self.0.join("\n");
        if with_newline && !kept.is_empty() {
            kept.push('\n');
        }
        kept
    }
}

/// Of the first line of an entry of a session, what may be kept of its message.
fn said(line: &Line<'_>, entry: &[Line<'_>]) -> Option<String> {
    let context = entry.iter().find(|part| part.severity == "CONTEXT");
    let context = context.map(|part| {
        std::iter::once(part.text)
            .chain(part.more.iter().copied())
            .collect::<Vec<_>>()
    });
    let context = context.map(|lines| lines.join("\n"));
    if line.code == "00000" {
        let harmless = line.severity == "LOG" && OF_A_SESSION.iter().any(|begin| line.text.starts_with(begin));
        let own = harmless && context.is_none_or(|context| context.starts_with("while "));
        // `duration: 0.03 ms  statement: …`
        let message = line.text.split("  ").next().unwrap_or_default();
        return own.then(|| known_words(message, true));
    }
    without_values(&Said {
        code: line.code,
        message: line.text,
        is_fatal: ["FATAL", "PANIC"].contains(&line.severity),
        has_place: false, // a log does not say whose statement it is
        context: context.as_deref(),
    })
}

/// Of a part of the server's own entry, what may be kept.
fn detail(part: &str, text: &str) -> Option<String> {
    match part {
        "HINT" => Some(text.to_owned()),
        "DETAIL" => {
            let quotes = ["\"", "'", ")=(", "contains (", "arameters:", "Process "];
            let quotes = quotes.iter().any(|quote| text.contains(quote));
            (!quotes || DETAILS.iter().any(|begin| text.starts_with(begin))).then(|| text.to_owned())
        }
        "CONTEXT" if DOING.iter().any(|begin| text.starts_with(begin)) => {
            // `WAL redo at 0/3000028 for LogicalMessage/MESSAGE: … payload (7 bytes): 68 75 …`
            let end = text.strip_prefix("WAL redo at ").and_then(|_| text.find(": "));
            Some(end.map_or_else(|| text.to_owned(), |end| format!("{}: {WITHHELD}", &text[..end])))
        }
        _ => None,
    }
}

/// A line with the prefix that servers are started with: `%m [%p] %e %b %q%u@%d `.
fn parse(line: &str) -> Option<Line<'_>> {
    let (time, rest) = line.split_once(" [")?;
    let is_time = time.len() >= "2026-03-02 04:00:00 UTC".len()
        && time.bytes().all(|b| b.is_ascii_alphanumeric() || b" -+:.".contains(&b))
        && time.starts_with(|first: char| first.is_ascii_digit());
    let (pid, rest) = rest.split_once("] ")?;
    let (code, rest) = rest.split_once(' ')?;
    let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if !is_time || !is_code || !pid.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let severities = SEVERITIES.iter().chain(&PARTS);
    let (at, severity) = severities
        .filter_map(|severity| {
            let mut found = rest.match_indices(severity);
            found.find_map(|(at, _)| {
                let is_it = rest[at + severity.len()..].starts_with(":  ") && rest[..at].ends_with(' ');
                is_it.then_some((at, *severity))
            })
        })
        .min()?;
    let before = line.len() - rest.len();
    Some(Line {
        process: &line[..time.len() + pid.len() + 3],
        prefix: &line[..before + at],
        severity,
        code,
        is_the_servers: THE_SERVERS.contains(&rest[..at].trim_end()),
        text: &rest[at + severity.len() + 3..],
        more: Vec::new(),
    })
}

/// The severity in a line that begins in another way.
fn severity_in(line: &str) -> Option<&'static str> {
    let severities = SEVERITIES.iter().chain(&PARTS);
    let found = severities.filter_map(|severity| Some((line.find(&format!("{severity}:  "))?, *severity)));
    found.min().map(|(_, severity)| severity)
}

#[cfg(test)]
mod tests;
