//! What can be wrong with a scenario, each with its place and what to do.

use std::{fmt, io, path::PathBuf};

/// A place in a scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario file {}; check that it exists and is readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}: not valid TOML at {place}: {message}", place.file)]
    Syntax {
        /// Where the parser stopped.
        place: Place,
        /// What it says.
        message: String,
    },
    /// A key that nobody reads.
    #[error("{}: unknown key `{key}` in {table} at {place}; {hint}", place.file)]
    UnknownKey {
        /// The key's place.
        place: Place,
        /// The key.
        key: String,
        /// The table it stands in.
        table: String,
        /// The nearest key that is known, or all of them.
        hint: String,
    },
    /// A key that must be there.
    #[error("{}: key `{key}` is missing in {table} at {place}; add it", place.file)]
    MissingKey {
        /// The table's place.
        place: Place,
        /// The key.
        key: &'static str,
        /// The table it belongs in.
        table: String,
    },
    /// A value of another type.
    #[error("{}: `{key}` at {place} must be {expected}, not {found}", place.file)]
    WrongType {
        /// The value's place.
        place: Place,
        /// Its key.
        key: String,
        /// What belongs here.
        expected: String,
        /// What stands here.
        found: &'static str,
    },
    /// A value of the right type that is not valid.
    #[error("{}: `{key}` at {place} cannot be `{value}`: {problem}", place.file)]
    BadValue {
        /// The value's place.
        place: Place,
        /// Its key.
        key: String,
        /// What stands there.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// Two parts of the file that cannot both be.
    #[error("{}: contradiction at {place}: {problem}", place.file)]
    Contradiction {
        /// The place of the part to look at first.
        place: Place,
        /// What contradicts what, and what to change.
        problem: String,
    },
    /// Two scenarios with one id.
    #[error("two scenarios have the id `{id}`: {} and {}; give one of them another id", first.display(), second.display())]
    DuplicateId {
        /// The id.
        id: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A file of the catalogue that is not named after its scenario.
    #[error("scenarios/{}: the id is `{id}`; name the file `{id}.toml` and put it into a group's folder", path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The id in it.
        id: String,
    },
    /// Nothing in the catalogue has that name.
    #[error("the catalogue has no {what} `{name}`; {hint}")]
    NotFound {
        /// `scenario` or `group`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What comes near.
        hint: String,
    },
}
