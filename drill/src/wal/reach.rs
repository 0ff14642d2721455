//! How far the WAL goes: contiguous segments of the service's own history, and every record in them that can be read.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{
    Instead, SegmentNumber, WalError, WalSource,
    copies::Copies,
    segment,
    timeline::{self, Course},
    waldump::{Reader, last_record_end, read_dump, stopped_after, switches},
};
use crate::{
    errors::chain,
    postgres::{Installation, Lsn, ServerUser, SystemIdentifier, TimelineId, WorkDir},
};

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
    /// Where replay is to stop; what comes after does not matter.
    pub until: Option<Lsn>,
}

impl Start<'_> {
    fn needs(&self, segment: SegmentNumber, segment_bytes: u64) -> bool {
        self.until.is_none_or(|until| segment.number <= until.0 / segment_bytes)
    }
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
    /// Where the last of them ends: the WAL goes no further.
    pub covered: Option<Lsn>,
    /// Why the records could not be read, where that says nothing of the WAL: then its end is not known.
    pub unread: Option<String>,
    /// What stands in the way of going further, if it is not simply the end: a gap, damage, a wrong size.
    pub problems: Vec<String>,
    /// What people must know although nothing is lost by it.
    pub remarks: Vec<String>,
    /// Segments of which the first copy must not be used: the copy to use instead, or none.
    pub instead: Instead,
}

impl Reach {
    /// How far it goes. If its records could not be read, this is the end of its files: the most that it can be.
    pub fn goes_to(&self) -> Option<Lsn> {
        self.end.or(self.covered.filter(|_| self.unread.is_some()))
    }
}

impl WalSource {
    /// How far the WAL goes from a start on, through the timelines of the service's own history: contiguous segments of
    /// the right size and cluster, then every record read. A damaged or unfinished copy of a segment gives way to another
    /// that goes further.
    ///
    /// # Errors
    /// If there is no place for what pg_waldump is shown.
    pub async fn reach(
        &self,
        installation: &Installation,
        work: &WorkDir,
        start: Start<'_>,
    ) -> Result<Reach, WalError> {
        let Copies {
            by_segment: mut spares,
            strays,
            mut problems,
        } = self.copies(start.held);
        let first_copy = |(segment, copies): (&SegmentNumber, &mut VecDeque<_>)| Some((*segment, copies.pop_front()?));
        let mut segments: BTreeMap<SegmentNumber, PathBuf> = spares.iter_mut().filter_map(first_copy).collect();
        let is_held = |path: &Path| start.held.is_some_and(|held| path.starts_with(held));
        let outside = segments.iter().filter(|(_, path)| !is_held(path));
        let there: BTreeSet<SegmentNumber> = outside.map(|(segment, _)| *segment).collect();
        let backup = (start.from, start.timeline);
        let (histories, unreadable) = self.histories(work.user());
        let way = match timeline::plan_timelines(backup, start.own, &histories, &there, self.segment_bytes) {
            Ok(way) => way,
            Err(stray) => {
                problems.extend(unreadable.into_values());
                problems.push(stray.clone());
                return Ok(Reach {
                    problems,
                    stray: Some(stray),
                    ..Reach::default()
                });
            }
        };
        problems.extend(way.problems);
        let mut remarks = way.remarks;
        for (timeline, text) in unreadable {
            // Nobody needs the history of a timeline that is not followed.
            let needed = timeline == start.own && timeline != start.timeline;
            let list = if needed { &mut problems } else { &mut remarks };
            list.push(text);
        }
        let first = start.from.0 / self.segment_bytes;
        let kept_elsewhere = self.archive.is_some() || self.stream.is_some();
        for (segment, _) in segments.iter().filter(|(_, path)| kept_elsewhere && is_held(path)) {
            if way.course.includes(*segment) && segment.number >= first && start.needs(*segment, self.segment_bytes) {
                let name = self.name(*segment);
                problems.push(format!("segment {name} is missing; only the backup itself has it"));
            }
        }
        let reading = Reading {
            wal: self,
            reader: Reader { installation, work },
            start,
            course: &way.course,
            strays: &strays,
        };
        let mut reach = reading.read(&segments).await?;
        let mut instead = BTreeMap::new();
        loop {
            // What ends the reading is in the segment in which it ends, or at the beginning of the next.
            let ends = reach.goes_to().unwrap_or(start.from).0 / self.segment_bytes;
            let spare = [ends, ends + 1].into_iter().find_map(|number| {
                let (segment, first) = way.course.file(&segments, number)?;
                let worth_it = !reach.problems.is_empty() || first.extension().is_some();
                let copies = spares.get_mut(&segment).filter(|_| worth_it)?;
                Some((segment, first.clone(), copies.pop_front()?))
            });
            let Some((segment, damaged, copy)) = spare else { break };
            segments.insert(segment, copy.clone());
            let further = reading.read(&segments).await?;
            if further.goes_to() > reach.goes_to() {
                if !reach.problems.is_empty() {
                    let (why, damaged, copy) = (reach.problems.join("; "), damaged.display(), copy.display());
                    problems.push(format!("{why}; {copy} is used instead of {damaged}"));
                }
                instead.insert(self.name(segment), Some(copy));
                reach = further;
            } else {
                segments.insert(segment, damaged);
            }
        }
        problems.append(&mut reach.problems);
        instead.append(&mut reach.instead);
        Ok(Reach {
            explicit: way.explicit,
            proven: way.proven,
            foreign: way.foreign,
            problems,
            remarks,
            instead,
            ..reach
        })
    }
}

