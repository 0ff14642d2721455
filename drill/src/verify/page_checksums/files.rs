//! Which files of a data directory hold pages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{PAGE, Page, SEGMENT_PAGES, ScanError};

/// A file of a relation: a fork, or a segment of one.
pub(super) struct RelationFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// Path of its relation: that of the main fork's first segment.
    pub(super) relation: String,
    pub(super) fork: Fork,
    pub(super) segment: u32,
    pub(super) pages: u32,
    pub(super) torn: bool,
}

/// What a file is to its relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fork {
    Main,
    VisibilityMap,
    Other,
}

impl RelationFile {
    pub(super) fn page(&self, page: u32, problem: String) -> Page {
        Page {
            file: self.name.clone(),
            block: self.segment * SEGMENT_PAGES + page,
            problem,
        }
    }
}

/// `16384`, `16384_vm`, `16384.1`: file node, fork and segment.
fn relation_name(name: &str) -> Option<(&str, Fork, u32)> {
    let (stem, segment) = name
        .split_once('.')
        .map_or((name, Some(0)), |(stem, segment)| (stem, segment.parse().ok()));
    let (node, fork) = stem.split_once('_').unwrap_or((stem, ""));
    let fork = match fork {
        "" => Fork::Main,
        "vm" => Fork::VisibilityMap,
        "fsm" | "init" => Fork::Other,
        _ => return None,
    };
    let known = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_digit());
    known.then_some((node, fork, segment?))
}

/// Every relation file, sorted by name.
pub(super) fn relation_files(data: &Path) -> Result<Vec<RelationFile>, ScanError> {
    let mut files = Vec::new();
    for top in ["global", "base", "pg_tblspc"] {
        collect(data, Path::new(top), &mut files)?;
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn collect(data: &Path, below: &Path, files: &mut Vec<RelationFile>) -> Result<(), ScanError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ScanError::Io { path, source }
    };
    let directory = data.join(below);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(&directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed(&directory))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let meta = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            meta => meta.map_err(failed(&path))?,
        };
        if meta.is_dir() {
            collect(data, &below.join(name), files)?;
        } else if let Some((node, fork, segment)) = relation_name(&name) {
            let below = |name: &str| below.join(name).to_string_lossy().into_owned();
            files.push(RelationFile {
                path,
                name: below(&name),
                relation: below(node),
                fork,
                segment,
                pages: (meta.len() / PAGE as u64) as u32,
                torn: meta.len() % PAGE as u64 != 0,
            });
        }
    }
    Ok(())
}
