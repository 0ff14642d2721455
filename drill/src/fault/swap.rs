//! An older copy in place of a file: what a write that was acknowledged and never reached the disk leaves behind.

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf};

use reports::text::{counted, number};

use rand::rngs::StdRng;

use super::{
    Done, FaultError,
    files::{changed, unverified},
    root::Root,
};
use crate::scenario::{Pick, Selection};

/// Gives files below `root` the content that they have in the backup `from`, a name and a directory. The copy is the
/// file of the backup whose path ends with the path of the file.
pub(super) fn swap(
    root: &Root,
    files: &Selection,
    from: &(String, PathBuf),
    keep_tail: bool,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let (backup, directory) = from;
    let backups = Root::open(directory)?;
    let mut touched = Vec::new();
    for entry in root.select(files, random)? {
        let escaped = glob::Pattern::escape(&entry.name);
        let path = glob::Pattern::new(&format!("**/{escaped}")).unwrap_or_default();
        let copy = Selection {
            path,
            pick: Some(Pick::First),
            relation: None,
            segment: None,
        };
        let copies = backups.select(&copy, random)?;
        let Some(copy) = copies.first() else {
            return Err(backups.no_match(&copy.path));
        };
        backups.confine(copy)?;
        let mut content = fs::read(&copy.path).map_err(FaultError::io("read", &copy.path))?;
        let before = fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))?;
        let older = content.len();
        if keep_tail {
            content.extend(before.get(older..).unwrap_or_default());
        }
        if content == before {
            continue;
        }
        let differ = before
            .chunks(8192)
            .zip(content.chunks(8192))
            .filter(|(before, after)| before != after)
            .count();
        let file = root.open_file(&entry)?;
        file.set_len(content.len() as u64)
            .and_then(|()| file.write_all_at(&content, 0))
            .map_err(FaultError::io("write", &entry.path))?;
        if fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))? != content {
            return Err(unverified(&entry, "it does not have its older content"));
        }
        touched.push(format!(
            "{}: as in {backup}: {} → {}, {} older",
            entry.name,
            number(before.len() as u64),
            counted(content.len(), "byte"),
            counted(differ, "page")
        ));
    }
    changed("swap-file", "swapped", touched, "the backup holds the same content")
}
