//! Each rule about rows, on the smallest history that shows it.

use reports::Verdict;

use super::story::{recovered, rows, story, three_creates};
use crate::{
    verify::ledger::{Recovered, Target},
    workload::ledger::{
        Answered::{Acknowledged, Indeterminate, Rejected},
        Operation,
        OperationKind::{AddVersion, Attach, CreateScript, SoftDelete},
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
