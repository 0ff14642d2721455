//! Files that go, as a person or a broken disk takes them away.

use std::{
    fs,
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use reports::text::{self, counted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Done, FaultError, OnFiles,
        root::{Entry, EntryKind, Root, present},
    },
    scenario::{Fault, Kind, Needs, Pick, Selection},
};

/// A running server may go on creating files for so long before removal gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes files, links and directories with everything below them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFiles {}

impl Kind for RemoveFiles {
    fn name() -> &'static str {
        "remove-files"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!("removes {} of {}", fault.files_in_words(Pick::All), fault.whose())
    }

    fn harm(&self, fault: &Fault) -> Option<&'static str> {
        let everything = fault.files.as_ref().is_some_and(|files| files.path.as_str() == "**");
        Some(if everything { "removed" } else { "damaged" })
    }
}

impl OnFiles for RemoveFiles {
    /// Removes what matches, with everything below it; the root itself stays.
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let chosen = match files.pick {
            None | Some(Pick::All) => None,
            Some(_) => Some(root.select(files, random)?),
        };
        let doomed = || match &chosen {
            None => matching(root, files),
            Some(chosen) => Ok(chosen
                .iter()
                .filter(|entry| entry.path.symlink_metadata().is_ok())
                .cloned()
                .collect()),
        };

        let deadline = Instant::now() + PATIENCE;
        let mut removed: Vec<Entry> = Vec::new();
        let mut left = doomed()?;
        if left.is_empty() {
            return Err(root.no_match(&files.path));
        }
        if chosen.is_none() && files.path.as_str() == "**" {
            take_away(root)?;
            removed = left;
            left = doomed()?; // what a dying server may have made meanwhile
        }
        while let Some(example) = left.first() {
            if Instant::now() > deadline {
                let what = format!(
                    "{} is still, or again, there after {} s",
                    example.path.display(),
                    PATIENCE.as_secs()
                );
                return Err(FaultError::NotVerified { what });
            }
            for entry in left.iter().rev() {
                if remove_one(root, entry)? {
                    removed.push(entry.clone());
                }
            }
            left = doomed()?;
            if !left.is_empty() {
                thread::sleep(Duration::from_millis(10));
            }
        }
        if removed.is_empty() {
            let why = format!("what matched `{}` vanished before it could be removed", files.path);
            return Err(FaultError::NoEffect {
                kind: Self::name(),
                why,
            });
        }

        removed.sort();
        let directories = removed
            .iter()
            .filter(|entry| entry.kind == EntryKind::Directory)
            .count();
        let total: u64 = removed.iter().map(|entry| entry.bytes).sum();
        let summary = format!(
            "removed {} ({}) and {}",
            counted(removed.len() - directories, "file"),
            text::bytes(total),
            counted(directories, "directory")
        );
        let touched = removed.iter().map(|entry| match entry.kind {
            EntryKind::File => format!("{}: removed, {}", entry.name, text::bytes(entry.bytes)),
            EntryKind::Directory => format!("{}/: removed", entry.name),
            EntryKind::Other => format!("{}: link removed", entry.name),
        });
        Ok(Done::new(summary, touched))
    }
}

/// Everything that matches or is below a directory that matches, sorted by name.
fn matching(root: &Root, files: &Selection) -> Result<Vec<Entry>, FaultError> {
    let mut entries = root.entries()?;
    let below = |name: &str| name.match_indices('/').any(|(slash, _)| files.matches(&name[..slash]));
    entries.retain(|entry| files.matches(&entry.name) || below(&entry.name));
    Ok(entries)
}

/// Takes everything out of a directory at once, as a lost volume does: what is in it is renamed to a place beside it
/// that nobody reads, and goes with the drill's directory.
///
/// Removing file by file is another disaster: a server that still writes may then make a WAL segment anew that another
/// of its processes has open, and stream what is in neither.
fn take_away(root: &Root) -> Result<(), FaultError> {
    let parent = root.path().parent().unwrap_or(root.path());
    let gone = tempfile::Builder::new().prefix(".gone-").tempdir_in(parent);
    let gone = gone.map_err(FaultError::io("make a directory in", parent))?.keep();
    for entry in fs::read_dir(root.path()).map_err(FaultError::io("list", root.path()))? {
        let entry = entry.map_err(FaultError::io("list", root.path()))?;
        present(fs::rename(entry.path(), gone.join(entry.file_name())))
            .map_err(FaultError::io("take away", &entry.path()))?;
    }
    Ok(())
}

/// Whether it was there and is gone now. A directory that has got a new entry meanwhile stays for the next pass.
fn remove_one(root: &Root, entry: &Entry) -> Result<bool, FaultError> {
    match root.confine(entry) {
        Err(FaultError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(false),
        confined => confined?,
    }
    let result = match entry.kind {
        EntryKind::Directory => fs::remove_dir(&entry.path),
        EntryKind::File | EntryKind::Other => fs::remove_file(&entry.path),
    };
    match result {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
        result => Ok(present(result)
            .map_err(FaultError::io("remove", &entry.path))?
            .is_some()),
    }
}
