//! Each rule about rows, on the smallest history that shows it.

use reports::Verdict;

use super::story::{recovered, rows, story, three_creates};
use crate::{
    verify::ledger::{Comparison, Recovered, ScriptRow, Target, VersionRow},
    workload::ledger::{
        Answered::{Acknowledged, Indeterminate, Rejected},
        Operation,
        OperationKind::{AddVersion, Attach, CreateScript, Restore, SoftDelete},
    },
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
fn an_absent_operation_explains_nothing_before_a_later_one_that_is_there() {
    let world = story(&[
        (AddVersion, 1, 3, Acknowledged),
        (SoftDelete, 1, 3, Acknowledged),
        (AddVersion, 1, 4, Acknowledged),
        (Restore, 1, 4, Acknowledged),
    ]);
    let mut rows = rows(&world, &[3, 4]);
    (rows.scripts[0].current_version, rows.scripts[0].deleted) = (3, true);
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
    let world = story(&[(CreateScript, 7, 1, Acknowledged), (AddVersion, 7, 2, Acknowledged)]);
    let mut rows = rows(&world, &[2]);
    rows.scripts.retain(|row| row.id != 7);
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
    assert_eq!(altered(|rows| rows.audit[1].script = 9).altered.count, 1);
    assert_eq!(
        altered(|rows| rows.audit[1].kind = None).altered.examples,
        ["operation 2 (create-script of script 8, version 1): its audit row says unknown kind of script 8, version 1"]
    );
}

#[test]
fn a_rejected_operation_that_was_carried_out_is_one_anomaly() {
    let world = story(&[
        (CreateScript, 7, 1, Acknowledged),
        (Attach, 7, 1, Rejected),
        (CreateScript, 8, 1, Rejected),
    ]);
    let mut rows = rows(&world, &[1, 2, 3]);
    rows.scripts.retain(|row| row.id != 8);
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
    rows.scripts.push(ScriptRow {
        id: 10,
        current_version: 1,
        deleted: false,
    });
    rows.versions.push(VersionRow {
        script: 10,
        version: 1,
        content: 1,
        stored: 1,
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
    operations.extend((7..1_500).map(|script| (CreateScript, script, 1, Acknowledged)));
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
