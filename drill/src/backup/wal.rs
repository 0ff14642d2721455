//! The WAL that is kept outside the cluster: whole segments from the archiver, and the stream with its unfinished tail.
//!
//! `archive_command` delivers finished segments only (a manual's "continuous archiving"), so the tail of the newest
//! segment is lost with the cluster unless pg_receivewal streams it as well; its newest file carries `.partial`.
//! [`WalSource::reach`] reads the WAL with pg_waldump and tells how far it can be proven to go.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{
    BackupError, Site, segment,
    timeline::{self, Course},
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
    /// Segments of which the copy that comes first is damaged, and the copy that goes further.
    pub instead: BTreeMap<String, PathBuf>,
}

impl WalSource {
    /// The copies of each segment, in the order in which they are offered to a server: the archive's, the stream's, its
    /// unfinished one, and the one that a backup holds.
    fn copies(&self, held: Option<&Path>) -> Result<BTreeMap<SegmentNumber, VecDeque<PathBuf>>, BackupError> {
        let mut copies = BTreeMap::<_, VecDeque<_>>::new();
        let (archive, stream) = (self.archive.as_deref(), self.stream.as_deref());
        for (directory, partial) in [(archive, false), (stream, false), (stream, true), (held, false)] {
            let Some(directory) = directory else { continue };
            let failed = |source| BackupError::Io {
                action: "list",
                path: directory.to_owned(),
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
                    copies.entry(number).or_default().push_back(path);
                }
            }
        }
        Ok(copies)
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
    /// the right size and cluster, then every record read. A damaged or unfinished copy of a segment gives way to another
    /// that goes further.
    ///
    /// # Errors
    /// If the segments cannot be listed or pg_waldump cannot be run at all.
    pub async fn reach(&self, site: &Site, start: Start<'_>) -> Result<Reach, BackupError> {
        let mut spares = self.copies(start.held)?;
        let first_copy = |(segment, copies): (&SegmentNumber, &mut VecDeque<_>)| Some((*segment, copies.pop_front()?));
        let mut segments: BTreeMap<SegmentNumber, PathBuf> = spares.iter_mut().filter_map(first_copy).collect();
        let is_held = |path: &Path| start.held.is_some_and(|held| path.starts_with(held));
        let outside = segments.iter().filter(|(_, path)| !is_held(path));
        let there: BTreeSet<SegmentNumber> = outside.map(|(segment, _)| *segment).collect();
        let backup = (start.from, start.timeline);
        let way = match timeline::way(backup, start.own, &self.histories()?, &there, self.segment_bytes) {
            Ok(way) => way,
            Err(stray) => {
                return Ok(Reach {
                    problems: vec![stray.clone()],
                    stray: Some(stray),
                    ..Reach::default()
                });
            }
        };
        let mut problems = way.problems;
        let first = start.from.0 / self.segment_bytes;
        for (segment, _) in segments.iter().filter(|(_, path)| is_held(path)) {
            if way.course.includes(*segment) && segment.number >= first {
                let name = self.name(*segment);
                problems.push(format!("segment {name} is missing; only the backup itself has it"));
            }
        }
        let mut reach = self.read(site, start, &way.course, &segments).await?;
        let mut instead = BTreeMap::new();
        loop {
            // What ends the reading is in the segment in which it ends, or at the beginning of the next.
            let ends = reach.end.unwrap_or(start.from).0 / self.segment_bytes;
            let spare = [ends, ends + 1].into_iter().find_map(|number| {
                let (segment, first) = way.course.file(&segments, number)?;
                let worth_it = !reach.problems.is_empty() || first.extension().is_some();
                let copies = spares.get_mut(&segment).filter(|_| worth_it)?;
                Some((segment, first.clone(), copies.pop_front()?))
            });
            let Some((segment, damaged, copy)) = spare else { break };
            segments.insert(segment, copy.clone());
            let further = self.read(site, start, &way.course, &segments).await?;
            if further.end > reach.end {
                if !reach.problems.is_empty() {
                    let (why, damaged, copy) = (reach.problems.join("; "), damaged.display(), copy.display());
                    problems.push(format!("{why}; {copy} is used instead of {damaged}"));
                }
                instead.insert(self.name(segment), copy);
                reach = further;
            } else {
                segments.insert(segment, damaged);
            }
        }
        problems.append(&mut reach.problems);
        Ok(Reach {
            explicit: way.explicit,
            proven: way.proven,
            foreign: way.foreign,
            problems,
            instead,
            ..reach
        })
    }

    /// As [`WalSource::reach`], of these copies.
    async fn read(
        &self,
        site: &Site,
        start: Start<'_>,
        course: &Course,
        segments: &BTreeMap<SegmentNumber, PathBuf>,
    ) -> Result<Reach, BackupError> {
        let (from, system) = (start.from, start.system);
        let first = from.0 / self.segment_bytes;
        let mut reach = Reach {
            timeline: Some(course.timeline),
            ..Reach::default()
        };
        let magic = segment::magic(site.installation.major);
        let mut usable: Vec<(SegmentNumber, &PathBuf)> = Vec::new();
        let mut broken = false;
        for number in first.. {
            let Some((segment, path)) = course.file(segments, number) else {
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
        let stopped = text.lines().rev().find(|line| line.contains("error: "));
        // A file that cannot be opened proves nothing of what is behind it.
        let unread = stopped.is_some() && stopped_after(&text).is_none();
        if reach.end.is_none() && !unread {
            // It ended between records, or in one whose position is not told: read the last record's length.
            let at = stopped_after(&text).unwrap_or(last_begins).max(from);
            let text = dump(site, self, &usable, at, course.timeline, &[]).await?;
            reach.end = last_record_end(&text, self.segment_bytes);
        }
        reach.end = reach.end.or(reach.last_commit.map(|(lsn, _)| lsn));
        if let Some(left) = course.left(last.timeline) {
            // What that timeline holds behind the branch is another history.
            reach.end = reach.end.map(|end| end.min(left));
            reach.last_commit = reach.last_commit.filter(|(begins, _)| *begins < left);
        }
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
        let early = !unfinished || torn || unread || reach.end.is_some_and(|end| end < last_begins);
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
        assert_eq!(wal.parse("00000002.history"), None);
    }
}
