//! The content of a report for people, apart from how it looks.
//!
//! [`of`] puts together headings, sentences and tables; [`crate::markdown`] and [`crate::html`] only set them. So the
//! two never say different things. One drill's sections are in `drill` (with `measures` and `tables`), what stands
//! above several in `summary`, what is honest about the limits in `limits`.

mod drill;
mod limits;
mod measures;
mod post_mortem;
mod summary;
mod tables;

use serde::Serialize;

use crate::{RunEvidence, StepVerdict, Verdict};

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "text", rename_all = "kebab-case")]
pub(crate) enum Span {
    Plain(String),
    Strong(String),
    /// An id, a command, a path: to be set as it is.
    Code(String),
    /// `pass`, `fail` …: to be recognised at a glance.
    Verdict(StepVerdict),
    /// A heading of this document.
    Link(String),
}

/// A sentence, or a cell of a table.
pub(crate) type Spans = Vec<Span>;

/// A block of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "content", rename_all = "kebab-case")]
pub(crate) enum Block {
    /// Level 1 is the page's title.
    Heading {
        level: u8,
        text: String,
        anchor: String,
    },
    Paragraph(Spans),
    List(Vec<Spans>),
    Table(Table),
    /// Parts of a whole, in milliseconds: shown with their shares.
    Shares {
        whole_ms: u64,
        parts: Vec<SharePart>,
    },
    /// Room for people to fill in, with what belongs there.
    ToFill(String),
}

/// A table. Every row has as many cells as there are columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Spans>>,
}

/// A column's heading, and whether its cells are numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Column {
    pub(crate) title: String,
    pub(crate) numeric: bool,
}

/// A part of a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SharePart {
    pub(crate) name: String,
    pub(crate) duration_ms: u64,
    pub(crate) duration: String,
    pub(crate) share: String,
    pub(crate) percent: String,
}

/// The whole document of a run: one drill in full, or a summary and a short section for each of several.
pub(crate) fn of(run: &RunEvidence) -> Vec<Block> {
    let mut page = Page::default();
    let nothing_else = run.unreadable.is_empty() && run.never_began.is_empty() && run.skipped.is_empty();
    match run.drills.as_slice() {
        // A run that was killed says so first, unless its only drill does.
        [only] if (run.finished || !only.finished) && nothing_else => {
            drill::in_full(&mut page, only);
        }
        _ => summary::of_several(&mut page, run),
    }
    page.blocks
}

/// A document in the making.
#[derive(Default)]
struct Page {
    blocks: Vec<Block>,
}

impl Page {
    fn heading(&mut self, level: u8, text: impl Into<String>) {
        let text = text.into();
        let same = |block: &&Block| matches!(block, Block::Heading { text: known, .. } if slug(known) == slug(&text));
        let anchor = match self.blocks.iter().filter(same).count() {
            0 => slug(&text),
            before => format!("{}-{before}", slug(&text)),
        };
        self.blocks.push(Block::Heading { level, text, anchor });
    }

    fn paragraph(&mut self, spans: impl Into<Spans>) {
        self.blocks.push(Block::Paragraph(spans.into()));
    }

    fn say(&mut self, text: impl Into<String>) {
        self.paragraph([plain(text)]);
    }

    fn list(&mut self, items: Vec<Spans>) {
        if !items.is_empty() {
            self.blocks.push(Block::List(items));
        }
    }

    /// A table; a column whose title begins with `#` holds numbers. Without rows there is no table.
    fn table(&mut self, titles: &[&str], rows: Vec<Vec<Spans>>) {
        if !rows.is_empty() {
            let columns = titles.iter().map(|title| column(title)).collect();
            self.blocks.push(Block::Table(Table { columns, rows }));
        }
    }

    fn shares(&mut self, whole_ms: u64, parts: impl IntoIterator<Item = (String, u64)>) {
        let parts = parts.into_iter().map(|(name, duration_ms)| SharePart {
            name,
            duration_ms,
            duration: crate::text::millis(duration_ms),
            share: crate::text::share(duration_ms, whole_ms),
            percent: format!("{:.2}", duration_ms as f64 * 100.0 / (whole_ms.max(1)) as f64),
        });
        self.blocks.push(Block::Shares {
            whole_ms,
            parts: parts.collect(),
        });
    }

    fn room(&mut self, what: &str) {
        self.blocks.push(Block::ToFill(what.to_owned()));
    }
}

fn column(title: &str) -> Column {
    match title.strip_prefix('#') {
        Some(title) => Column {
            title: title.to_owned(),
            numeric: true,
        },
        None => Column {
            title: title.to_owned(),
            numeric: false,
        },
    }
}

fn plain(text: impl Into<String>) -> Span {
    Span::Plain(text.into())
}

fn strong(text: impl Into<String>) -> Span {
    Span::Strong(text.into())
}

fn code(text: impl Into<String>) -> Span {
    Span::Code(text.into())
}

fn verdict(verdict: impl Into<StepVerdict>) -> Span {
    Span::Verdict(verdict.into())
}

/// A cell of plain text.
fn cell(text: impl Into<String>) -> Spans {
    vec![plain(text)]
}

/// Ids as code, with commas between.
fn codes<T: ToString>(items: impl IntoIterator<Item = T>) -> Spans {
    let mut spans = Spans::new();
    for item in items {
        if !spans.is_empty() {
            spans.push(plain(", "));
        }
        spans.push(code(item.to_string()));
    }
    spans
}

/// A heading's anchor, made as the usual Markdown renderers make it: lower case, spaces to hyphens, no punctuation.
pub(crate) fn slug(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// `PASS`, `FAIL`, `UNKNOWN` in words that need no explanation.
fn in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Unknown => "NOT VERIFIED",
    }
}
