//! Whatever is planted into an honest recovery is found, in the right class, and named.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use reports::Verdict;

use super::{
    model::worlds,
    world::{SEEDED, World},
};
use crate::{
    ledger::{Answered, AttachmentRow, AuditRow, KeyRow, Operation, OperationKind, PgTime, Recovered, VersionRow},
    postgres::Lsn,
    verify::ledger::{Comparison, Tally, Target},
};

/// An honest recovery that something is planted into.
struct Case<'a> {
    world: &'a World,
    /// What is there, in the order of commits.
    kept: &'a [usize],
    recovered: Recovered,
    target: Target,
    pick: Index,
}

/// Plants something and says what must be found: the class and a part of the text. `None` where there is no room.
type Plant = fn(&mut Case<'_>) -> Option<(Class, String)>;
/// Where a finding belongs.
type Class = fn(&Comparison) -> Vec<&Tally>;

const PLANTS: &[(&str, Plant)] = &[
    ("hole", hole),
    ("audit row of nobody", |case| {
        let operation = case.world.truth.len() as u64 + 7;
        let kind = Some(OperationKind::SoftDelete);
        case.recovered.audit.push(AuditRow {
            operation,
            key: 1,
            version: 1,
            kind,
            author: None,
            at: PgTime(0),
        });
        Some((unexpected, format!("operation {operation},")))
    }),
    ("script of nobody", |case| {
        case.recovered.keys.push(KeyRow {
            id: 9_999,
            current_version: 1,
            ..KeyRow::default()
        });
        Some((unexpected, "script 9999,".to_owned()))
    }),
    ("version of nobody", |case| {
        let key = pick(case.pick, &case.recovered.keys)?.id;
        case.recovered.versions.push(VersionRow {
            key,
            version: 99,
            content: 5,
            stored: 5,
            ..VersionRow::default()
        });
        Some((unexpected, format!("version 99 of script {key},")))
    }),
    ("attachment of nobody", |case| {
        case.recovered.attachments.push(AttachmentRow {
            key: 1,
            operation: 9_999,
            content: 5,
            ..AttachmentRow::default()
        });
        Some((unexpected, "op-9999.txt".to_owned()))
    }),
    ("rejected and present", |case| {
        let index = pick_operation(case, |_, operation| operation.answered == Answered::Rejected)?;
        let Operation { key, version, kind, .. } = case.world.truth[index];
        case.recovered.audit.push(AuditRow {
            operation: index as u64 + 1,
            key,
            version,
            kind: Some(kind),
            author: None,
            at: PgTime(0),
        });
        Some((unexpected, name(index)))
    }),
    ("altered text", |case| {
        let at = pick_version(case)?;
        case.recovered.versions[at].content ^= 1;
        Some((altered, version_name(&case.recovered.versions[at])))
    }),
    ("altered hash", |case| {
        let at = pick_version(case)?;
        case.recovered.versions[at].stored ^= 1;
        Some((altered, version_name(&case.recovered.versions[at])))
    }),
    ("altered attachment", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.attachments)?;
        row.content ^= 1;
        Some((altered, format!("operation {} ", row.operation)))
    }),
    ("altered size", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.attachments)?;
        row.facts ^= 1;
        Some((altered, format!("operation {} ", row.operation)))
    }),
    ("altered actor", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.audit)?;
        row.author = None;
        Some((altered, format!("operation {} ", row.operation)))
    }),
    ("altered author", |case| {
        let at = pick_version(case)?;
        case.recovered.versions[at].author = None;
        Some((altered, version_name(&case.recovered.versions[at])))
    }),
    ("altered name", |case| {
        let row = case.recovered.keys.iter_mut().rfind(|row| row.id > SEEDED)?;
        row.facts ^= 1;
        Some((altered, format!("script {}:", row.id)))
    }),
    ("altered time of the last change", |case| {
        // Of an operation that was never answered nobody knows when the server says that it was.
        let answered = |id: i64| {
            let all = &case.world.history.operations;
            let mut of_script = all.iter().filter(|operation| operation.key == id || operation.key == 0);
            of_script.all(|operation| operation.answered == Answered::Acknowledged)
        };
        let row = case
            .recovered
            .keys
            .iter_mut()
            .rfind(|row| row.id > SEEDED && answered(row.id))?;
        row.updated = PgTime(-1);
        Some((altered, format!("script {}:", row.id)))
    }),
    ("altered time of the deletion", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.keys)?;
        row.deleted_at = PgTime(-1);
        Some((altered, format!("script {}:", row.id)))
    }),
    ("swapped texts", |case| {
        let (one, other) = (pick_version(case)?, written(case).next()?);
        let texts = case.recovered.versions[other];
        let row = &mut case.recovered.versions[one];
        let (content, stored) = (row.content, row.stored);
        (row.content, row.stored) = (texts.content, texts.stored);
        let name = version_name(row);
        (
            case.recovered.versions[other].content,
            case.recovered.versions[other].stored,
        ) = (content, stored);
        (one != other).then_some((altered, name))
    }),
    ("altered audit row", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.audit)?;
        row.kind = None;
        Some((altered, format!("operation {} ", row.operation)))
    }),
    ("flag flipped", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.keys)?;
        row.deleted = !row.deleted;
        // An absent soft-delete explains a deleted key: then it is half there.
        Some((
            |comparison| vec![&comparison.altered, &comparison.torn],
            format!("script {}", row.id),
        ))
    }),
    ("current version set back", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.keys)?;
        row.current_version -= 1;
        Some((altered, format!("script {}:", row.id)))
    }),
    ("audit row twice", |case| {
        let row = *pick(case.pick, &case.recovered.audit)?;
        case.recovered.audit.push(row);
        Some((duplicated, format!("operation {} ", row.operation)))
    }),
    ("script twice", |case| {
        let row = *pick(case.pick, &case.recovered.keys)?;
        case.recovered.keys.push(row);
        Some((duplicated, format!("script {} ", row.id)))
    }),
    ("version twice", |case| {
        let row = *pick(case.pick, &case.recovered.versions)?;
        case.recovered.versions.push(row);
        Some((duplicated, version_name(&row)))
    }),
    ("attachment twice", |case| {
        let row = *pick(case.pick, &case.recovered.attachments)?;
        case.recovered.attachments.push(row);
        Some((duplicated, format!("op-{}.txt", row.operation)))
    }),
    ("version row gone", |case| {
        let at = pick_version(case)?;
        let row = case.recovered.versions.remove(at);
        let wrote = |&index: &usize| case.world.truth[index].content == row.content;
        case.kept
            .iter()
            .copied()
            .find(wrote)
            .map(|index| (torn as Class, name(index)))
    }),
    ("attachment row gone", |case| {
        let at = pick_index(case.pick, &case.recovered.attachments)?;
        Some((
            torn,
            format!("operation {} ", case.recovered.attachments.remove(at).operation),
        ))
    }),
    ("large object gone", |case| {
        let row = pick_mut(case.pick, &mut case.recovered.attachments)?;
        row.content = 0;
        Some((torn, format!("operation {} ", row.operation)))
    }),
    ("script row gone", |case| {
        let at = pick_index(case.pick, &case.recovered.keys)?;
        let id = case.recovered.keys.remove(at).id;
        Some((
            |comparison| [missing_seeded(comparison), torn(comparison)].concat(),
            format!("script {id}"),
        ))
    }),
    ("seeded version gone", |case| {
        let seeded = |row: &VersionRow| row.key <= SEEDED && row.content == 7;
        let at = case.recovered.versions.iter().position(seeded)?;
        Some((missing_seeded, version_name(&case.recovered.versions.remove(at))))
    }),
    ("audit row gone", |case| {
        let at = pick_index(case.pick, &case.recovered.audit)?;
        let row = case.recovered.audit.remove(at);
        // Of a new key whose id never became known, only the audit row tells whose it is: it is then unexpected.
        let known = case.world.history.operations[row.operation as usize - 1].key != 0;
        // Where a later operation has covered the traces it is a hole, else it is torn.
        let class: Class = if known {
            |comparison| vec![&comparison.torn, &comparison.holes]
        } else {
            unexpected
        };
        let name = if known {
            format!("operation {} ", row.operation)
        } else {
            format!("script {},", row.key)
        };
        Some((class, name))
    }),
    ("target overshot", |case| {
        let beyond = |index, operation: &Operation| operation.lsn_after != 0 && case.kept.contains(&index);
        let index = pick_operation(case, beyond)?;
        let before = case.world.truth[index].lsn_before;
        case.target = Target::Lsn(Lsn(before));
        (before != 0).then_some((|comparison| vec![&comparison.overshot], name(index)))
    }),
];

