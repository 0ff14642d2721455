//! The WAL that is kept outside the cluster: whole segments from the archiver, and the stream with its unfinished tail.
//!
//! `archive_command` delivers finished segments only (PostgreSQL manual, "Continuous Archiving"), so the tail of the newest
//! segment is lost with the cluster unless pg_receivewal streams it as well; its newest file carries `.partial`.
//! [`WalSource::reach`] reads the WAL with pg_waldump and tells how far it can be proven to go, through the timelines
//! ([`timeline`]) of the service's own history and the headers of the segments ([`segment`]).

pub mod commands;
mod copies;
mod reach;
pub mod segment;
mod target;
pub mod timeline;
mod waldump;

use std::{collections::BTreeMap, path::PathBuf};

use crate::postgres::parse_segment_name;

pub use reach::{Reach, Start};
pub use target::RecoveryTarget;

/// Where WAL is kept.
#[derive(Debug, Clone)]
pub struct WalSource {
    /// Filled by `archive_command`.
    pub archive: Option<PathBuf>,
    /// Filled by pg_receivewal.
    pub stream: Option<PathBuf>,
    /// Size of a segment in bytes.
    pub segment_bytes: u64,
}

/// A WAL segment's place in the order: timeline, then number (LSN divided by the segment size).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentNumber {
    /// The timeline.
    pub timeline: u32,
    /// LSN divided by the segment size.
    pub number: u64,
}

/// Segments of which the first copy is bad: the copy to use instead, or none where all of them are bad.
pub type Instead = BTreeMap<String, Option<PathBuf>>;

impl WalSource {
    /// A segment's file name.
    pub fn name(&self, segment: SegmentNumber) -> String {
        name(segment, self.segment_bytes)
    }

    /// The segment of that name, if it is one that a server asks for: in capitals, and of the length that it has.
    pub(super) fn parse(&self, name: &str) -> Option<SegmentNumber> {
        let (timeline, begins) = parse_segment_name(name, self.segment_bytes)?;
        Some(SegmentNumber {
            timeline: timeline.0,
            number: begins.0 / self.segment_bytes,
        })
    }
}

/// The WAL could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// pg_waldump could not be run.
    #[error(transparent)]
    Tool(#[from] crate::postgres::ToolError),
    /// The files for pg_waldump could not be given to the server's account.
    #[error(transparent)]
    User(#[from] crate::postgres::UserError),
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `prepare` …
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The output of pg_waldump is not as expected.
    #[error("{what} is not as expected: {problem}")]
    Unexpected {
        /// What.
        what: String,
        /// The problem.
        problem: String,
    },
}

/// A segment's file name, for segments of so many bytes.
pub fn name(segment: SegmentNumber, segment_bytes: u64) -> String {
    let per_xlog_id = 0x1_0000_0000 / segment_bytes.max(1);
    format!(
        "{:08X}{:08X}{:08X}",
        segment.timeline,
        segment.number / per_xlog_id,
        segment.number % per_xlog_id
    )
}

/// Whether a file is named as a whole WAL segment is: timeline, and number in two parts, in capitals.
pub fn is_segment(name: &str) -> bool {
    name.len() == 24 && is_number(name)
}

/// Whether it is a number as the server writes it in the names of its files.
pub(super) fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use super::{SegmentNumber, WalSource};

    const MIB: u64 = 1 << 20;

    fn source() -> WalSource {
        WalSource {
            archive: Some("/a".into()),
            stream: Some("/s".into()),
            segment_bytes: MIB,
        }
    }

    #[test]
    fn segment_names_are_those_of_the_server() {
        let wal = source();
        let segment = SegmentNumber {
            timeline: 2,
            number: 0x1_0000_0000 / MIB + 5,
        };
        assert_eq!(wal.name(segment), "000000020000000100000005");
        assert_eq!(wal.parse("000000020000000100000005"), Some(segment));
        for no_segment in [
            "00000002.history",
            "00000001000000000000000a", // in small letters
            "00000001000000000000005",
            "0000000100000000000000005",
            "000000010000000000001000", // there are 4096 of 1 MiB to a number
        ] {
            assert_eq!(wal.parse(no_segment), None, "{no_segment}");
        }
    }
}
