//! The operations in the order of the keys they concern: an index of 4 bytes an operation, and a window that copies
//! them out of the ledger a few hundred at a time. Their places are scattered over it, and reading many of them at once
//! takes a fraction of the time that one after the other would.

use super::marks::{Marks, is_known, writes_version};
use crate::ledger::{Answered, Operation, OperationKind, PgTime};

/// How many operations are copied at once.
const READ_AHEAD: usize = 512;

/// An operation, as far as its key is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) content: u128,
    pub(super) facts: u64,
    pub(super) rows_at: PgTime,
    pub(super) key: i64,
    index: u32,
    pub(super) version: i32,
    pub(super) writer: u16,
    pub(super) kind: OperationKind,
    /// Whether its audit row is there.
    pub(super) audited: bool,
    pub(super) rejected: bool,
}

impl Entry {
    fn new(marks: &Marks<'_>, index: u32, operation: &Operation) -> Self {
        let &Operation {
            content,
            facts,
            rows_at,
            version,
            writer,
            kind,
            answered,
            ..
        } = operation;
        let at = index as usize;
        Self {
            content,
            facts,
            rows_at,
            key: marks.key(at),
            index,
            version,
            writer,
            kind,
            audited: marks.is_audited(at),
            rejected: answered == Answered::Rejected,
        }
    }

    /// Its index in the ledger.
    pub(super) fn index(&self) -> usize {
        self.index as usize
    }

    /// Whether it writes a version.
    pub(super) fn writes_version(&self) -> bool {
        writes_version(self.kind)
    }
}

/// Operations by key and then by number, taken key by key. Those whose key nobody knows are not among them.
pub(super) struct ByKey {
    sorted: Vec<u32>,
    /// How many of `sorted` are or were in the window.
    read: usize,
    window: Vec<Entry>,
    /// How many of the window are taken.
    taken: usize,
}

impl ByKey {
    pub(super) fn new(marks: &Marks<'_>) -> Self {
        Self {
            sorted: sort(marks),
            read: 0,
            window: Vec::new(),
            taken: 0,
        }
    }

    /// The key whose operations come next.
    pub(super) fn next_key(&mut self, marks: &Marks<'_>) -> Option<i64> {
        if self.taken == self.window.len() {
            self.read_ahead(marks);
        }
        self.window.get(self.taken).map(|entry| entry.key)
    }

    /// Takes the operations of a key, which must not be after the next; none if it is before.
    pub(super) fn take(&mut self, marks: &Marks<'_>, key: i64) -> &[Entry] {
        let mut count = 0;
        loop {
            let rest = self.window.iter().skip(self.taken + count);
            count += rest.take_while(|entry| entry.key == key).count();
            if self.taken + count < self.window.len() || !self.read_ahead(marks) {
                break;
            }
        }
        let from = self.taken;
        self.taken += count;
        self.window.get(from..self.taken).unwrap_or_default()
    }

    /// Drops what was taken and copies the next; whether there was any.
    fn read_ahead(&mut self, marks: &Marks<'_>) -> bool {
        let next = self.sorted.get(self.read..).unwrap_or_default();
        let next = next.get(..READ_AHEAD).unwrap_or(next);
        self.read += next.len();
        self.window.drain(..self.taken);
        self.taken = 0;
        for &index in next {
            if let Some(operation) = marks.operations.get(index as usize) {
                self.window.push(Entry::new(marks, index, operation));
            }
        }
        !next.is_empty()
    }
}

/// Ids come from a sequence and lie close together, so they are counted rather than compared: linear, for 4 bytes an id
/// in between. Where they are scattered (a test, a foreign ledger) they are compared.
fn sort(marks: &Marks<'_>) -> Vec<u32> {
    let operations = marks.operations;
    let keys = || {
        let known = operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| is_known(operation));
        known
            .map(|(index, _)| (index as u32, marks.key(index)))
            .filter(|&(_, key)| key != 0)
    };
    let (mut first, mut last, mut count) = (i64::MAX, i64::MIN, 0);
    for (_, key) in keys() {
        (first, last, count) = (first.min(key), last.max(key), count + 1);
    }
    let span = if count == 0 {
        0
    } else {
        usize::try_from(last.abs_diff(first)).unwrap_or(usize::MAX)
    };
    if span > operations.len().saturating_mul(2) + 1024 {
        let mut sorted: Vec<u32> = keys().map(|(index, _)| index).collect();
        sorted.sort_by_key(|&index| marks.key(index as usize));
        return sorted;
    }
    // For each id first how many operations it has, then where its next one goes.
    let mut places = vec![0_u32; span + 1];
    for (_, key) in keys() {
        places[key.abs_diff(first) as usize] += 1;
    }
    let mut before = 0;
    for place in &mut places {
        (*place, before) = (before, before + *place);
    }
    let mut sorted = vec![0_u32; count];
    for (index, key) in keys() {
        let place = &mut places[key.abs_diff(first) as usize];
        sorted[*place as usize] = index;
        *place += 1;
    }
    sorted
}