fn hole(case: &mut Case<'_>) -> Option<(Class, String)> {
    let truth = &case.world.truth;
    let latest = case.kept.iter().map(|&index| truth[index].invoked_ns).max()?;
    let hidden = |index, operation: &Operation| {
        operation.answered == Answered::Acknowledged && operation.answered_ns < latest && case.kept.contains(&index)
    };
    let index = pick_operation(case, hidden)?;
    let without: Vec<usize> = case.kept.iter().copied().filter(|&kept| kept != index).collect();
    case.recovered = case.world.database(&without);
    Some((|comparison| vec![&comparison.holes], name(index)))
}

fn unexpected(comparison: &Comparison) -> Vec<&Tally> {
    vec![&comparison.unexpected]
}

fn altered(comparison: &Comparison) -> Vec<&Tally> {
    vec![&comparison.altered]
}

fn duplicated(comparison: &Comparison) -> Vec<&Tally> {
    vec![&comparison.duplicated]
}

fn torn(comparison: &Comparison) -> Vec<&Tally> {
    vec![&comparison.torn]
}

fn missing_seeded(comparison: &Comparison) -> Vec<&Tally> {
    vec![&comparison.missing_seeded]
}

fn name(index: usize) -> String {
    format!("operation {} ", index + 1)
}

