//! One WAL segment file, by the headers of its pages: which cluster, timeline and position they say they belong to.
//!
//! What the server would not take is refused here, and for its reasons (`XLogReaderValidatePageHeader` in xlogreader.c,
//! `ReadRecord` in xlogrecovery.c). Layout: `access/xlog_internal.h`, the same in PostgreSQL 10 to 18. Whether the records
//! can be read is pg_waldump's to say ([`super`]), which looks at one file alone and knows neither system nor history.

use std::{fmt, fs::File, io, os::unix::fs::FileExt as _, path::Path};

use reports::text::{counted, number};

use super::SegmentNumber;
use crate::postgres::{Lsn, ServerUser, SystemIdentifier};

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
/// All flags that there are.
const ALL_FLAGS: u16 = 0x000F;

/// What the pages of a segment must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// The cluster that wrote it, if that is known.
    pub system: Option<SystemIdentifier>,
    /// What a page of this major version begins with, if that is known.
    pub magic: Option<u16>,
    /// The timelines that recovery goes through.
    pub timelines: &'a [u32],
}

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
    /// It cannot be read, or not by the server.
    Unreadable(String),
    /// Nothing was written to it: its first page is zeros.
    Empty,
    /// A page has no header of this version.
    NoHeader,
    /// Its header speaks of segments or pages of another size.
    Geometry,
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
            Self::Size { bytes, expected } => {
                write!(f, "has {} instead of {}", counted(*bytes, "byte"), number(*expected))
            }
            Self::Unreadable(reason) => f.write_str(reason),
            Self::Empty => f.write_str("begins with zeros: nothing was written to it"),
            Self::NoHeader => f.write_str("does not begin with the header of a WAL page of this PostgreSQL version"),
            Self::Geometry => f.write_str("says in its header that segments or pages are of another size"),
            Self::Foreign(system) => write!(f, "is of another cluster, system {system}"),
            Self::Timeline(timeline) => write!(f, "is of timeline {timeline}"),
            Self::Position(lsn) => write!(f, "says that it begins at {lsn}"),
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

/// Checks that a segment can be read by `reader`, its size, and the header of its first page. Only a regular file is
/// opened: whoever opens a pipe waits for its writer.
///
/// # Errors
/// What is the matter with it.
pub fn check(
    path: &Path,
    segment: SegmentNumber,
    expected: Expected<'_>,
    reader: Option<&ServerUser>,
) -> Result<(), Problem> {
    let unreadable = |error: io::Error| Problem::Unreadable(format!("cannot be read: {error}"));
    readable(path, reader).map_err(Problem::Unreadable)?;
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes != expected.segment_bytes {
        return Err(Problem::Size {
            bytes,
            expected: expected.segment_bytes,
        });
    }
    let mut header = [0; LONG_HEADER as usize];
    file.read_exact_at(&mut header, 0).map_err(unreadable)?;
    if header.iter().all(|byte| *byte == 0) {
        return Err(Problem::Empty);
    }
    page_header(&header, Lsn(segment.number * expected.segment_bytes), segment, expected)?;
    Ok(())
}

/// Whether a file can be read at all: a regular one, or a link to one, and by `reader` where that is another account.
///
/// # Errors
/// What is in the way, to be said of the file.
pub fn readable(path: &Path, reader: Option<&ServerUser>) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt as _;
    let metadata = path.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = match kind {
            _ if kind.is_dir() => "a directory",
            _ if kind.is_fifo() => "a pipe",
            _ if kind.is_socket() => "a socket",
            _ => "a device",
        };
        return Err(format!("cannot be read: it is no regular file but {what}"));
    }
    match reader.and_then(|reader| Some((reader.name(), reader.barred_from(path)?))) {
        Some((name, at)) => Err(format!(
            "cannot be read by the server's account {name}: it may not {at}"
        )),
        None => Ok(()),
    }
}

/// Checks a page's header as the server does; answers with the page's timeline.
fn page_header(page: &[u8], at: Lsn, segment: SegmentNumber, expected: Expected<'_>) -> Result<u32, Problem> {
    let (magic, info) = (u16::from_ne_bytes(bytes(page, 0)), u16::from_ne_bytes(bytes(page, 2)));
    let (timeline, position) = (
        u32::from_ne_bytes(bytes(page, 4)),
        Lsn(u64::from_ne_bytes(bytes(page, 8))),
    );
    let (is_long, begins_segment) = (info & IS_LONG != 0, at.0.is_multiple_of(expected.segment_bytes));
    if info & !ALL_FLAGS != 0 || is_long != begins_segment || expected.magic.is_some_and(|expected| expected != magic) {
        return Err(Problem::NoHeader);
    }
    if is_long {
        let written_by = SystemIdentifier(u64::from_ne_bytes(bytes(page, 24)));
        if expected.system.is_some_and(|system| system != written_by) {
            return Err(Problem::Foreign(written_by));
        }
        let (segment_bytes, page_bytes) = (u32::from_ne_bytes(bytes(page, 32)), u32::from_ne_bytes(bytes(page, 36)));
        if u64::from(segment_bytes) != expected.segment_bytes || u64::from(page_bytes) != PAGE {
            return Err(Problem::Geometry);
        }
    }
    if position != at {
        return Err(Problem::Position(position));
    }
    // The segment in which a timeline branches off begins with a copy of its parent's pages.
    if timeline > segment.timeline || !expected.timelines.contains(&timeline) {
        return Err(Problem::Timeline(timeline));
    }
    Ok(timeline)
}

/// The first page of a segment between two positions that the server would not take. Behind a record that ends the segment
/// early it reads none. `newest` is the timeline of the page before it: they never go back.
///
/// # Errors
/// If the file cannot be read.
pub fn first_bad_page(
    path: &Path,
    segment: SegmentNumber,
    expected: Expected<'_>,
    (from, to): (Lsn, Lsn),
    switches: &[Lsn],
    newest: &mut u32,
) -> io::Result<Option<(Lsn, Problem)>> {
    let begins = segment.number * expected.segment_bytes;
    let switched = switches
        .iter()
        .find(|switch| switch.0 / expected.segment_bytes == segment.number);
    let switched = switched.map(|switch| record_end(*switch, SHORT_HEADER, expected.segment_bytes));
    let ends = to.0.min(begins + expected.segment_bytes).min(switched.unwrap_or(to).0);
    let mut at = from.0.max(begins) / PAGE * PAGE;
    let file = File::open(path)?;
    let mut header = [0; LONG_HEADER as usize];
    while at < ends {
        file.read_exact_at(&mut header, at - begins)?;
        if header[..SHORT_HEADER as usize].iter().all(|byte| *byte == 0) {
            return Ok(None); // no record is in it, or it would not have been read: the segment was ended before
        }
        match page_header(&header, Lsn(at), segment, expected) {
            Ok(timeline) if timeline < *newest => return Ok(Some((Lsn(at), Problem::Timeline(timeline)))),
            Ok(timeline) => *newest = timeline,
            Err(problem) => return Ok(Some((Lsn(at), problem))),
        }
        at += PAGE;
    }
    Ok(None)
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
        let here = u64::from_ne_bytes(bytes(page, 8)) == begins + number as u64 * PAGE;
        // A record that continues from the page before is as long as the header says.
        let continues = u16::from_ne_bytes(bytes(page, 2)) & CONTINUES != 0;
        let rest = if continues {
            u32::from_ne_bytes(bytes(page, 16))
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

fn bytes<const N: usize>(page: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&page[at..at + N]);
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
