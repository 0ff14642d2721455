//! The WAL that is kept outside the cluster: whole segments from the archiver, and the stream with its unfinished tail.
//!
//! `archive_command` delivers finished segments only (a manual's "continuous archiving"), so the tail of the newest
//! segment is lost with the cluster unless pg_receivewal streams it as well; its newest file carries `.partial`.
//! [`WalSource::reach`] reads the WAL with pg_waldump and tells how far it can be proven to go.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{BackupError, Site, segment};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId};

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
    /// The timeline that it ends on.
    pub timeline: Option<TimelineId>,
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

    /// How far the WAL goes from `from` on, beginning on `timeline` and following the newest timeline that descends from
    /// it, as the server does by default: contiguous segments of the right size and cluster, then every record read.
    ///
    /// # Errors
    /// If the segments cannot be listed or pg_waldump cannot be run at all.
    pub async fn reach(
        &self,
        site: &Site,
        from: Lsn,
        timeline: TimelineId,
        system: Option<SystemIdentifier>,
    ) -> Result<Reach, BackupError> {
        let segments = self.segments()?;
        let mut reach = Reach::default();
        let course = self.course(&segments, from, timeline, &mut reach.problems)?;
        reach.timeline = Some(course.timeline);
        let first = from.0 / self.segment_bytes;
        let magic = segment::magic(site.installation.major);
        let mut usable: Vec<(SegmentNumber, &PathBuf)> = Vec::new();
        let mut broken = false;
        for number in first.. {
            let Some((segment, path)) = course.file(&segments, number) else {
                break;
            };
            if let Err(problem) = segment::check(path, segment, self.segment_bytes, system, magic) {
                let unused = problem == segment::Problem::Empty && path.extension().is_some();
                if !unused {
                    reach.problems.push(format!("segment {} {problem}", self.name(segment)));
                }
                broken = true;
                break;
            }
            usable.push((segment, path));
        }
        let next = first + usable.len() as u64;
        let missing = SegmentNumber {
            timeline: course.timeline.0,
            number: next,
        };
        let later = segments
            .keys()
            .find(|later| later.number > next && course.includes(**later));
        if let (Some(later), false) = (later, broken) {
            reach.problems.push(format!(
                "segment {} is missing, {} is there",
                self.name(missing),
                self.name(*later)
            ));
        }
        let Some((last, last_path)) = usable.last().copied() else {
            if !broken {
                reach.problems.push(format!(
                    "segment {}, where the backup begins, is missing",
                    self.name(missing)
                ));
            }
            return Ok(reach);
        };
        reach.segments = usable.len() as u64;
        let text = dump(site, self, &usable, from, course.timeline, &["--rmgr=Transaction"]).await?;
        read_dump(&text, &mut reach);
        let last_begins = Lsn(last.number * self.segment_bytes);
        if reach.end.is_none() {
            // It ended between records, or in one whose position is not told: read the last record's length.
            let at = stopped_after(&text).unwrap_or(last_begins).max(from);
            let text = dump(site, self, &usable, at, course.timeline, &[]).await?;
            reach.end = last_record_end(&text, self.segment_bytes).or(reach.last_commit.map(|(lsn, _)| lsn));
        }
        let stopped = text.lines().rev().find(|line| line.contains("error: "));
        // A whole segment can be read to its end; the tail of an unfinished one is zeros, or a record not yet complete.
        let early = last_path.extension().is_none() || reach.end.is_some_and(|end| end < last_begins);
        if let (Some(stopped), true) = (stopped, early) {
            let end = reach.end.map_or_else(|| "nothing".to_owned(), |end| end.to_string());
            reach
                .problems
                .push(format!("the WAL can be read to {end} only: {}", stopped.trim()));
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
    arguments: &[&str],
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
        // pg_waldump reads one timeline by its names; what came before a branch stands in under the same timeline.
        let name = wal.name(SegmentNumber {
            timeline: timeline.0,
            ..*segment
        });
        std::os::unix::fs::symlink(path, staging.path().join(name)).map_err(failed)?;
    }
    site.work.user().chown(staging.path())?;
    let end = segments
        .last()
        .map_or(from, |(last, _)| Lsn((last.number + 1) * wal.segment_bytes));
    let output = site
        .tool("pg_waldump")
        .arg("--path")
        .arg(staging.path())
        .arg(format!("--timeline={}", timeline.0))
        .arg(format!("--start={from}"))
        // For the segment after the last it would wait five seconds.
        .arg(format!("--end={end}"))
        .args(arguments)
        .output() // it fails where it meets the end of the WAL within a segment
        .await?;
    Ok(format!("{}\n{}", output.stdout, output.stderr))
}

/// Takes the last commit, and the end of the readable WAL where its last words name it, from pg_waldump's output.
fn read_dump(text: &str, reach: &mut Reach) {
    // Of a record that cannot be read, only these say where it begins, which is where the one before it ends.
    const NAMING: [&str; 3] = [
        "invalid record length at ",
        "record with incorrect prev-link",
        "resource manager",
    ];
    for line in text.lines() {
        if let (Some(lsn), Some(at)) = (field(line, "lsn: "), commit_time(line)) {
            reach.last_commit = lsn.parse().ok().map(|lsn| (lsn, at));
        } else if let Some((_, said)) = line.split_once("error in WAL record at ") {
            let names = NAMING.iter().any(|words| said.contains(words));
            let positions = said
                .split(" at ")
                .skip(1)
                .filter_map(|rest| rest.split([':', ' ']).next()?.parse::<Lsn>().ok());
            let stopped = positions.last().filter(|_| names);
            reach.end = stopped.map(segment::before_page_header).or(reach.end);
        }
    }
}

/// Where the last record began that pg_waldump read, by its last words.
fn stopped_after(text: &str) -> Option<Lsn> {
    let (_, said) = text.rsplit_once("error in WAL record at ")?;
    said.split([':', ' ']).next()?.parse().ok()
}

/// Where the last record ends that pg_waldump printed.
fn last_record_end(text: &str, segment_bytes: u64) -> Option<Lsn> {
    let line = text.lines().rev().find(|line| line.starts_with("rmgr: "))?;
    let begins: Lsn = field(line, "lsn: ")?.parse().ok()?;
    if line.contains("desc: SWITCH") {
        return Some(Lsn((begins.0 / segment_bytes + 1) * segment_bytes));
    }
    let (_, total) = line.split_once("len (rec/tot):")?.1.split_once('/')?;
    Some(segment::record_end(
        begins,
        total.split(',').next()?.trim().parse().ok()?,
        segment_bytes,
    ))
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
pub fn restore_script(wal: &WalSource) -> String {
    let mut script = String::from("#!/bin/sh\n# restore_command: $1 = file asked for, $2 = where to put it\n");
    let mut offer = |directory: &Path, suffix: &str| {
        let file = format!("'{}'/\"$1\"{suffix}", directory.display());
        for part in ["if [ -f ", &file, " ]; then exec cp ", &file, " \"$2\"; fi\n"] {
            script.push_str(part);
        }
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
        let script = restore_script(&source());
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
