//! The header of a dump in custom format: when it was begun.

use std::path::Path;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use crate::postgres::open_file;

/// When a dump was begun, or at the latest when its file was written.
pub(super) fn begun_or_written(dump: &Path, written: DateTime<Utc>) -> DateTime<Utc> {
    let header = open_file(dump).ok().and_then(|file| begun(file).ok().flatten());
    within_its_second(header, written)
}

/// The header's time is in whole seconds; within that second, the file's own time is the latest possible.
fn within_its_second(header: Option<NaiveDateTime>, written: DateTime<Utc>) -> DateTime<Utc> {
    let Some(began) = header.map(|began| began.and_utc()) else {
        return written;
    };
    written.min(began + TimeDelta::milliseconds(999)).max(began)
}

/// When a dump in custom format was begun, as `pg_restore --list` says it; the time is the dumping program's own, which runs in
/// UTC. `None` for what is no such dump.
fn begun(mut file: impl std::io::Read) -> std::io::Result<Option<NaiveDateTime>> {
    const CUSTOM: u8 = 1;
    let mut head = [0; 11];
    file.read_exact(&mut head)?;
    let [
        b'P',
        b'G',
        b'D',
        b'M',
        b'P',
        1,
        minor,
        _revision,
        integer,
        _offset,
        CUSTOM,
    ] = head
    else {
        return Ok(None);
    };
    // From 1.15 on a byte tells the compression, before that an integer; an integer is a sign and its bytes, lowest first.
    let length = 1 + usize::from(integer);
    let compression = if minor >= 15 { 1 } else { length };
    let mut rest = vec![0; compression + 6 * length];
    file.read_exact(&mut rest)?;
    let mut numbers = rest[compression..].chunks(length).map(|bytes| {
        let low = bytes.iter().skip(1).take(4).rev();
        low.fold(0, |number, byte| number << 8 | u32::from(*byte))
    });
    let mut next = || numbers.next().unwrap_or_default();
    let (second, minute, hour, day, month, year) = (next(), next(), next(), next(), next(), next());
    let year = i32::try_from(year + 1900).unwrap_or_default();
    let date = NaiveDate::from_ymd_opt(year, month + 1, day);
    Ok(date.and_then(|date| date.and_hms_opt(hour, minute, second)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn header(minor: u8, compression: &[u8]) -> Vec<u8> {
        let mut bytes = b"PGDMP\x01".to_vec();
        bytes.extend([minor, 0, 4, 8, 1]);
        bytes.extend(compression);
        for number in [7_u32, 30, 4, 2, 2, 126, 0] {
            bytes.push(0);
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_header_of_a_dump_tells_when_it_was_begun() {
        let expected = NaiveDate::from_ymd_opt(2026, 3, 2).and_then(|date| date.and_hms_opt(4, 30, 7));
        assert_eq!(
            begun(&header(14, &[0, 1, 0, 0, 0])[..]).unwrap(),
            expected,
            "PostgreSQL 15"
        );
        assert_eq!(begun(&header(15, &[1])[..]).unwrap(), expected, "PostgreSQL 16");
        assert_eq!(begun(&b"-- PostgreSQL database dump"[..]).unwrap(), None);
        assert!(begun(&b"PGDMP"[..]).is_err());
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(
            within_its_second(expected, at("2026-03-02T04:30:07.25Z")),
            at("2026-03-02T04:30:07.25Z")
        );
        assert_eq!(
            within_its_second(expected, at("2026-03-02T05:00:00Z")),
            at("2026-03-02T04:30:07.999Z")
        );
        assert_eq!(
            within_its_second(expected, at("2026-03-01T05:00:00Z")),
            at("2026-03-02T04:30:07Z")
        );
        assert_eq!(
            within_its_second(None, at("2026-03-01T05:00:00Z")),
            at("2026-03-01T05:00:00Z")
        );
    }
}
