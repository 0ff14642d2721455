//! A directory that nothing leads out of, and the selection of files in it.
//!
//! Links are seen but never followed: what they point to is another directory, which the fault was not aimed at.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rand::{rngs::StdRng, seq::IndexedRandom as _};
use rustix::fs::{Mode, OFlags};

use super::FaultError;
use crate::scenario::{Pick, Selection};

/// A target's directory.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
}

/// Something below a [`Root`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative to the root, with `/` between names.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Its size.
    pub bytes: u64,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, a socket, anything else that is only a name.
    Other,
}

impl Root {
    /// The directory at `path`, with links on the way to it resolved.
    pub fn open(path: &Path) -> Result<Self, FaultError> {
        let path = path.canonicalize().map_err(FaultError::io("open", path))?;
        Ok(Self { path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything below it, sorted by name. What vanishes meanwhile is left out.
    pub fn entries(&self) -> Result<Vec<Entry>, FaultError> {
        let mut entries = Vec::new();
        let mut open = vec![(String::new(), self.path.clone())];
        while let Some((prefix, directory)) = open.pop() {
            let Some(children) = present(fs::read_dir(&directory)).map_err(FaultError::io("list", &directory))? else {
                continue;
            };
            for child in children {
                let child = child.map_err(FaultError::io("list", &directory))?;
                let path = child.path();
                let Some(metadata) = present(child.metadata()).map_err(FaultError::io("examine", &path))? else {
                    continue;
                };
                let name = format!("{prefix}{}", child.file_name().to_string_lossy());
                let kind = if metadata.is_dir() {
                    open.push((format!("{name}/"), path.clone()));
                    EntryKind::Directory
                } else if metadata.is_file() {
                    EntryKind::File
                } else {
                    EntryKind::Other
                };
                let bytes = if kind == EntryKind::File { metadata.len() } else { 0 };
                entries.push(Entry {
                    name,
                    path,
                    kind,
                    bytes,
                });
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// The regular files that `selection` means; the largest match unless it says otherwise. Never empty.
    pub fn select(&self, selection: &Selection, random: &mut StdRng) -> Result<Vec<Entry>, FaultError> {
        self.select_of(selection, random, |kind| kind == EntryKind::File)
    }

    /// As [`Root::select`], of the kinds that `suits` accepts.
    pub fn select_of(
        &self,
        selection: &Selection,
        random: &mut StdRng,
        suits: impl Fn(EntryKind) -> bool,
    ) -> Result<Vec<Entry>, FaultError> {
        let mut matches = self.entries()?;
        matches.retain(|entry| suits(entry.kind) && selection.matches(&entry.name));
        let one = match selection.pick.unwrap_or(Pick::Largest) {
            Pick::Largest => matches.iter().rev().max_by_key(|entry| entry.bytes),
            Pick::Smallest => matches.iter().min_by_key(|entry| entry.bytes),
            Pick::First => matches.first(),
            Pick::Last => matches.last(),
            Pick::SecondLast => matches.iter().rev().nth(1),
            Pick::Random => {
                // Most kinds can do nothing to an empty file; a draw among the others is as random.
                let full: Vec<&Entry> = matches.iter().filter(|entry| entry.bytes > 0).collect();
                full.choose(random).copied().or_else(|| matches.choose(random))
            }
            Pick::All => None,
        };
        let one = one.cloned();
        let all = if selection.pick == Some(Pick::All) {
            matches
        } else {
            Vec::new()
        };
        let chosen = one.map_or(all, |one| vec![one]);
        if chosen.is_empty() {
            return Err(self.no_match(&selection.path));
        }
        Ok(chosen)
    }

    /// The error for a pattern without a match.
    pub fn no_match(&self, pattern: &glob::Pattern) -> FaultError {
        FaultError::NoMatch {
            root: self.path.clone(),
            pattern: pattern.to_string(),
        }
    }

    /// Refuses an entry whose directory is, by now, elsewhere.
    pub fn confine(&self, entry: &Entry) -> Result<(), FaultError> {
        let parent = entry.path.parent().unwrap_or(&entry.path);
        let parent = parent.canonicalize().map_err(FaultError::io("open", parent))?;
        if parent.starts_with(&self.path) {
            Ok(())
        } else {
            Err(FaultError::Outside {
                path: entry.path.clone(),
                root: self.path.clone(),
            })
        }
    }

    /// Opens a file to change it in place, so that its owner and mode stay.
    pub fn open_file(&self, entry: &Entry) -> Result<File, FaultError> {
        self.confine(entry)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&entry.path, flags, Mode::empty())
            .map(File::from)
            .map_err(|errno| FaultError::io("open", &entry.path)(errno.into()))
    }
}

/// `None` for what is not there.
pub(super) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
