//! Each rule about operations, on the smallest history that shows it.

use chrono::{DateTime, Duration, Utc};
use reports::Verdict;

use super::{
    story::{SECOND_NS, recovered, rows, story, three_creates},
    world::seed,
};
use crate::{
    ledger::{
        Answered::{Acknowledged, Indeterminate, Rejected},
        Operation,
        OperationKind::{AddVersion, Create},
        VersionRow,
    },
    postgres::Lsn,
    verify::ledger::{Recovery, Target, Unverifiable, compare},
};

/// Whole seconds after the epoch, as wall time.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

#[test]
fn everything_there_is_a_pass() {
    let comparison = recovered(&three_creates(), &[1, 2, 3], Target::End);
    assert_eq!(comparison.verdict(), Verdict::Pass);
    assert_eq!(
        comparison.describe(),
        "3 of 3 acknowledged commits recovered; no anomaly"
    );
    assert_eq!(comparison.summary.recovery_point_at_utc, Some(at(35)));
}

#[test]
fn a_missing_tail_is_data_loss_and_no_failure() {
    let comparison = recovered(&three_creates(), &[1], Target::End);
    assert_eq!((comparison.verdict(), comparison.is_prefix()), (Verdict::Pass, true));
    assert_eq!((comparison.summary.lost_commits, comparison.summary.holes), (2, 0));
    assert_eq!(
        (
            comparison.summary.data_loss_window_ns,
            comparison.summary.given_up_window_ns
        ),
        (20 * SECOND_NS, 0),
        "failed at 40 s, the second was sent at 20 s"
    );
    assert_eq!(comparison.summary.lost_share(), Some(2.0 / 3.0));
    assert_eq!(comparison.summary.recovery_point_at_utc, Some(at(15)));
    assert_eq!(
        comparison.lost.examples[0],
        "operation 2 (create-script of script 8, version 1) is lost, acknowledged 15 s before the failure"
    );
}

#[test]
fn what_the_service_takes_once_it_runs_again_makes_no_hole_of_the_lost_tail() {
    let mut world = three_creates();
    world.history.resumed_ns = Some(world.history.operations[2].invoked_ns);
    let comparison = recovered(&world, &[1, 3], Target::Lsn(Lsn(1_500)));
    let summary = &comparison.summary;
    assert_eq!(
        (comparison.verdict(), summary.holes),
        (Verdict::Pass, 0),
        "{comparison:?}"
    );
    assert_eq!((summary.lost_commits, summary.commits_beyond_target), (0, 1));
    assert_eq!(comparison.recovered_commits, 2, "no target says anything about it");
    assert_eq!(
        summary.recovery_point_at_utc,
        Some(at(15)),
        "it is no part of what was recovered"
    );

    let gone = recovered(&world, &[1], Target::End);
    assert_eq!(
        (gone.verdict(), gone.summary.lost_commits, gone.summary.holes),
        (Verdict::Fail, 1, 1)
    );
    assert_eq!(
        gone.holes.examples[0],
        "operation 3 (create-script of script 9, version 1) is missing, and the service that runs again had acknowledged it"
    );
}

#[test]
fn nothing_there_is_everything_lost() {
    let comparison = recovered(&three_creates(), &[], Target::End);
    assert_eq!((comparison.verdict(), comparison.lost.count), (Verdict::Pass, 3));
    assert_eq!(comparison.summary.recovery_point_at_utc, None);
}

#[test]
fn what_was_acknowledged_after_the_failure_widens_the_loss() {
    let mut world = three_creates();
    world.failed_ns = 20 * SECOND_NS;
    let comparison = recovered(&world, &[1, 2], Target::End);
    assert_eq!(
        (comparison.lost.count, comparison.summary.data_loss_window_ns),
        (1, 5 * SECOND_NS),
        "sent at 30 s and acknowledged at 35 s"
    );
    assert_eq!(
        comparison.lost.examples[0],
        "operation 3 (create-script of script 9, version 1) is lost, acknowledged 15 s after the failure"
    );
}

