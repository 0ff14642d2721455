//! Which files below a target's directory a fault means.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    FaultTarget, Glob, Named as _, ScenarioError, Text, Which, key_value::KeyValue, named::named, table::Table,
};

/// Files below a target's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Selection {
    /// Relative to the target's directory; `*` stays within a name, `**` is any depth.
    // Empty where `relation` or `segment` is given, until that is looked up, right before the fault.
    #[serde(serialize_with = "path", skip_serializing_if = "is_empty")]
    #[schemars(with = "Option<Glob>")]
    pub path: glob::Pattern,
    /// Which of several files that match; absent: as the kind has it.
    pub pick: Option<Pick>,
    /// A table, index or sequence of the application's database, instead of a path: its first file is meant.
    #[schemars(with = "Option<Text>")]
    pub relation: Option<String>,
    /// The WAL segment by a backup, instead of a path: "after backup:2".
    pub segment: Option<SegmentOf>,
}

fn path<S: Serializer>(path: &glob::Pattern, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.as_str())
}

fn is_empty(path: &glob::Pattern) -> bool {
    path.as_str().is_empty()
}

/// A WAL segment, by a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^(start of|end of|after) backup:(latest|oldest|[1-9][0-9]*)$"))]
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

impl TryFrom<String> for SegmentOf {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let read = |place: &SegmentPlace| {
            let backup = text.strip_prefix(place.name())?.strip_prefix(' ')?;
            match FaultTarget::from_name(backup)? {
                FaultTarget::Backup(backup) if backup != Which::All => Some(Self { place: *place, backup }),
                _ => None,
            }
        };
        let segment = SegmentPlace::ALL.iter().find_map(read);
        segment.ok_or("write \"start of\", \"end of\" or \"after\" and one backup: \"after backup:2\"")
    }
}

impl From<SegmentOf> for String {
    fn from(segment: SegmentOf) -> Self {
        segment.to_string()
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
    /// What a pattern means, with what is picked of it.
    pub fn of(path: glob::Pattern, pick: Option<Pick>) -> Self {
        Self {
            path,
            pick,
            relation: None,
            segment: None,
        }
    }

    /// Takes its keys from a fault's table.
    pub(super) fn read(table: &mut Table<'_>) -> Result<Self, ScenarioError> {
        let relation = table.take("relation");
        let segment = table.take("segment");
        let pick = table.maybe("pick")?;
        let Some(instead) = relation.or(segment) else {
            let Glob(path) = table.need("path")?.read()?;
            return Ok(Self::of(path, pick));
        };
        if table.take("path").is_some() || relation.is_some() && segment.is_some() {
            let problem = "another key says already which file; keep one of `path`, `relation` and `segment`";
            return Err(instead.bad(problem));
        }
        let relation: Option<Text> = relation.map(KeyValue::read).transpose()?;
        Ok(Self {
            path: glob::Pattern::default(),
            pick,
            relation: relation.map(String::from),
            segment: segment.map(KeyValue::read).transpose()?,
        })
    }

    /// In words, with what is picked where it does not say: "the largest file that matches base/*".
    pub fn in_words(&self, otherwise: Pick) -> String {
        if let Some(relation) = &self.relation {
            return format!("the file of {relation}");
        }
        if let Some(segment) = self.segment {
            let backup = match segment.backup {
                Which::Number(number) => format!("backup {number}"),
                which => FaultTarget::Backup(which).in_words(),
            };
            return match segment.place {
                SegmentPlace::Start => format!("the segment in which {backup} begins"),
                SegmentPlace::End => format!("the segment in which {backup} ends"),
                SegmentPlace::After => format!("the first segment after the end of {backup}"),
            };
        }
        let path = self.path.as_str();
        match self.pick.unwrap_or(otherwise) {
            _ if !path.contains(['*', '?', '[']) => path.to_owned(),
            Pick::All if path == "**" => "every file".to_owned(),
            Pick::All => format!("every file that matches {path}"),
            Pick::Random => format!("a random file that matches {path}"),
            pick => format!("the {pick} file that matches {path}"),
        }
    }

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
