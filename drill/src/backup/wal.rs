//! The WAL that is kept outside the cluster: whole segments from the archiver, and the stream with its unfinished tail.
//!
//! `archive_command` delivers finished segments only (a manual's "continuous archiving"), so the tail of the newest
//! segment is lost with the cluster unless pg_receivewal streams it as well; its newest file carries `.partial`.
//! [`WalSource::reach`] reads the WAL with pg_waldump and tells how far it can be proven to go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{
    BackupError, Site, segment, timeline,
    waldump::{dump, last_record_end, read_dump, stopped_after},
};
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

/// Where a replay begins, and whose history it must stay in.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The first position needed.
    pub from: Lsn,
    /// The timeline that the backup was taken on.
    pub timeline: TimelineId,
    /// The timeline that the service was on last.
    pub own: TimelineId,
    /// The cluster that wrote it.
    pub system: Option<SystemIdentifier>,
    /// Segments that the backup brings along: the server takes them where the archive has none.
    pub held: Option<&'a Path>,
}

/// How far the WAL goes from some LSN on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// End of the last record that can be read.
    pub end: Option<Lsn>,
    /// The timeline that it ends on.
    pub timeline: Option<TimelineId>,
    /// Whether that timeline must be named to the server.
    pub explicit: bool,
    /// Whether the history files prove that this is the service's own history.
    pub proven: bool,
    /// Timelines in the archive that the server could follow from here and that are not the service's, and why.
    pub foreign: Vec<(TimelineId, String)>,
    /// Why the backup is no part of the service's history, if it is none.
    pub stray: Option<String>,
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
        name(segment, self.segment_bytes)
    }

    fn parse(&self, name: &str) -> Option<SegmentNumber> {
        if !is_segment(name) {
            return None;
        }
        let part = |range| u64::from_str_radix(name.get(range)?, 16).ok();
        let per_xlog_id = 0x1_0000_0000 / self.segment_bytes.max(1);
        Some(SegmentNumber {
            timeline: part(0..8)? as u32,
            number: part(8..16)? * per_xlog_id + part(16..24)?,
        })
    }

    /// How far the WAL goes from a start on, through the timelines of the service's own history: contiguous segments of
    /// the right size and cluster, then every record read.
    ///
    /// # Errors
    /// If the segments cannot be listed or pg_waldump cannot be run at all.
    pub async fn reach(&self, site: &Site, start: Start<'_>) -> Result<Reach, BackupError> {
        let (from, system) = (start.from, start.system);
        let mut segments = self.segments()?;
        let there: BTreeSet<SegmentNumber> = segments.keys().copied().collect();
        let mut reach = Reach::default();
        let backup = (from, start.timeline);
        let way = match timeline::way(backup, start.own, &self.histories()?, &there, self.segment_bytes) {
            Ok(way) => way,
            Err(stray) => {
                reach.problems.push(stray.clone());
                reach.stray = Some(stray);
                return Ok(reach);
            }
        };
        let course = way.course;
        reach.timeline = Some(course.timeline);
        (reach.explicit, reach.proven) = (way.explicit, way.proven);
        (reach.foreign, reach.problems) = (way.foreign, way.problems);
        let first = from.0 / self.segment_bytes;
        if start.held.is_some() {
            let held = WalSource {
                archive: start.held.map(Path::to_owned),
                stream: None,
                ..*self
            };
            for (segment, path) in held.segments()? {
                if course.includes(segment) && segment.number >= first && !segments.contains_key(&segment) {
                    let name = self.name(segment);
                    reach
                        .problems
                        .push(format!("segment {name} is missing; only the backup itself has it"));
                    segments.insert(segment, path);
                }
            }
        }
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
        if let Some(left) = course.left(last.timeline) {
            // What that timeline holds behind the branch is another history.
            reach.end = reach.end.map(|end| end.min(left));
            reach.last_commit = reach.last_commit.filter(|(begins, _)| *begins < left);
        }
        let stopped = text.lines().rev().find(|line| line.contains("error: "));
        // A whole segment can be read to its end; the tail of an unfinished one is zeros, or a record not yet complete.
        // A backup's own WAL ends with the backup.
        let unfinished = last_path.extension().is_some() || start.held.is_some_and(|held| last_path.starts_with(held));
        let stop = reach.end.unwrap_or(from);
        let torn = unfinished
            && segment::goes_on_behind(last_path, last, self.segment_bytes, stop).map_err(|source| {
                BackupError::Io {
                    action: "read",
                    path: last_path.clone(),
                    source,
                }
            })?;
        let early = !unfinished || torn || reach.end.is_some_and(|end| end < last_begins);
        if let (Some(stopped), true) = (stopped, early) {
            let end = reach.end.map_or_else(|| "nothing".to_owned(), |end| end.to_string());
            reach
                .problems
                .push(format!("the WAL can be read to {end} only: {}", stopped.trim()));
        }
        Ok(reach)
    }
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

/// Whether a file is named as a whole WAL segment is: timeline, and number in two parts.
pub fn is_segment(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
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
    use super::{SegmentNumber, WalSource, archive_command, restore_script};

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