fn version_name(row: &VersionRow) -> String {
    format!("version {} of script {}", row.version, row.key)
}

fn pick_index<T>(pick: Index, all: &[T]) -> Option<usize> {
    (!all.is_empty()).then(|| pick.index(all.len()))
}

fn pick<T>(pick: Index, all: &[T]) -> Option<&T> {
    all.get(pick_index(pick, all)?)
}

fn pick_mut<T>(pick: Index, all: &mut [T]) -> Option<&mut T> {
    let at = pick_index(pick, all)?;
    all.get_mut(at)
}

fn pick_operation(case: &Case<'_>, fits: impl Fn(usize, &Operation) -> bool) -> Option<usize> {
    let fitting = case
        .world
        .truth
        .iter()
        .enumerate()
        .filter(|(index, operation)| fits(*index, operation));
    let fitting: Vec<usize> = fitting.map(|(index, _)| index).collect();
    pick(case.pick, &fitting).copied()
}

/// Where the versions are that writers wrote.
fn written<'a>(case: &'a Case<'_>) -> impl Iterator<Item = usize> + use<'a> {
    let versions = case.recovered.versions.iter().enumerate();
    versions.filter(|(_, row)| row.content != 7).map(|(at, _)| at)
}

fn pick_version(case: &Case<'_>) -> Option<usize> {
    let written: Vec<usize> = written(case).collect();
    pick(case.pick, &written).copied()
}

#[test]
fn whatever_is_planted_is_found_and_named() {
    let planted = RefCell::new(BTreeMap::new());
    let cases = (worlds(), any::<Index>(), any::<Index>());
    let outcome = TestRunner::new(Config {
        cases: 1_000,
        failure_persistence: None,
        ..Config::default()
    })
    .run(&cases, |(world, end, pick)| {
        let end = end.index(world.commits.len() + 1);
        let kept: Vec<usize> = world.commits[..end].iter().map(|commit| commit.0).collect();
        for (what, plant) in PLANTS {
            let recovered = world.database(&kept);
            let mut case = Case {
                world: &world,
                kept: &kept,
                recovered,
                target: Target::End,
                pick,
            };
            let Some((class, name)) = plant(&mut case) else {
                continue;
            };
            case.recovered.sort();
            let comparison = world.compare(&case.recovered, case.target);
            let found = class(&comparison);
            let named = found
                .iter()
                .flat_map(|tally| &tally.examples)
                .any(|example| example.contains(&name));
            // Of more than ten of a kind only the first ten are named.
            let crowded = found.iter().any(|tally| tally.count > 10);
            prop_assert!(named || crowded, "{}: {} is not named in {:#?}", what, name, comparison);
            prop_assert_eq!(comparison.verdict(), Verdict::Fail, "{}", what);
            let summary = &comparison.summary;
            prop_assert!(
                summary.holes + summary.unexpected_rows + summary.altered_rows > 0,
                "{}",
                what
            );
            *planted.borrow_mut().entry(*what).or_insert(0) += 1;
        }
        Ok(())
    });
    outcome.unwrap();
    let planted = planted.into_inner();
    for (what, _) in PLANTS {
        let times = planted.get(what).copied().unwrap_or(0);
        assert!(times >= 100, "{what} was planted only {times} times");
    }
}

#[test]
fn a_sequence_set_back_is_found() {
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&(worlds(), any::<Index>()), |(world, at)| {
        let kept: Vec<usize> = world.commits.iter().map(|commit| commit.0).collect();
        let mut recovered = world.database(&kept);
        let at = at.index(recovered.sequences.len());
        let sequence = &mut recovered.sequences[at];
        sequence.last_value = sequence.largest_used - 1;
        let name = sequence.name.clone();
        let comparison = world.compare(&recovered, Target::End);
        prop_assert_eq!(comparison.sequences_behind.len(), 1);
        prop_assert!(comparison.sequences_behind[0].starts_with(&name));
        prop_assert_eq!(comparison.verdict(), Verdict::Fail);
        Ok(())
    });
    outcome.unwrap();
}
