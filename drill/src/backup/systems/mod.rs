//! The backup systems, one file each.

use std::{fs, path::Path, sync::Arc};

use super::{BackupError, BackupSystem, Capabilities, Listing, Site};
use crate::registry::{Registry, Unknown};

pub mod basebackup;
pub mod dump;

/// A backup system that can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What it can do.
    pub capabilities: Capabilities,
    /// Opens it for a drill.
    pub open: fn(Site) -> Arc<dyn BackupSystem>,
}

/// The systems of drill itself. The first is the default.
pub fn systems() -> Registry<Known> {
    Registry::new("backup system")
        .with(
            basebackup::NAME,
            "pg_basebackup with its manifest, and the WAL archive: point-in-time recovery",
            Known {
                capabilities: basebackup::CAPABILITIES,
                open: |site| Arc::new(basebackup::BaseBackup::new(site)),
            },
        )
        .with(
            dump::NAME,
            "pg_dump (custom format) and pg_dumpall --globals-only: the point of the dump's snapshot",
            Known {
                capabilities: dump::CAPABILITIES,
                open: |site| Arc::new(dump::Dump::new(site)),
            },
        )
}

/// The systems that one drill uses.
#[derive(Clone, Default)]
pub struct InUse(Vec<Arc<dyn BackupSystem>>);

impl InUse {
    /// Opens the systems of these names.
    ///
    /// # Errors
    /// If there is none of one name.
    pub fn open<'a>(
        known: &Registry<Known>,
        names: impl IntoIterator<Item = &'a str>,
        site: &Site,
    ) -> Result<Self, Unknown> {
        let opened = names.into_iter().map(|name| {
            let open = known.named(name)?.what.open;
            Ok(open(site.clone()))
        });
        Ok(Self(opened.collect::<Result<_, _>>()?))
    }

    /// The one of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<dyn BackupSystem>> {
        self.0.iter().find(|system| system.name() == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn BackupSystem>> {
        self.0.iter()
    }

    /// Lists the backups of all systems, oldest first. An entry of the repository that no system made is listed as unfinished.
    ///
    /// # Errors
    /// If one cannot list what it has.
    pub async fn list(&self, repository: &Path) -> Result<Listing, BackupError> {
        let mut listing = Listing::default();
        for system in &self.0 {
            let theirs = system.list().await?;
            listing.backups.extend(theirs.backups);
            listing.less_known.extend(theirs.less_known);
            listing.unfinished.extend(theirs.unfinished);
        }
        for (name, directory) in directories(repository)? {
            if !self.0.iter().any(|system| system.made(&directory)) {
                listing
                    .unfinished
                    .push((name, "it holds nothing that a backup system left there".to_owned()));
            }
        }
        listing
            .backups
            .sort_by(|a, b| (a.info.taken_at_utc, &a.info.id).cmp(&(b.info.taken_at_utc, &b.info.id)));
        listing.less_known.sort();
        listing.unfinished.sort();
        Ok(listing)
    }
}

/// The entries of the repository with their names: backups, and what may have been one.
///
/// # Errors
/// If it cannot be read.
pub(super) fn directories(repository: &Path) -> Result<Vec<(String, std::path::PathBuf)>, BackupError> {
    let failed = |source| BackupError::Io {
        action: "list the backup repository",
        path: repository.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(repository).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}
