//! Last passes: what became of each operation, and whether the sequences kept up.

use std::time::Duration;

use reports::{event::LedgerComparison, text::lasting};

use super::{
    Recovery, Side,
    comparison::Findings,
    marks::{Marks, is_known, writes_version},
};
use crate::{
    ledger::{Answered, History, Operation, OperationKind, SequenceRow},
    postgres::Lsn,
};

/// How many operations ended how.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// Everything but what [`Findings`] count.
    pub(super) summary: LedgerComparison,
    pub(super) recovered_commits: u64,
    pub(super) rejected_operations: u64,
    /// Largest id of a key whose creation was acknowledged and is not lost with the tail or beyond the target.
    pub(super) largest_created: i64,
}

/// Gives every operation its class. After all rows were looked at.
pub(super) fn classify(
    marks: &mut Marks<'_>,
    history: &History,
    recovery: Recovery,
    findings: &mut Findings,
) -> Classes {
    let mut classes = Classes::default();
    let summary = &mut classes.summary;
    let failed_ns = recovery.failed_ns;
    // Of the commits that are lost and of those beyond the target, when the earliest was sent.
    let (mut lost_since_ns, mut given_up_since_ns) = (None, None);
    let mut served_until_ns = failed_ns;
    let mut since_backup = 0;
    let mut last_present_ns = None;
    let latest = marks.latest_survivor.and_then(|index| marks.operations.get(index));
    let latest_invoked_ns = latest.map(|survivor| survivor.invoked_ns);
    for (index, operation) in marks.operations.iter().enumerate() {
        if !is_known(operation) {
            continue;
        }
        let acknowledged = operation.answered == Answered::Acknowledged;
        let present = marks.is_present(index);
        match operation.answered {
            Answered::Acknowledged => {
                summary.acknowledged_commits += 1;
                served_until_ns = served_until_ns.max(operation.answered_ns);
            }
            Answered::Indeterminate => {
                summary.indeterminate_commits += 1;
                summary.indeterminate_present += u64::from(present);
            }
            Answered::Rejected => {
                classes.rejected_operations += 1;
                continue;
            }
        }
        let resumed = history.is_resumed(operation);
        let side = if resumed {
            Side::Within
        } else {
            recovery.target.side(operation)
        };
        let in_backup = recovery.backup.is_some_and(|backup| ends_by(operation, backup));
        since_backup += u64::from(acknowledged && !in_backup && !resumed);
        let mut should_be_there = acknowledged;
        if present {
            if side == Side::Beyond {
                findings
                    .overshot
                    .add(|| format!("{} lies after the recovery target and is there", marks.name(index)));
            } else {
                check_whole(marks, index, findings);
                classes.recovered_commits += u64::from(acknowledged && !marks.is_torn(index));
            }
            if acknowledged && !resumed {
                last_present_ns = last_present_ns.max(Some(operation.answered_ns));
            }
        } else if acknowledged && resumed {
            findings.holes.add(|| {
                let name = marks.name(index);
                format!("{name} is missing, and the service that runs again had acknowledged it")
            });
        } else if acknowledged && side != Side::Beyond && latest_invoked_ns > Some(operation.answered_ns) {
            findings.holes.add(|| {
                let survivor = marks.latest_survivor.map(|index| marks.name(index)).unwrap_or_default();
                format!(
                    "{} is missing, but {survivor}, sent after its acknowledgement, is there",
                    marks.name(index)
                )
            });
        } else if acknowledged
            && side != Side::Beyond
            && let Some(reached) = recovery.reached.filter(|&reached| ends_by(operation, reached))
        {
            findings.holes.add(|| {
                format!(
                    "{} is missing, but its WAL was replayed, up to {reached}",
                    marks.name(index)
                )
            });
        } else if acknowledged {
            should_be_there = false;
            if side == Side::Within {
                // A commit may be in the WAL and not yet in a snapshot: what is lost came after the backup.
                since_backup += u64::from(in_backup);
                let apart = lasting(Duration::from_nanos(failed_ns.abs_diff(operation.answered_ns)));
                let when = if operation.answered_ns > failed_ns {
                    "after"
                } else {
                    "before"
                };
                findings
                    .lost
                    .add(|| format!("{} is lost, acknowledged {apart} {when} the failure", marks.name(index)));
                earlier(&mut lost_since_ns, operation.invoked_ns);
            } else {
                summary.commits_beyond_target += 1;
                earlier(&mut given_up_since_ns, operation.invoked_ns);
            }
        }
        if should_be_there && operation.kind == OperationKind::Create {
            classes.largest_created = classes.largest_created.max(marks.key(index));
        }
    }
    // Work was sent before it was acknowledged, so a loss has a width, however coarse the clock is.
    let window_ns = |since: Option<u64>| since.map_or(0, |since_ns| served_until_ns.saturating_sub(since_ns).max(1));
    summary.data_loss_window_ns = window_ns(lost_since_ns);
    summary.given_up_window_ns = window_ns(given_up_since_ns);
    summary.acknowledged_since_backup = recovery.backup.map(|_| since_backup);
    summary.recovery_point_at_utc = last_present_ns.and_then(|at_ns| history.utc(at_ns));
    classes
}

/// Whether the commit record of an operation certainly ends there or before.
fn ends_by(operation: &Operation, lsn: Lsn) -> bool {
    operation.lsn_after != 0 && operation.lsn_after <= lsn.0
}

fn earlier(earliest_ns: &mut Option<u64>, at_ns: u64) {
    *earliest_ns = Some(earliest_ns.map_or(at_ns, |earliest_ns| earliest_ns.min(at_ns)));
}

/// An operation of which something is there must be there with all its rows.
fn check_whole(marks: &mut Marks<'_>, index: usize, findings: &mut Findings) {
    let Some(kind) = marks.operations.get(index).map(|operation| operation.kind) else {
        return;
    };
    let what = if kind == OperationKind::Attach {
        "attachment"
    } else {
        "version"
    };
    let writes_row = kind == OperationKind::Attach || writes_version(kind);
    match (marks.is_audited(index), marks.has_written(index)) {
        (true, false) if writes_row => marks.set_torn(index, findings, &format!("its {what} row is missing")),
        (false, true) => marks.set_torn(
            index,
            findings,
            &format!("its {what} is there, its audit row is missing"),
        ),
        _ => {}
    }
}

/// A sequence must not give out an id again that is in use or was acknowledged to a writer.
pub(super) fn check_sequences(sequences: &[SequenceRow], called: &str, largest_created: i64, findings: &mut Findings) {
    for SequenceRow {
        name,
        is_of_keys,
        last_value,
        largest_used,
    } in sequences
    {
        if last_value < largest_used {
            findings.sequences_behind.push(format!(
                "{name} stands at {last_value}, but id {largest_used} is in use"
            ));
        } else if *is_of_keys && *last_value < largest_created {
            findings.sequences_behind.push(format!(
                "{name} stands at {last_value}, but {called} {largest_created} was acknowledged"
            ));
        }
    }
}
