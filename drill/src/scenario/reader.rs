//! Reads TOML tables key by key and remembers where everything stands; `item.rs` reads the values.
//!
//! A [`Table`] gives out its keys one at a time; [`Table::finish`] then complains about those that nobody asked for.
//! What was asked for is also what a misspelt key is compared with, so no list of keys is kept anywhere.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Place, ScenarioError,
    item::Item,
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

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'t> {
    pub(super) source: Source<'t>,
    /// Where it begins.
    pub(super) start: usize,
    name: String,
    unread: Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'t>>)>,
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

    /// Takes a key that may be absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'t>> {
        self.asked.push(key);
        let index = self.unread.iter().position(|(name, ..)| *name == key)?;
        let (key, _, value) = self.unread.remove(index);
        Some(Item::new(self.source, key, value))
    }

    /// Reads a key that may be absent.
    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Item<'t>) -> Result<T, ScenarioError>,
    ) -> Result<Option<T>, ScenarioError> {
        self.take(key).map(read).transpose()
    }

    /// Reads a key that must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Item<'t>) -> Result<T, ScenarioError>,
    ) -> Result<T, ScenarioError> {
        match self.take(key) {
            Some(item) => read(item),
            None => Err(self.missing(key)),
        }
    }

    /// The error for a key that is not there: most likely it is there and misspelt.
    pub(super) fn missing(&self, key: &'static str) -> ScenarioError {
        let misspelt = self.unread.iter().find(|(name, ..)| nearest(name, [key]).is_some());
        match misspelt {
            Some((name, span, _)) => self.unknown(name, span.start),
            None => ScenarioError::MissingKey {
                place: self.source.place(self.start),
                key,
                table: self.name.clone(),
            },
        }
    }

    /// Every key that is left, as the free names they are.
    pub(super) fn rest(self) -> impl Iterator<Item = Item<'t>> {
        let source = self.source;
        self.unread
            .into_iter()
            .map(move |(key, _, value)| Item::new(source, key, value))
    }

    /// Ends reading: a key that nobody asked for is refused.
    pub(super) fn finish(self) -> Result<(), ScenarioError> {
        match self.unread.iter().min_by_key(|(_, span, _)| span.start) {
            Some((name, span, _)) => Err(self.unknown(name, span.start)),
            None => Ok(()),
        }
    }

    fn unknown(&self, key: &str, offset: usize) -> ScenarioError {
        ScenarioError::UnknownKey {
            place: self.source.place(offset),
            key: key.to_owned(),
            table: self.name.clone(),
            hint: hint(key, self.asked.iter().copied()),
        }
    }
}
