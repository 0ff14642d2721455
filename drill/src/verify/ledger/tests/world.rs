//! A model for tests: writers, a database that commits in some order, a failure, and what a recovery brings back.

use chrono::DateTime;

use crate::{
    ledger::{
        Answered, AttachmentRow, AuditRow, Called, History, KeyRow, Operation, OperationKind, PgTime, Recovered,
        SeedFacts, SeededKey, SequenceRow, VersionRow, seeded_keys_named,
    },
    postgres::Lsn,
    verify::ledger::{Comparison, Recovery, Target, compare},
};

/// What the things are called.
pub(super) const CALLED: Called = Called {
    key: "script",
    content: "Content",
    facts: "Name or Description",
};
/// Scripts 1 to this are seeded.
pub(super) const SEEDED: i64 = 6;
/// Length of a commit record.
const COMMIT_BYTES: u64 = 24;

/// Scripts 1, 2 … have 2, 3, 1, 2 … versions; key 4 is soft-deleted.
pub(super) fn seeded(id: i64) -> SeededKey {
    SeededKey {
        versions: 1 + (id % 3) as i32,
        deleted: id == 4,
        changed: PgTime(id),
    }
}

pub(super) fn seed() -> SeedFacts {
    SeedFacts {
        max_key: SEEDED,
        key: Box::new(seeded),
        called: CALLED,
    }
}

/// What happened, and what the ledger says about it.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// The operations with everything known.
    pub(super) truth: Vec<Operation>,
    /// The operations as journalled.
    pub(super) history: History,
    /// Indices in the order of their commit records, and where these begin.
    pub(super) commits: Vec<(usize, u64)>,
    pub(super) failed_ns: u64,
    /// End of the WAL.
    pub(super) lsn: u64,
    last_script: i64,
}

/// How far a writer is with the operation it is in.
#[derive(Clone, Copy)]
enum Stage {
    Sent,
    Written,
    Committed,
}

#[derive(Default)]
struct Writer {
    /// Id, version, deleted.
    keys: Vec<(i64, i32, bool)>,
    under_way: Option<(usize, Stage)>,
}

impl World {
    /// Writers take turns as `choices` say: each choice is one step of one writer, or of the clock.
    pub(super) fn simulate(choices: &[u16], writers: usize) -> Self {
        let mut world = Self {
            lsn: 1000,
            last_script: SEEDED,
            ..Self::default()
        };
        world.history.epoch = Some((DateTime::UNIX_EPOCH, 0));
        let mut now = 1;
        let mut crew: Vec<Writer> = (0..writers).map(|_| Writer::default()).collect();
        for id in 1..=SEEDED {
            let SeededKey { versions, deleted, .. } = seeded(id);
            crew[id as usize % writers].keys.push((id, versions, deleted));
        }
        for &choice in choices {
            let choice = usize::from(choice);
            now += 1 + choice as u64 % 3;
            world.lsn += choice as u64 % 5 * 8;
            let roll = choice / writers;
            world.step(&mut crew[choice % writers], roll, now);
        }
        world.failed_ns = now + 1;
        world.history.operations.clone_from(&world.truth);
        for operation in world
            .history
            .operations
            .iter_mut()
            .filter(|operation| operation.answered_ns == u64::MAX)
        {
            (operation.lsn_before, operation.lsn_after) = (0, 0);
            forget_answer(operation);
        }
        world
    }

    fn step(&mut self, writer: &mut Writer, roll: usize, now: u64) {
        let Some((index, stage)) = writer.under_way else {
            writer.under_way = Some((self.truth.len(), Stage::Sent));
            self.truth
                .push(next_operation(&writer.keys, roll, now, self.truth.len()));
            return;
        };
        let operation = &mut self.truth[index];
        let answer = match stage {
            Stage::Sent | Stage::Written if roll.is_multiple_of(16) => Some(Answered::Rejected),
            Stage::Sent => {
                operation.lsn_before = if roll % 16 == 1 { 0 } else { self.lsn };
                if operation.kind == OperationKind::Create {
                    self.last_script += 1;
                    operation.key = self.last_script;
                }
                writer.under_way = Some((index, Stage::Written));
                None
            }
            Stage::Written if roll % 16 == 1 => Some(Answered::Indeterminate),
            Stage::Written => {
                self.commits.push((index, self.lsn));
                self.lsn += COMMIT_BYTES;
                writer.under_way = Some((index, Stage::Committed));
                None
            }
            Stage::Committed if roll.is_multiple_of(8) => Some(Answered::Indeterminate),
            Stage::Committed => {
                operation.lsn_after = if roll % 16 == 1 { 0 } else { self.lsn };
                writer.remember(operation);
                Some(Answered::Acknowledged)
            }
        };
        if let Some(answered) = answer {
            (operation.answered, operation.answered_ns) = (answered, now);
            if answered == Answered::Indeterminate {
                writer.keys.retain(|key| key.0 != operation.key);
            }
            writer.under_way = None;
        }
    }

