//! `report.html`: the report as one page that needs nothing else: no script, no font, no request.
//!
//! What it says is put together in `document` and is the same as in Markdown; how it looks is in
//! `html/report.html`. It follows the reader's light or dark scheme and can be printed.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, context};

use crate::RunEvidence;
use crate::document::{self, Block, slug};

/// Name of the file.
pub const FILE_NAME: &str = "report.html";

/// Renders the report. Every value is escaped by the template engine, as the template's name ends in `.html`.
///
/// # Errors
/// None that occur with the template that is built in.
pub fn render(run: &RunEvidence) -> Result<String, minijinja::Error> {
    let blocks = document::of(run);
    let title = blocks.iter().find_map(|block| match block {
        Block::Heading { level: 1, text, .. } => Some(text.clone()),
        _ => None,
    });
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("slug", |text: String| slug(&text));
    environment.add_template(FILE_NAME, include_str!("html/report.html"))?;
    environment
        .get_template(FILE_NAME)?
        .render(context! { title, verdict => Serde(run.verdict), blocks => Serde(blocks) })
}