/// What is read: the WAL of a backup, along its way.
struct Reading<'a> {
    wal: &'a WalSource,
    reader: Reader<'a>,
    start: Start<'a>,
    course: &'a Course,
    /// Files without the name of a segment.
    strays: &'a [PathBuf],
}

/// How far the records go.
struct Records {
    end: Option<Lsn>,
    last_commit: Option<(Lsn, DateTime<Utc>)>,
    /// Records that end their segment early.
    switches: Vec<Lsn>,
    /// What pg_waldump complained about, and whether that says nothing of the records.
    stopped: Option<String>,
    unread: bool,
}

impl Reading<'_> {
    /// As [`WalSource::reach`], of these copies.
    async fn read(&self, segments: &BTreeMap<SegmentNumber, PathBuf>) -> Result<Reach, WalError> {
        let (from, bytes) = (self.start.from, self.wal.segment_bytes);
        let timelines = self.course.timelines();
        let expected = segment::Expected {
            segment_bytes: bytes,
            system: self.start.system,
            magic: segment::magic(self.reader.installation.major),
            timelines: &timelines,
        };
        let mut reach = Reach {
            timeline: Some(self.course.timeline),
            ..Reach::default()
        };
        let usable = self.usable(segments, expected, &mut reach);
        reach.segments = usable.len() as u64;
        let Some((last, last_path)) = usable.last().copied() else {
            return Ok(reach);
        };
        let last_begins = Lsn(last.number * bytes);
        let whole = Lsn((last.number + 1) * bytes);
        reach.covered = Some(whole);
        let mut records = match self.records(&usable, whole).await {
            Err(error @ (WalError::Tool(_) | WalError::Unexpected { .. })) => {
                reach.unread = Some(chain(&error));
                return Ok(reach);
            }
            records => records?,
        };
        // A whole segment can be read to its end; the tail of an unfinished one is zeros, or a record not yet complete.
        // A backup's own WAL ends with the backup.
        let unfinished = last_path.extension().is_some() || self.is_held(last_path);
        let stop = records.end.unwrap_or(from);
        let torn = unfinished
            && segment::goes_on_behind(last_path, last, bytes, stop).map_err(|source| WalError::Io {
                action: "read",
                path: last_path.clone(),
                source,
            })?;
        let early = !unfinished || torn || records.unread || records.end.is_some_and(|end| end < last_begins);
        let mut why = records.stopped.take().filter(|_| early);
        // The server looks at more in the headers than pg_waldump does.
        if let Some((page, problem)) = bad_page(&usable, expected, (from, stop), &records.switches)? {
            let segment = usable.iter().rfind(|(segment, _)| segment.number * bytes <= page.0);
            let name = segment.map_or_else(String::new, |(segment, _)| self.wal.name(*segment));
            why = Some(format!("the page at {page} in segment {name} {problem}"));
            records = self.records(&usable, page).await?;
        }
        (reach.end, reach.last_commit) = (records.end, records.last_commit);
        if let Some(left) = self.course.left(last.timeline) {
            // What that timeline holds behind the branch is another history.
            reach.end = reach.end.map(|end| end.min(left));
            reach.last_commit = reach.last_commit.filter(|(begins, _)| *begins < left);
        }
        if let Some(why) = why {
            let end = reach.end.map_or_else(|| "nothing".to_owned(), |end| end.to_string());
            reach.problems.push(format!("the WAL can be read to {end} only: {why}"));
        }
        if self.start.until.is_some_and(|until| reach.end > Some(until)) {
            reach.problems.clear(); // what is behind the end that is needed
        }
        Ok(reach)
    }

    /// The segments from the start on that can be read, up to the first that cannot or is not there.
    fn usable<'s>(
        &self,
        segments: &'s BTreeMap<SegmentNumber, PathBuf>,
        expected: segment::Expected<'_>,
        reach: &mut Reach,
    ) -> Vec<(SegmentNumber, &'s PathBuf)> {
        let first = self.start.from.0 / self.wal.segment_bytes;
        let check = |path: &Path, segment| segment::check(path, segment, expected, self.reader_of(path));
        let mut usable = Vec::new();
        for number in first.. {
            let missing = SegmentNumber {
                timeline: self.course.timeline.0,
                number,
            };
            if !self.start.needs(missing, self.wal.segment_bytes) {
                return usable;
            }
            let Some((segment, path)) = self.course.file(segments, number) else {
                reach.problems.extend(self.gap(segments, missing, &check));
                if usable.is_empty() && reach.problems.is_empty() {
                    let name = self.wal.name(missing);
                    let text = format!("segment {name}, where the backup begins, is missing");
                    reach.problems.push(text);
                }
                return usable;
            };
            if let Err(problem) = check(path, segment) {
                let unused = problem == segment::Problem::Empty && path.extension().is_some();
                let name = self.wal.name(segment);
                if !unused {
                    reach.problems.push(format!("segment {name} {problem}"));
                }
                reach.instead.insert(name, None);
                return usable;
            }
            usable.push((segment, path));
        }
        usable
    }

    /// What shows that a missing segment once existed: a later one of the service's own, or its content under another name.
    fn gap(
        &self,
        segments: &BTreeMap<SegmentNumber, PathBuf>,
        missing: SegmentNumber,
        check: &dyn Fn(&Path, SegmentNumber) -> Result<(), segment::Problem>,
    ) -> Option<String> {
        let name = self.wal.name(missing);
        let later = segments.iter().find(|(later, path)| {
            let on_the_way = later.number > missing.number && self.course.includes(**later);
            on_the_way && self.start.needs(**later, self.wal.segment_bytes) && check(path, **later).is_ok()
        });
        if let Some((later, _)) = later {
            return Some(format!("segment {name} is missing, {} is there", self.wal.name(*later)));
        }
        let elsewhere = self.strays.iter().find(|path| check(path, missing).is_ok())?;
        let elsewhere = elsewhere.display();
        Some(format!(
            "segment {name} is missing, {elsewhere} holds what should be in it"
        ))
    }

    /// Who has to read a file: the server, but for what a backup brings along, which the restore copies.
    fn reader_of(&self, path: &Path) -> Option<&ServerUser> {
        (!self.is_held(path)).then(|| self.reader.work.user())
    }

    fn is_held(&self, path: &Path) -> bool {
        self.start.held.is_some_and(|held| path.starts_with(held))
    }

    /// How far the records go that end before `to`.
    async fn records(&self, usable: &[(SegmentNumber, &PathBuf)], to: Lsn) -> Result<Records, WalError> {
        let (from, bytes) = (self.start.from, self.wal.segment_bytes);
        let mut records = Records {
            end: None,
            last_commit: None,
            switches: Vec::new(),
            stopped: None,
            unread: false,
        };
        if to <= from {
            return Ok(records);
        }
        let dump = |from, arguments| {
            self.reader
                .dump(self.wal, usable, (from, to), self.course.timeline, arguments)
        };
        let text = dump(from, &["--rmgr=Transaction", "--rmgr=XLOG"]).await?;
        records.switches = switches(&text);
        (records.end, records.last_commit) = read_dump(&text, self.start.until);
        let stopped = text.lines().rev().find(|line| line.contains("error: "));
        records.stopped = stopped.map(|line| line.trim().to_owned());
        // A file that cannot be opened proves nothing of what is behind it.
        records.unread = stopped.is_some() && stopped_after(&text).is_none();
        // It ended between records, or in one whose position is not told: read the last record's length. A long one may
        // have begun some segments before.
        let mut at = stopped_after(&text)
            .unwrap_or(Lsn((to.0 - 1) / bytes * bytes))
            .max(from);
        while records.end.is_none() && !records.unread {
            let text = dump(at, &[]).await?;
            records.end = last_record_end(&text, bytes);
            if at == from {
                break;
            }
            at = Lsn((at.0 - 1) / bytes * bytes).max(from);
        }
        records.end = records.end.or(records.last_commit.map(|(lsn, _)| lsn));
        Ok(records)
    }
}

/// The first page of these segments between two positions that the server would not take.
fn bad_page(
    usable: &[(SegmentNumber, &PathBuf)],
    expected: segment::Expected<'_>,
    range: (Lsn, Lsn),
    switches: &[Lsn],
) -> Result<Option<(Lsn, segment::Problem)>, WalError> {
    let mut newest = 0;
    for (segment, path) in usable {
        let bad = segment::first_bad_page(path, *segment, expected, range, switches, &mut newest);
        let bad = bad.map_err(|source| WalError::Io {
            action: "read",
            path: (*path).clone(),
            source,
        })?;
        if bad.is_some() {
            return Ok(bad);
        }
    }
    Ok(None)
}
