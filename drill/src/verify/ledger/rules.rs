//! Each rule once, on the smallest history that shows it.

use chrono::{DateTime, Duration, Utc};
use reports::Verdict;

use super::{
    Comparison, Recovered, Target, Unverifiable, VersionRow, compare,
    world::{World, seed},
};
use crate::{
    postgres::Lsn,
    workload::ledger::{
        Answered::{self, Acknowledged, Indeterminate, Rejected},
        Operation,
        OperationKind::{self, AddVersion, Attach, CreateScript, Restore, SoftDelete},
    },
};

const SECOND_NS: u64 = 1_000_000_000;
/// Whole seconds after the epoch, as wall time.
fn at(seconds: i64) -> Option<DateTime<Utc>> {
    Some(DateTime::UNIX_EPOCH + Duration::seconds(seconds))
}

/// A history of operations one after the other: number n is sent at 10 n seconds and answered 5 s later; its commit
/// record lies in the 100 bytes from LSN 1000 n. The failure is 5 s after the last answer.
fn story(operations: &[(OperationKind, i64, i32, Answered)]) -> World {
    let mut world = World::default();
    for (index, &(kind, script, version, answered)) in operations.iter().enumerate() {
        let number = index as u64 + 1;
        world.truth.push(Operation {
            invoked_ns: 10 * number * SECOND_NS,
            answered_ns: (10 * number + 5) * SECOND_NS,
            lsn_before: 1_000 * number,
            lsn_after: 1_000 * number + 100,
            content: if matches!(kind, SoftDelete | Restore) {
                0
            } else {
                100 + u128::from(number)
            },
            script,
            version,
            kind,
            answered,
        });
    }
    world.history.operations.clone_from(&world.truth);
    world.history.epoch = Some((DateTime::UNIX_EPOCH, 0));
    world.failed_ns = (10 * operations.len() as u64 + 10) * SECOND_NS;
    world
}

/// Compares with a database in which operations 1, 2 … of `kept` happened.
fn recovered(world: &World, kept: &[usize], target: Target) -> Comparison {
    world.compare(&rows(world, kept), target)
}

fn rows(world: &World, kept: &[usize]) -> Recovered {
    let indices: Vec<usize> = kept.iter().map(|number| number - 1).collect();
    world.database(&indices)
}

/// Three scripts, one after the other.
fn three_creates() -> World {
    story(&[
        (CreateScript, 7, 1, Acknowledged),
        (CreateScript, 8, 1, Acknowledged),
        (CreateScript, 9, 1, Acknowledged),
    ])
}

#[test]
fn everything_there_is_a_pass() {
    let comparison = recovered(&three_creates(), &[1, 2, 3], Target::End);
    assert_eq!(comparison.verdict(), Verdict::Pass);
    assert_eq!(
        comparison.describe(),
        "3 of 3 acknowledged commits recovered; no anomaly"
    );
    assert_eq!(comparison.summary.recovery_point_at_utc, at(35));
}

#[test]
fn a_missing_tail_is_data_loss_and_no_failure() {
    let comparison = recovered(&three_creates(), &[1], Target::End);
    assert_eq!((comparison.verdict(), comparison.is_prefix()), (Verdict::Pass, true));
    assert_eq!((comparison.summary.lost_commits, comparison.summary.holes), (2, 0));
    assert!(
        (comparison.summary.data_loss_window_s - 15.0).abs() < 1e-9,
        "failed at 40 s, the second answered at 25 s"
    );
    assert_eq!(comparison.summary.recovery_point_at_utc, at(15));
    assert_eq!(
        comparison.lost.examples[0],
        "operation 2 (create-script of script 8, version 1) is lost, acknowledged 15.000 s before the failure"
    );
}

#[test]
fn nothing_there_is_everything_lost() {
    let comparison = recovered(&three_creates(), &[], Target::End);
    assert_eq!((comparison.verdict(), comparison.lost.count), (Verdict::Pass, 3));
    assert_eq!(comparison.summary.recovery_point_at_utc, None);
}

#[test]
fn what_was_acknowledged_after_the_failure_widens_nothing() {
    let mut world = three_creates();
    world.failed_ns = 20 * SECOND_NS;
    let comparison = recovered(&world, &[1, 2], Target::End);
    assert_eq!((comparison.lost.count, comparison.summary.data_loss_window_s), (1, 0.0));
}

#[test]
fn a_hole_is_corruption_and_not_data_loss() {
    let comparison = recovered(&three_creates(), &[1, 3], Target::End);
    assert_eq!((comparison.verdict(), comparison.is_prefix()), (Verdict::Fail, false));
    assert_eq!((comparison.summary.holes, comparison.summary.lost_commits), (1, 0));
    assert_eq!(
        comparison.holes.examples,
        [
            "operation 2 (create-script of script 8, version 1) is missing, but operation 3 (create-script of script 9, \
          version 1), sent after its acknowledgement, is there"
        ]
    );
}

