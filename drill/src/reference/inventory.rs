//! Objects.
use super::{Reading, ReferenceError};
use crate::postgres::Cluster;

/// Objects, rights and settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {}

/// Reads them.
///
/// # Errors
/// If they cannot be read.
pub async fn read(_cluster: &Cluster, _reading: &Reading) -> Result<Inventory, ReferenceError> {
    Ok(Inventory::default())
}
