//! Small histories told by hand.

use chrono::DateTime;

use super::world::{World, with_facts};
use crate::{
    ledger::{Answered, Operation, OperationKind},
    verify::ledger::{Comparison, Recovered, Target},
};

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// A history of operations one after the other: number n is sent at 10 n seconds and answered 5 s later; its commit
/// record lies in the 100 bytes from LSN 1000 n. The failure is 5 s after the last answer.
pub(super) fn story(operations: &[(OperationKind, i64, i32, Answered)]) -> World {
    let mut world = World::default();
    for (index, &(kind, key, version, answered)) in operations.iter().enumerate() {
        let number = index as u64 + 1;
        let operation = Operation {
            invoked_ns: 10 * number * SECOND_NS,
            answered_ns: (10 * number + 5) * SECOND_NS,
            lsn_before: 1_000 * number,
            lsn_after: 1_000 * number + 100,
            content: if matches!(kind, OperationKind::SoftDelete | OperationKind::Restore) {
                0
            } else {
                100 + u128::from(number)
            },
            key,
            version,
            kind,
            answered,
            ..Operation::UNKNOWN
        };
        world.truth.push(with_facts(operation, index));
    }
    world.history.operations.clone_from(&world.truth);
    world.history.epoch = Some((DateTime::UNIX_EPOCH, 0));
    world.failed_ns = (10 * operations.len() as u64 + 10) * SECOND_NS;
    world
}

/// Compares with a database in which operations 1, 2 … of `kept` happened.
pub(super) fn recovered(world: &World, kept: &[usize], target: Target) -> Comparison {
    world.compare(&rows(world, kept), target)
}

pub(super) fn rows(world: &World, kept: &[usize]) -> Recovered {
    let indices: Vec<usize> = kept.iter().map(|number| number - 1).collect();
    world.database(&indices)
}

/// Three keys, one after the other.
pub(super) fn three_creates() -> World {
    story(&[
        (OperationKind::Create, 7, 1, Answered::Acknowledged),
        (OperationKind::Create, 8, 1, Answered::Acknowledged),
        (OperationKind::Create, 9, 1, Answered::Acknowledged),
    ])
}
