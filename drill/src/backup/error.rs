//! Why a backup could not be taken, listed or restored.

use std::{error::Error as _, path::PathBuf};

use crate::{
    postgres::{Cause, ClusterError, StartError},
    reference::ReferenceError,
};

/// A backup could not be taken, listed or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A client tool failed.
    #[error(transparent)]
    Tool(#[from] crate::postgres::ToolError),
    /// A cluster could not be made or started.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The restored server does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A place in the drill's directory could not be made.
    #[error(transparent)]
    WorkDir(#[from] crate::postgres::WorkDirError),
    /// The WAL could not be read.
    #[error(transparent)]
    Wal(#[from] crate::wal::WalError),
    /// The reference record of the service could not be taken.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A file could not be given to the server's user.
    #[error(transparent)]
    User(#[from] crate::postgres::UserError),
    /// A query failed.
    #[error("{what}")]
    Query {
        /// What was asked.
        what: &'static str,
        /// Why it failed.
        source: tokio_postgres::Error,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `copy`, `read` …
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The target of a restore is not empty.
    #[error("the target {} is not empty; a restore only goes into a new or empty place", path.display())]
    TargetTaken {
        /// The directory.
        path: PathBuf,
    },
    /// A server runs in the target of a restore.
    #[error("a server runs in {}; a restore only goes into a new or empty place", path.display())]
    TargetRuns {
        /// Its data directory.
        path: PathBuf,
    },
    /// The control file cannot be read.
    #[error(transparent)]
    Control(#[from] crate::postgres::ControlError),
    /// Point-in-time recovery was asked of a backup system that cannot replay WAL.
    #[error("{system} cannot recover to a point in time ({target}); use basebackup with an archive")]
    NoPointInTime {
        /// The system.
        system: &'static str,
        /// What was asked.
        target: String,
    },
    /// The restored server did not come out of recovery.
    #[error("the restored server is still in recovery: {reason}")]
    StillInRecovery {
        /// What is known.
        reason: String,
    },
    /// A physical system was asked to load a backup, or a logical one to lay down files.
    #[error("{system} does not restore in this way; this is a defect of what says that it does")]
    NotItsWay {
        /// The system.
        system: &'static str,
    },
    /// The drill ended while the restore was under way.
    #[error("the restore was given up: the drill ended")]
    GivenUp,
    /// The output of a tool is not as expected.
    #[error("{what} is not as expected: {problem}")]
    Unexpected {
        /// What.
        what: String,
        /// The problem.
        problem: String,
    },
}

impl BackupError {
    /// The cause, where another backup would not help against it; else [`Cause::Other`].
    pub fn cause(&self) -> Cause {
        match self {
            Self::Tool(error) => error.cause(),
            Self::Start(error) => error.cause(),
            other => other.source().map_or(Cause::Other, Cause::of),
        }
    }
}
