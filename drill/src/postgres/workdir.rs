//! The private directory of one run: short of path (a socket's path may have 107 bytes), owned by the server's account, closed
//! to others, locked while the run lives and removed with it. What a killed run leaves is [`super::sweep_stale`]'s to clear.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;

use super::{ServerUser, UserError, cleared, files, process::kill_marked, shell_quoted};

/// How the directories' names begin.
pub(super) const PREFIX: &str = "drill-";
/// The file whose lock says that the run lives.
pub(super) const LOCK: &str = ".lock";
/// How the lock file begins: what else is named so was made by somebody else.
const MAGIC: &str = "drill run ";
/// The file that is about to become it.
pub(super) const LOCK_NEW: &str = ".lock-new";
/// The file that says that the run ended and its clusters were meant to stay.
pub(super) const KEEP: &str = ".keep";
const MEMORY: &str = "/dev/shm";
/// Determined once: a relative path would mean another place after the process has changed its directory.
static DISK: OnceLock<PathBuf> = OnceLock::new();

/// What a run's clusters live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// `/dev/shm`.
    Memory,
    /// `$DRILL_WORK_DIR`, else `$TMPDIR`, else `/var/tmp`.
    Disk,
}

impl Storage {
    /// The directory that run directories are made in. A `TMPDIR` that would not do is passed over, since it was not set for
    /// us: one that the server's account cannot reach, or too long for a socket's path.
    pub(super) fn base(self) -> PathBuf {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        match self {
            Self::Memory => MEMORY.into(),
            Self::Disk => DISK
                .get_or_init(|| {
                    let named = variable("DRILL_WORK_DIR").or_else(|| variable("TMPDIR").filter(|path| will_do(path)));
                    named.map_or_else(|| "/var/tmp".into(), |path| std::path::absolute(&path).unwrap_or(path))
                })
                .clone(),
        }
    }
}

/// Finds out where runs live, for a process that is about to change its directory.
pub fn remember_places() {
    let _ = (Storage::Memory.base(), Storage::Disk.base()); // the second is kept
}

/// Whether run directories in a base are within the server's reach and their sockets' paths within 107 bytes: a run's
/// directory adds 13 of them, a cluster's name at most 33, the socket 15.
fn will_do(base: &Path) -> bool {
    let reachable = ServerUser::current().is_ok_and(|user| user.blocked_at(base).is_none());
    reachable && base.is_dir() && base.as_os_str().len() <= 107 - 13 - 33 - 15
}

/// What a directory is stored on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filesystem {
    /// `ext4`, `tmpfs`, …; `unknown` where the system does not tell.
    pub kind: String,
    /// Bytes that an ordinary account can still write.
    pub available_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Why there is no directory for a run.
#[derive(Debug, thiserror::Error)]
pub enum WorkDirError {
    /// It could not be made.
    #[error("cannot make a run's directory in {}: {advice}", base.display(), advice = advice(base))]
    Create {
        /// Where.
        base: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server's account cannot get there.
    #[error(
        "a run's directory in {} would be out of reach for the server's account {user}, which may not enter {}: \
         set DRILL_WORK_DIR to another place, or allow entering it (chmod o+x)", base.display(), blocked_at.display()
    )]
    OutOfReach {
        /// Where.
        base: PathBuf,
        /// The directory that is closed.
        blocked_at: PathBuf,
        /// The account.
        user: String,
    },
    /// There is no such account, or it could not be given the directory.
    #[error("cannot make a run's directory for the server's account")]
    User(#[from] UserError),
    /// The file system could not be asked.
    #[error("cannot tell what {} is stored on", path.display())]
    Filesystem {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn advice(base: &Path) -> &'static str {
    if base == Path::new(MEMORY) {
        "use --storage disk where there is no /dev/shm"
    } else {
        "set DRILL_WORK_DIR to a directory that can be written"
    }
}

/// The private directory of one run. Clones share it; the last one removes it, clusters hold one each.
#[derive(Debug, Clone)]
pub struct WorkDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    run_id: String,
    storage: Storage,
    user: ServerUser,
    keep: AtomicBool,
    _lock: File,
}

impl WorkDir {
    /// Makes and locks a new directory.
    pub fn create(storage: Storage, run_id: &str) -> Result<Self, WorkDirError> {
        Self::create_in(&storage.base(), storage, run_id)
    }

