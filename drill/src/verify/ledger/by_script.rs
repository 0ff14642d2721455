//! The operations in the order of the scripts they concern: an index of 4 bytes an operation.

use super::marks::{Marks, is_known};

/// Indices of operations, by script and then by number. Operations whose script nobody knows are not in it.
pub(super) struct ByScript(Vec<u32>);

impl ByScript {
    /// Ids come from a sequence and lie close together, so they are counted rather than compared: linear, for 4 bytes
    /// an id in between. Where they are scattered (a test, a foreign ledger) they are sorted.
    pub(super) fn new(marks: &Marks<'_>) -> Self {
        let operations = marks.operations;
        let known = |index: &usize| operations.get(*index).is_some_and(is_known) && marks.script(*index) != 0;
        let indices = || (0..operations.len()).filter(known);
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let mut count = 0;
        for script in indices().map(|index| marks.script(index)) {
            (first, last, count) = (first.min(script), last.max(script), count + 1);
        }
        if count == 0 {
            return Self(Vec::new());
        }
        let span = usize::try_from(last.abs_diff(first)).unwrap_or(usize::MAX);
        if span > operations.len().saturating_mul(2) + 1024 {
            let mut sorted: Vec<u32> = indices().map(|index| index as u32).collect();
            sorted.sort_by_key(|&index| marks.script(index as usize));
            return Self(sorted);
        }
        let slot = |index: usize| marks.script(index).abs_diff(first) as usize;
        let mut next = vec![0_u32; span + 1];
        for index in indices() {
            next[slot(index)] += 1;
        }
        let mut before = 0;
        for count in &mut next {
            (*count, before) = (before, before + *count);
        }
        let mut sorted = vec![0_u32; count];
        for index in indices() {
            let place = &mut next[slot(index)];
            sorted[*place as usize] = index as u32;
            *place += 1;
        }
        Self(sorted)
    }

    /// All of them.
    pub(super) fn indices(&self) -> &[u32] {
        &self.0
    }
}
