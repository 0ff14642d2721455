//! Which files below a target's directory a fault means.

use std::fmt;

use super::{FaultTarget, Named as _, Which, named::named};

/// Files below a target's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Relative to the target's directory; `*` stays within a name, `**` is any depth.
    pub path: glob::Pattern,
    /// Which of the matches; absent: as the kind has it.
    pub pick: Option<Pick>,
    /// The first file of a relation of the application's database, instead of a path: `path` is then empty until the
    /// relation is looked up, right before the fault.
    pub relation: Option<String>,
    /// The WAL segment at one end of a backup, instead of a path: `path` is then empty until the catalogue is asked,
    /// right before the fault.
    pub segment: Option<SegmentOf>,
}

/// A WAL segment, by a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentOf {
    /// Where, seen from the backup.
    pub place: SegmentPlace,
    /// Which backup.
    pub backup: Which,
}

named! {
    /// Where a WAL segment is, seen from a backup.
    pub enum SegmentPlace {
        /// The backup begins in it.
        Start = "start of",
        /// The backup ends in it.
        End = "end of",
        /// It is the first one that the backup does not need.
        After = "after",
    }
}

impl fmt::Display for SegmentOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, FaultTarget::Backup(self.backup))
    }
}

named! {
    /// Which of several files.
    pub enum Pick {
        /// The largest; of equals the first.
        Largest = "largest",
        /// The smallest; of equals the first.
        Smallest = "smallest",
        /// The first by path.
        First = "first",
        /// The last by path.
        Last = "last",
        /// The one before the last by path: what is left has a gap, and not just an earlier end.
        SecondLast = "second-last",
        /// Each of them.
        All = "all",
        /// One of them, by the drill's seed; an empty one only if all are.
        Random = "random",
    }
}

impl Selection {
    /// Whether a path, relative to the target's directory, is meant.
    pub fn matches(&self, path: &str) -> bool {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.path.matches_with(path, options)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(relation) = &self.relation {
            return write!(f, "the file of {relation}");
        }
        if let Some(segment) = &self.segment {
            return write!(f, "the WAL segment {segment}");
        }
        match self.pick {
            Some(pick) => write!(f, "{} ({})", self.path, pick.name()),
            None => write!(f, "{}", self.path),
        }
    }
}
