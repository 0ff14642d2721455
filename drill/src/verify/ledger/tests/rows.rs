//! Each rule about rows, on the smallest history that shows it.

use reports::Verdict;

use super::story::{recovered, rows, story, three_creates};
use crate::{
    ledger::{
        Answered::{Acknowledged, Indeterminate, Rejected},
        KeyRow, Operation,
        OperationKind::{AddVersion, Attach, Create, Restore, SoftDelete},
        Recovered, VersionRow,
    },
    verify::ledger::{Comparison, Target},
};

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
    rows.keys[0].current_version = 2;
    rows.keys[1].current_version = 4;
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
fn an_absent_operation_explains_nothing_before_a_later_one_that_is_there() {
    let world = story(&[
        (AddVersion, 1, 3, Acknowledged),
        (SoftDelete, 1, 3, Acknowledged),
        (AddVersion, 1, 4, Acknowledged),
        (Restore, 1, 4, Acknowledged),
    ]);
    let mut rows = rows(&world, &[3, 4]);
    (rows.keys[0].current_version, rows.keys[0].deleted) = (3, true);
    let comparison = world.compare(&rows, Target::End);
    assert_eq!((comparison.holes.count, comparison.torn.count), (2, 0));
    let altered = [
        "script 1: current version 3, the ledger says 4",
        "script 1: deleted, the ledger says not deleted",
    ];
    assert_eq!(comparison.altered.examples, altered);
}

#[test]
fn an_operation_on_a_script_that_is_gone_is_torn() {
    let world = story(&[(Create, 7, 1, Acknowledged), (AddVersion, 7, 2, Acknowledged)]);
    let mut rows = rows(&world, &[2]);
    rows.keys.retain(|row| row.id != 7);
    let comparison = world.compare(&rows, Target::End);
    assert_eq!((comparison.holes.count, comparison.torn.count), (1, 1));
    assert_eq!(comparison.recovered_commits, 0, "what is torn is not recovered");
}

#[test]
fn of_several_who_tried_the_one_with_the_audit_row_wrote_it() {
    let world = story(&[(AddVersion, 1, 3, Acknowledged), (AddVersion, 1, 3, Rejected)]);
    let rows = rows(&world, &[2]); // the wrong one was carried out
    let comparison = world.compare(&rows, Target::End);
    assert_eq!((comparison.unexpected.count, comparison.lost.count), (1, 1));
    assert_eq!((comparison.torn.count, comparison.altered.count), (0, 0));
}

#[test]
fn an_audit_row_must_say_what_was_done() {
    let altered = |change: fn(&mut Recovered)| -> Comparison {
        let world = three_creates();
        let mut rows = rows(&world, &[1, 2, 3]);
        change(&mut rows);
        world.compare(&rows, Target::End)
    };
    assert_eq!(altered(|rows| rows.audit[1].version = 2).altered.count, 1);
    assert_eq!(altered(|rows| rows.audit[1].key = 9).altered.count, 1);
    assert_eq!(
        altered(|rows| rows.audit[1].kind = None).altered.examples,
        ["operation 2 (create-script of script 8, version 1): its audit row says unknown kind of script 8, version 1"]
    );
}

#[test]
fn a_rejected_operation_that_was_carried_out_is_one_anomaly() {
    let world = story(&[
        (Create, 7, 1, Acknowledged),
        (Attach, 7, 1, Rejected),
        (Create, 8, 1, Rejected),
    ]);
    let mut rows = rows(&world, &[1, 2, 3]);
    rows.keys.retain(|row| row.id != 8);
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(
        (comparison.unexpected.count, comparison.torn.count),
        (2, 0),
        "one of each"
    );
}

#[test]
fn rows_of_an_unreadable_operation_are_held_against_nobody() {
    let mut world = story(&[(AddVersion, 1, 3, Indeterminate), (AddVersion, 1, 3, Acknowledged)]);
    world.history.operations[1] = Operation::UNKNOWN;
    world.history.damage.push("line 4 cannot be read".to_owned());
    let comparison = recovered(&world, &[2], Target::End);
    assert_eq!(
        (comparison.verdict(), comparison.unexplained_rows),
        (Verdict::Unknown, 1)
    );
    assert_eq!(comparison.summary.indeterminate_present, 0);
}

#[test]
fn a_script_and_its_version_that_nobody_wrote_are_two_rows() {
    let world = three_creates();
    let mut rows = rows(&world, &[1, 2, 3]);
    rows.keys.push(KeyRow {
        id: 10,
        current_version: 1,
        ..KeyRow::default()
    });
    rows.versions.push(VersionRow {
        key: 10,
        version: 1,
        content: 1,
        stored: 1,
        ..VersionRow::default()
    });
    let comparison = world.compare(&rows, Target::End);
    let unexpected = [
        "version 1 of script 10, which nobody wrote",
        "script 10, which nobody created",
    ];
    assert_eq!(comparison.unexpected.examples, unexpected);
}