#[test]
fn concurrent_commits_may_survive_in_any_order() {
    let mut world = three_creates();
    world.history.operations[2].invoked_ns = world.history.operations[1].answered_ns - 1;
    let comparison = recovered(&world, &[1, 3], Target::End);
    assert_eq!(
        (comparison.verdict(), comparison.lost.count),
        (Verdict::Pass, 1),
        "3 was sent before 2 was answered"
    );
}

#[test]
fn indeterminate_operations_may_be_there_or_not() {
    let world = story(&[(CreateScript, 7, 1, Acknowledged), (AddVersion, 7, 2, Indeterminate)]);
    for (kept, present) in [(&[1][..], 0), (&[1, 2], 1)] {
        let comparison = recovered(&world, kept, Target::End);
        assert_eq!(comparison.verdict(), Verdict::Pass);
        assert_eq!(
            (
                comparison.summary.indeterminate_commits,
                comparison.summary.indeterminate_present
            ),
            (1, present)
        );
    }
}

#[test]
fn an_unanswered_creation_is_known_by_its_audit_row() {
    let mut world = story(&[(CreateScript, 7, 1, Indeterminate)]);
    world.history.operations[0].script = 0;
    assert_eq!(recovered(&world, &[1], Target::End).verdict(), Verdict::Pass);
}

#[test]
fn rejected_operations_must_be_absent() {
    let world = story(&[(CreateScript, 7, 1, Acknowledged), (AddVersion, 7, 2, Rejected)]);
    assert_eq!(recovered(&world, &[1], Target::End).verdict(), Verdict::Pass);
    let comparison = recovered(&world, &[1, 2], Target::End);
    assert_eq!(comparison.verdict(), Verdict::Fail);
    assert_eq!(
        comparison.unexpected.examples,
        ["operation 2 (add-version of script 7, version 2) was rejected and is there"]
    );
    let mut rows = rows(&world, &[1]);
    rows.versions.push(VersionRow {
        script: 7,
        version: 2,
        content: 102,
        stored: 102,
    });
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(comparison.unexpected.count, 1, "{comparison:?}");
}

#[test]
fn a_number_that_was_never_sent_is_no_operation() {
    let mut world = three_creates();
    world.history.operations[1] = Operation::UNKNOWN;
    let comparison = recovered(&world, &[1, 3], Target::End);
    assert_eq!(
        (comparison.verdict(), comparison.summary.indeterminate_commits),
        (Verdict::Pass, 0)
    );
    assert!(recovered(&world, &[1, 2, 3], Target::End).unexpected.count > 0);
}

#[test]
fn commits_beyond_the_target_are_counted_apart() {
    let target = Target::Lsn(Lsn(2_000)); // where the second one's record begins at the earliest
    let comparison = recovered(&three_creates(), &[1], target);
    assert_eq!(comparison.verdict(), Verdict::Pass);
    assert_eq!(
        (
            comparison.summary.commits_beyond_target,
            comparison.summary.lost_commits
        ),
        (2, 0)
    );
}

#[test]
fn where_the_target_lies_within_the_bracket_both_are_right() {
    let target = Target::Lsn(Lsn(2_050));
    for (kept, beyond) in [(&[1][..], 2), (&[1, 2], 1)] {
        let comparison = recovered(&three_creates(), kept, target);
        assert_eq!(
            (comparison.verdict(), comparison.summary.commits_beyond_target),
            (Verdict::Pass, beyond)
        );
        assert_eq!(comparison.lost.count, 0);
    }
}

#[test]
fn a_record_that_ends_at_the_target_is_within() {
    assert_eq!(recovered(&three_creates(), &[1], Target::Lsn(Lsn(2_100))).lost.count, 1);
}

#[test]
fn an_overshot_target_is_found() {
    let comparison = recovered(&three_creates(), &[1, 2], Target::Lsn(Lsn(2_000)));
    assert_eq!((comparison.verdict(), comparison.overshot.count), (Verdict::Fail, 1));
    assert_eq!(comparison.summary.unexpected_rows, 1);
}

#[test]
fn a_hole_before_a_survivor_is_a_hole_whatever_the_target() {
    let comparison = recovered(&three_creates(), &[2], Target::Lsn(Lsn(1_050)));
    assert_eq!((comparison.holes.count, comparison.overshot.count), (1, 1));
}

#[test]
fn state_is_the_fold_of_what_is_there() {
    let world = story(&[
        (AddVersion, 1, 3, Acknowledged),
        (SoftDelete, 1, 3, Acknowledged),
        (AddVersion, 2, 4, Rejected),
        (SoftDelete, 2, 3, Indeterminate),
    ]);
    let mut rows = rows(&world, &[1, 2]);
    assert_eq!(world.compare(&rows, Target::End).verdict(), Verdict::Pass);
    rows.scripts[0].current_version = 2;
    rows.scripts[1].current_version = 4;
    let altered = world.compare(&rows, Target::End).altered.examples;
    assert_eq!(
        altered,
        [
            "script 1: current version 2, the ledger says 3",
            "script 2: current version 4, the ledger says 3"
        ]
    );
}

