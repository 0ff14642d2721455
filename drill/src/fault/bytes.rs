//! What kinds of faults on bytes inside of files have in common. All are written in place, so that owner and mode stay.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rand::rngs::StdRng;
use reports::text::counted;

use super::{
    FaultError,
    files::unverified,
    root::{Entry, Root},
};
use crate::{scenario::Selection, values};

/// Replaces the same part of each file by what `new` makes of it; says what it changed.
pub(super) fn overwrite_each(
    root: &Root,
    files: &Selection,
    offset: u64,
    bytes: u64,
    random: &mut StdRng,
    new: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<Vec<String>, FaultError> {
    let mut touched = Vec::new();
    for entry in root.select(files, random)? {
        let file = root.open_file(&entry)?;
        fits(&entry, &file, offset, bytes)?;
        let old = read(&entry, &file, offset, bytes)?;
        let new = new(&old);
        if new != old {
            overwrite(&entry, &file, offset, &new)?;
            touched.push(format!("{} at {offset}: {} → {}", entry.name, before(&old), hex(&new)));
        }
    }
    Ok(touched)
}

/// Writes and reads again.
pub(super) fn overwrite(entry: &Entry, file: &File, offset: u64, new: &[u8]) -> Result<(), FaultError> {
    file.write_all_at(new, offset)
        .map_err(FaultError::io("write", &entry.path))?;
    if read(entry, file, offset, new.len() as u64)? == new {
        Ok(())
    } else {
        Err(unverified(
            entry,
            &format!(
                "the {} at {offset} are not what was written",
                counted(new.len(), "byte")
            ),
        ))
    }
}

pub(super) fn read(entry: &Entry, file: &File, offset: u64, bytes: u64) -> Result<Vec<u8>, FaultError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        file.read_exact_at(&mut content, offset)?;
        Ok(content)
    };
    read().map_err(FaultError::io("read", &entry.path))
}

pub(super) fn size(entry: &Entry, file: &File) -> Result<u64, FaultError> {
    Ok(file.metadata().map_err(FaultError::io("examine", &entry.path))?.len())
}

pub(super) fn fits(entry: &Entry, file: &File, offset: u64, bytes: u64) -> Result<(), FaultError> {
    let size = size(entry, file)?;
    match offset.checked_add(bytes) {
        Some(end) if end <= size => Ok(()),
        _ => Err(FaultError::OutOfRange {
            path: entry.path.clone(),
            size,
            offset,
            bytes,
        }),
    }
}

/// Bytes that were there before. More than a few may be a part of a row, and are counted only.
pub(super) fn before(bytes: &[u8]) -> String {
    const FEW: usize = 2;
    if bytes.len() <= FEW || values::are_shown() {
        hex(bytes)
    } else {
        counted(bytes.len(), "byte")
    }
}

/// Bytes for people: all of a few, the first of many.
pub(super) fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing".to_owned(),
        few if few.len() <= 16 => hex::encode(few),
        many => format!("{}… ({})", hex::encode(&many[..16]), counted(many.len(), "byte")),
    }
}