#[test]
fn half_an_operation_is_torn() {
    let world = story(&[(Create, 7, 1, Acknowledged), (Attach, 7, 1, Acknowledged)]);
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
        torn(|rows| rows.versions.retain(|row| row.key != 7)),
        "its version row is missing"
    );
    assert_eq!(
        torn(|rows| rows.keys.retain(|row| row.id != 7)),
        "its script's row is missing"
    );
    assert_eq!(torn(|rows| rows.attachments.clear()), "its attachment row is missing");
    assert_eq!(
        torn(|rows| rows.attachments[0].content = 0),
        "its large object is missing"
    );
    assert_eq!(
        torn(|rows| rows.audit.retain(|row| row.operation != 2)),
        "its attachment is there, its audit row is missing"
    );
    assert_eq!(
        torn(|rows| rows.audit.retain(|row| row.operation != 1)),
        "its script is there, its audit row is missing"
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
fn a_script_may_have_more_operations_than_are_read_at_once() {
    let versions: Vec<_> = (3..1_500)
        .map(|version| (AddVersion, 1, version, Acknowledged))
        .collect();
    let mut operations = versions.clone();
    operations.extend((7..1_500).map(|key| (Create, key, 1, Acknowledged)));
    let world = story(&operations);
    let all: Vec<usize> = (1..=operations.len()).collect();
    let comparison = recovered(&world, &all, Target::End);
    assert_eq!(
        (comparison.verdict(), comparison.recovered_commits),
        (Verdict::Pass, operations.len() as u64)
    );
}

#[test]
fn scattered_ids_are_no_trouble() {
    let far = i64::MAX;
    let world = story(&[
        (Create, far, 1, Acknowledged),
        (Create, 7, 1, Acknowledged),
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
fn an_operation_takes_80_bytes() {
    assert_eq!(size_of::<Operation>(), 80);
}

/// What a change of the rows of a whole little history is called.
fn altered(change: fn(&mut Recovered)) -> Vec<String> {
    let world = story(&[
        (Create, 7, 1, Acknowledged),
        (AddVersion, 7, 2, Acknowledged),
        (Attach, 7, 2, Acknowledged),
        (SoftDelete, 7, 2, Acknowledged),
        (Attach, 4, 2, Acknowledged),
    ]);
    let mut rows = rows(&world, &[1, 2, 3, 4, 5]);
    assert_eq!(world.compare(&rows, Target::End).verdict(), Verdict::Pass);
    change(&mut rows);
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(comparison.altered.count, comparison.summary.altered_rows);
    comparison.altered.examples
}

#[test]
fn everything_that_a_commit_wrote_is_compared() {
    assert_eq!(
        altered(|rows| rows.keys[1].facts += 1),
        ["script 7: it differs in column Name or Description from what operation 1 wrote"]
    );
    assert_eq!(
        altered(|rows| rows.keys[1].created.0 += 1),
        ["script 7: it was not created when operation 1 did so"]
    );
    assert_eq!(
        altered(|rows| rows.keys[1].updated.0 += 1),
        ["script 7: the time of its last change is not what the ledger says"]
    );
    assert_eq!(
        altered(|rows| rows.keys[1].deleted_at.0 += 1),
        ["script 7: the time of its deletion is not what the ledger says"]
    );
    assert_eq!(
        altered(|rows| rows.keys[0].updated.0 += 1),
        ["script 4: the time of its last change is not what the ledger says"],
        "one that was seeded and only got an attachment"
    );
    assert_eq!(
        altered(|rows| rows.versions.last_mut().unwrap().author = Some(4)),
        ["version 2 of script 7 (operation 2): its author is another"]
    );
    assert_eq!(
        altered(|rows| rows.versions.last_mut().unwrap().at.0 += 1),
        ["version 2 of script 7 (operation 2): its time is another"]
    );
    let attachment = "operation 3 (attach of script 7, version 2)";
    assert_eq!(
        altered(|rows| rows.attachments[0].stored += 1),
        [format!(
            "{attachment}: the stored hash of its attachment is not what was written"
        )]
    );
    assert_eq!(
        altered(|rows| rows.attachments[0].facts += 1),
        [format!(
            "{attachment}: the stored size of its attachment is not what was written"
        )]
    );
    assert_eq!(
        altered(|rows| rows.attachments[0].at.0 += 1),
        [format!(
            "{attachment}: the time of its attachment is not what was written"
        )]
    );
    assert_eq!(
        altered(|rows| rows.audit[2].author = None),
        [format!("{attachment}: the author of its audit row is another")]
    );
    assert_eq!(
        altered(|rows| rows.audit[2].at.0 += 1),
        [format!("{attachment}: the time of its audit row is another")]
    );
    assert_eq!(
        altered(|rows| rows.malformed.push("AuditEvents 9: Actor is NULL".to_owned())),
        ["AuditEvents 9: Actor is NULL"]
    );
}

#[test]
fn what_the_ledger_does_not_know_is_not_compared() {
    let mut world = story(&[
        (Create, 7, 1, Acknowledged),
        (SoftDelete, 7, 1, Acknowledged),
        (Attach, 7, 1, Acknowledged),
    ]);
    let rows = rows(&world, &[1, 2, 3]);
    for operation in &mut world.history.operations {
        (operation.facts, operation.rows_at, operation.writer) =
            (0, Operation::UNKNOWN.rows_at, Operation::UNKNOWN.writer);
    }
    assert_eq!(world.compare(&rows, Target::End).verdict(), Verdict::Pass);
}

#[test]
fn a_time_that_only_an_absent_operation_explains_is_torn() {
    let world = story(&[(AddVersion, 1, 3, Acknowledged), (SoftDelete, 1, 3, Acknowledged)]);
    let mut rows = rows(&world, &[1, 2]);
    rows.audit.pop();
    (rows.keys[0].deleted, rows.keys[0].deleted_at) = (false, Operation::UNKNOWN.rows_at);
    let comparison = world.compare(&rows, Target::End);
    assert_eq!(
        (comparison.torn.count, comparison.altered.count),
        (1, 0),
        "{comparison:?}"
    );
}
