//! `evidence.json`: the evidence of a run as it is, for programs.
//!
//! What is written reads back as the same [`RunEvidence`], bit for bit, floating point numbers included.

use crate::{RunEvidence, SCHEMA_VERSION};

/// Name of the file.
pub const FILE_NAME: &str = "evidence.json";

/// Why text is not the evidence of a run.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON, or not of this shape.
    #[error("this is not the evidence of a run")]
    Shape(#[source] serde_json::Error),
    /// It was written by a later version with another meaning.
    #[error("the evidence has schema version {found}; this program reads up to {SCHEMA_VERSION}: use a newer one")]
    Version {
        /// The version that it states.
        found: u64,
    },
}

/// Renders the evidence, indented, with a newline at the end.
///
/// # Errors
/// If a number in it is infinite or not a number (the event log refuses such numbers).
pub fn render(run: &RunEvidence) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(run)?;
    text.push('\n');
    Ok(text)
}

/// Reads evidence back.
///
/// # Errors
/// See [`JsonError`]. The schema version is looked at first, so that a later shape is named as such.
pub fn parse(text: &str) -> Result<RunEvidence, JsonError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(JsonError::Shape)?;
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(SCHEMA_VERSION) => Err(JsonError::Version { found }),
        _ => serde_json::from_value(value).map_err(JsonError::Shape),
    }
}
