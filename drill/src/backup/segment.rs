//! One WAL segment file, by the header of its first page: which cluster, timeline and position it says it belongs to.
//!
//! Layout: `access/xlog_internal.h`, the same in PostgreSQL 10 to 18. Only 40 bytes a segment are read here; whether
//! its records can be read is pg_waldump's to say ([`super::wal`]).

use std::{fmt, fs::File, os::unix::fs::FileExt as _, path::Path};

use super::wal::SegmentNumber;
use crate::postgres::{Lsn, SystemIdentifier};

/// Bytes in a WAL page.
const PAGE: u64 = 8192;
/// Bytes of a page's header.
const SHORT_HEADER: u64 = 24;
/// Bytes of the header of a segment's first page.
const LONG_HEADER: u64 = 40;
/// Flag of a page that begins in the middle of a record.
const CONTINUES: u16 = 1;
/// Flag of a long header.
const IS_LONG: u16 = 2;

/// Why a file is not the segment that its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not of a segment's size.
    Size {
        /// Its bytes.
        bytes: u64,
        /// A segment's.
        expected: u64,
    },
    /// It cannot be read.
    Unreadable(String),
    /// Nothing was written to it: its first page is zeros.
    Empty,
    /// Its first page has no header of this version.
    NoHeader,
    /// It was written by another cluster.
    Foreign(SystemIdentifier),
    /// It belongs to another timeline.
    Timeline(u32),
    /// It belongs to another position.
    Position(Lsn),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { bytes, expected } => write!(f, "has {bytes} bytes instead of {expected}"),
            Self::Unreadable(reason) => write!(f, "cannot be read: {reason}"),
            Self::Empty => f.write_str("begins with zeros: nothing was written to it"),
            Self::NoHeader => f.write_str("does not begin with a WAL page of this PostgreSQL version"),
            Self::Foreign(system) => write!(f, "is of another cluster, system {system}"),
            Self::Timeline(timeline) => write!(f, "is of timeline {timeline}"),
            Self::Position(lsn) => write!(f, "begins at {lsn}: it is another segment"),
        }
    }
}

/// What the pages of a major version begin with; none for versions that this does not know.
pub fn magic(major: u32) -> Option<u16> {
    match major {
        14 => Some(0xD10D),
        15 => Some(0xD110),
        16 => Some(0xD113),
        17 => Some(0xD116),
        18 => Some(0xD118),
        _ => None,
    }
}

/// Checks a segment's size and its first page's header.
///
/// # Errors
/// What is the matter with it.
pub fn check(
    path: &Path,
    segment: SegmentNumber,
    segment_bytes: u64,
    system: Option<SystemIdentifier>,
    magic: Option<u16>,
) -> Result<(), Problem> {
    let unreadable = |error: std::io::Error| Problem::Unreadable(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes != segment_bytes {
        return Err(Problem::Size {
            bytes,
            expected: segment_bytes,
        });
    }
    let mut header = [0; LONG_HEADER as usize];
    file.read_exact_at(&mut header, 0).map_err(unreadable)?;
    if header.iter().all(|byte| *byte == 0) {
        return Err(Problem::Empty);
    }
    let short = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let (first, second) = (at::<4>(&header, 4), at::<8>(&header, 8));
    let (timeline, position) = (u32::from_ne_bytes(first), Lsn(u64::from_ne_bytes(second)));
    if short(2) & IS_LONG == 0 || magic.is_some_and(|magic| magic != short(0)) {
        return Err(Problem::NoHeader);
    }
    let written_by = SystemIdentifier(u64::from_ne_bytes(at::<8>(&header, 24)));
    if system.is_some_and(|system| system != written_by) {
        return Err(Problem::Foreign(written_by));
    }
    if position.0 != segment.number * segment_bytes {
        return Err(Problem::Position(position));
    }
    // The segment in which a timeline branches off begins with a copy of its parent's pages.
    if timeline > segment.timeline || timeline == 0 {
        return Err(Problem::Timeline(timeline));
    }
    Ok(())
}

/// Whether records go on behind `from`, which is in this unfinished segment and cannot be read: then something in its
/// middle is damaged. The tail of a stream that simply ends is at most one record that is not complete, and zeros.
///
/// # Errors
/// If it cannot be read.
pub fn goes_on_behind(path: &Path, segment: SegmentNumber, segment_bytes: u64, from: Lsn) -> std::io::Result<bool> {
    let content = std::fs::read(path)?;
    let begins = segment.number * segment_bytes;
    let next = from.0.saturating_sub(begins) / PAGE + 1;
    let pages = content.chunks_exact(PAGE as usize).enumerate().skip(next as usize);
    Ok(pages.into_iter().any(|(number, page)| {
        let here = u64::from_ne_bytes(at::<8>(page, 8)) == begins + number as u64 * PAGE;
        // A record that continues from the page before is as long as the header says.
        let continues = u16::from_ne_bytes(at::<2>(page, 2)) & CONTINUES != 0;
        let rest = if continues {
            u32::from_ne_bytes(at::<4>(page, 16))
        } else {
            0
        };
        let own = (SHORT_HEADER + u64::from(rest)).next_multiple_of(8);
        let own = usize::try_from(own).unwrap_or(usize::MAX);
        here && page
            .get(own..)
            .is_some_and(|behind| behind.iter().any(|byte| *byte != 0))
    }))
}

fn at<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// Where a record ends that begins at `begins` and has `length` bytes, page headers in between not counted: aligned to
/// 8 bytes, as the server counts it.
pub fn record_end(begins: Lsn, length: u64, segment_bytes: u64) -> Lsn {
    let (mut position, mut rest) = (begins.0, length);
    loop {
        let room = PAGE - position % PAGE;
        if rest <= room {
            return Lsn((position + rest).next_multiple_of(8));
        }
        rest -= room;
        position += room;
        position += if position.is_multiple_of(segment_bytes) {
            LONG_HEADER
        } else {
            SHORT_HEADER
        };
    }
}

/// A record that begins a page begins after its header; the one before it ended at the page's first byte.
pub fn before_page_header(lsn: Lsn) -> Lsn {
    let within = lsn.0 % PAGE;
    if within == SHORT_HEADER || within == LONG_HEADER && (lsn.0 - within).is_multiple_of(1 << 20) {
        Lsn(lsn.0 - within)
    } else {
        lsn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_after_the_headers_that_it_crosses() {
        const MIB: u64 = 1 << 20;
        assert_eq!(record_end(Lsn(0x28), 30, MIB), Lsn(0x28 + 32));
        assert_eq!(record_end(Lsn(PAGE - 8), 16, MIB), Lsn(PAGE + SHORT_HEADER + 8));
        assert_eq!(record_end(Lsn(MIB - 8), 16, MIB), Lsn(MIB + LONG_HEADER + 8));
        assert_eq!(record_end(Lsn(PAGE - 8), 8, MIB), Lsn(PAGE), "it fills its page");
        assert_eq!(
            record_end(Lsn(PAGE - 8), 8 + PAGE - SHORT_HEADER + 4, MIB),
            Lsn(2 * PAGE + SHORT_HEADER + 8)
        );
    }

    #[test]
    fn a_page_header_belongs_to_no_record() {
        assert_eq!(before_page_header(Lsn(3 * PAGE + 24)), Lsn(3 * PAGE));
        assert_eq!(before_page_header(Lsn((1 << 20) + 40)), Lsn(1 << 20));
        assert_eq!(before_page_header(Lsn(3 * PAGE + 40)), Lsn(3 * PAGE + 40));
    }
}
