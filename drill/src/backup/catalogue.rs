//! The backup catalogue: one directory a backup, each with a `backup.json` that is written last.
//!
//! A directory without that file is a backup that did not finish; it is listed as such and never used.

use std::{fs, path::Path};

use super::{Backup, BackupError};

/// Name of the file that makes a directory a backup.
pub const ENTRY: &str = "backup.json";

/// Enters a finished backup.
///
/// # Errors
/// If its entry cannot be written.
pub fn enter(backup: &Backup) -> Result<(), BackupError> {
    let path = backup.directory.join(ENTRY);
    let write = || {
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(backup)?)?;
        fs::rename(&beside, &path)
    };
    write().map_err(|source| BackupError::Io {
        action: "write",
        path: path.clone(),
        source,
    })
}

/// What the repository holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Finished backups, oldest first.
    pub backups: Vec<Backup>,
    /// Directories that are no finished backup, and why.
    pub unfinished: Vec<(String, String)>,
}

/// Lists the repository.
///
/// # Errors
/// If the repository itself cannot be read.
pub fn list(repository: &Path) -> Result<Listing, BackupError> {
    let failed = |source| BackupError::Io {
        action: "list the backup repository",
        path: repository.to_owned(),
        source,
    };
    let mut listing = Listing::default();
    for entry in fs::read_dir(repository).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        match fs::read(entry.path().join(ENTRY)) {
            Ok(bytes) => match serde_json::from_slice::<Backup>(&bytes) {
                Ok(backup) => listing.backups.push(backup),
                Err(error) => listing
                    .unfinished
                    .push((name, format!("its {ENTRY} cannot be read: {error}"))),
            },
            Err(error) => listing.unfinished.push((name, format!("it has no {ENTRY}: {error}"))),
        }
    }
    listing
        .backups
        .sort_by(|a, b| (a.info.taken_at_utc, &a.info.id).cmp(&(b.info.taken_at_utc, &b.info.id)));
    listing.unfinished.sort();
    Ok(listing)
}
