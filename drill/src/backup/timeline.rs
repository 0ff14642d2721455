//! Timelines: which one a recovery follows, and which file then holds which segment.
//!
//! A server follows the newest timeline of which it finds a history file (PostgreSQL manual, "Timelines"), and takes
//! each segment from the newest timeline that had begun by then. An empty history file names no parents: the server
//! then refuses the backup as not part of that timeline's past.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    BackupError,
    wal::{SegmentNumber, WalSource},
};
use crate::postgres::{Lsn, TimelineId};

/// The parents of a timeline: each with the position at which the next one branched off.
pub type History = Vec<(TimelineId, Lsn)>;

/// Reads a timeline's history file.
///
/// # Errors
/// What is the matter with it, for people.
pub fn parse(text: &str, timeline: TimelineId) -> Result<History, String> {
    let mut history: History = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let mut words = line.split_ascii_whitespace();
        let parent = words.next().and_then(|word| word.parse().ok()).map(TimelineId);
        let (Some(parent), Some(Ok(switch))) = (parent, words.next().map(str::parse)) else {
            return Err(format!("cannot be read at {line:?}"));
        };
        if parent >= timeline || history.last().is_some_and(|(before, _)| *before >= parent) {
            return Err(format!("names timelines out of order at {line:?}"));
        }
        history.push((parent, switch));
    }
    if history.is_empty() {
        Err("is empty: it names no parent".to_owned())
    } else {
        Ok(history)
    }
}

/// The way that a recovery takes through the timelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The timeline that it ends on.
    pub timeline: TimelineId,
    /// Timelines from the newest on, each with the number of the segment in which it begins.
    begins: Vec<(TimelineId, u64)>,
}

impl Course {
    /// The file that holds a segment: of the newest timeline that had begun by then and has one.
    pub fn file<'a>(
        &self,
        segments: &'a BTreeMap<SegmentNumber, PathBuf>,
        number: u64,
    ) -> Option<(SegmentNumber, &'a PathBuf)> {
        let candidates = self.begins.iter().filter(|(_, first)| *first <= number);
        candidates
            .map(|(timeline, _)| SegmentNumber {
                timeline: timeline.0,
                number,
            })
            .find_map(|segment| segments.get(&segment).map(|path| (segment, path)))
    }

    /// Whether a segment lies on it.
    pub fn includes(&self, segment: SegmentNumber) -> bool {
        let newer = self
            .begins
            .iter()
            .take_while(|(timeline, _)| timeline.0 != segment.timeline);
        let over = newer.map(|(_, first)| *first).min();
        self.begins
            .iter()
            .any(|(timeline, first)| timeline.0 == segment.timeline && segment.number >= *first)
            && over.is_none_or(|first| segment.number <= first)
    }
}

impl WalSource {
    /// The course of a recovery from `from` on `timeline`; what is in its way is added to `problems`.
    ///
    /// # Errors
    /// If a directory cannot be listed.
    pub fn course(
        &self,
        segments: &BTreeMap<SegmentNumber, PathBuf>,
        from: Lsn,
        timeline: TimelineId,
        problems: &mut Vec<String>,
    ) -> Result<Course, BackupError> {
        let mut course = Course {
            timeline,
            begins: vec![(timeline, 0)],
        };
        let mut files = BTreeMap::new();
        for directory in [&self.archive, &self.stream].into_iter().flatten() {
            histories(directory, &mut files).map_err(|source| BackupError::Io {
                action: "list",
                path: directory.clone(),
                source,
            })?;
        }
        for (newer, path) in files.range(TimelineId(timeline.0 + 1)..) {
            let name = newer.history_file_name();
            let read = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"));
            let history = match read.and_then(|text| parse(&text, *newer)) {
                Ok(history) => history,
                Err(problem) => {
                    problems.push(format!("{name} {problem}"));
                    continue;
                }
            };
            let Some((_, branch)) = history.iter().find(|(parent, _)| *parent == timeline) else {
                continue;
            };
            if *branch < from {
                problems.push(format!(
                    "timeline {newer} branched off at {branch}, before this backup: name the timeline to recover"
                ));
                continue;
            }
            // Bytes on the parent beyond the branch: two servers went on, and each believed to be the one.
            let goes_on = segments.keys().rfind(|segment| segment.timeline == timeline.0);
            if let Some(last) = goes_on.filter(|last| last.number > branch.0 / self.segment_bytes) {
                let last = self.name(*last);
                problems.push(format!(
                    "timeline {newer} branched off at {branch}, but timeline {timeline} goes on to segment {last}: name the timeline to recover"
                ));
            }
            course.timeline = *newer;
            course.begins = vec![(*newer, 0)];
            for (parent, switch) in history.iter().rev() {
                if let Some(newest) = course.begins.last_mut() {
                    newest.1 = switch.0 / self.segment_bytes;
                }
                course.begins.push((*parent, 0));
            }
        }
        let unnamed = segments
            .keys()
            .find(|segment| segment.timeline > timeline.0 && !files.contains_key(&TimelineId(segment.timeline)));
        if let Some(segment) = unnamed {
            problems.push(format!(
                "segment {} is there, {} is not: the server does not see that timeline",
                self.name(*segment),
                TimelineId(segment.timeline).history_file_name()
            ));
        }
        Ok(course)
    }
}

