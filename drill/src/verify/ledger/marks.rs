//! What the passes learn about each operation: three bits, and who of those that survived was sent last.

use super::comparison::Findings;
use crate::ledger::{Answered, Called, Operation, OperationKind};

/// One bit an operation.
struct Bits(Vec<u64>);

impl Bits {
    fn new(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    fn get(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn set(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }
}

/// The operations, and what is known of their rows. Operation `n` has index `n - 1`.
pub(super) struct Marks<'a> {
    pub(super) operations: &'a [Operation],
    /// What things are called.
    pub(super) called: Called,
    /// Whether parts of the ledger could not be read; then rows of unknown operations accuse nobody.
    pub(super) partial: bool,
    /// Operations from this moment on were sent to the service that runs again: that they survived proves nothing about those
    /// before.
    pub(super) resumed_ns: Option<u64>,
    /// Rows that an operation in the unreadable part may have written.
    pub(super) unexplained_rows: u64,
    /// Keys that such rows name, ascending.
    pub(super) doubtful: Vec<i64>,
    /// Index of the operation that was sent last among those of which something survived.
    pub(super) latest_survivor: Option<usize>,
    /// Keys known only from the audit row, by index of the operation, ascending.
    adopted: Vec<(usize, i64)>,
    audited: Bits,
    wrote: Bits,
    torn: Bits,
}

impl<'a> Marks<'a> {
    pub(super) fn new(operations: &'a [Operation], called: Called, partial: bool) -> Self {
        let bits = || Bits::new(operations.len());
        Self {
            operations,
            called,
            partial,
            resumed_ns: None,
            unexplained_rows: 0,
            doubtful: Vec::new(),
            latest_survivor: None,
            adopted: Vec::new(),
            audited: bits(),
            wrote: bits(),
            torn: bits(),
        }
    }

    /// The operation with this number, if the ledger has it.
    pub(super) fn find(&self, number: u64) -> Option<(usize, &'a Operation)> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let operation = self.operations.get(index)?;
        is_known(operation).then_some((index, operation))
    }

    /// The key that an operation concerns; 0 if nobody knows.
    pub(super) fn key(&self, index: usize) -> i64 {
        match self.operations.get(index).map_or(0, |operation| operation.key) {
            0 => match self.adopted.binary_search_by_key(&index, |&(adopted, _)| adopted) {
                Ok(at) => self.adopted.get(at).map_or(0, |&(_, key)| key),
                Err(_) => 0,
            },
            key => key,
        }
    }

    /// Takes a key from the audit row; called in the order of operations.
    pub(super) fn adopt(&mut self, index: usize, key: i64) {
        self.adopted.push((index, key));
    }

    /// Whether its audit row is there.
    pub(super) fn is_audited(&self, index: usize) -> bool {
        self.audited.get(index)
    }

    /// Whether the version or attachment it wrote is there.
    pub(super) fn has_written(&self, index: usize) -> bool {
        self.wrote.get(index)
    }

    /// Whether only a part of it is there.
    pub(super) fn is_torn(&self, index: usize) -> bool {
        self.torn.get(index)
    }

    /// Whether anything of it is there.
    pub(super) fn is_present(&self, index: usize) -> bool {
        self.is_audited(index) || self.has_written(index) || self.is_torn(index)
    }

    pub(super) fn set_audited(&mut self, index: usize) {
        self.audited.set(index);
        self.survived(index);
    }

    pub(super) fn set_written(&mut self, index: usize) {
        self.wrote.set(index);
        if !self.audited.get(index) {
            self.survived(index);
        }
    }

    /// Notes that only a part of an operation is there, once an operation. Rejected ones are something else: nothing
    /// of them should be there.
    pub(super) fn set_torn(&mut self, index: usize, findings: &mut Findings, what: &str) {
        if self.was_rejected(index) || self.torn.get(index) {
            return;
        }
        self.torn.set(index);
        self.survived(index);
        findings.torn.add(|| format!("{}: {what}", self.name(index)));
    }

    pub(super) fn was_rejected(&self, index: usize) -> bool {
        self.operations
            .get(index)
            .is_none_or(|operation| operation.answered == Answered::Rejected)
    }

    /// `operation 12 (add-version of key 17, version 4)`
    pub(super) fn name(&self, index: usize) -> String {
        let number = index + 1;
        let Some(Operation { kind, version, .. }) = self.operations.get(index) else {
            return format!("operation {number}");
        };
        let kind = kind.name();
        let called = self.called.key;
        match self.key(index) {
            0 => format!("operation {number} ({kind})"),
            key => format!("operation {number} ({kind} of {called} {key}, version {version})"),
        }
    }

    fn survived(&mut self, index: usize) {
        let invoked = |index: usize| self.operations.get(index).map(|operation| operation.invoked_ns);
        let resumed = self.resumed_ns.is_some() && invoked(index) >= self.resumed_ns;
        if !resumed && !self.was_rejected(index) && self.latest_survivor.and_then(invoked) < invoked(index) {
            self.latest_survivor = Some(index);
        }
    }
}

/// Whether the ledger says what the operation was: numbers are taken before they are journalled, so there are gaps.
pub(super) fn is_known(operation: &Operation) -> bool {
    operation.invoked_ns != u64::MAX
}

/// Whether operations of this kind write a version.
pub(super) fn writes_version(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Create | OperationKind::AddVersion)
}
