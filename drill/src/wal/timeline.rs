//! Timelines: which of them are the service's history, which one a recovery follows, and which file then holds which
//! segment.
//!
//! Left to itself a server follows the newest timeline of which it finds a history file (PostgreSQL manual,
//! "Timelines"), whoever wrote that file, and it gives up where the file is empty. Positions on different timelines
//! say nothing about each other: what a promoted clone wrote after it branched off is not what the service wrote. So
//! the timeline that the service was on decides here, and where another one is in the archive it is named explicitly.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use super::{
    SegmentNumber, WalSource,
    copies::{file_name, list},
    is_number,
    segment::readable,
};
use crate::postgres::{Lsn, ServerUser, TimelineId};

/// The parents of a timeline: each with the position at which the next one branched off.
pub type History = Vec<(TimelineId, Lsn)>;

/// The history files that there are; what is the matter with those that cannot be read.
pub type Histories = BTreeMap<TimelineId, Result<History, String>>;

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
    /// Timelines from the newest on, each with the position at which it begins.
    begins: Vec<(TimelineId, Lsn)>,
    segment_bytes: u64,
}

impl Course {
    /// The file that holds a segment: of the newest timeline that had begun by then, and was not left yet, and has one.
    pub fn file<'a>(
        &self,
        segments: &'a BTreeMap<SegmentNumber, PathBuf>,
        number: u64,
    ) -> Option<(SegmentNumber, &'a PathBuf)> {
        self.begins
            .iter()
            .map(|(timeline, _)| SegmentNumber {
                timeline: timeline.0,
                number,
            })
            .filter(|segment| self.includes(*segment))
            .find_map(|segment| segments.get(&segment).map(|path| (segment, path)))
    }

    /// Whether a segment lies on it: in the segment of a branch two timelines do.
    pub fn includes(&self, segment: SegmentNumber) -> bool {
        let begun = |(timeline, begin): &&(TimelineId, Lsn)| {
            timeline.0 == segment.timeline && begin.0 / self.segment_bytes <= segment.number
        };
        let left = self.left(segment.timeline);
        self.begins.iter().any(|entry| begun(&entry))
            && left.is_none_or(|left| segment.number <= left.0 / self.segment_bytes)
    }

    /// The timelines that it goes through.
    pub fn timelines(&self) -> Vec<u32> {
        self.begins.iter().map(|(timeline, _)| timeline.0).collect()
    }

    /// Where it leaves a timeline for the next one.
    pub fn left(&self, timeline: u32) -> Option<Lsn> {
        let newer = self.begins.iter().take_while(|(newer, _)| newer.0 != timeline);
        newer.last().map(|(_, begin)| *begin)
    }
}

/// Where the recovery of a backup leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Through which timelines.
    pub course: Course,
    /// Whether its timeline must be named: the server might choose another one by itself, or give up.
    pub explicit: bool,
    /// Whether the history files prove that it is the service's own.
    pub proven: bool,
    /// Timelines that it could take as well and that are not the service's, each with the reason.
    pub foreign: Vec<(TimelineId, String)>,
    /// What is the matter in the archive.
    pub problems: Vec<String>,
    /// What people must know although nothing is lost by it.
    pub remarks: Vec<String>,
}

