//! Backups: taking, listing, verifying, choosing and restoring them.
//!
//! [`BackupSystem`] is what a backup tool must be able to do, one file a system ([`basebackup`], [`dump`]).
//! [`catalogue`] lists what there is and [`planner`] chooses (pure).

pub mod basebackup;
pub mod catalogue;
pub mod copy;
mod derive;
pub mod dump;
pub mod pause;
pub mod planner;
pub mod start;
pub mod stream;
pub mod target;
pub mod untouched;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use reports::event::BackupInfo;
use serde::{Deserialize, Serialize};

use crate::{
    postgres::{Cluster, ClusterError, Installation, Lsn, StartError, TimelineId, Tool, WorkDir},
    record::Recorder,
    reference::{ReferenceError, SharedLog, Summary},
    service::Service,
    wal::{self, Instead, RecoveryTarget, Start},
};

/// Where the service's backups are and with what they are made. One per drill, shared by everything in it.
#[derive(Clone)]
pub struct Site {
    /// The binaries, of the same major version as the source.
    pub installation: Installation,
    /// The drill's private directory.
    pub work: WorkDir,
    /// One directory a backup.
    pub repository: PathBuf,
    /// The WAL, archived and streamed.
    pub wal: wal::WalSource,
    /// The application whose database it is.
    pub service: Arc<dyn Service>,
    /// Passwords of the roles.
    pub credentials: Arc<fixtures::Credentials>,
    /// Options of the tool that takes backups, beyond those that it always gets.
    pub backup_options: Vec<String>,
    /// The role that takes dumps, instead of the superuser.
    pub backup_role: Option<fixtures::Role>,
    /// Whether what is written must survive a crash of the machine (fsync).
    pub durable: bool,
    /// Whether a base backup brings along the WAL that it needs to be consistent.
    pub wal_in_backup: bool,
    /// What was true of the service's cluster, moment by moment.
    pub references: SharedLog,
    /// Where to record external work.
    pub recorder: Recorder,
}

impl Site {
    /// A client program of the source's version.
    pub fn tool(&self, name: &str) -> Tool {
        Tool::new(&self.installation, name)
    }

    /// How client programs reach a cluster as a role with a password.
    pub fn environment(&self, cluster: &Cluster, role: fixtures::Role, database: &str) -> Vec<(String, String)> {
        cluster.client_environment(role.name(), database, Some(self.credentials.password(role)))
    }

    /// A program that the archive asks before it hands out a file: there only while the archive misbehaves.
    pub fn archive_service(&self) -> PathBuf {
        self.work.path().join("archive-service.sh")
    }

    /// A new directory for a backup, which client programs may write to.
    ///
    /// # Errors
    /// If it exists or cannot be made.
    pub fn new_backup_directory(&self, id: &str) -> Result<PathBuf, BackupError> {
        let path = self.repository.join(id);
        let made = std::fs::create_dir(&path).map_err(|source| BackupError::Io {
            action: "create",
            path: path.clone(),
            source,
        });
        made?;
        self.work.user().chown(&path)?;
        Ok(path)
    }
}

/// What a backup system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Can recover to a point after the backup by replaying WAL.
    pub point_in_time: bool,
    /// Restores the cluster as it was, byte for byte, and with it the system identifier.
    pub physical: bool,
}

/// A backup in the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backup {
    /// What the catalogue lists.
    pub info: BackupInfo,
    /// Its directory, which it has to itself.
    pub directory: PathBuf,
    /// What was true of the service's cluster when it was taken, in hashes; none if that could not be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Summary>,
}

impl Backup {
    /// First LSN needed to restore it; `None` for a dump.
    pub fn start_lsn(&self) -> Option<Lsn> {
        self.info.start_lsn.as_deref()?.parse().ok()
    }

