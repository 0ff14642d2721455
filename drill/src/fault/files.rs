//! Faults of whole files: remove, truncate, replace, permissions.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    thread,
    time::{Duration, Instant},
};

use reports::text::{self, counted, number};

use rand::rngs::StdRng;

use super::{
    Done, FaultError, bytes,
    root::{Entry, EntryKind, Root, present},
};
use crate::scenario::{Keep, Pick, Replacement, Selection};

/// A running server may go on creating files for so long before removal gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes what matches, with everything below it; the root itself stays.
pub(super) fn remove(root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
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
            kind: "remove-files",
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

/// Cuts files short.
pub(super) fn truncate(root: &Root, files: &Selection, keep: Keep, random: &mut StdRng) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    for entry in root.select(files, random)? {
        let file = root.open_file(&entry)?;
        let before = file.metadata().map_err(FaultError::io("examine", &entry.path))?.len();
        let keep = match keep {
            Keep::Bytes(bytes) => bytes,
            Keep::Percent(percent) => (u128::from(before) * u128::from(percent) / 100) as u64,
        };
        if keep >= before {
            continue;
        }
        file.set_len(keep).map_err(FaultError::io("truncate", &entry.path))?;
        let after = file.metadata().map_err(FaultError::io("examine", &entry.path))?.len();
        if after != keep {
            return Err(unverified(
                &entry,
                &format!("it has {} and not {}", counted(after, "byte"), number(keep)),
            ));
        }
        touched.push(format!(
            "{}: {} → {}",
            entry.name,
            number(before),
            counted(keep, "byte")
        ));
    }
    changed(
        "truncate-file",
        "truncated",
        touched,
        "no file that was meant is longer than what shall stay",
    )
}

/// Gives files another content, in place.
pub(super) fn replace(
    root: &Root,
    files: &Selection,
    with: &Replacement,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let (content, from) = match with {
        Replacement::Text(text) => (text.clone().into_bytes(), "a text".to_owned()),
        Replacement::File(path) => {
            let first = Selection {
                path: path.clone(),
                pick: Some(Pick::First),
                relation: None,
                segment: None,
            };
            let chosen = root.select(&first, random)?;
            let source = chosen.first().ok_or_else(|| root.no_match(path))?;
            root.confine(source)?;
            (
                fs::read(&source.path).map_err(FaultError::io("read", &source.path))?,
                source.name.clone(),
            )
        }
    };
    let mut touched = Vec::new();
    for entry in root.select(files, random)? {
        let before = fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))?;
        if before == content {
            continue;
        }
        let file = root.open_file(&entry)?;
        file.set_len(content.len() as u64)
            .and_then(|()| file.write_all_at(&content, 0))
            .map_err(FaultError::io("write", &entry.path))?;
        if fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))? != content {
            return Err(unverified(&entry, "it does not have its new content"));
        }
        touched.push(format!(
            "{}: replaced by {from}: {} → {}",
            entry.name,
            bytes::before(&before),
            match with {
                Replacement::Text(_) => bytes::hex(&content),
                Replacement::File(_) => bytes::before(&content),
            }
        ));
    }
    changed(
        "replace-file",
        "replaced",
        touched,
        "every file that was meant has that content already",
    )
}

/// Sets permissions of files and directories.
pub(super) fn chmod(root: &Root, files: &Selection, mode: u32, random: &mut StdRng) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    // Deepest first: a directory that is closed hides what is in it.
    for entry in root
        .select_of(files, random, |kind| kind != EntryKind::Other)?
        .iter()
        .rev()
    {
        root.confine(entry)?;
        let bits = || -> Result<u32, FaultError> {
            let metadata = fs::symlink_metadata(&entry.path).map_err(FaultError::io("examine", &entry.path))?;
            Ok(metadata.permissions().mode() & 0o7777)
        };
        let before = bits()?;
        if before == mode {
            continue;
        }
        fs::set_permissions(&entry.path, fs::Permissions::from_mode(mode))
            .map_err(FaultError::io("set the permissions of", &entry.path))?;
        let after = bits()?;
        if after != mode {
            return Err(unverified(
                entry,
                &format!("its permissions are {after:04o} and not {mode:04o}"),
            ));
        }
        touched.push(format!("{}: permissions {before:04o} → {mode:04o}", entry.name));
    }
    changed(
        "chmod",
        "changed",
        touched,
        "everything that was meant has these permissions already",
    )
}

/// The report of a fault that named each thing it changed, or the error when there is none.
pub(super) fn changed(
    kind: &'static str,
    verb: &str,
    touched: Vec<String>,
    otherwise: &str,
) -> Result<Done, FaultError> {
    let summary = match touched.as_slice() {
        [] => {
            return Err(FaultError::NoEffect {
                kind,
                why: otherwise.to_owned(),
            });
        }
        [one] => one.clone(),
        many => format!("{} {verb}", counted(many.len(), "file")),
    };
    Ok(Done::new(summary, touched))
}

/// The error for a file that is not as the fault left it.
pub(super) fn unverified(entry: &Entry, what: &str) -> FaultError {
    FaultError::NotVerified {
        what: format!("{}: {what}", entry.path.display()),
    }
}
