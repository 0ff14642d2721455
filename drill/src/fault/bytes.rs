//! Faults of bytes inside of files: flip, zero, write, append. All in place, so that owner and mode stay.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use reports::text::{counted, number};

use rand::{RngExt as _, rngs::StdRng};

use super::{
    Done, FaultError,
    files::{changed, unverified},
    root::{Entry, Root},
};
use crate::{scenario::Selection, values};

/// Changes bytes, each into another one: spread over the file, or from `offset` on.
pub(super) fn flip(
    root: &Root,
    files: &Selection,
    bytes: u64,
    offset: Option<u64>,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    let (mut flipped, mut in_files) = (0, 0);
    for entry in root.select(files, random)? {
        let file = root.open_file(&entry)?;
        fits(&entry, &file, offset.unwrap_or(0), bytes)?;
        let offsets = match offset {
            Some(offset) => (offset..offset + bytes).collect(),
            None => spread(size(&entry, &file)?, bytes, random),
        };
        for offset in offsets {
            let old = read(&entry, &file, offset, 1)?;
            let new: Vec<u8> = old.iter().map(|byte| byte ^ random.random_range(1..=u8::MAX)).collect();
            overwrite(&entry, &file, offset, &new)?;
            touched.push(format!("{} at {offset}: {} → {}", entry.name, before(&old), hex(&new)));
            flipped += 1;
        }
        in_files += 1;
    }
    let mut done = changed("flip-bytes", "changed", touched, "no byte was to be changed")?;
    if flipped > 1 {
        done.summary = match done.touched.first().and_then(|line| line.rsplit_once(" at ")) {
            Some((name, _)) if in_files == 1 => format!("{name}: {} changed", counted(flipped, "byte")),
            _ => format!("{} changed in {}", counted(flipped, "byte"), counted(in_files, "file")),
        };
    }
    Ok(done)
}

/// Overwrites a part of each file with zeros.
pub(super) fn zero(
    root: &Root,
    files: &Selection,
    offset: u64,
    bytes: u64,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let touched = overwrite_each(root, files, offset, bytes, random, |old| vec![0; old.len()])?;
    changed("zero-bytes", "zeroed", touched, "these bytes are zero already")
}

/// Overwrites a part of each file.
pub(super) fn write(
    root: &Root,
    files: &Selection,
    offset: u64,
    content: &[u8],
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let touched = overwrite_each(root, files, offset, content.len() as u64, random, |_| {
        content.to_owned()
    })?;
    changed("write-bytes", "overwritten", touched, "these bytes stand there already")
}

/// Lengthens each file.
pub(super) fn append(root: &Root, files: &Selection, content: &[u8], random: &mut StdRng) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    for entry in root.select(files, random)? {
        let file = root.open_file(&entry)?;
        let before = size(&entry, &file)?;
        overwrite(&entry, &file, before, content)?;
        let after = before + content.len() as u64;
        touched.push(format!(
            "{}: {} → {}, appended {}",
            entry.name,
            number(before),
            counted(after, "byte"),
            hex(content)
        ));
    }
    changed("append-bytes", "lengthened", touched, "nothing was to be appended")
}

/// Replaces the same part of each file by what `new` makes of it; says what it changed.
fn overwrite_each(
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

fn size(entry: &Entry, file: &File) -> Result<u64, FaultError> {
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

/// `count` different offsets below `size`, ascending: one at random in each of `count` equal parts.
pub(super) fn spread(size: u64, count: u64, random: &mut StdRng) -> Vec<u64> {
    let edge = |part: u64| (u128::from(size) * u128::from(part) / u128::from(count)) as u64;
    (0..count)
        .map(|part| random.random_range(edge(part)..edge(part + 1)))
        .collect()
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
