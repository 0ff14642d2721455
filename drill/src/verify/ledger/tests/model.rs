//! Whatever concurrent writers did and wherever a recovery honestly ended, nobody is accused, and the numbers are right.

use proptest::{collection::vec, prelude::*};
use reports::Verdict;

use super::world::{World, forget_answer};
use crate::{
    ledger::{Answered, History, Operation},
    postgres::Lsn,
    verify::ledger::Target,
};

/// Histories of up to some fifty operations by one to four writers.
pub(super) fn worlds() -> impl Strategy<Value = World> {
    (vec(any::<u16>(), 0..200), 1..5_usize).prop_map(|(choices, writers)| World::simulate(&choices, writers))
}

/// Where a recovery ends.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// After so many commits.
    Commits(prop::sample::Index),
    /// At a target around the commit record with this index, so many bytes off.
    Target(prop::sample::Index, i64),
}

fn cuts() -> impl Strategy<Value = Cut> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Cut::Commits),
        (any::<prop::sample::Index>(), -30..30_i64).prop_map(|(commit, off)| Cut::Target(commit, off)),
    ]
}

impl Cut {
    /// The operations that are there afterwards, in the order of their commits.
    fn apply(self, world: &World) -> (Vec<usize>, Target) {
        match self {
            Self::Commits(commits) => {
                let commits = commits.index(world.commits.len() + 1);
                (
                    world.commits[..commits].iter().map(|commit| commit.0).collect(),
                    Target::End,
                )
            }
            Self::Target(commit, off) => {
                let starts = || world.commits.iter().map(|commit| commit.1);
                let around = starts().nth(commit.index(world.commits.len() + 1)).unwrap_or(world.lsn);
                let target = around.saturating_add_signed(off);
                let kept = world
                    .commits
                    .iter()
                    .take_while(|commit| commit.1 < target)
                    .map(|commit| commit.0);
                (kept.collect(), Target::Lsn(Lsn(target)))
            }
        }
    }
}

