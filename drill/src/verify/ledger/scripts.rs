//! The pass over scripts: their versions and their state against their seed and the operations present on them.
//!
//! Operations, script rows and version rows all stand in the order of scripts and are merged.

use super::{
    by_script::ByScript,
    comparison::Findings,
    marks::{Marks, writes_version},
    rows::{Recovered, ScriptRow, SeedFacts, SeededScript, VersionRow},
};
use crate::workload::ledger::{Operation, OperationKind};

/// Everything there is about one script.
struct Script<'a> {
    id: i64,
    seeded: Option<SeededScript>,
    /// Indices of its operations, ascending.
    operations: &'a [u32],
    rows: &'a [ScriptRow],
    versions: &'a [VersionRow],
    /// Operations in the unreadable part of the ledger changed it: nothing about it is held against anybody.
    doubtful: bool,
}

/// Merges the three lists and checks one script after the other.
pub(super) fn check(
    marks: &mut Marks<'_>,
    by_script: &ByScript,
    recovered: &Recovered,
    seed: &SeedFacts,
    findings: &mut Findings,
) {
    let (mut operations, mut rows, mut versions) = (
        by_script.indices(),
        recovered.scripts.as_slice(),
        recovered.versions.as_slice(),
    );
    let mut claims = Vec::new();
    loop {
        let heads = [
            operations.first().map(|&index| marks.script(index as usize)),
            rows.first().map(|row| row.id),
            versions.first().map(|row| row.script),
        ];
        let Some(id) = heads.into_iter().flatten().min() else {
            return;
        };
        let script = Script {
            id,
            seeded: seed.seeded(id),
            operations: take_while(&mut operations, |&index| marks.script(index as usize) == id),
            rows: take_while(&mut rows, |row| row.id == id),
            versions: take_while(&mut versions, |row| row.script == id),
            doubtful: marks.doubtful.binary_search(&id).is_ok(),
        };
        if script.doubtful {
            let mut nobody = Findings::default();
            check_versions(marks, &script, &mut claims, &mut nobody);
        } else {
            check_versions(marks, &script, &mut claims, findings);
            check_row(marks, &script, findings);
        }
    }
}

/// Cuts the leading elements off that belong together.
fn take_while<'a, T>(rest: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let length = rest.iter().take_while(|element| belongs(element)).count();
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

/// Versions that were seeded must be there; all others must have been written by an operation, and say what it wrote.
fn check_versions(marks: &mut Marks<'_>, script: &Script<'_>, claims: &mut Vec<(i32, u32)>, findings: &mut Findings) {
    let id = script.id;
    claims.clear();
    for &index in script.operations {
        let Some(operation) = marks.operations.get(index as usize) else {
            continue;
        };
        if writes_version(operation) && (marks.is_audited(index as usize) || !script.doubtful) {
            claims.push((operation.version, index));
        }
    }
    claims.sort_unstable(); // already in order in any ledger of our writers
    let mut claims = claims.as_slice();
    let seeded = script.seeded.map_or(0, |seeded| seeded.versions);
    let mut seeded_found = 0;
    let mut previous = None;
    for row in script.versions {
        let version = row.version;
        if previous.replace(version) == Some(version) {
            findings
                .duplicated
                .add(|| format!("version {version} of script {id} is there more than once"));
            continue;
        }
        take_while(&mut claims, |claim| claim.0 < version);
        let claimed = take_while(&mut claims, |claim| claim.0 == version);
        if (1..=seeded).contains(&version) {
            for missing in seeded_found + 1..version {
                findings
                    .missing_seeded
                    .add(|| format!("version {missing} of script {id}, which was seeded, is gone"));
            }
            seeded_found = version;
            continue;
        }
        let author = claimed
            .iter()
            .map(|&(_, index)| index as usize)
            .max_by_key(|&index| likelihood(marks, index, row));
        match author {
            None => findings
                .unexpected
                .add(|| format!("version {version} of script {id}, which nobody wrote")),
            Some(index) if marks.was_rejected(index) && !marks.is_audited(index) => findings.unexpected.add(|| {
                format!(
                    "version {version} of script {id}, which {} was refused",
                    marks.name(index)
                )
            }),
            Some(index) => {
                marks.set_written(index);
                check_content(marks, index, row, findings);
            }
        }
    }
    for missing in seeded_found + 1..=seeded {
        findings
            .missing_seeded
            .add(|| format!("version {missing} of script {id}, which was seeded, is gone"));
    }
}

/// How likely an operation is the one that wrote a row: several may have tried, and one at most succeeded.
fn likelihood(marks: &Marks<'_>, index: usize, row: &VersionRow) -> (bool, bool, bool) {
    let wrote_this = marks
        .operations
        .get(index)
        .is_some_and(|operation| operation.content == row.content);
    (marks.is_audited(index), !marks.was_rejected(index), wrote_this)
}

