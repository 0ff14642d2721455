//! Lists the places where WAL is kept: the copies of each segment, and files that are no segments.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

use super::{SegmentNumber, WalSource};

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The copies of each segment, in the order in which they are offered to a server.
    pub(super) by_segment: BTreeMap<SegmentNumber, VecDeque<PathBuf>>,
    /// Files of the archive and the stream without the name of a segment.
    pub(super) strays: Vec<PathBuf>,
    /// Places that cannot be listed.
    pub(super) problems: Vec<String>,
}

impl WalSource {
    /// The copies of each segment: the archive's, the stream's, the unfinished ones of both, and the one that a backup
    /// holds.
    pub(super) fn copies(&self, held: Option<&Path>) -> Copies {
        let mut there = Copies::default();
        let places = [("archive", self.archive.as_deref()), ("stream", self.stream.as_deref())];
        let mut unfinished = Vec::new();
        for (what, directory) in places.into_iter().filter_map(|(what, place)| Some((what, place?))) {
            let paths = list(directory).unwrap_or_else(|error| {
                let directory = directory.display();
                let text = format!("the WAL {what}, {directory}, cannot be listed: {error}");
                there.problems.push(text);
                Vec::new()
            });
            for path in paths {
                let name = file_name(&path);
                match (self.parse(&name), name.strip_suffix(".partial")) {
                    (Some(segment), _) => there.by_segment.entry(segment).or_default().push_back(path),
                    (None, Some(stem)) => unfinished.extend(self.parse(stem).map(|segment| (segment, path))),
                    (None, None) if name.starts_with('.') => {} // the archiver is at work on it, or was
                    (None, None) => there.strays.push(path),
                }
            }
        }
        let held = held.and_then(|directory| list(directory).ok()).unwrap_or_default();
        let held = held
            .into_iter()
            .filter_map(|path| Some((self.parse(&file_name(&path))?, path)));
        for (segment, path) in unfinished.into_iter().chain(held) {
            there.by_segment.entry(segment).or_default().push_back(path);
        }
        there.strays.sort();
        there
    }
}

/// What is in a directory.
pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// The last part of a path.
pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
