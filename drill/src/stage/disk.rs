//! A small filesystem in memory for the source cluster, so that a fault can fill it and nothing else.
//!
//! Mounting takes root; without it a scenario with `given.storage_size` cannot be carried out here.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

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
