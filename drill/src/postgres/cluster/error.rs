//! Why a cluster could not be made, adopted, reached or removed.

use std::{io, path::PathBuf};

use super::super::{ControlError, Refusal, TemplateError, UserError, WorkDirError};

/// Why a cluster could not be made, stopped or reached.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The name cannot be the name of a directory.
    #[error("{0:?} is no name for a cluster: use letters, digits, - and _, at most 32")]
    Name(String),
    /// The name is taken in this run.
    #[error("this run has a cluster {name} already, in {}: choose another name", home.display())]
    Taken {
        /// The name.
        name: String,
        /// Where it is.
        home: PathBuf,
    },
    /// No fresh cluster could be made.
    #[error("cannot make cluster {name}")]
    Template {
        /// The cluster.
        name: String,
        /// Why.
        source: TemplateError,
    },
    /// A directory in the run's directory could not be made.
    #[error("cannot make a place for cluster {name}")]
    Place {
        /// The cluster.
        name: String,
        /// Why.
        source: WorkDirError,
    },
    /// A file operation failed.
    #[error("cannot {what} {} for cluster {name}: check the space and the permissions there", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The cluster.
        name: String,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory could not be handed to the server's account.
    #[error("cannot hand cluster {name} to the server's account")]
    User {
        /// The cluster.
        name: String,
        /// Why.
        source: UserError,
    },
    /// A data directory that is to be adopted has no control file.
    #[error("cannot adopt {} as cluster {name}", data_directory.display())]
    Adopt {
        /// The cluster.
        name: String,
        /// The data directory.
        data_directory: PathBuf,
        /// Why.
        source: ControlError,
    },
    /// A data directory that is to be adopted is not in the run's directory.
    #[error("cannot adopt {} as cluster {name}: it lies outside this run's directory {}; restore into that", data_directory.display(), work.display())]
    Outside {
        /// The cluster.
        name: String,
        /// The data directory.
        data_directory: PathBuf,
        /// The run's directory.
        work: PathBuf,
    },
    /// It may not be destroyed.
    #[error("cannot remove cluster {name}")]
    Refused {
        /// The cluster.
        name: String,
        /// Why.
        source: Refusal,
    },
    /// The server did not answer, or not as hoped.
    #[error("cannot connect to cluster {name} as {user}, database {database}")]
    Connect {
        /// The cluster.
        name: String,
        /// The role.
        user: String,
        /// The database.
        database: String,
        /// What PostgreSQL or the system said.
        source: tokio_postgres::Error,
    },
}