/// Makes lines unreadable: of an operation its intent and so all of it, or only its answer.
fn lose_lines(history: &mut History, lines: &[(prop::sample::Index, bool)]) {
    history.damage.push("line 17 cannot be read".to_owned());
    for (at, whole) in lines {
        let Some(last) = history.operations.len().checked_sub(1) else {
            return;
        };
        let operation = &mut history.operations[at.index(last + 1)];
        if *whole {
            *operation = Operation::UNKNOWN;
        } else {
            forget_answer(operation);
            let answered_ns = u64::MAX;
            *operation = Operation {
                answered_ns,
                answered: Answered::Indeterminate,
                lsn_before: 0,
                lsn_after: 0,
                ..*operation
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_honest_recovery_is_never_accused(world in worlds(), cut in cuts()) {
        let (kept, target) = cut.apply(&world);
        let recovered = world.database(&kept);
        let comparison = world.compare(&recovered, target);

        prop_assert_eq!(comparison.verdict(), Verdict::Pass, "{}: {:?}", comparison.describe(), comparison.summary.examples);
        prop_assert!(comparison.is_prefix());

        let operations = || world.history.operations.iter().enumerate();
        let acknowledged = || operations().filter(|(_, operation)| operation.answered == Answered::Acknowledged);
        let there = acknowledged().filter(|(index, _)| kept.contains(index));
        let gone = || acknowledged().filter(|(index, _)| !kept.contains(index));
        let open = || operations().filter(|(_, operation)| operation.answered == Answered::Indeterminate);
        let summary = &comparison.summary;
        prop_assert_eq!(summary.acknowledged_commits, acknowledged().count() as u64);
        prop_assert_eq!(comparison.recovered_commits, there.clone().count() as u64);
        prop_assert_eq!(summary.indeterminate_commits, open().count() as u64);
        prop_assert_eq!(summary.indeterminate_present, open().filter(|(index, _)| kept.contains(index)).count() as u64);
        prop_assert_eq!(
            summary.recovery_point_at_utc,
            there.map(|(_, operation)| operation.answered_ns).max().and_then(|at_ns| world.history.utc(at_ns))
        );
        let (lost, beyond) = (summary.lost_commits, summary.commits_beyond_target);
        let served_until_ns = acknowledged().map(|(_, operation)| operation.answered_ns).fold(world.failed_ns, u64::max);
        let earliest_ns = gone().map(|(_, operation)| operation.invoked_ns).min();
        let window_ns = earliest_ns.map_or(0, |earliest_ns| served_until_ns - earliest_ns);
        let windows = (summary.data_loss_window_ns, summary.given_up_window_ns);
        if target == Target::End {
            prop_assert_eq!((lost, beyond), (gone().count() as u64, 0));
            prop_assert_eq!(windows, (window_ns, 0));
        } else {
            prop_assert_eq!((lost, beyond), (0, gone().count() as u64));
            prop_assert_eq!(windows, (0, window_ns));
        }
    }

    /// Whatever survived of whatever was acknowledged, before or after the moment of failure and in whichever order: with
    /// `synchronous_commit = off` a commit is acknowledged before it is safe, and any tail may be gone.
    #[test]
    fn a_loss_has_a_window_and_no_window_is_without_a_loss(
        mut world in worlds(),
        cut in cuts(),
        end in any::<prop::sample::Index>(),
        failed in any::<prop::sample::Index>(),
    ) {
        let (mut kept, target) = cut.apply(&world);
        kept.truncate(end.index(kept.len() + 1));
        world.failed_ns = failed.index(world.failed_ns as usize + 1) as u64;
        let summary = world.compare(&world.database(&kept), target).summary;
        prop_assert_eq!(summary.lost_commits > 0, summary.data_loss_window_ns > 0);
        prop_assert_eq!(summary.commits_beyond_target > 0, summary.given_up_window_ns > 0);
        prop_assert_eq!(summary.lost_commits > 0, summary.data_loss_window_ms() > 0);
        prop_assert!(summary.lost_share().unwrap_or_default() <= 1.0);
    }

    /// How far WAL was replayed never accuses a recovery that brought back what was in it.
    #[test]
    fn replay_accuses_nobody_of_what_it_brought_back(world in worlds(), commits in any::<prop::sample::Index>()) {
        let commits = commits.index(world.commits.len() + 1);
        let kept: Vec<usize> = world.commits[..commits].iter().map(|commit| commit.0).collect();
        let reached = world.commits.get(commits).map_or(world.lsn, |next| next.1);
        let comparison = world.compare_after(&world.database(&kept), Target::End, Some(Lsn(reached)));
        prop_assert_eq!(comparison.verdict(), Verdict::Pass, "{}: {:?}", comparison.describe(), comparison.summary.examples);
        let mut vanished = kept.clone();
        let Some(last) = vanished.pop() else { return Ok(()) };
        let operation = &world.history.operations[last];
        if operation.answered == Answered::Acknowledged && operation.lsn_after != 0 && operation.lsn_after <= reached {
            let comparison = world.compare_after(&world.database(&vanished), Target::End, Some(Lsn(reached)));
            prop_assert_eq!(comparison.verdict(), Verdict::Fail, "{}", comparison.describe());
        }
    }

    /// The archive ended before the target: some is lost, some was given up, and none of it is corruption.
    #[test]
    fn an_archive_that_ends_early_is_data_loss(world in worlds(), cut in cuts(), end in any::<prop::sample::Index>()) {
        let (mut kept, target) = cut.apply(&world);
        kept.truncate(end.index(kept.len() + 1));
        let comparison = world.compare(&world.database(&kept), target);

        prop_assert_eq!(comparison.verdict(), Verdict::Pass, "{}: {:?}", comparison.describe(), comparison.summary.examples);
        let summary = &comparison.summary;
        let accounted = comparison.recovered_commits + summary.lost_commits + summary.commits_beyond_target;
        prop_assert_eq!(accounted, summary.acknowledged_commits);
    }

    /// Lines of the ledger that cannot be read make the truth partial; they accuse nobody.
    #[test]
    fn a_damaged_ledger_accuses_nobody(
        world in worlds(),
        cut in cuts(),
        unreadable in vec((any::<prop::sample::Index>(), any::<bool>()), 1..4),
    ) {
        let (kept, target) = cut.apply(&world);
        let mut damaged = world;
        lose_lines(&mut damaged.history, &unreadable);
        let comparison = damaged.compare(&damaged.database(&kept), target);

        prop_assert_eq!(comparison.verdict(), Verdict::Unknown, "{}: {:?}", comparison.describe(), comparison.summary.examples);
        prop_assert!(comparison.truth_is_partial());
    }
}
