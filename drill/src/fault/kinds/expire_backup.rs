//! Whole backups that go: what retention does, and what nobody notices until one of them is needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reports::text::bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Deed, Doing, Done, FaultError, World},
    postgres::directory_bytes,
    scenario::{Fault, Kind, Needs},
};

/// Removes a whole backup from the repository, as retention does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpireBackup {}

impl Kind for ExpireBackup {
    fn name() -> &'static str {
        "expire-backup"
    }

    fn needs() -> Needs {
        Needs::Backup
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!("retention removes {}", fault.whose())
    }

    fn expires_backups(&self) -> bool {
        true
    }
}

impl Deed for ExpireBackup {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move {
            let chosen = world.directories(fault)?;
            expire(world.repository, &chosen)
        })
    }
}

/// Removes backups, each a name and a directory that lies right in the repository.
fn expire(repository: &Path, backups: &[(String, PathBuf)]) -> Result<Done, FaultError> {
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
