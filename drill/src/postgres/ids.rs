//! The numbers that PostgreSQL identifies things by, as types that cannot be mixed up. Each reads and writes the form that
//! PostgreSQL itself prints, and serialises so that JSON readers with 53-bit numbers lose nothing.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Size of a WAL segment unless `initdb --wal-segsize` said otherwise: 16 MiB.
pub const WAL_SEGMENT_DEFAULT: u64 = 16 * 1024 * 1024;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is not {what}: expected {expected}")]
pub struct ParseIdError {
    what: &'static str,
    expected: &'static str,
    input: String,
}

impl ParseIdError {
    pub(super) fn new(what: &'static str, expected: &'static str, input: &str) -> Self {
        Self {
            what,
            expected,
            input: input.to_owned(),
        }
    }
}

/// A position in the write-ahead log, in bytes from its beginning (manual, "WAL Internals").
///
/// Written as PostgreSQL writes it: two hexadecimal halves, `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position that PostgreSQL prints for "none": `0/0`.
    pub const INVALID: Self = Self(0);

    /// This position and `bytes` further on; none beyond the end of 64 bits.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// This position and `bytes` back; none before the beginning.
    #[must_use]
    pub fn checked_sub(self, bytes: u64) -> Option<Self> {
        self.0.checked_sub(bytes).map(Self)
    }

    /// The first byte of the segment that holds this position. `segment_size` in bytes; a power of two.
    #[must_use]
    pub fn segment_start(self, segment_size: u64) -> Self {
        Self(self.0 - self.0 % segment_size.max(1))
    }

    /// The file name of the WAL segment that holds the byte at this position: timeline, then segment number in two parts.
    ///
    /// `segment_size` in bytes, a power of two between 1 MiB and 1 GiB.
    pub fn segment_name(self, timeline: TimelineId, segment_size: u64) -> String {
        let size = segment_size.max(1);
        let per_part = ((1_u64 << 32) / size).max(1);
        let number = self.0 / size;
        format!("{:08X}{:08X}{:08X}", timeline.0, number / per_part, number % per_part)
    }
}

/// Reads a WAL segment's file name back: its timeline and the position of its first byte.
///
/// None when it is not a plain segment name (24 upper-case hexadecimal digits whose last part fits `segment_size`), so
/// `.partial`, `.backup` and `.history` files answer none.
pub fn parse_segment_name(name: &str, segment_size: u64) -> Option<(TimelineId, Lsn)> {
    let plain = name.len() == 24 && name.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    if !plain || segment_size == 0 {
        return None;
    }
    let part = |range| u32::from_str_radix(&name[range], 16).ok();
    let (timeline, high, low) = (part(0..8)?, part(8..16)?, part(16..24)?);
    let start = u64::from(low)
        .checked_mul(segment_size)
        .filter(|offset| *offset < 1 << 32)?;
    Some((TimelineId(timeline), Lsn((u64::from(high) << 32) + start)))
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let half = |part: &str| {
            let hex = (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseIdError::new("a WAL position", "two hexadecimal numbers such as 16/B374D848", text))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

/// A timeline: the branch of history that a recovery starts (manual, "Timelines").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimelineId(pub u32);

impl TimelineId {
    /// The timeline of a cluster that was never recovered.
    pub const FIRST: Self = Self(1);

    /// Name of the file that tells where this timeline branched off, `00000002.history`.
    pub fn history_file_name(self) -> String {
        format!("{:08X}.history", self.0)
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TimelineId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse()
            .map(Self)
            .map_err(|_| ParseIdError::new("a timeline", "a whole number from 1 on", text))
    }
}

/// What tells two clusters apart: drawn at initdb, kept for life, and carried by every physical copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SystemIdentifier(pub u64);

impl fmt::Display for SystemIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemIdentifier {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse()
            .map(Self)
            .map_err(|_| ParseIdError::new("a system identifier", "a whole number of 64 bits", text))
    }
}

impl From<SystemIdentifier> for String {
    fn from(identifier: SystemIdentifier) -> Self {
        identifier.to_string()
    }
}

impl TryFrom<String> for SystemIdentifier {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_lsn_reads_back(value: u64) {
            prop_assert_eq!(Lsn(value).to_string().parse::<Lsn>(), Ok(Lsn(value)));
        }

        #[test]
        fn any_text_is_read_or_refused_but_never_panics(text in ".{0,24}") {
            let _ = text.parse::<Lsn>();
            let _ = text.parse::<TimelineId>();
            let _ = parse_segment_name(&text, WAL_SEGMENT_DEFAULT);
        }

        #[test]
        fn a_segment_name_reads_back(value: u64, timeline in 1_u32.., megabytes in 0_u32..=10) {
            let size = 1_u64 << (20 + megabytes);
            let name = Lsn(value).segment_name(TimelineId(timeline), size);
            prop_assert_eq!(parse_segment_name(&name, size), Some((TimelineId(timeline), Lsn(value).segment_start(size))));
        }

        #[test]
        fn names_sort_as_positions_do(a: u64, b: u64) {
            let name = |value| Lsn(value).segment_name(TimelineId::FIRST, 1 << 20);
            if a <= b { prop_assert!(name(a) <= name(b)); }
        }
    }

    #[test]
    fn known_names() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(
            lsn.segment_name(TimelineId(1), WAL_SEGMENT_DEFAULT),
            "0000000100000016000000B3"
        );
        assert_eq!(lsn.segment_name(TimelineId(10), 1 << 20), "0000000A0000001600000B37");
        assert_eq!(TimelineId(10).history_file_name(), "0000000A.history");
        assert_eq!(
            parse_segment_name("000000010000000000000100", WAL_SEGMENT_DEFAULT),
            None
        );
        assert_eq!(
            parse_segment_name("000000010000000000000001.partial", WAL_SEGMENT_DEFAULT),
            None
        );
    }

    #[test]
    fn json_keeps_every_digit() {
        let text = serde_json::to_string(&(Lsn(u64::MAX), SystemIdentifier(u64::MAX), TimelineId(3))).unwrap();
        assert_eq!(text, r#"["FFFFFFFF/FFFFFFFF","18446744073709551615",3]"#);
        let back: (Lsn, SystemIdentifier, TimelineId) = serde_json::from_str(&text).unwrap();
        assert_eq!(back, (Lsn(u64::MAX), SystemIdentifier(u64::MAX), TimelineId(3)));
    }

    #[test]
    fn a_refusal_says_what_was_expected() {
        let refusal = "16-B3".parse::<Lsn>().unwrap_err().to_string();
        assert_eq!(
            refusal,
            r#""16-B3" is not a WAL position: expected two hexadecimal numbers such as 16/B374D848"#
        );
        assert!("/".parse::<Lsn>().is_err() && "123456789/0".parse::<Lsn>().is_err() && "+1/0".parse::<Lsn>().is_err());
    }

    #[test]
    fn arithmetic_stays_within_its_bounds() {
        assert_eq!(Lsn(5).checked_sub(6), None);
        assert_eq!(Lsn(u64::MAX).checked_add(1), None);
    }
}
