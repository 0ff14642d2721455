//! The WAL that is kept outside the cluster: whole segments from the archiver, and the stream with its unfinished tail.
//!
//! `archive_command` delivers finished segments only (a manual's "continuous archiving"), so the tail of the newest
//! segment is lost with the cluster unless pg_receivewal streams it as well; its newest file carries `.partial`.
//! [`WalSource::reach`] reads the WAL with pg_waldump and tells how far it can be proven to go.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{BackupError, Site};
use crate::postgres::{Lsn, TimelineId};

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

/// How far the WAL goes from some LSN on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// End of the last record that can be read.
    pub end: Option<Lsn>,
    /// The last commit in it: where its record begins, and its time.
    pub last_commit: Option<(Lsn, DateTime<Utc>)>,
    /// Segments read.
    pub segments: u64,
    /// What stands in the way of going further, if it is not simply the end: a gap, damage, a wrong size.
    pub problems: Vec<String>,
}

impl WalSource {
    /// Every segment that is there; the archive's copy is preferred to the stream's, a whole one to a partial one.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn segments(&self) -> Result<BTreeMap<SegmentNumber, PathBuf>, BackupError> {
        let mut segments = BTreeMap::new();
        let partial_last = [(&self.stream, true), (&self.stream, false), (&self.archive, false)];
        for (directory, partial) in partial_last {
            let Some(directory) = directory else { continue };
            let failed = |source| BackupError::Io {
                action: "list",
                path: directory.clone(),
                source,
            };
            for entry in fs::read_dir(directory).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                let segment = match name.strip_suffix(".partial") {
                    Some(stem) if partial => stem,
                    None if !partial => &name,
                    _ => continue,
                };
                if let Some(number) = self.parse(segment) {
                    segments.insert(number, path);
                }
            }
        }
        Ok(segments)
    }

    /// A segment's file name.
    pub fn name(&self, segment: SegmentNumber) -> String {
        let per_xlog_id = 0x1_0000_0000 / self.segment_bytes.max(1);
        format!(
            "{:08X}{:08X}{:08X}",
            segment.timeline,
            segment.number / per_xlog_id,
            segment.number % per_xlog_id
        )
    }

    fn parse(&self, name: &str) -> Option<SegmentNumber> {
        if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |range| u64::from_str_radix(name.get(range)?, 16).ok();
        let per_xlog_id = 0x1_0000_0000 / self.segment_bytes.max(1);
        Some(SegmentNumber {
            timeline: part(0..8)? as u32,
            number: part(8..16)? * per_xlog_id + part(16..24)?,
        })
    }

    /// How far the WAL goes from `from` on `timeline`: contiguous segments of the right size, then every record read.
    ///
    /// # Errors
    /// If the segments cannot be listed or pg_waldump cannot be run at all.
    pub async fn reach(&self, site: &Site, from: Lsn, timeline: TimelineId) -> Result<Reach, BackupError> {
        let mut reach = Reach::default();
        let segments = self.segments()?;
        let first = SegmentNumber {
            timeline: timeline.0,
            number: from.0 / self.segment_bytes,
        };
        let mut usable = Vec::new();
        let mut next = first;
        while let Some(path) = segments.get(&next) {
            let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
            if bytes != self.segment_bytes {
                let name = self.name(next);
                reach.problems.push(format!(
                    "segment {name} has {bytes} bytes instead of {}",
                    self.segment_bytes
                ));
                break;
            }
            usable.push((next, path));
            next.number += 1;
        }
        let later = segments
            .range(next..)
            .find(|(segment, _)| segment.timeline == timeline.0 && **segment != next);
        if let (Some((later, _)), true) = (later, reach.problems.is_empty()) {
            reach.problems.push(format!(
                "segment {} is missing, {} is there",
                self.name(next),
                self.name(*later)
            ));
        }
        if usable.is_empty() {
            reach.problems.push(format!(
                "segment {}, where the backup begins, is missing",
                self.name(first)
            ));
            return Ok(reach);
        }
        reach.segments = usable.len() as u64;
        let text = dump(site, self, &usable, from, timeline).await?;
        read_dump(&text, &mut reach);
        let last_begins = Lsn(usable[usable.len() - 1].0.number * self.segment_bytes);
        // That there is no further segment is no obstacle; what pg_waldump says of a record is.
        let obstacle = text
            .lines()
            .rev()
            .find(|line| line.starts_with("pg_waldump: ") && !line.contains("could not find file"));
        if let (Some(end), Some(obstacle)) = (reach.end.filter(|end| *end < last_begins), obstacle) {
            let obstacle = obstacle.trim();
            reach
                .problems
                .push(format!("the WAL can be read to {end} only: {obstacle}"));
        }
        Ok(reach)
    }
}

/// pg_waldump's output for `segments`, its last words on stderr included.
async fn dump(
    site: &Site,
    wal: &WalSource,
    segments: &[(SegmentNumber, &PathBuf)],
    from: Lsn,
    timeline: TimelineId,
) -> Result<String, BackupError> {
    let staging = tempfile::Builder::new()
        .prefix("wal-")
        .tempdir_in(site.work.path())
        .map_err(|source| BackupError::Io {
            action: "create a directory in",
            path: site.work.path().to_owned(),
            source,
        })?;
    let failed = |source| BackupError::Io {
        action: "prepare",
        path: staging.path().to_owned(),
        source,
    };
    for (segment, path) in segments {
        std::os::unix::fs::symlink(path, staging.path().join(wal.name(*segment))).map_err(failed)?;
    }
    site.work.user().chown(staging.path())?;
    let end = segments
        .last()
        .map(|(last, _)| Lsn((last.number + 1) * wal.segment_bytes));
    let output = site
        .tool("pg_waldump")
        .arg("--path")
        .arg(staging.path())
        .arg(format!("--timeline={}", timeline.0))
        .arg(format!("--start={from}"))
        // Without an end pg_waldump waits five seconds for the segment after the last one.
        .args(end.map(|end| format!("--end={end}")))
        .arg("--rmgr=Transaction")
        .output() // it always ends with an error: the end of the WAL
        .await?;
    Ok(format!("{}\n{}", output.stdout, output.stderr))
}

