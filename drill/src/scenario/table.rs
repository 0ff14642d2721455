//! Reads TOML tables key by key and remembers where everything stands; `key_value.rs` reads the values, `de.rs` whole types.
//!
//! A [`Table`] gives out its keys one at a time, or the rest of them at once as a type that derives `Deserialize`. A misspelt
//! key is compared with those that were asked for and with the type's own, so no list of keys is kept anywhere.

use std::ops::Range;

use serde::{Deserialize, de};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Place, ScenarioError, Wrong,
    de::ReadError,
    key_value::KeyValue,
    named::{hint, nearest},
};

/// A file's name and text, to turn offsets into places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) file: &'t str,
    pub(super) text: &'t str,
}

impl Source<'_> {
    /// The place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// A contradiction at a byte offset.
    pub(super) fn contradiction(&self, offset: usize, problem: impl Into<String>) -> ScenarioError {
        ScenarioError::Contradiction {
            place: self.place(offset),
            problem: problem.into(),
        }
    }
}

/// A key with its place and its value.
pub(super) type Key<'t> = (&'t str, Range<usize>, &'t Spanned<DeValue<'t>>);

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'t> {
    source: Source<'t>,
    /// Where it begins.
    start: usize,
    name: String,
    unread: Vec<Key<'t>>,
    asked: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// Begins to read `table`, which errors call `name`.
    pub(super) fn new(source: Source<'t>, name: &str, start: usize, table: &'t DeTable<'t>) -> Self {
        let unread = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        Self {
            source,
            start,
            name: name.to_owned(),
            unread,
            asked: Vec::new(),
        }
    }

    /// The keys that were not read yet.
    pub(super) fn keys(&self) -> &[Key<'t>] {
        &self.unread
    }

    /// The value of a key.
    pub(super) fn item(&self, key: &'t str, value: &'t Spanned<DeValue<'t>>) -> KeyValue<'t> {
        KeyValue::new(self.source, key, value)
    }

    /// Takes a key that may be absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<KeyValue<'t>> {
        self.asked.push(key);
        let index = self.unread.iter().position(|(name, ..)| *name == key)?;
        let (key, _, value) = self.unread.remove(index);
        Some(self.item(key, value))
    }

    /// Takes a key that must be there.
    pub(super) fn need(&mut self, key: &'static str) -> Result<KeyValue<'t>, ScenarioError> {
        self.take(key).ok_or_else(|| self.missing(key))
    }

    /// Reads a key that may be absent.
    pub(super) fn maybe<T: Deserialize<'t>>(&mut self, key: &'static str) -> Result<Option<T>, ScenarioError> {
        self.take(key).map(KeyValue::read).transpose()
    }

    /// The error for a key that is not there: most likely it is there and misspelt.
    fn missing(&self, key: &'static str) -> ScenarioError {
        let misspelt = self.unread.iter().find(|(name, ..)| nearest(name, [key]).is_some());
        match misspelt {
            Some((name, span, _)) => self.unknown(name, span.start, &[]),
            None => self.lacks(key),
        }
    }

    fn lacks(&self, key: &'static str) -> ScenarioError {
        ScenarioError::MissingKey {
            place: self.source.place(self.start),
            key,
            table: self.name.clone(),
        }
    }

    /// The error for a key that nobody knows. `more` keys are known beside those that were asked for.
    pub(super) fn unknown(&self, key: &str, offset: usize, more: &[&str]) -> ScenarioError {
        ScenarioError::UnknownKey {
            place: self.source.place(offset),
            key: key.to_owned(),
            table: self.name.clone(),
            hint: hint(key, self.asked.iter().chain(more).copied()),
        }
    }

    /// The error for keys that cannot stand together.
    pub(super) fn wrong(&self, wrong: &Wrong) -> ReadError {
        match wrong {
            Wrong::Missing(key) => self.placed(ReadError::MissingKey(key)),
            Wrong::Bad(key, problem) => match self.unread.iter().find(|(name, ..)| name == key) {
                Some((key, _, value)) => self.item(key, value).bad(*problem).into(),
                None => de::Error::custom(problem),
            },
        }
    }

    /// Gives an error the place of this table, if it lacks a key.
    pub(super) fn placed(&self, error: ReadError) -> ReadError {
        match error {
            ReadError::MissingKey(key) => self.lacks(key).into(),
            other => other,
        }
    }

    /// Ends reading: a key that nobody asked for is refused.
    pub(super) fn finish(self) -> Result<(), ScenarioError> {
        match self.unread.iter().min_by_key(|(_, span, _)| span.start) {
            Some((name, span, _)) => Err(self.unknown(name, span.start, &[])),
            None => Ok(()),
        }
    }
}
