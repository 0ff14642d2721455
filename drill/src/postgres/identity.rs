//! Gives a fresh copy of a cluster a system identifier of its own. initdb draws the identifier and every copy carries it, but
//! a drill tells the clusters that it made apart by it, so copies of the template must differ.
//!
//! The identifier stands in two places only (PostgreSQL's `ControlFileData` and `XLogLongPageHeaderData`): the first eight
//! bytes of `global/pg_control`, a file that ends in a CRC-32C of what precedes it, and the long header that opens each WAL
//! segment, which no checksum covers. Both are rewritten, nothing else is touched. That is only right for a cluster that was
//! cleanly shut down and has no standby, archive or backup yet, which is why that stays private to the making of clusters.
//! The result is the same as if initdb had drawn the other number; the tests let the server, pg_controldata, pg_waldump,
//! pg_basebackup and pg_verifybackup judge. What copies do share is the secret that hides whether a role exists from password
//! guessers (`mock_authentication_nonce`), of no consequence behind a private socket.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{SystemIdentifier, control::PG_CONTROL, files::open_file};

/// Where the identifier stands in a segment's long page header, after the 24 bytes of the short one.
const IDENTIFIER_IN_SEGMENT: u64 = 24;
/// `XLP_LONG_HEADER`: the flag that says the header is the long one.
const LONG_HEADER: u16 = 0x0002;
/// Every control file is longer than this before its checksum.
const SMALLEST_CONTROL: usize = 64;

/// Draws an identifier as initdb does: seconds, microseconds and twelve bits of process id. Never twice the same in a process.
pub(super) fn draw() -> SystemIdentifier {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let drawn = now.as_secs() << 32 | u64::from(now.subsec_micros()) << 12 | u64::from(std::process::id() & 0xFFF);
    // One more microsecond than the last, should the clock not have moved on.
    let next = |last: u64| Some(drawn.max(last + (1 << 12)));
    let last = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        .unwrap_or(0);
    SystemIdentifier(next(last).unwrap_or(drawn))
}

/// Replaces the system identifier of the cleanly stopped cluster in `data_directory`.
pub(super) fn stamp(data_directory: &Path, identifier: SystemIdentifier) -> io::Result<()> {
    let path = data_directory.join(PG_CONTROL);
    let mut control = fs::read(&path)?;
    let Some(checksum_at) = find_checksum(&control) else {
        return Err(io::Error::other(format!("no checksum found in {}", path.display())));
    };
    let mut previous = [0; 8];
    previous.copy_from_slice(&control[..8]);
    control[..8].copy_from_slice(&identifier.0.to_ne_bytes());
    let checksum = crc32c(0, &control[..checksum_at]);
    control[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_ne_bytes());
    for entry in fs::read_dir(data_directory.join("pg_wal"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().len() == 24 {
            stamp_segment(&entry.path(), previous, identifier)?;
        }
    }
    OpenOptions::new().write(true).open(&path)?.write_all_at(&control, 0)
}

fn stamp_segment(path: &Path, previous: [u8; 8], identifier: SystemIdentifier) -> io::Result<()> {
    let file: File = OpenOptions::new().read(true).write(true).open(path)?;
    let mut header = [0; 32];
    file.read_exact_at(&mut header, 0)?;
    if header == [0; 32] {
        return Ok(()); // Allocated ahead, never written.
    }
    let long = u16::from_ne_bytes([header[2], header[3]]) & LONG_HEADER != 0;
    if !long || header[24..32] != previous {
        return Err(io::Error::other(format!(
            "{} does not open with this cluster's long page header",
            path.display()
        )));
    }
    file.write_all_at(&identifier.0.to_ne_bytes(), IDENTIFIER_IN_SEGMENT)
}

/// The system identifier in the control file of a data directory; none where the file is not what a server wrote.
pub fn intact_identifier(data_directory: &Path) -> Option<SystemIdentifier> {
    const LARGEST: u64 = 64 << 10;
    let mut control = Vec::new();
    let file = open_file(&data_directory.join(PG_CONTROL)).ok()?;
    file.take(LARGEST).read_to_end(&mut control).ok()?;
    find_checksum(&control)?;
    let first = control.first_chunk()?;
    Some(SystemIdentifier(u64::from_ne_bytes(*first)))
}

/// Where the control file's checksum stands. The place differs between versions, so it is found by what it is: the one
/// number that is the CRC-32C of all that precedes it, with nothing but zeros after it.
fn find_checksum(control: &[u8]) -> Option<usize> {
    let mut checksum = crc32c(0, control.get(..SMALLEST_CONTROL)?);
    let mut at = SMALLEST_CONTROL;
    while let Some(word) = control.get(at..at + 4) {
        if *word == checksum.to_ne_bytes() && control[at + 4..].iter().all(|byte| *byte == 0) {
            return Some(at);
        }
        checksum = crc32c(checksum, word);
        at += 4;
    }
    None
}

/// CRC-32C (Castagnoli) of more bytes, continuing from the checksum of those before; 0 to begin.
fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    let mut register = !before;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = register >> 1 ^ (0x82F6_3B78 & (register & 1).wrapping_neg());
        }
    }
    !register
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_textbook() {
        assert_eq!(crc32c(0, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(crc32c(0, b"12345"), b"6789"), 0xE306_9283);
    }

    #[test]
    fn identifiers_never_repeat() {
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| draw()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn both_places_change_and_the_checksum_follows() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path();
        fs::create_dir_all(data.join("global")).unwrap();
        fs::create_dir_all(data.join("pg_wal/archive_status")).unwrap();
        let mut control = vec![7_u8; 288];
        control.extend(crc32c(0, &control).to_ne_bytes());
        control.resize(8192, 0);
        fs::write(data.join(PG_CONTROL), &control).unwrap();
        let mut segment = vec![7_u8; 64];
        segment[2..4].copy_from_slice(&LONG_HEADER.to_ne_bytes());
        fs::write(data.join("pg_wal/000000010000000000000001"), &segment).unwrap();
        fs::write(data.join("pg_wal/000000010000000000000002"), [0; 64]).unwrap();

        stamp(data, SystemIdentifier(42)).unwrap();
        let stamped = fs::read(data.join(PG_CONTROL)).unwrap();
        assert_eq!(stamped[..8], 42_u64.to_ne_bytes());
        assert_eq!(
            (stamped[8..288].to_vec(), find_checksum(&stamped)),
            (control[8..288].to_vec(), Some(288))
        );
        let segment = fs::read(data.join("pg_wal/000000010000000000000001")).unwrap();
        assert_eq!(segment[24..32], 42_u64.to_ne_bytes());

        fs::write(data.join("pg_wal/000000010000000000000003"), [9; 64]).unwrap();
        assert!(
            stamp(data, SystemIdentifier(43))
                .unwrap_err()
                .to_string()
                .contains("000000010000000000000003")
        );
    }
}
