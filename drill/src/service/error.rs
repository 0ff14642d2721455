//! Why a service could not be made.

use crate::postgres::ClusterError;

/// Why a service could not be made, or filled.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The cluster lets nobody in.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Its roles, its database or its structure could not be made.
    #[error(transparent)]
    Schema(#[from] fixtures::SchemaError),
    /// Its seed data could not be loaded.
    #[error(transparent)]
    Seed(#[from] fixtures::SeedError),
    /// A statement failed.
    #[error("{what}")]
    Query {
        /// What was to be done.
        what: &'static str,
        /// What the server said.
        source: tokio_postgres::Error,
    },
}