/// Takes the last commit and the end of the readable WAL from pg_waldump's output.
fn read_dump(text: &str, reach: &mut Reach) {
    for line in text.lines() {
        if let (Some(lsn), Some(at)) = (field(line, "lsn: "), commit_time(line)) {
            reach.last_commit = lsn.parse().ok().map(|lsn| (lsn, at));
        } else if let Some((_, position)) = line.split_once("error in WAL record at ") {
            reach.end = position.split([':', ' ']).next().and_then(|lsn| lsn.parse().ok());
            // "invalid record length at X" says where reading stopped; the record before it is whole.
            if let Some((_, stopped)) = position.split_once(" at ") {
                reach.end = stopped
                    .split([':', ' '])
                    .next()
                    .and_then(|lsn| lsn.parse().ok())
                    .or(reach.end);
            }
        } else if line.contains("could not find") && reach.end.is_none() {
            reach.end = reach.last_commit.map(|(lsn, _)| lsn);
        }
    }
    reach.end = reach.end.or(reach.last_commit.map(|(lsn, _)| lsn));
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split([',', ' ']).next()
}

fn commit_time(line: &str) -> Option<DateTime<Utc>> {
    let rest = line.split_once("desc: COMMIT ")?.1;
    let time = rest.split(" UTC").next()?;
    NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f")
        .ok()
        .map(|time| time.and_utc())
}

/// The script that `restore_command` runs: `SCRIPT %f %p`. It takes a file from the archive, else from the stream,
/// else the stream's unfinished tail, and fails if there is none: which the server takes for the end of the archive.
///
/// A segment of another size than a segment has is not offered: it would be fatal to the server (PostgreSQL 16,
/// xlogarchive.c), while the WAL before it is good. `service` is a program that is asked first while it is there.
pub fn restore_script(wal: &WalSource, service: &Path) -> String {
    let mut script = String::from("#!/bin/sh\n# restore_command: $1 = file asked for, $2 = where to put it\n");
    let service = service.display();
    let bytes = wal.segment_bytes;
    let _ = write!(
        script,
        "if [ -f '{service}' ]; then sh '{service}' \"$1\" || exit 1; fi\n\
         case \"$1\" in *.*) whole=any ;; *) whole={bytes} ;; esac\n\
         offer() {{ [ -f \"$1\" ] && {{ [ $whole = any ] || [ \"$(wc -c < \"$1\")\" -eq $whole ]; }}; }}\n"
    );
    let mut offer = |directory: &Path, suffix: &str| {
        let file = format!("'{}'/\"$1\"{suffix}", directory.display());
        let _ = writeln!(script, "if offer {file}; then exec cp {file} \"$2\"; fi");
    };
    if let Some(archive) = &wal.archive {
        offer(archive, "");
    }
    if let Some(stream) = &wal.stream {
        offer(stream, "");
        offer(stream, ".partial");
    }
    script.push_str("exit 1\n");
    script
}

/// The source's `archive_command`: copies to a temporary name and renames, so that a killed archiver leaves no torn
/// segment, and refuses to overwrite (PostgreSQL manual, 26.3.1).
pub fn archive_command(archive: &Path, durable: bool) -> String {
    let archive = archive.display();
    let sync = if durable {
        format!(" && sync '{archive}/.%f.tmp'")
    } else {
        String::new()
    };
    format!("test ! -f '{archive}/%f' && cp '%p' '{archive}/.%f.tmp'{sync} && mv '{archive}/.%f.tmp' '{archive}/%f'")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Reach, SegmentNumber, WalSource, archive_command, read_dump, restore_script};
    use crate::postgres::Lsn;

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
        assert_eq!(wal.parse("00000002.history"), None);
    }

    #[test]
    fn the_end_and_the_last_commit_are_read_from_pg_waldump() {
        let text = "rmgr: Transaction len (rec/tot):     46/    46, tx:        735, lsn: 0/01952E38, prev 0/01952DF8, \
                    desc: COMMIT 2026-05-01 10:00:00.123456 UTC; inval msgs: catcache 50\n\
                    pg_waldump: error: error in WAL record at 0/1952E38: invalid record length at 0/1952E70: expected at least 24, got 0";
        let mut reach = Reach::default();
        read_dump(text, &mut reach);
        assert_eq!(reach.end, Some(Lsn(0x195_2E70)));
        let (lsn, at) = reach.last_commit.unwrap();
        assert_eq!(lsn, Lsn(0x195_2E38));
        assert_eq!(at.to_rfc3339(), "2026-05-01T10:00:00.123456+00:00");
    }

    #[test]
    fn whole_segments_come_before_the_partial_tail() {
        let script = restore_script(&source(), "/w/archive-service.sh".as_ref());
        let place = |text: &str| script.find(text).unwrap();
        assert!(place("'/a'/\"$1\" ") < place("'/s'/\"$1\" ") && place("'/s'/\"$1\" ") < place("'/s'/\"$1\".partial"));
    }

    #[test]
    fn archiving_never_overwrites_and_ends_with_a_rename() {
        let command = archive_command("/a".as_ref(), true);
        assert!(
            command.starts_with("test ! -f '/a/%f'") && command.ends_with("mv '/a/.%f.tmp' '/a/%f'"),
            "{command}"
        );
    }
}
