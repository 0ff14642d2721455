//! What ends a drill without a result.

use std::path::PathBuf;

use crate::{
    backup::BackupError,
    cutover::{ApplicationError, ConfigStoreError},
    fault::FaultError,
    ledger::LedgerError,
    postgres::{ClusterError, ControlError, StartError, WorkDirError},
    reference::fingerprint::FingerprintError,
    registry::Unknown,
    service::ServiceError,
    wal::commands::NoPrograms,
    workload::WorkloadError,
};

/// The harness could not carry a drill out (exit code 3).
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// Evidence cannot be written.
    #[error("cannot write evidence to {}", path.display())]
    Evidence {
        /// The drill's directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Drill itself is defective.
    #[error("drill broke off: this is a defect of drill, and the lines above say where; please report it")]
    Panicked,
    /// The drill's private directory cannot be made.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// The small filesystem of the scenario cannot be mounted.
    #[error(
        "cannot mount a filesystem of {bytes} bytes for a cluster (`given.storage_size`, `given.restore_size`); that takes root"
    )]
    SmallDisk {
        /// Its size.
        bytes: u64,
        /// Why not.
        source: std::io::Error,
    },
    /// What archives WAL, or fetches it, cannot run.
    #[error(transparent)]
    NoPrograms(#[from] NoPrograms),
    /// WAL was not archived although nothing was broken yet.
    #[error(
        "archiving failed {} before anything was broken, last of {segment}: what the drill would lose for that says nothing \
         of the backups; look into the source's log",
        reports::text::counted(*failures, "time")
    )]
    Archiving {
        /// How often.
        failures: u64,
        /// The last segment that could not be archived.
        segment: String,
    },
    /// A cluster's identifier cannot be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A cluster failed that must not.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A server did not start that must.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The service could not be made or filled.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// What was seeded could not be fingerprinted.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// The writers did not get on.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The writers got nothing through.
    #[error(
        "not one of the {wanted} commits that were asked for was acknowledged before the failure, so nothing could be lost; \
         look into the findings and the server's log, or ask for none (`commits = 0`)"
    )]
    NoCommits {
        /// How many were asked for.
        wanted: u64,
    },
    /// The WAL stream ended, and is needed.
    #[error("the WAL stream ended and cannot be started again")]
    StreamStopped {
        /// Why not.
        source: Box<BackupError>,
    },
    /// The ledger cannot be read back.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A backup could not be taken.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Something was to be chosen by a name that nothing has.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// A backup is of a system that the drill does not use.
    #[error("this drill does not use the backup system {name:?}")]
    BackupSystemNotInUse {
        /// Its name.
        name: String,
    },
    /// A fault could not be injected, or did nothing.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The application did not do on a good day what it must.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The application's settings could not be written.
    #[error(transparent)]
    ConfigStore(#[from] ConfigStoreError),
    /// A receiver could not listen.
    #[error("cannot listen on loopback")]
    Listen {
        /// Why.
        source: std::io::Error,
    },
    /// A query failed that must not.
    #[error("{what}")]
    Query {
        /// What was asked.
        what: &'static str,
        /// Why it failed.
        source: tokio_postgres::Error,
    },
    /// What was meant to be ordinary history changed rows that the ledger, or the seed, answers for.
    #[error(
        "the fault of line {line} ({what}) changed rows that the ledger answers for, so that nothing tells what should be \
         there: {said}; let it happen at `failure`, or aim before it (`[recovery] target = \"before-fault\"`)"
    )]
    HistoryChangesRows {
        /// The statements, or the command.
        what: String,
        /// Its line in the scenario.
        line: usize,
        /// What the check said.
        said: String,
    },
    /// Somebody wanted it to end.
    #[error("the cutover was broken off and taken back")]
    Interrupted,
    /// A restore job ended without a result.
    #[error("the restore job {id} died without a result; this is a defect of drill")]
    JobDied {
        /// Its id.
        id: String,
    },
}