fn histories(directory: &Path, files: &mut BTreeMap<TimelineId, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let stem = name.strip_suffix(".history").filter(|stem| stem.len() == 8);
        if let Some(timeline) = stem.and_then(|stem| u32::from_str_radix(stem, 16).ok()) {
            files.entry(TimelineId(timeline)).or_insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_history_file_is_read_and_a_damaged_one_is_named() {
        let text = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000100\tbefore 2026\n";
        let history = parse(text, TimelineId(3)).unwrap();
        assert_eq!(
            history,
            [(TimelineId(1), Lsn(0x300_0000)), (TimelineId(2), Lsn(0x500_0100))]
        );
        assert!(parse("", TimelineId(2)).unwrap_err().contains("is empty"));
        assert!(parse("1\t0/3", TimelineId(1)).unwrap_err().contains("out of order"));
        assert!(
            parse("1\tnowhere", TimelineId(2))
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = parse(&text, TimelineId(2));
        }
    }

    fn wal(directory: &Path) -> WalSource {
        WalSource {
            archive: Some(directory.to_owned()),
            stream: None,
            segment_bytes: MIB,
        }
    }

    fn segments(numbers: &[(u32, u64)]) -> BTreeMap<SegmentNumber, PathBuf> {
        numbers
            .iter()
            .map(|(timeline, number)| {
                (
                    SegmentNumber {
                        timeline: *timeline,
                        number: *number,
                    },
                    PathBuf::new(),
                )
            })
            .collect()
    }

    #[test]
    fn the_newest_timeline_is_followed_and_a_fork_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("00000002.history"), "1\t0/380000\tx\n").unwrap();
        let mut problems = Vec::new();
        let there = segments(&[(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]);
        let course = wal(directory.path())
            .course(&there, Lsn(MIB), TimelineId(1), &mut problems)
            .unwrap();
        assert_eq!((course.timeline, &problems), (TimelineId(2), &Vec::new()));
        let taken: Vec<_> = (1..=5)
            .filter_map(|number| course.file(&there, number).map(|(segment, _)| segment.timeline))
            .collect();
        assert_eq!(taken, [1, 1, 2, 2]);

        let forked = segments(&[(1, 3), (1, 4), (2, 3)]);
        wal(directory.path())
            .course(&forked, Lsn(MIB), TimelineId(1), &mut problems)
            .unwrap();
        assert!(
            problems[0].contains("timeline 1 goes on to segment 000000010000000000000004"),
            "{problems:?}"
        );
    }

    #[test]
    fn an_empty_or_missing_history_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut problems = Vec::new();
        let there = segments(&[(1, 1), (2, 1)]);
        wal(directory.path())
            .course(&there, Lsn(MIB), TimelineId(1), &mut problems)
            .unwrap();
        assert!(problems[0].contains("00000002.history is not"), "{problems:?}");
        fs::write(directory.path().join("00000002.history"), "").unwrap();
        problems.clear();
        let course = wal(directory.path())
            .course(&there, Lsn(MIB), TimelineId(1), &mut problems)
            .unwrap();
        assert!(
            course.timeline == TimelineId(1) && problems[0].contains("is empty"),
            "{problems:?}"
        );
    }
}