    /// The database with the operations `kept`, in the order of their commits.
    pub(super) fn database(&self, kept: &[usize]) -> Recovered {
        let mut rows = Recovered::default();
        let named = seeded_keys_named(&self.history, SEEDED);
        for &id in &named {
            let SeededKey {
                versions,
                deleted,
                changed,
            } = seeded(id);
            rows.keys.push(KeyRow {
                id,
                current_version: versions,
                deleted,
                updated: changed,
                deleted_at: if deleted { changed } else { PgTime(0) },
                ..KeyRow::default()
            });
            rows.versions.extend((1..=versions).map(|version| VersionRow {
                key: id,
                version,
                content: 7,
                stored: 7,
                ..VersionRow::default()
            }));
        }
        for &index in kept {
            apply(&mut rows, index, &self.truth[index]);
        }
        rows.versions.retain(|row| row.key > SEEDED || named.contains(&row.key));
        let given_out = self.truth.iter().map(|operation| operation.key).fold(SEEDED, i64::max);
        let script_ids = rows.keys.iter().map(|row| row.id).max().unwrap_or(SEEDED);
        let events = 500 + rows.audit.len().cast_signed() as i64;
        let sequence = |name: &str, last_value, largest_used| SequenceRow {
            name: name.to_owned(),
            is_of_keys: name.contains("TransformationScripts_"),
            last_value,
            largest_used,
        };
        rows.sequences = vec![
            sequence("AuditEvents_Id_seq", events, events),
            sequence("TransformationScripts_Id_seq", given_out, script_ids),
        ];
        rows.sort();
        rows
    }

    pub(super) fn compare(&self, recovered: &Recovered, target: Target) -> Comparison {
        self.compare_after(recovered, target, None)
    }

    /// As [`World::compare`], where WAL is known to have been replayed up to `reached`.
    pub(super) fn compare_after(&self, recovered: &Recovered, target: Target, reached: Option<Lsn>) -> Comparison {
        let recovery = Recovery {
            target,
            reached,
            backup: Some(Lsn(0)),
            failed_ns: self.failed_ns,
        };
        compare(&self.history, Some(recovered), &seed(), recovery).unwrap()
    }
}

/// What the ledger never learns where the answer is missing.
pub(super) fn forget_answer(operation: &mut Operation) {
    match operation.kind {
        OperationKind::Create => operation.key = 0,
        OperationKind::Attach => {}
        _ => operation.facts = 0,
    }
}

/// When the server says that an operation changed its key: a moment after the time of its rows.
fn updated(operation: &Operation) -> PgTime {
    PgTime(operation.rows_at.0 + 1)
}

/// What it writes beside its content, as the writers' operations are journalled.
pub(super) fn with_facts(mut operation: Operation, number: usize) -> Operation {
    operation.rows_at = PgTime(1_000 * (number as i64 + 1));
    operation.writer = 3;
    operation.facts = match operation.kind {
        OperationKind::Create | OperationKind::Attach => number as u64 + 50,
        _ => updated(&operation).digest(),
    };
    operation
}

impl Writer {
    fn remember(&mut self, operation: &Operation) {
        match self.keys.iter_mut().find(|key| key.0 == operation.key) {
            None => self.keys.push((operation.key, operation.version, false)),
            Some(key) => {
                key.1 = operation.version;
                match operation.kind {
                    OperationKind::SoftDelete => key.2 = true,
                    OperationKind::Restore => key.2 = false,
                    _ => {}
                }
            }
        }
    }
}

fn next_operation(keys: &[(i64, i32, bool)], roll: usize, now: u64, index: usize) -> Operation {
    let owned = if roll.is_multiple_of(4) {
        None
    } else {
        keys.get(roll / 4 % keys.len().max(1))
    };
    let (kind, key, version) = match owned {
        None => (OperationKind::Create, 0, 1),
        Some(&(id, version, true)) => (OperationKind::Restore, id, version),
        Some(&(id, version, false)) => match roll % 4 {
            1 => (OperationKind::AddVersion, id, version + 1),
            2 => (OperationKind::SoftDelete, id, version),
            _ => (OperationKind::Attach, id, version),
        },
    };
    let writes = !matches!(kind, OperationKind::SoftDelete | OperationKind::Restore);
    let content = if writes { 1_000 + 2 * index as u128 } else { 0 };
    let operation = Operation {
        invoked_ns: now,
        key,
        version,
        content,
        kind,
        ..Operation::UNKNOWN
    };
    with_facts(operation, index)
}

/// What an operation's transaction does.
pub(super) fn apply(rows: &mut Recovered, index: usize, operation: &Operation) {
    let &Operation {
        key,
        version,
        content,
        facts,
        rows_at: at,
        writer,
        kind,
        ..
    } = operation;
    let author = Some(writer);
    let number = index as u64 + 1;
    rows.audit.push(AuditRow {
        operation: number,
        key,
        version,
        kind: Some(kind),
        author,
        at,
    });
    match kind {
        OperationKind::Create => {
            rows.keys.push(KeyRow {
                id: key,
                current_version: version,
                facts,
                created: at,
                updated: at,
                ..KeyRow::default()
            });
        }
        OperationKind::Attach => rows.attachments.push(AttachmentRow {
            key,
            operation: number,
            content,
            stored: content,
            facts,
            at,
        }),
        OperationKind::AddVersion | OperationKind::SoftDelete | OperationKind::Restore => {}
    }
    if matches!(kind, OperationKind::Create | OperationKind::AddVersion) {
        rows.versions.push(VersionRow {
            key,
            version,
            content,
            stored: content,
            author,
            at,
        });
    }
    if let Some(row) = rows.keys.iter_mut().find(|row| row.id == key) {
        match kind {
            OperationKind::AddVersion => row.current_version = version,
            OperationKind::SoftDelete => (row.deleted, row.deleted_at) = (true, at),
            OperationKind::Restore => (row.deleted, row.deleted_at) = (false, PgTime(0)),
            OperationKind::Create | OperationKind::Attach => return,
        }
        row.updated = updated(operation);
    }
}
