//! Damage of one page of a relation, with or without a checksum that gives it away.

use rand::rngs::StdRng;

use super::{
    Done, FaultError,
    bytes::{fits, hex, overwrite, read},
    files::changed,
    root::Root,
};
use crate::{
    postgres::page::{CHECKSUM_AT, PAGE_BYTES, checksum},
    scenario::{PageChecksum, Selection},
};

/// Overwrites bytes of block `block` and deals with the page's checksum.
pub(super) fn corrupt(
    root: &Root,
    files: &Selection,
    block: u32,
    content: Option<&(u64, Vec<u8>)>,
    keeps: PageChecksum,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    for entry in root.select(files, random)? {
        let file = root.open_file(&entry)?;
        let start = u64::from(block) * PAGE_BYTES as u64;
        fits(&entry, &file, start, PAGE_BYTES as u64)?;
        let before = read(&entry, &file, start, PAGE_BYTES as u64)?;
        let mut after = before.clone();
        if let Some((offset, bytes)) = content {
            let from = usize::try_from(*offset).unwrap_or(PAGE_BYTES);
            let room = after
                .get_mut(from..from + bytes.len())
                .ok_or_else(|| FaultError::OutOfRange {
                    path: entry.path.clone(),
                    size: PAGE_BYTES as u64,
                    offset: *offset,
                    bytes: bytes.len() as u64,
                })?;
            room.copy_from_slice(bytes);
        }
        let right = checksum(&after, block).to_ne_bytes();
        let place = CHECKSUM_AT..CHECKSUM_AT + 2;
        match keeps {
            PageChecksum::Keep => {}
            PageChecksum::Mend => after[place].copy_from_slice(&right),
            PageChecksum::Break => after[place].copy_from_slice(&right.map(|byte| !byte)),
        }
        if after == before {
            continue;
        }
        overwrite(&entry, &file, start, &after)?;
        let sum = |page: &[u8]| hex(&page[CHECKSUM_AT..CHECKSUM_AT + 2]);
        let valid = after[CHECKSUM_AT..CHECKSUM_AT + 2] == checksum(&after, block).to_ne_bytes();
        let valid = if valid { "valid" } else { "wrong" };
        let sums = format!("checksum {} → {}, {valid}", sum(&before), sum(&after));
        touched.push(match content {
            None => format!("{} page {block}: {sums}", entry.name),
            Some((offset, bytes)) => {
                let from = usize::try_from(*offset).unwrap_or(PAGE_BYTES);
                let (old, new) = (super::bytes::before(&before[from..from + bytes.len()]), hex(bytes));
                format!("{} page {block} at {offset}: {old} → {new}; {sums}", entry.name)
            }
        });
    }
    changed("corrupt-page", "damaged", touched, "the page has these bytes already")
}