    /// Where its replay begins, for a service that was on timeline `own` last and is to be recovered `until` some position;
    /// `None` for a dump. What makes the backup consistent is needed in any case.
    pub fn start<'a>(&self, own: TimelineId, held: Option<&'a Path>, until: Option<Lsn>) -> Option<Start<'a>> {
        Some(Start {
            from: self.start_lsn()?,
            timeline: TimelineId(self.info.timeline?),
            own,
            system: self.info.system_identifier.parse().ok(),
            held,
            until: until.map(|until| self.stop_lsn().map_or(until, |stop| until.max(stop))),
        })
    }

    /// LSN at which it is consistent; a dump's snapshot.
    pub fn stop_lsn(&self) -> Option<Lsn> {
        self.info.stop_lsn.as_deref()?.parse().ok()
    }
}

/// What to restore, to where, and how far.
pub struct RestoreRequest {
    /// The backup.
    pub backup: Backup,
    /// Name of the new cluster within the drill.
    pub cluster: String,
    /// How far to replay.
    pub target: RecoveryTarget,
    /// The timeline to follow, where it must be named; else the server follows the newest that it sees.
    pub timeline: Option<TimelineId>,
    /// WAL segments of which another copy is handed out than the first, or none.
    pub instead: Instead,
    /// Status and bytes for whoever polls.
    pub progress: Progress,
    /// Passed when the files are in place and the server is not started yet.
    pub pause: pause::Pause,
}

/// How far a restore has come; shared with whoever polls.
#[derive(Clone, Default)]
pub struct Progress {
    bytes: Arc<AtomicU64>,
    replaying: Arc<std::sync::atomic::AtomicBool>,
}

impl Progress {
    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes written.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// WAL replay has begun.
    pub fn replaying(&self) {
        self.replaying.store(true, Ordering::Relaxed);
    }

    /// Whether WAL replay has begun.
    pub fn is_replaying(&self) -> bool {
        self.replaying.load(Ordering::Relaxed)
    }
}

/// A tool that takes and restores backups.
pub trait BackupSystem: Send + Sync {
    /// Its name on the command line and in evidence.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Takes a backup of the running `source` into a new directory of the repository and enters it in the catalogue.
    fn take<'a>(&'a self, source: &'a Cluster, id: &'a str) -> BoxFuture<'a, Result<Backup, BackupError>>;

    /// Checks a backup as well as it can be checked without restoring it.
    fn verify<'a>(&'a self, backup: &'a Backup) -> BoxFuture<'a, Vec<reports::CheckResult>>;

    /// Restores into a new cluster, started and isolated from production; out of recovery, or paused at its target.
    fn restore<'a>(&'a self, request: &'a RestoreRequest) -> BoxFuture<'a, Result<Cluster, BackupError>>;
}

/// The system of that name.
pub fn system(name: &str, site: &Site) -> Option<Box<dyn BackupSystem>> {
    match name {
        basebackup::NAME => Some(Box::new(basebackup::BaseBackup::new(site.clone()))),
        dump::NAME => Some(Box::new(dump::Dump::new(site.clone()))),
        _ => None,
    }
}

/// Names of all systems, with one sentence each.
pub const SYSTEMS: &[(&str, &str)] = &[
    (
        basebackup::NAME,
        "pg_basebackup with its manifest, and the WAL archive: point-in-time recovery",
    ),
    (
        dump::NAME,
        "pg_dump (custom format) and pg_dumpall --globals-only: the point of the dump's snapshot",
    ),
];

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
    /// What it holds could not be recorded.
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
    /// The target of a restore is not fit for it.
    #[error("the target {} is not empty; a restore only goes into a new or empty place", path.display())]
    TargetTaken {
        /// The directory.
        path: PathBuf,
    },
    /// A server runs where the restore is aimed at.
    #[error("a server runs in {}; a restore only goes into a new or empty place", path.display())]
    TargetRuns {
        /// Its data directory.
        path: PathBuf,
    },
    /// What pg_control says cannot be read.
    #[error(transparent)]
    Control(#[from] crate::postgres::ControlError),
    /// A point in time was asked of a system that cannot replay.
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
    /// The drill ended while the restore was under way.
    #[error("the restore was given up: the drill ended")]
    GivenUp,
    /// What a tool left behind is not what it should be.
    #[error("{what} is not as expected: {problem}")]
    Unexpected {
        /// What.
        what: String,
        /// The problem.
        problem: String,
    },
}