/// The way of a backup that was taken from `from` on on timeline `taken_on`, for a service that was on `own` last.
///
/// # Errors
/// Why the backup is no part of that service's history.
pub fn plan_timelines(
    (from, taken_on): (Lsn, TimelineId),
    own: TimelineId,
    histories: &Histories,
    segments: &BTreeSet<SegmentNumber>,
    segment_bytes: u64,
) -> Result<Way, String> {
    let mut way = Way {
        course: Course {
            timeline: taken_on,
            begins: vec![(taken_on, Lsn(0))],
            segment_bytes,
        },
        explicit: false,
        proven: true,
        foreign: Vec::new(),
        problems: Vec::new(),
        remarks: Vec::new(),
    };
    let name = own.history_file_name();
    let past = match histories.get(&own) {
        _ if own == taken_on => &History::new(),
        Some(Ok(history)) => history,
        _ if own < taken_on => return Err(format!("it was taken on timeline {taken_on}, the service was on {own}")),
        broken => {
            way.proven = false;
            if broken.is_none() {
                way.problems.push(format!(
                    "{name} is missing: where timeline {own} branched off is not known"
                ));
            }
            &History::new()
        }
    };
    if way.proven && own != taken_on {
        match past.iter().find(|(parent, _)| *parent == taken_on) {
            None => {
                return Err(format!(
                    "timeline {own}, the service's, does not descend from timeline {taken_on}"
                ));
            }
            Some((_, left)) if *left < from => {
                return Err(format!(
                    "the service left timeline {taken_on} at {left}, and it was taken after that"
                ));
            }
            Some(_) => {}
        }
        way.course.timeline = own;
        way.course.begins = vec![(own, Lsn(0))];
        for (parent, switch) in past.iter().rev() {
            if let Some(newest) = way.course.begins.last_mut() {
                newest.1 = *switch;
            }
            way.course.begins.push((*parent, Lsn(0)));
        }
        for (parent, left) in past {
            let last = segments.iter().rfind(|segment| segment.timeline == parent.0);
            if let Some(last) = last.filter(|last| last.number > left.0 / segment_bytes) {
                way.remarks.push(format!(
                    "timeline {own} branched off at {left}, but timeline {parent} goes on to segment {}",
                    super::name(*last, segment_bytes)
                ));
            }
        }
    }
    let named = histories.keys().copied();
    let newer: BTreeSet<TimelineId> = named
        .chain(segments.iter().map(|segment| TimelineId(segment.timeline)))
        .filter(|timeline| *timeline > taken_on)
        .collect();
    way.explicit = !newer.is_empty();
    for timeline in newer {
        way.look_at(timeline, (from, taken_on), own, histories, segments);
    }
    Ok(way)
}

impl Way {
    /// What another timeline in the archive means for it.
    fn look_at(
        &mut self,
        timeline: TimelineId,
        (from, taken_on): (Lsn, TimelineId),
        own: TimelineId,
        histories: &Histories,
        segments: &BTreeSet<SegmentNumber>,
    ) {
        let name = timeline.history_file_name();
        let history = match histories.get(&timeline) {
            Some(Ok(history)) => history,
            Some(Err(problem)) => return self.problems.push(format!("{name} {problem}")),
            None => {
                let first = segments.iter().find(|segment| segment.timeline == timeline.0);
                let first = first.map(|segment| super::name(*segment, self.course.segment_bytes));
                return self.remarks.extend(first.filter(|_| timeline != own).map(|segment| {
                    format!("segment {segment} is there, {name} is not: the server does not see that timeline")
                }));
            }
        };
        if self.course.begins.iter().any(|(mine, _)| *mine == timeline) {
            return;
        }
        let (parent, branch) = history.last().copied().unwrap_or((taken_on, from));
        let reason = format!(
            "timeline {timeline} branched off timeline {parent} at {branch}, and the service went on on timeline {own}"
        );
        self.problems.push(format!("{reason}: that is the one to name"));
        if history
            .iter()
            .any(|(parent, branch)| *parent == taken_on && *branch >= from)
        {
            self.foreign.push((timeline, reason));
        }
    }
}

impl WalSource {
    /// Reads every history file that `reader` can; of a timeline that has none such, why.
    pub fn histories(&self, reader: &ServerUser) -> (Histories, BTreeMap<TimelineId, String>) {
        let (mut histories, mut unreadable) = (Histories::new(), BTreeMap::new());
        let places = [&self.archive, &self.stream].into_iter().flatten();
        for path in places.flat_map(|directory| list(directory).unwrap_or_default()) {
            let name = file_name(&path);
            let number = name
                .strip_suffix(".history")
                .filter(|stem| stem.len() == 8 && is_number(stem));
            let Some(timeline) = number
                .and_then(|number| u32::from_str_radix(number, 16).ok())
                .map(TimelineId)
            else {
                continue;
            };
            if histories.contains_key(&timeline) {
                continue;
            }
            let text = readable(&path, Some(reader))
                .and_then(|()| fs::read(&path).map_err(|error| format!("cannot be read: {error}")));
            match text {
                Ok(text) => {
                    histories.insert(timeline, parse(&String::from_utf8_lossy(&text), timeline));
                }
                Err(problem) => {
                    unreadable.insert(timeline, format!("{name} {problem}"));
                }
            }
        }
        unreadable.retain(|timeline, _| !histories.contains_key(timeline));
        (histories, unreadable)
    }
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