fn check_content(marks: &Marks<'_>, index: usize, row: &VersionRow, findings: &mut Findings) {
    let written = marks.operations.get(index).map_or(0, |operation| operation.content);
    let VersionRow {
        script,
        version,
        content,
        stored,
    } = row;
    if written != 0 && *content != written {
        findings.altered.add(|| {
            format!(
                "version {version} of script {script} is not what operation {} wrote",
                index + 1
            )
        });
    } else if stored != content {
        findings.altered.add(|| {
            format!(
                "version {version} of script {script} (operation {}): its stored hash is not its content's",
                index + 1
            )
        });
    }
}

/// What a script's row must say.
#[derive(Default)]
struct State {
    current_version: i32,
    deleted: bool,
    /// The last operation present.
    last: Option<usize>,
    /// The operation that created it, if that is present.
    creator: Option<usize>,
    /// How many of the script's operations had been gone through when the current version was last set …
    version_since: usize,
    /// … and the flag.
    deleted_since: usize,
}

impl State {
    /// The state of the seed, then each operation in turn: those present change it, whatever their answer was.
    fn fold(marks: &Marks<'_>, script: &Script<'_>) -> Self {
        let mut state = Self::default();
        if let Some(seeded) = script.seeded {
            (state.current_version, state.deleted) = (seeded.versions, seeded.deleted);
        }
        for (at, &index) in script.operations.iter().enumerate() {
            let index = index as usize;
            let Some(operation) = marks.operations.get(index).filter(|_| marks.is_audited(index)) else {
                continue;
            };
            let is_new = script.seeded.is_none() && state.last.is_none();
            state.last = Some(index);
            if is_new || writes_version(operation) {
                (state.current_version, state.version_since) = (operation.version, at + 1);
            }
            match operation.kind {
                OperationKind::CreateScript => state.creator = Some(index),
                OperationKind::SoftDelete => (state.deleted, state.deleted_since) = (true, at + 1),
                OperationKind::Restore => (state.deleted, state.deleted_since) = (false, at + 1),
                OperationKind::AddVersion | OperationKind::Attach => {}
            }
        }
        state
    }
}

/// The script's row must be there if it should be, and say what its operations made of it.
fn check_row(marks: &mut Marks<'_>, script: &Script<'_>, findings: &mut Findings) {
    let id = script.id;
    for _ in script.rows.iter().skip(1) {
        findings
            .duplicated
            .add(|| format!("script {id} is there more than once"));
    }
    let state = State::fold(marks, script);
    let Some(row) = script.rows.first() else {
        if script.seeded.is_some() {
            findings
                .missing_seeded
                .add(|| format!("script {id}, which was seeded, is gone"));
        } else if let Some(index) = state.creator.or(state.last) {
            marks.set_torn(index, findings, "its script's row is missing");
        }
        return;
    };
    if script.seeded.is_none() && state.creator.is_none() {
        check_creator(marks, script, findings);
    }
    if script.seeded.is_none() && state.last.is_none() {
        return;
    }
    if row.current_version != state.current_version {
        let explains = |operation: &Operation| {
            operation.kind == OperationKind::AddVersion && operation.version == row.current_version
        };
        check_leftover(marks, script, state.version_since, explains, findings, || {
            format!(
                "script {id}: current version {}, the ledger says {}",
                row.current_version, state.current_version
            )
        });
    }
    if row.deleted != state.deleted {
        let kind = if row.deleted {
            OperationKind::SoftDelete
        } else {
            OperationKind::Restore
        };
        let explains = |operation: &Operation| operation.kind == kind;
        check_leftover(marks, script, state.deleted_since, explains, findings, || {
            let word = |deleted| if deleted { "deleted" } else { "not deleted" };
            format!(
                "script {id}: {}, the ledger says {}",
                word(row.deleted),
                word(state.deleted)
            )
        });
    }
}

/// A script that no operation present created: half of an operation that is absent, or a row nobody wrote.
fn check_creator(marks: &mut Marks<'_>, script: &Script<'_>, findings: &mut Findings) {
    let creates = |operation: &Operation| operation.kind == OperationKind::CreateScript;
    match last_absent(marks, script.operations, creates) {
        Some(index) => marks.set_torn(index, findings, "its script is there, its audit row is missing"),
        None => findings
            .unexpected
            .add(|| format!("script {}, which nobody created", script.id)),
    }
}

/// A state that the operations present do not explain. If an absent one after the last that changed it does, then that
/// one is there in part.
fn check_leftover(
    marks: &mut Marks<'_>,
    script: &Script<'_>,
    since: usize,
    explains: impl Fn(&Operation) -> bool,
    findings: &mut Findings,
    altered: impl FnOnce() -> String,
) {
    match last_absent(marks, script.operations.get(since..).unwrap_or_default(), explains) {
        Some(index) => marks.set_torn(index, findings, "its script shows it, its audit row is missing"),
        None => findings.altered.add(altered),
    }
}

/// The last of `among` that has no audit row, was not rejected and fits.
fn last_absent(marks: &Marks<'_>, among: &[u32], fits: impl Fn(&Operation) -> bool) -> Option<usize> {
    among.iter().rev().map(|&index| index as usize).find(|&index| {
        let absent = !marks.is_audited(index) && !marks.was_rejected(index);
        absent && marks.operations.get(index).is_some_and(&fits)
    })
}
