//! `report.md`: the report as Markdown (GitHub's dialect), for reading and for commenting on.
//!
//! What it says is put together in `document`; here it is only set. Text from a drill is escaped, so that a message
//! with pipes, stars or tags in it stays what it is.

use std::fmt::Write;

use crate::document::{self, Block, SharePart, Span, Table, slug};
use crate::{RunEvidence, StepVerdict};

/// Name of the file.
pub const FILE_NAME: &str = "report.md";

/// Renders the report. One drill fills it alone; several have a summary and a section each.
pub fn render(run: &RunEvidence) -> String {
    let blocks: Vec<String> = document::of(run).iter().map(block).collect();
    format!("{}\n", blocks.join("\n\n"))
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading { level, text, .. } => format!("{} {}", "#".repeat(usize::from(*level)), escaped(text)),
        Block::Paragraph(text) => at_line_start(&spans(text)),
        Block::List(items) => items
            .iter()
            .map(|item| format!("- {}", at_line_start(&spans(item))))
            .collect::<Vec<_>>()
            .join("\n"),
        Block::Table(table) => rows(table),
        Block::Shares { parts, .. } => shares(parts),
        Block::ToFill(what) => format!("> _To be filled in:_ {}", escaped(what)),
    }
}

fn rows(table: &Table) -> String {
    let titles: Vec<String> = table.columns.iter().map(|column| escaped(&column.title)).collect();
    let rules: Vec<&str> = table
        .columns
        .iter()
        .map(|column| if column.numeric { "---:" } else { "---" })
        .collect();
    let mut text = format!("| {} |\n| {} |", titles.join(" | "), rules.join(" | "));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| spans(cell)).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n| {} |", cells.join(" | "));
    }
    text
}

fn shares(parts: &[SharePart]) -> String {
    let mut text = "| Part | Time | Share |\n| --- | ---: | ---: |".to_owned();
    for part in parts {
        let _ = write!(
            text,
            "\n| {} | {} | {} |",
            escaped(&part.name),
            part.duration,
            part.share
        );
    }
    text
}

fn spans(spans: &[Span]) -> String {
    spans.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(text) => escaped(text),
        Span::Strong(text) => format!("**{}**", escaped(text)),
        Span::Code(text) => in_code(text),
        Span::Verdict(StepVerdict::Pass) => "pass".to_owned(),
        Span::Verdict(StepVerdict::Skipped) => "skipped".to_owned(),
        Span::Verdict(verdict) => format!("**{verdict}**"),
        Span::Link(text) => format!("[{}](#{})", escaped(text), slug(text)),
    }
}

/// Text on one line, without the characters that Markdown or a table would take for its own.
fn escaped(text: &str) -> String {
    let text = one_line(text);
    let chars: Vec<char> = text.chars().collect();
    let word = |index: Option<usize>| index.and_then(|i| chars.get(i)).is_some_and(|c| c.is_alphanumeric());
    let mut out = String::with_capacity(text.len());
    for (index, &c) in chars.iter().enumerate() {
        let own = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '&' | '$' | '~' => true,
            // Inside of a word an underscore is one.
            '_' => !(word(index.checked_sub(1)) && word(Some(index + 1))),
            _ => false,
        };
        if own {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// What would make a heading, a list or a rule of a line, were it to stand at the beginning, does not.
fn at_line_start(text: &str) -> String {
    let unnumbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = unnumbered.len() < text.len();
    let marker = if numbered {
        unnumbered.starts_with(['.', ')'])
    } else {
        text.starts_with(['#', '+', '-', '='])
    };
    if marker {
        format!("{}\\{unnumbered}", &text[..text.len() - unnumbered.len()])
    } else {
        text.to_owned()
    }
}

/// Text as code, between as many backticks as it needs. A table splits at a pipe even within code.
fn in_code(text: &str) -> String {
    let text = one_line(text).replace('|', "\\|");
    if text.is_empty() {
        return text;
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// Line breaks, tabs and other control characters become spaces.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{at_line_start, escaped, in_code};

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escaped("a|b\nc\r\nd"), "a\\|b c d");
        assert_eq!(escaped("<script>*x*</script>"), "\\<script\\>\\*x\\*\\</script\\>");
        assert_eq!(escaped("pg_wal and _this_"), "pg_wal and \\_this\\_");
        assert_eq!(at_line_start("# no heading"), "\\# no heading");
        assert_eq!(at_line_start("3. no list"), "3\\. no list");
        assert_eq!(at_line_start("3 lines"), "3 lines");
        assert_eq!(in_code("base/*/1|2"), "`base/*/1\\|2`");
        assert_eq!(in_code("a`b"), "``a`b``");
        assert_eq!(in_code("`"), "`` ` ``");
    }
}