    #[test]
    fn history_files_are_found_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        put("00000002.history", "1\t0/380000\tx\n");
        put("00000003.history", "");
        put("000000010000000000000003", "");
        let wal = WalSource {
            archive: Some(directory.path().to_owned()),
            stream: None,
            segment_bytes: MIB,
        };
        put("0000000a.history", "1\t0/380000\tx\n"); // the server asks for it in capitals
        fs::create_dir(directory.path().join("00000004.history")).unwrap();
        let (histories, unreadable) = wal.histories(&ServerUser::current().unwrap());
        assert_eq!(histories.len(), 2);
        assert_eq!(unreadable.len(), 1);
        assert!(unreadable[&TimelineId(4)].contains("no regular file but a directory"));
        assert_eq!(histories[&TimelineId(2)], Ok(vec![(TimelineId(1), Lsn(0x38_0000))]));
        assert!(histories[&TimelineId(3)].is_err());
    }

    fn segments(numbers: &[(u32, u64)]) -> BTreeSet<SegmentNumber> {
        let segment = |(timeline, number): &(u32, u64)| SegmentNumber {
            timeline: *timeline,
            number: *number,
        };
        numbers.iter().map(segment).collect()
    }

    /// Timeline 2 branched off timeline 1 in the middle of segment 3.
    fn forked() -> Histories {
        BTreeMap::from([(TimelineId(2), Ok(vec![(TimelineId(1), Lsn(0x38_0000))]))])
    }

    fn walk(from: u64, taken_on: u32, own: u32, histories: &Histories, numbers: &[(u32, u64)]) -> Result<Way, String> {
        let backup = (Lsn(from), TimelineId(taken_on));
        plan_timelines(backup, TimelineId(own), histories, &segments(numbers), MIB)
    }

    #[test]
    fn the_services_own_timeline_is_followed_and_a_clones_is_not() {
        let there = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4)];
        let cloned = walk(MIB, 1, 1, &forked(), &there).unwrap();
        assert_eq!((cloned.course.timeline, cloned.explicit), (TimelineId(1), true));
        assert_eq!(cloned.foreign[0].0, TimelineId(2));
        assert!(
            cloned.problems[0].contains("the service went on on timeline 1"),
            "{cloned:?}"
        );
        let after = walk(4 * MIB, 1, 1, &forked(), &there).unwrap();
        assert!(after.foreign.is_empty() && after.explicit && !after.problems.is_empty());

        let there = [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)];
        let promoted = walk(MIB, 1, 2, &forked(), &there).unwrap();
        assert_eq!(
            (promoted.course.timeline, &promoted.problems),
            (TimelineId(2), &Vec::new())
        );
        let files = segments(&there)
            .into_iter()
            .map(|segment| (segment, PathBuf::new()))
            .collect();
        let taken: Vec<_> = (1..=5)
            .filter_map(|number| {
                promoted
                    .course
                    .file(&files, number)
                    .map(|(segment, _)| segment.timeline)
            })
            .collect();
        assert_eq!(taken, [1, 1, 2, 2]);
        assert_eq!(promoted.course.left(1), Some(Lsn(0x38_0000)));
    }

    #[test]
    fn what_went_on_after_the_branch_is_named_and_not_taken() {
        let there = [(1, 3), (1, 4), (2, 3)];
        let way = walk(3 * MIB, 1, 2, &forked(), &there).unwrap();
        assert!(
            way.remarks[0].contains("timeline 1 goes on to segment 000000010000000000000004"),
            "{way:?}"
        );
        assert!(way.problems.is_empty(), "nothing is lost by it: {way:?}");
        assert!(!way.course.includes(SegmentNumber { timeline: 1, number: 4 }));
    }

    #[test]
    fn an_empty_or_missing_history_file_is_named() {
        let there = [(1, 1), (2, 1)];
        let missing = walk(MIB, 1, 1, &Histories::new(), &there).unwrap();
        assert!(
            missing.remarks[0].contains("00000002.history is not") && missing.explicit && missing.problems.is_empty(),
            "{missing:?}"
        );
        let empty = BTreeMap::from([(TimelineId(2), parse("", TimelineId(2)))]);
        let empty_way = walk(MIB, 1, 1, &empty, &there).unwrap();
        assert_eq!((empty_way.course.timeline, empty_way.proven), (TimelineId(1), true));
        assert!(
            empty_way.problems[0].contains("is empty") && empty_way.explicit,
            "{empty_way:?}"
        );
        // The service's own: where it left timeline 1 cannot be known any more.
        for (own, says) in [(&empty, "is empty"), (&Histories::new(), "is missing")] {
            let lost = walk(MIB, 1, 2, own, &there).unwrap();
            assert_eq!((lost.course.timeline, lost.proven), (TimelineId(1), false));
            assert!(lost.problems[0].contains(says), "{lost:?}");
        }
    }

    #[test]
    fn a_backup_of_another_history_is_refused() {
        assert!(
            walk(MIB, 2, 1, &forked(), &[])
                .unwrap_err()
                .contains("taken on timeline 2")
        );
        assert!(
            walk(4 * MIB, 1, 2, &forked(), &[])
                .unwrap_err()
                .contains("left timeline 1 at 0/380000")
        );
        let other = BTreeMap::from([(TimelineId(3), Ok(vec![(TimelineId(1), Lsn(0x38_0000))]))]);
        assert!(walk(MIB, 2, 3, &other, &[]).unwrap_err().contains("does not descend"));
    }

    /// A family of timelines: each but the first has a parent and branches off it after that began.
    fn family() -> impl Strategy<Value = Vec<(usize, u64)>> {
        prop::collection::vec((any::<prop::sample::Index>(), 1..4 * MIB), 0..5).prop_map(|children| {
            let mut family = vec![(0, 0)];
            for (parent, after) in children {
                let parent = parent.index(family.len());
                family.push((parent, family[parent].1 + after));
            }
            family
        })
    }

    /// The timelines of a line of descent, oldest first, each with where it begins.
    fn descent(family: &[(usize, u64)], of: usize) -> Vec<(usize, u64)> {
        let mut line = vec![(of, family[of].1)];
        while line[0].0 != 0 {
            let parent = family[line[0].0].0;
            line.insert(0, (parent, family[parent].1));
        }
        line
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = parse(&text, TimelineId(2));
        }

        #[test]
        fn only_the_services_own_history_is_ever_followed(
            family in family(), own in any::<prop::sample::Index>(), taken in any::<prop::sample::Index>(), after in 0..2 * MIB
        ) {
            let id = |index: usize| TimelineId(index as u32 + 1);
            let (own, taken) = (own.index(family.len()), taken.index(family.len()));
            let histories: Histories = (1..family.len())
                .map(|index| {
                    let line = descent(&family, index);
                    let parents = line.windows(2).map(|pair| (id(pair[0].0), Lsn(pair[1].1))).collect();
                    (id(index), Ok(parents))
                })
                .collect();
            let all: Vec<(u32, u64)> = (0..family.len())
                .flat_map(|index| (family[index].1 / MIB..40).map(move |number| (index as u32 + 1, number)))
                .collect();
            let from = family[taken].1 + after;
            let line = descent(&family, own);
            let place = line.iter().position(|(index, _)| *index == taken);
            let ours = place.is_some_and(|place| line.get(place + 1).is_none_or(|(_, begins)| from <= *begins));
            match walk(from, id(taken).0, id(own).0, &histories, &all) {
                Err(_) => prop_assert!(!ours),
                Ok(way) => {
                    prop_assert!(ours && way.proven && way.course.timeline == id(own));
                    let files = segments(&all).into_iter().map(|segment| (segment, PathBuf::new())).collect();
                    for number in from / MIB..40 {
                        let newest = line[place.unwrap_or(0)..].iter().rfind(|(_, begins)| begins / MIB <= number);
                        let (segment, _) = way.course.file(&files, number).unwrap();
                        prop_assert_eq!(TimelineId(segment.timeline), newest.map_or(id(taken), |(index, _)| id(*index)));
                    }
                    for (timeline, _) in &way.foreign {
                        prop_assert!(line.iter().all(|(index, _)| id(*index) != *timeline));
                    }
                    let strangers = (0..family.len()).any(|index| index > taken && line.iter().all(|(mine, _)| *mine != index));
                    prop_assert!(!strangers || way.explicit && !way.problems.is_empty());
                }
            }
        }
    }
}
