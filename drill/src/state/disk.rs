//! A small filesystem in memory for one cluster, so that it can be full and nothing else is.
//!
//! Mounting takes root; without it a scenario with `given.storage_size` or `given.restore_size` cannot be carried out here.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::DrillError;
use crate::postgres::WorkDir;

/// A mounted tmpfs. It is unmounted when dropped: after the cluster on it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `bytes` on `path`, an empty directory of this run.
    ///
    /// # Errors
    /// If this process may not mount.
    pub fn mount(path: &Path, bytes: u64) -> std::io::Result<Self> {
        let options = std::ffi::CString::new(format!("size={bytes},mode=0700"))?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        mount("drill", path, "tmpfs", flags, options.as_c_str())?;
        Ok(Self { path: path.to_owned() })
    }

    /// Mounts one where the cluster of that name will be.
    ///
    /// # Errors
    /// As [`SmallDisk::mount`], or if the place cannot be made.
    pub fn of_cluster(work: &WorkDir, cluster: &str, bytes: u64) -> Result<Self, DrillError> {
        let home = work.subdirectory(cluster)?;
        let disk = Self::mount(&home, bytes).map_err(|source| DrillError::SmallDisk { bytes, source })?;
        work.subdirectory(cluster)?; // the new filesystem's root belongs to the server's account as well
        Ok(disk)
    }

    /// Mounts one and unmounts it again.
    ///
    /// # Errors
    /// As [`SmallDisk::mount`], or if there is no place for it.
    pub fn try_out(bytes: u64) -> Result<(), DrillError> {
        let failed = |source| DrillError::SmallDisk { bytes, source };
        let place = tempfile::tempdir().map_err(failed)?;
        Self::mount(place.path(), bytes).map(drop).map_err(failed)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            tracing::warn!(path = %self.path.display(), %error, "cannot unmount the small filesystem; umount it");
        }
    }
}