    /// As [`WorkDir::create`], in a directory of the caller's choice.
    pub fn create_in(base: &Path, storage: Storage, run_id: &str) -> Result<Self, WorkDirError> {
        let failed = |source| WorkDirError::Create {
            base: base.to_owned(),
            source,
        };
        let base = base.canonicalize().map_err(failed)?;
        let failed = |source| WorkDirError::Create {
            base: base.clone(),
            source,
        };
        let user = ServerUser::current()?;
        if let Some(blocked_at) = user.blocked_at(&base) {
            return Err(WorkDirError::OutOfReach {
                base,
                blocked_at,
                user: user.name().to_owned(),
            });
        }
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(private)
            .tempdir_in(&base);
        let directory = directory.map_err(failed)?;
        let lock = locked_file(directory.path(), run_id).map_err(failed)?;
        user.chown(directory.path())?;
        let keep = AtomicBool::new(false);
        let run_id = run_id.to_owned();
        Ok(Self(Arc::new(Inner {
            path: directory.keep(),
            run_id,
            storage,
            user,
            keep,
            _lock: lock,
        })))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The run that it belongs to.
    pub fn run_id(&self) -> &str {
        &self.0.run_id
    }

    /// What was asked for.
    pub fn storage(&self) -> Storage {
        self.0.storage
    }

    /// Who owns what is in it.
    pub fn user(&self) -> &ServerUser {
        &self.0.user
    }

    /// What it is stored on, for the evidence.
    pub fn filesystem(&self) -> Result<Filesystem, WorkDirError> {
        filesystem(self.path()).map_err(|source| WorkDirError::Filesystem {
            path: self.path().to_owned(),
            source,
        })
    }

    /// Makes a directory in it that the server's account owns and nobody else may enter.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, WorkDirError> {
        let path = self.path().join(name);
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&path);
        made.map_err(|source| WorkDirError::Create {
            base: self.path().to_owned(),
            source,
        })?;
        self.0.user.chown(&path)?;
        Ok(path)
    }

    /// Leaves it, and the clusters in it running, when the run ends.
    pub fn keep(&self) {
        // Written first: without it the next run would take the clusters for a killed run's.
        if let Err(error) = fs::write(self.path().join(KEEP), self.run_id()) {
            tracing::warn!(path = %self.path().display(), %error, "cannot mark the run's directory as kept");
            return;
        }
        self.0.keep.store(true, Ordering::Relaxed);
    }

    /// What to put before a command in another shell so that it finds the directory: `DRILL_WORK_DIR=…`, if that was set.
    pub fn where_to_look(&self) -> String {
        let named = std::env::var_os("DRILL_WORK_DIR").filter(|value| !value.is_empty());
        named
            .filter(|_| self.storage() == Storage::Disk)
            .map_or_else(String::new, |_| {
                format!(
                    "DRILL_WORK_DIR={} ",
                    shell_quoted(&Storage::Disk.base().to_string_lossy())
                )
            })
    }

    /// Whether [`WorkDir::keep`] was called.
    pub fn is_kept(&self) -> bool {
        self.0.keep.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.keep.load(Ordering::Relaxed) {
            return;
        }
        kill_marked(&self.path);
        if self.storage == Storage::Disk {
            cleared::keep_those_below(&self.path);
        }
        // A process that was just killed may still be writing its last file.
        let removed = || files::remove_large_tree(&self.path).is_ok();
        if !files::wait_blocking(std::time::Duration::from_secs(2), removed) {
            tracing::warn!(path = %self.path.display(), "cannot remove the run's directory; the next run will");
        }
    }
}

/// Makes the lock file, locked from the moment it has its name.
fn locked_file(directory: &Path, run_id: &str) -> io::Result<File> {
    let unnamed = directory.join(LOCK_NEW);
    let mut file = OpenOptions::new().create_new(true).write(true).open(&unnamed)?;
    file.try_lock()?;
    writeln!(file, "{MAGIC}{run_id} {}", std::process::id())?;
    fs::rename(unnamed, directory.join(LOCK))?;
    Ok(file)
}

/// What a path is stored on: space from statvfs, kind from the mount table.
///
/// # Errors
/// If the path is not there, or may not be looked at.
pub fn filesystem(path: &Path) -> io::Result<Filesystem> {
    let space = rustix::fs::statvfs(path)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(Filesystem {
        kind: kind_from_mounts(&mounts, path).unwrap_or_else(|| "unknown".to_owned()),
        available_bytes: space.f_bavail * space.f_frsize,
        total_bytes: space.f_blocks * space.f_frsize,
    })
}

/// The type of the mount that `path` is on: the longest mount point above it, the latest of equals.
fn kind_from_mounts(mounts: &str, path: &Path) -> Option<String> {
    let entry = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point)
            .then(|| Some((point.len(), source.split(' ').next()?.to_owned())))?
    };
    mounts
        .lines()
        .filter_map(entry)
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

/// Whether a directory is named as a run's is: `drill-` and six letters or digits.
pub(super) fn is_named_as_ours(name: &str) -> bool {
    let drawn = name.strip_prefix(PREFIX);
    drawn.is_some_and(|drawn| drawn.len() == 6 && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether a lock file was written by a run.
pub(super) fn is_a_runs_lock(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.starts_with(MAGIC))
}

/// Whether a directory belongs to us or to the server's account.
pub(super) fn is_ours(meta: &fs::Metadata, user: &ServerUser) -> bool {
    meta.uid() == user.uid() || meta.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_short_and_gone_with_its_last_holder() {
        for storage in [Storage::Memory, Storage::Disk] {
            let work = WorkDir::create(storage, "run-1").unwrap();
            let path = work.path().to_owned();
            let meta = fs::metadata(&path).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o700);
            assert_eq!(meta.uid(), work.user().uid());
            assert!(path.as_os_str().len() < 60, "{}", path.display());
            let filesystem = work.filesystem().unwrap();
            assert!(
                filesystem.available_bytes > 0 && filesystem.kind != "unknown",
                "{filesystem:?}"
            );
            assert!(storage == Storage::Disk || filesystem.kind == "tmpfs");
            let other = work.clone();
            drop(work);
            assert!(path.exists());
            fs::create_dir(path.join("closed")).unwrap();
            fs::set_permissions(path.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
            drop(other);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_missing_base_is_refused_with_a_way_out() {
        let refusal = WorkDir::create_in(Path::new("/nowhere"), Storage::Disk, "run")
            .unwrap_err()
            .to_string();
        assert_eq!(
            refusal,
            "cannot make a run's directory in /nowhere: set DRILL_WORK_DIR to a directory that can be written"
        );
    }

    #[test]
    fn the_mount_table_is_read() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 0:20 / /dev/shm rw shared:1 - tmpfs tmpfs rw\nbroken\n";
        assert_eq!(
            kind_from_mounts(mounts, Path::new("/dev/shm/drill-x")).as_deref(),
            Some("tmpfs")
        );
        assert_eq!(
            kind_from_mounts(mounts, Path::new("/dev/shmoo")).as_deref(),
            Some("ext4")
        );
        assert_eq!(kind_from_mounts("", Path::new("/")), None);
    }
}
