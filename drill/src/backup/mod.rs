//! Backups: taking, listing, verifying, choosing and restoring them.
//!
//! [`BackupSystem`] is the interface to a backup tool. Each tool has a file of its own in [`mod@systems`] and an entry in
//! [`systems()`]; callers can add others. [`restore`] holds the rules for every restore, whatever the system; [`planner`]
//! chooses what to restore (pure).

pub mod copy;
mod error;
pub mod first_start;
pub mod note;
pub mod pause;
pub mod planner;
pub mod restore;
pub mod stream;
pub mod systems;
pub mod target;
pub mod untouched;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use reports::{CheckResult, event::BackupInfo};
use serde::{Deserialize, Serialize};

use crate::{
    postgres::{Cluster, Installation, Lsn, TimelineId, Tool, WorkDir},
    record::Recorder,
    reference::{SharedLog, Summary},
    service::{Credentials, Role, Service},
    wal::{self, Start},
};

pub use crate::scenario::Capabilities;
pub use error::BackupError;
pub use restore::RestoreRequest;
pub use systems::{InUse, Known, systems};

/// Where the service's backups are, and what is needed to take and restore them. One per drill, shared by all its parts.
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
    pub credentials: Arc<Credentials>,
    /// Options of the tool that takes backups, beyond those that it always gets.
    pub backup_options: Vec<String>,
    /// The role that takes dumps, instead of the superuser.
    pub backup_role: Option<Role>,
    /// Whether what is written must survive a crash of the machine (fsync).
    pub durable: bool,
    /// Whether a base backup brings along the WAL that it needs to be consistent.
    pub wal_in_backup: bool,
    /// The reference records of the service's cluster.
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
    pub fn environment(&self, cluster: &Cluster, role: Role, database: &str) -> Vec<(String, String)> {
        cluster.client_environment(role.name(), database, Some(self.credentials.password(role)))
    }

    /// A program that `restore_command` runs first, if it exists: it does while a fault makes the archive misbehave.
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

/// A backup that its system lists as restorable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backup {
    /// What the catalogue lists.
    pub info: BackupInfo,
    /// Its directory, which it has to itself.
    pub directory: PathBuf,
    /// The reference record that was taken with it, in hashes; `None` if that could not be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Summary>,
}

impl Backup {
    /// First LSN needed to restore it; `None` for a dump.
    pub fn start_lsn(&self) -> Option<Lsn> {
        self.info.start_lsn.as_deref()?.parse().ok()
    }

    /// Where WAL replay begins, for a service that was on timeline `own` last and is to be recovered up to `until`; `None` for a
    /// dump. The WAL that makes the backup consistent is needed in any case.
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

    /// LSN at which it is consistent; for a dump, that of its snapshot.
    pub fn stop_lsn(&self) -> Option<Lsn> {
        self.info.stop_lsn.as_deref()?.parse().ok()
    }
}

/// How far a restore has come; shared with those who poll it.
#[derive(Clone, Default)]
pub struct Progress {
    bytes: Arc<AtomicU64>,
    replaying: Arc<AtomicBool>,
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

/// What a system's repository holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Finished backups, oldest first.
    pub backups: Vec<Backup>,
    /// Backups whose note is missing or damaged, and why.
    pub less_known: Vec<(String, String)>,
    /// Entries that are no finished backup, and why.
    pub unfinished: Vec<(String, String)>,
}

/// A tool that takes backups and brings them back.
///
/// A system restores in one of two ways, as its [`Capabilities`] say: a physical one lays down files for a server to start on,
/// a logical one loads a server that runs.
pub trait BackupSystem: Send + Sync {
    /// Its name on the command line and in evidence.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Settings that the source must have for it, besides those for the WAL archive that the scenario asks for.
    fn prepare(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Takes a backup of the running `source` under the name `id`.
    fn take<'a>(&'a self, source: &'a Cluster, id: &'a str) -> BoxFuture<'a, Result<Backup, BackupError>>;

    /// Lists its backups, from their own files or by asking the tool.
    fn list(&self) -> BoxFuture<'_, Result<Listing, BackupError>>;

    /// Whether this system made a directory of the repository, finished or not.
    fn made(&self, directory: &Path) -> bool;

    /// Checks a backup as well as it can be checked without restoring it.
    fn verify<'a>(&'a self, backup: &'a Backup) -> BoxFuture<'a, Vec<CheckResult>>;

    /// The directory of WAL segments that the backup brings along, if it brings any.
    fn held_wal(&self, _backup: &Backup) -> Option<PathBuf> {
        None
    }

    /// A `restore_command` of its own. Without one, WAL comes from the drill's archive and stream.
    fn fetch_wal(&self, _backup: &Backup) -> Option<String> {
        None
    }

    /// The files of a backup: what faults may damage.
    fn artefacts(&self, backup: &Backup) -> Vec<PathBuf> {
        vec![backup.directory.clone()]
    }

    /// Lays the files of a backup down in `data`, a directory that does not exist yet; tablespaces go into the directory above.
    /// Nothing of it may link back into the repository.
    fn lay_down<'a>(&'a self, _request: &'a RestoreRequest, _data: &'a Path) -> BoxFuture<'a, Result<(), BackupError>> {
        Box::pin(async { Err(BackupError::NotItsWay { system: self.name() }) })
    }

    /// Loads a backup into a new cluster that runs.
    fn load<'a>(
        &'a self,
        _request: &'a RestoreRequest,
        _cluster: &'a Cluster,
    ) -> BoxFuture<'a, Result<(), BackupError>> {
        Box::pin(async { Err(BackupError::NotItsWay { system: self.name() }) })
    }
}