#[test]
fn a_commit_whose_record_was_replayed_is_never_lost() {
    let world = three_creates();
    let rows = rows(&world, &[1]);
    let comparison = world.compare_after(&rows, Target::End, Some(Lsn(2_100)));
    assert_eq!(
        (comparison.holes.count, comparison.lost.count),
        (1, 1),
        "the third's ends at 3100"
    );
    assert_eq!(
        comparison.holes.examples,
        ["operation 2 (create-script of script 8, version 1) is missing, but its WAL was replayed, up to 0/834"]
    );
    let comparison = world.compare_after(&rows, Target::End, Some(Lsn(2_099)));
    assert_eq!((comparison.holes.count, comparison.lost.count), (0, 2));
}

#[test]
fn work_given_up_has_a_window_of_its_own() {
    let comparison = recovered(&three_creates(), &[1], Target::Lsn(Lsn(2_000)));
    assert_eq!(
        (
            comparison.summary.data_loss_window_ns,
            comparison.summary.given_up_window_ns
        ),
        (0, 20 * SECOND_NS)
    );
    assert!(!comparison.summary.meets_rpo(19.9) && comparison.summary.meets_rpo(20.0));
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
fn the_survivor_that_was_sent_last_decides() {
    let mut world = three_creates();
    // Numbers are taken before the journal is written: 2 got its number first and was sent last.
    (
        world.history.operations[1].invoked_ns,
        world.history.operations[2].invoked_ns,
    ) = (30 * SECOND_NS, 12 * SECOND_NS);
    let comparison = recovered(&world, &[2, 3], Target::End);
    assert_eq!((comparison.holes.count, comparison.lost.count), (1, 0));
}

#[test]
fn a_rejected_operation_is_no_survivor() {
    let world = story(&[(Create, 7, 1, Acknowledged), (Create, 8, 1, Rejected)]);
    let comparison = recovered(&world, &[2], Target::End);
    assert_eq!(
        (
            comparison.unexpected.count,
            comparison.holes.count,
            comparison.lost.count
        ),
        (1, 0, 1)
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
    let world = story(&[(Create, 7, 1, Acknowledged), (AddVersion, 7, 2, Indeterminate)]);
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
    let mut world = story(&[(Create, 7, 1, Indeterminate)]);
    world.history.operations[0].key = 0;
    assert_eq!(recovered(&world, &[1], Target::End).verdict(), Verdict::Pass);
}

#[test]
fn rejected_operations_must_be_absent() {
    let world = story(&[(Create, 7, 1, Acknowledged), (AddVersion, 7, 2, Rejected)]);
    assert_eq!(recovered(&world, &[1], Target::End).verdict(), Verdict::Pass);
    let comparison = recovered(&world, &[1, 2], Target::End);
    assert_eq!(comparison.verdict(), Verdict::Fail);
    assert_eq!(
        comparison.unexpected.examples,
        ["operation 2 (add-version of script 7, version 2) was rejected and is there"]
    );
    let mut rows = rows(&world, &[1]);
    rows.versions.push(VersionRow {
        key: 7,
        version: 2,
        content: 102,
        stored: 102,
        ..VersionRow::default()
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
fn nothing_read_or_out_of_order_is_unverifiable() {
    let world = three_creates();
    let recovery = Recovery {
        target: Target::End,
        reached: None,
        backup: None,
        failed_ns: 0,
    };
    let unverifiable = |recovered| compare(&world.history, recovered, &seed(), recovery);
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
    let creates: Vec<_> = (7..107).map(|key| (Create, key, 1, Acknowledged)).collect();
    let comparison = recovered(&story(&creates), &[100], Target::End);
    assert_eq!((comparison.holes.count, comparison.holes.examples.len()), (99, 10));
}