#[test]
fn a_state_that_only_an_absent_operation_explains_is_torn() {
    let world = story(&[(SoftDelete, 1, 2, Acknowledged)]);
    let mut rows = rows(&world, &[1]);
    rows.audit.clear();
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(
        comparison.torn.examples,
        ["operation 1 (soft-delete of script 1, version 2): its script shows it, its audit row is missing"]
    );
    assert_eq!(
        (
            comparison.altered.count,
            comparison.lost.count,
            comparison.summary.holes
        ),
        (0, 0, 1)
    );
}

#[test]
fn half_an_operation_is_torn() {
    let world = story(&[(CreateScript, 7, 1, Acknowledged), (Attach, 7, 1, Acknowledged)]);
    let torn = |change: fn(&mut Recovered)| {
        let mut rows = rows(&world, &[1, 2]);
        change(&mut rows);
        let comparison = world.compare(&rows, Target::End);
        assert_eq!(
            (comparison.torn.count, comparison.summary.holes, comparison.lost.count),
            (1, 1, 0)
        );
        comparison.torn.examples[0]
            .split(": ")
            .last()
            .map(str::to_owned)
            .unwrap()
    };
    assert_eq!(
        torn(|rows| rows.versions.retain(|row| row.script != 7)),
        "its version row is missing"
    );
    assert_eq!(
        torn(|rows| rows.scripts.retain(|row| row.id != 7)),
        "its script's row is missing"
    );
    assert_eq!(torn(|rows| rows.attachments.clear()), "its attachment row is missing");
    assert_eq!(
        torn(|rows| rows.attachments[0].content = 0),
        "its large object is missing"
    );
    assert_eq!(
        torn(|rows| drop(rows.audit.remove(1))),
        "its attachment is there, its audit row is missing"
    );
    assert_eq!(
        torn(|rows| drop(rows.audit.remove(0))),
        "its version is there, its audit row is missing"
    );
}

#[test]
fn sequences_must_not_give_out_an_id_again() {
    let world = three_creates();
    let mut rows = rows(&world, &[1, 2, 3]);
    rows.sequences[1].last_value = 8;
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(
        comparison.sequences_behind,
        ["TransformationScripts_Id_seq stands at 8, but id 9 is in use"]
    );
    rows.sequences[1].largest_used = 8;
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(
        comparison.sequences_behind,
        ["TransformationScripts_Id_seq stands at 8, but script 9 was acknowledged"]
    );
    assert_eq!(comparison.verdict(), Verdict::Fail);
}

#[test]
fn ids_lost_with_the_tail_may_be_given_out_again() {
    let world = three_creates();
    let mut rows = rows(&world, &[1]);
    rows.sequences[1].last_value = 7;
    assert_eq!(world.compare(&rows, Target::End).verdict(), Verdict::Pass);
}

#[test]
fn nothing_read_or_out_of_order_is_unverifiable() {
    let world = three_creates();
    let unverifiable = |recovered| compare(&world.history, recovered, &seed(), Target::End, 0);
    assert_eq!(unverifiable(None), Err(Unverifiable::NothingRead));
    let mut rows = rows(&world, &[1, 2]);
    rows.audit.reverse();
    assert_eq!(
        unverifiable(Some(&rows)),
        Err(Unverifiable::OutOfOrder { rows: "audit rows" })
    );
}

#[test]
fn a_damaged_ledger_proves_nothing_by_finding_nothing() {
    let mut world = three_creates();
    world.history.operations[2] = Operation::UNKNOWN;
    world.history.damage.push("line 6 cannot be read".to_owned());
    let comparison = recovered(&world, &[1, 2, 3], Target::End);
    assert_eq!(
        (comparison.verdict(), comparison.unexplained_rows),
        (Verdict::Unknown, 1)
    );
    let comparison = recovered(&world, &[2, 3], Target::End);
    assert_eq!(
        comparison.verdict(),
        Verdict::Fail,
        "the hole before 2 is certain all the same"
    );
}

#[test]
fn examples_are_few_and_counts_are_not() {
    let creates: Vec<_> = (7..107).map(|script| (CreateScript, script, 1, Acknowledged)).collect();
    let comparison = recovered(&story(&creates), &[100], Target::End);
    assert_eq!((comparison.holes.count, comparison.holes.examples.len()), (99, 10));
}

#[test]
fn scattered_ids_are_no_trouble() {
    let far = i64::MAX;
    let world = story(&[
        (CreateScript, far, 1, Acknowledged),
        (CreateScript, 7, 1, Acknowledged),
        (AddVersion, far, 2, Acknowledged),
    ]);
    let comparison = recovered(&world, &[1, 2, 3], Target::End);
    assert_eq!(
        (comparison.holes.count, comparison.torn.count, comparison.altered.count),
        (0, 0, 0),
        "{comparison:?}"
    );
    assert_eq!(comparison.recovered_commits, 3);
}

#[test]
fn an_operation_takes_64_bytes() {
    assert_eq!(size_of::<Operation>(), 64);
}
