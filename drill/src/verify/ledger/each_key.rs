//! The pass over keys: their versions and their state against their seed and the operations present on them.
//!
//! Operations, key rows and version rows all stand in the order of keys and are merged.

use super::{
    audit::signed_otherwise,
    by_key::{ByKey, Entry},
    comparison::Findings,
    marks::Marks,
};
use crate::ledger::{Called, KeyRow, OperationKind, PgTime, Recovered, SeedFacts, SeededKey, VersionRow};

/// Everything there is about one key.
struct Keyed<'a> {
    id: i64,
    seeded: Option<SeededKey>,
    /// By number, which is also the order in which its writer sent them.
    operations: &'a [Entry],
    rows: &'a [KeyRow],
    versions: &'a [VersionRow],
    /// Operations in the unreadable part of the ledger changed it: nothing about it is held against anybody.
    doubtful: bool,
}

/// Merges the three lists and checks one key after the other.
pub(super) fn check(marks: &mut Marks<'_>, recovered: &Recovered, seed: &SeedFacts, findings: &mut Findings) {
    let mut by_key = ByKey::new(marks);
    let (mut rows, mut versions) = (recovered.keys.as_slice(), recovered.versions.as_slice());
    let mut claims = Vec::new();
    loop {
        let heads = [
            by_key.next_key(marks),
            rows.first().map(|row| row.id),
            versions.first().map(|row| row.key),
        ];
        let Some(id) = heads.into_iter().flatten().min() else {
            return;
        };
        let key = Keyed {
            id,
            seeded: seed.seeded(id),
            operations: by_key.take(marks, id),
            rows: take_while(&mut rows, |row| row.id == id),
            versions: take_while(&mut versions, |row| row.key == id),
            doubtful: marks.doubtful.binary_search(&id).is_ok(),
        };
        if key.doubtful {
            check_versions(marks, &key, &mut claims, &mut Findings::default());
        } else {
            check_versions(marks, &key, &mut claims, findings);
            check_row(marks, &key, findings);
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
fn check_versions(marks: &mut Marks<'_>, key: &Keyed<'_>, claims: &mut Vec<Entry>, findings: &mut Findings) {
    let (id, called) = (key.id, marks.called.key);
    // Who says to have written which version. In order already in any ledger of our writers, and then it costs nothing.
    claims.clear();
    claims.extend(key.operations.iter().filter(|claim| {
        claim.writes_version() && (claim.audited || !key.doubtful) // whom a doubtful key's versions are by is open
    }));
    claims.sort_by_key(|claim| claim.version);
    let mut claims = claims.as_slice();
    let seeded = key.seeded.map_or(0, |seeded| seeded.versions);
    let mut seeded_found = 0;
    let mut previous = None;
    for row in key.versions {
        let version = row.version;
        if previous.replace(version) == Some(version) {
            findings
                .duplicated
                .add(|| format!("version {version} of {called} {id} is there more than once"));
            continue;
        }
        if (1..=seeded).contains(&version) {
            add_missing_seeded((called, id), seeded_found + 1..version, findings);
            seeded_found = version;
            continue;
        }
        take_while(&mut claims, |claim| claim.version < version);
        let claimed = take_while(&mut claims, |claim| claim.version == version);
        // Several may have tried, and one at most succeeded.
        let likelihood = |claim: &&Entry| (claim.audited, !claim.rejected, claim.content == row.content);
        match claimed.iter().max_by_key(likelihood) {
            None => findings
                .unexpected
                .add(|| format!("version {version} of {called} {id}, which nobody wrote")),
            Some(author) if author.rejected && !author.audited => findings.unexpected.add(|| {
                format!(
                    "version {version} of {called} {id}, which only {} tried to write",
                    marks.name(author.index())
                )
            }),
            Some(author) => {
                marks.set_written(author.index());
                check_content(marks.called, author, row, findings);
            }
        }
    }
    add_missing_seeded((called, id), seeded_found + 1..seeded.saturating_add(1), findings);
}

fn add_missing_seeded((called, key): (&str, i64), missing: std::ops::Range<i32>, findings: &mut Findings) {
    for version in missing {
        findings
            .missing_seeded
            .add(|| format!("version {version} of {called} {key}, which was seeded, is gone"));
    }
}

fn check_content(called: Called, author: &Entry, row: &VersionRow, findings: &mut Findings) {
    let Called {
        key: called,
        content: column,
        ..
    } = called;
    let VersionRow {
        key,
        version,
        content,
        stored,
        author: by,
        at,
    } = row;
    let number = author.index() + 1;
    if author.content != 0 && *content != author.content {
        findings.altered.add(|| {
            format!("version {version} of {called} {key} differs in column {column} from what operation {number} wrote")
        });
    } else if stored != content {
        findings.altered.add(|| {
            format!("version {version} of {called} {key} (operation {number}): its stored hash is not its content's")
        });
    } else if let Some(what) = signed_otherwise((author.writer, author.rows_at), *by, *at) {
        findings
            .altered
            .add(|| format!("version {version} of {called} {key} (operation {number}): its {what} is another"));
    }
}

/// What a key's row must say.
#[derive(Default)]
struct State {
    current_version: i32,
    deleted: bool,
    /// The last operation present.
    last: Option<usize>,
    /// The operation that created it, if that is present.
    creator: Option<Entry>,
    /// Digest of the time of the last change; 0 if unknown.
    updated: u64,
    /// When it was deleted, 0 if it is not; `None` if unknown.
    deleted_at: Option<PgTime>,
    /// How many of the key's operations had been gone through when the current version was last set …
    version_since: usize,
    /// … the flag …
    deleted_since: usize,
    /// … and the time of the last change.
    updated_since: usize,
}

impl State {
    /// The state of the seed, then each operation in turn: those present change it, whatever their answer was.
    fn fold(key: &Keyed<'_>) -> Self {
        let mut state = Self::default();
        if let Some(seeded) = key.seeded {
            (state.current_version, state.deleted) = (seeded.versions, seeded.deleted);
            if seeded.changed.is_known() {
                state.updated = seeded.changed.digest();
                state.deleted_at = Some(if seeded.deleted { seeded.changed } else { PgTime(0) });
            }
        }
        for (at, entry) in key.operations.iter().enumerate().filter(|(_, entry)| entry.audited) {
            let is_new = key.seeded.is_none() && state.last.is_none();
            state.last = Some(entry.index());
            if is_new || entry.writes_version() {
                (state.current_version, state.version_since) = (entry.version, at + 1);
            }
            match entry.kind {
                OperationKind::Create => {
                    state.creator = Some(*entry);
                    state.deleted_at = Some(PgTime(0));
                }
                OperationKind::SoftDelete => {
                    (state.deleted, state.deleted_since) = (true, at + 1);
                    state.deleted_at = Some(entry.rows_at).filter(|at| at.is_known());
                }
                OperationKind::Restore => {
                    (state.deleted, state.deleted_since) = (false, at + 1);
                    state.deleted_at = Some(PgTime(0));
                }
                OperationKind::AddVersion | OperationKind::Attach => {}
            }
            if entry.kind != OperationKind::Attach {
                (state.updated, state.updated_since) = (changed_at(entry), at + 1);
            }
        }
        state
    }
}

/// Digest of the time that an operation gives its key's row as that of the last change; 0 if unknown or if it does not.
fn changed_at(entry: &Entry) -> u64 {
    match entry.kind {
        OperationKind::Create if entry.rows_at.is_known() => entry.rows_at.digest(),
        OperationKind::Create | OperationKind::Attach => 0,
        OperationKind::AddVersion | OperationKind::SoftDelete | OperationKind::Restore => entry.facts,
    }
}

/// What is said of an operation that only the state of its key shows.
const LEFTOVER: &str = "its script shows it, its audit row is missing";

/// The key's row must be there if it should be, and say what its operations made of it.
fn check_row(marks: &mut Marks<'_>, key: &Keyed<'_>, findings: &mut Findings) {
    let (id, called) = (key.id, marks.called.key);
    for _ in key.rows.iter().skip(1) {
        findings
            .duplicated
            .add(|| format!("{called} {id} is there more than once"));
    }
    let state = State::fold(key);
    let Some(row) = key.rows.first() else {
        if key.seeded.is_some() {
            findings
                .missing_seeded
                .add(|| format!("{called} {id}, which was seeded, is gone"));
        } else if let Some(index) = state.creator.map(|creator| creator.index()).or(state.last) {
            marks.set_torn(index, findings, "its script's row is missing");
        }
        return;
    };
    if key.seeded.is_none() && state.creator.is_none() {
        let creates = |entry: &Entry| entry.kind == OperationKind::Create;
        match last_absent(key.operations, creates) {
            Some(index) => marks.set_torn(index, findings, "its script is there, its audit row is missing"),
            None => findings
                .unexpected
                .add(|| format!("{called} {id}, which nobody created")),
        }
        if state.last.is_none() {
            return;
        }
    }
    if let Some(creator) = &state.creator {
        let number = creator.index() + 1;
        if creator.facts != 0 && row.facts != creator.facts {
            findings.altered.add(|| {
                format!(
                    "{called} {id}: it differs in column {} from what operation {number} wrote",
                    marks.called.facts
                )
            });
        }
        if creator.rows_at.is_known() && row.created != creator.rows_at {
            findings
                .altered
                .add(|| format!("{called} {id}: it was not created when operation {number} did so"));
        }
    }
    // A state that the operations present do not explain: if an absent one after the last that changed it does, then
    // that one is there in part.
    if row.current_version != state.current_version {
        let (current, expected) = (row.current_version, state.current_version);
        let explains = |entry: &Entry| entry.kind == OperationKind::AddVersion && entry.version == current;
        match last_absent(&key.operations[state.version_since..], explains) {
            Some(index) => marks.set_torn(index, findings, LEFTOVER),
            None => {
                findings
                    .altered
                    .add(|| format!("{called} {id}: current version {current}, the ledger says {expected}"));
            }
        }
    }
    if row.deleted != state.deleted {
        let kind = if row.deleted {
            OperationKind::SoftDelete
        } else {
            OperationKind::Restore
        };
        match last_absent(&key.operations[state.deleted_since..], |entry| entry.kind == kind) {
            Some(index) => marks.set_torn(index, findings, LEFTOVER),
            None => findings.altered.add(|| {
                let word = |deleted| if deleted { "deleted" } else { "not deleted" };
                format!(
                    "{called} {id}: {}, the ledger says {}",
                    word(row.deleted),
                    word(state.deleted)
                )
            }),
        }
    }
    if (row.current_version, row.deleted) == (state.current_version, state.deleted) {
        check_times(marks, key, &state, row, findings);
    }
}

/// The times of a row whose state is what its operations made of it.
fn check_times(marks: &mut Marks<'_>, key: &Keyed<'_>, state: &State, row: &KeyRow, findings: &mut Findings) {
    let (id, called) = (key.id, marks.called.key);
    if state.deleted_at.is_some_and(|expected| row.deleted_at != expected) {
        let explains = |entry: &Entry| entry.kind == OperationKind::SoftDelete && entry.rows_at == row.deleted_at;
        match last_absent(&key.operations[state.deleted_since..], explains) {
            Some(index) => marks.set_torn(index, findings, LEFTOVER),
            None => findings
                .altered
                .add(|| format!("{called} {id}: the time of its deletion is not what the ledger says")),
        }
    }
    let updated = row.updated.digest();
    if state.updated != 0 && updated != state.updated {
        match last_absent(&key.operations[state.updated_since..], |entry| {
            changed_at(entry) == updated
        }) {
            Some(index) => marks.set_torn(index, findings, LEFTOVER),
            None => findings
                .altered
                .add(|| format!("{called} {id}: the time of its last change is not what the ledger says")),
        }
    }
}

/// The last of `among` that has no audit row, was not rejected and fits.
fn last_absent(among: &[Entry], fits: impl Fn(&Entry) -> bool) -> Option<usize> {
    let absent = |entry: &&Entry| !entry.audited && !entry.rejected && fits(entry);
    among.iter().rev().find(absent).map(Entry::index)
}
