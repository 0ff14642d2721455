//! Whole backups that go: what retention does, and what nobody notices until one of them is needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reports::text::bytes;

use super::{Done, FaultError};
use crate::backup::basebackup::directory_bytes;

/// Removes backups, each a name and a directory that lies right in the repository.
pub(super) fn expire(repository: &Path, backups: &[(String, PathBuf)]) -> Result<Done, FaultError> {
    let repository = repository.canonicalize().map_err(FaultError::io("open", repository))?;
    let mut touched = Vec::new();
    for (name, directory) in backups {
        let found = directory.canonicalize().map_err(FaultError::io("open", directory))?;
        if found.parent() != Some(&*repository) {
            return Err(FaultError::Outside {
                path: found,
                root: repository,
            });
        }
        let bytes = bytes(directory_bytes(&found));
        fs::remove_dir_all(&found).map_err(FaultError::io("remove", &found))?;
        if found.exists() {
            let what = format!("{} is still there", found.display());
            return Err(FaultError::NotVerified { what });
        }
        touched.push(format!("{name}: removed, {bytes}"));
    }
    Ok(Done::new(touched.join("; "), touched))
}
