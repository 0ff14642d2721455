//! Rows.
use super::{Reading, ReferenceError};
use crate::postgres::Cluster;

/// Rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {}

/// Reads them.
///
/// # Errors
/// If they cannot be read.
pub async fn read(_cluster: &Cluster, _reading: &Reading) -> Result<Content, ReferenceError> {
    Ok(Content::default())
}
