//! What the ledger proves about a recovered database: which promises were kept, which were not, and what is there
//! that nobody wrote.
//!
//! [`compare`] is a pure function of a [`History`] (what was sent and promised) and the [`Recovered`] rows (what is
//! there). It reads no database, no clock and no file, so that a test can give it any history. The rows are read
//! elsewhere; what the numbers mean for the drill is decided by the caller. Open [`compare`] first: five passes, each
//! in its own file, all linear in the number of operations and rows.
//!
//! The rules:
//!
//! - An operation is one transaction: either all its rows are there or none. It is *present* if its audit row is.
//!   Anything in between is *torn*.
//! - Acknowledged, absent, and nothing that was sent after the acknowledgement survived: *lost*, a matter of the
//!   recovery point.
//! - Acknowledged, absent, although something sent after the acknowledgement survived, or although its commit record was
//!   replayed: a *hole*, that is corruption.
//! - Indeterminate: present and absent are both right, half present is not.
//! - Rejected: must be absent.
//! - Commits at or after a recovery target (exclusive, as with `recovery_target_inclusive = off`; PostgreSQL manual
//!   20.5.6) must be absent. Where the bracket of a commit straddles the target, both are right.
//! - What was acknowledged by the service once it ran again must be there, and tells nothing about what came before.
//! - A key's state must be what the operations present on it make of its seed.

mod audit;
mod by_key;
mod comparison;
mod each_key;
mod marks;
mod verdicts;

#[cfg(test)]
mod tests;

pub use self::comparison::{Comparison, Tally};

use self::{comparison::Findings, marks::Marks};
use crate::{
    ledger::{History, Operation, Recovered, SeedFacts},
    postgres::Lsn,
};

/// How far recovery was told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the end of what there is: every acknowledged commit should be there.
    End,
    /// Up to here, exclusive: a commit whose record begins at or after it is beyond the target.
    Lsn(Lsn),
}

/// On which side of the target an operation's commit record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Within,
    /// The record is somewhere between two LSNs and the target is, too.
    Either,
    Beyond,
}

impl Target {
    fn side(self, operation: &Operation) -> Side {
        match self {
            Self::End => Side::Within,
            Self::Lsn(Lsn(target)) if operation.lsn_before != 0 && operation.lsn_before >= target => Side::Beyond,
            Self::Lsn(Lsn(target)) if operation.lsn_after != 0 && operation.lsn_after <= target => Side::Within,
            Self::Lsn(_) => Side::Either,
        }
    }
}

/// What is known of the recovery whose rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// How far it was told to go.
    pub target: Target,
    /// How far WAL was certainly replayed, on the timeline on which the operations were committed. What ends before it and
    /// is not there is corruption, whatever else is missing.
    pub reached: Option<Lsn>,
    /// Where the backup ends that was restored: what is after it depends on the WAL.
    pub backup: Option<Lsn>,
    /// The disaster, in nanoseconds on the drill's clock (the clock of [`Operation::answered_ns`]).
    pub failed_ns: u64,
}

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverifiable {
    /// There are no rows to compare with.
    #[error("the recovered rows could not be read, so nothing can be said about what was recovered")]
    NothingRead,
    /// The reader did not keep to [`Recovered`]'s order.
    #[error("the recovered {rows} are not in the order that the comparison needs; sort them with Recovered::sort")]
    OutOfOrder {
        /// Which rows.
        rows: &'static str,
    },
    /// Operations are indexed with 32 bits.
    #[error("the ledger has {0} operations; more than 4294967295 cannot be compared")]
    TooManyOperations(usize),
}

/// Compares what was promised with what is there.
///
/// `recovered` is `None` where the rows could not be read.
///
/// Takes time linear in operations and rows, and about 6 bytes an operation beside its arguments.
///
/// # Errors
/// [`Unverifiable`] where no statement is possible at all. A damaged ledger is compared as far as it can be read; see
/// [`Comparison::truth_is_partial`].
pub fn compare(
    history: &History,
    recovered: Option<&Recovered>,
    seed: &SeedFacts,
    recovery: Recovery,
) -> Result<Comparison, Unverifiable> {
    let recovered = recovered.ok_or(Unverifiable::NothingRead)?;
    if let Some(rows) = recovered.out_of_order() {
        return Err(Unverifiable::OutOfOrder { rows });
    }
    let operations = &history.operations;
    if u32::try_from(operations.len()).is_err() {
        return Err(Unverifiable::TooManyOperations(operations.len()));
    }
    let mut marks = Marks::new(operations, seed.called, !history.damage.is_empty());
    marks.resumed_ns = history.resumed_ns;
    let mut findings = Findings::default();
    for row in &recovered.malformed {
        findings.altered.add(|| row.clone());
    }

    audit::mark_audited(&mut marks, &recovered.audit, &mut findings);
    audit::mark_attachments(&mut marks, &recovered.attachments, &mut findings);
    each_key::check(&mut marks, recovered, seed, &mut findings);
    let classes = verdicts::classify(&mut marks, history, recovery, &mut findings);
    verdicts::check_sequences(
        &recovered.sequences,
        seed.called.key,
        classes.largest_created,
        &mut findings,
    );

    Ok(Comparison::new(
        classes,
        findings,
        marks.unexplained_rows,
        &history.damage,
    ))
}
