//! One live writer: an application's client that creates scripts, adds versions, soft-deletes, restores and attaches.
//!
//! Each writer owns a share of the scripts, so that the order of what happens to a script is the order of its writer's
//! operations; sequences, indexes and the audit table are contended for by all. A writer whose connection dies keeps
//! trying to come back until it is told to stop, as an application's pool would.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tokio::sync::{SemaphorePermit, watch};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, Statement, error::SqlState, types::ToSql};

use super::Shared;
use crate::{
    ledger::{Answer, Answered, Intent, OperationKind, PgTime, author},
    postgres::Lsn,
};

/// Back-off between attempts to connect, and after a refused operation.
const BACK_OFF: Duration = Duration::from_millis(20);
/// Description of every script that a writer creates.
const DESCRIPTION: &str = "written live";
/// Average size of what writers write, in bytes: small commits, many of them.
const CONTENT_BYTES: u32 = 1_000;

/// So many of the seeded scripts a writer works on: a bounded share is enough, however large the seed is.
pub const SHARE: usize = 1_000;

/// What one writer needs to know.
pub(crate) struct WriterPlan {
    pub(crate) number: u32,
    pub(crate) writers: u32,
    pub(crate) seed: u64,
    pub(crate) database: tokio_postgres::Config,
    pub(crate) seeded: fixtures::SeedPlan,
}

/// A script as its writer knows it.
#[derive(Clone, Copy)]
struct Script {
    id: i64,
    version: i32,
    deleted: bool,
}

pub(crate) struct Writer {
    plan: WriterPlan,
    shared: Arc<Shared>,
    random: StdRng,
    scripts: Vec<Script>,
    created: u64,
}

/// What to do next; everything that is needed to say so before it is sent.
struct Operation {
    intent: Intent,
    /// Index in `scripts`; `None` for a new one.
    owned: Option<usize>,
    content: String,
}

/// A connection and its prepared statements.
struct Session {
    client: Client,
    create: Statement,
    version: Statement,
    current: Statement,
    deleted: Statement,
    attach: Statement,
    audit: Statement,
}

impl Writer {
    pub(crate) fn new(plan: WriterPlan, shared: Arc<Shared>) -> Self {
        let random =
            StdRng::seed_from_u64(plan.seed ^ (u64::from(plan.number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let scripts = (1..=plan.seeded.scripts)
            .filter(|id| id % u64::from(plan.writers) == u64::from(plan.number))
            .take(SHARE)
            .map(|id| Script {
                id: id as i64,
                version: plan.seeded.versions_of(id) as i32,
                deleted: plan.seeded.is_deleted(id),
            })
            .collect();
        Self {
            plan,
            shared,
            random,
            scripts,
            created: 0,
        }
    }

    /// Writes until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut session = None;
        loop {
            let permit = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                permit = self.shared.pace.acquire() => permit.map(SemaphorePermit::forget),
            };
            if permit.is_err() {
                return;
            }
            let _turn = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                turn = Arc::clone(&self.shared.gate).read_owned() => turn,
            };
            if session.is_none() {
                session = tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    session = Session::open(&self.plan) => session.ok(),
                };
            }
            let Some(open) = session.as_mut() else {
                self.shared.refused.failed();
                self.give_back(&mut stop).await;
                continue;
            };
            let operation = self.next_operation();
            let Some(op) = self.shared.ledger.invoked(operation.intent.clone()) else {
                return;
            };
            // The operation under way is finished even when told to stop: its answer belongs in the ledger.
            let (answered, answer, contradicted) = open.carry_out(op, &operation).await;
            let alive = !open.client.is_closed();
            if answered == Answered::Acknowledged {
                self.remember(&operation, &answer);
            } else if answered == Answered::Indeterminate || contradicted {
                self.forget(&operation);
            }
            self.shared.ledger.answered(op, answered, answer);
            match answered {
                Answered::Acknowledged => self.shared.refused.succeeded(),
                Answered::Rejected | Answered::Indeterminate => self.shared.refused.failed(),
            }
            self.shared.counts.send_modify(|counts| match answered {
                Answered::Acknowledged => counts.acknowledged += 1,
                Answered::Rejected if contradicted => {} // it is written to, and what it lost the ledger tells
                Answered::Rejected => counts.rejected += 1,
                Answered::Indeterminate => counts.indeterminate += 1,
            });
            if !alive {
                session = None;
            }
            if answered != Answered::Acknowledged {
                self.give_back(&mut stop).await;
            }
        }
    }

    /// An operation that came to nothing does not count: its permit goes back, after a moment.
    async fn give_back(&self, stop: &mut watch::Receiver<bool>) {
        self.shared.pace.add_permits(1);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(BACK_OFF) => {}
        }
    }

    fn next_operation(&mut self) -> Operation {
        let roll = self.random.random_range(0..100);
        let owned = (!self.scripts.is_empty() && roll >= 25).then(|| self.random.random_range(0..self.scripts.len()));
        let script = owned.and_then(|index| self.scripts.get(index).copied());
        let (kind, version) = match script {
            None => (OperationKind::CreateScript, 1),
            Some(script) if script.deleted => (OperationKind::Restore, script.version),
            Some(script) if roll < 75 => (OperationKind::AddVersion, script.version + 1),
            Some(script) if roll < 88 => (OperationKind::SoftDelete, script.version),
            Some(script) => (OperationKind::Attach, script.version),
        };
        let content = match kind {
            OperationKind::CreateScript | OperationKind::AddVersion | OperationKind::Attach => {
                fixtures::random_content(&mut self.random, CONTENT_BYTES)
            }
            OperationKind::SoftDelete | OperationKind::Restore => String::new(),
        };
        let writes_content = !matches!(kind, OperationKind::SoftDelete | OperationKind::Restore);
        let sha256 = writes_content.then(|| hex::encode(Sha256::digest(content.as_bytes())));
        let creates = kind == OperationKind::CreateScript;
        self.created += u64::from(creates);
        Operation {
            intent: Intent {
                writer: self.plan.number,
                kind,
                script: script.map(|script| script.id),
                version,
                sha256,
                rows_at: Some(PgTime::now()),
                name: creates.then(|| format!("live-{}-{}", self.plan.number, self.created)),
                description: creates.then(|| DESCRIPTION.to_owned()),
                facts: None,
                size_bytes: (kind == OperationKind::Attach).then_some(content.len() as u64),
            },
            owned,
            content,
        }
    }

    fn remember(&mut self, operation: &Operation, answer: &Answer) {
        match operation.owned.and_then(|index| self.scripts.get_mut(index)) {
            Some(script) => {
                script.version = operation.intent.version;
                match operation.intent.kind {
                    OperationKind::SoftDelete => script.deleted = true,
                    OperationKind::Restore => script.deleted = false,
                    _ => {}
                }
            }
            None => self.scripts.extend(answer.script.map(|id| Script {
                id,
                version: 1,
                deleted: false,
            })),
        }
    }

    /// After an indeterminate operation, or one that contradicts what is there, nobody knows the script's state: it is left
    /// alone.
    fn forget(&mut self, operation: &Operation) {
        if let Some(index) = operation.owned {
            self.scripts.swap_remove(index);
        }
    }
}

impl Session {
    async fn open(plan: &WriterPlan) -> Result<Self, tokio_postgres::Error> {
        let mut config = plan.database.clone();
        config
            .application_name(format!("writer-{}", plan.number))
            .connect_timeout(Duration::from_secs(5));
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let create = client.prepare(
            r#"INSERT INTO "TransformationScripts" ("Name", "Description", "CurrentVersion", "IsDeleted", "CreatedAt", "UpdatedAt")
               VALUES ($1::text, $2, 1, false, $3, $3) RETURNING "Id""#,
        );
        let version = client.prepare(
            r#"INSERT INTO "TransformationScriptVersions" ("ScriptId", "VersionNumber", "Content", "ContentSha256", "CreatedBy", "CreatedAt")
               VALUES ($1, $2, $3, $4, $5, $6)"#,
        );
        let current = client.prepare(
            r#"UPDATE "TransformationScripts" SET "CurrentVersion" = $2 WHERE "Id" = $1 RETURNING "UpdatedAt""#,
        );
        let deleted = client.prepare(
            r#"UPDATE "TransformationScripts" SET "IsDeleted" = $2, "DeletedAt" = CASE WHEN $2 THEN $3::timestamptz END
                WHERE "Id" = $1 RETURNING "UpdatedAt""#,
        );
        let attach = client.prepare(
            r#"WITH stored AS (SELECT lo_from_bytea(0, $3) AS loid)
               INSERT INTO "ScriptAttachments" ("ScriptId", "FileName", "LargeObject", "SizeBytes", "Sha256", "CreatedAt")
               SELECT $1, $2, loid, $6, $4, $5 FROM stored RETURNING "LargeObject""#,
        );
        let audit = client.prepare(
            r#"INSERT INTO "AuditEvents" ("OperationId", "Kind", "ScriptId", "VersionNumber", "Actor", "OccurredAt")
               VALUES ($1, $2, $3, $4, $5, $6) RETURNING pg_current_wal_insert_lsn()::text"#,
        );
        let (create, version, current, deleted, attach, audit) =
            tokio::try_join!(create, version, current, deleted, attach, audit)?;
        Ok(Self {
            client,
            create,
            version,
            current,
            deleted,
            attach,
            audit,
        })
    }

    /// The answer, and whether the operation contradicts what is there: it builds upon rows that a crash took away.
    async fn carry_out(&mut self, op: u64, operation: &Operation) -> (Answered, Answer, bool) {
        let mut answer = Answer {
            script: operation.intent.script,
            ..Answer::default()
        };
        if let Err(error) = self.write(op, operation, &mut answer).await {
            // The commit was never sent, so nothing of it can be there.
            answer.reason = Some(error.reason());
            if !self.client.is_closed() {
                let _ = self.client.batch_execute("ROLLBACK").await; // a dead connection is found by the caller
            }
            return (Answered::Rejected, answer, error.contradicts());
        }
        // One round trip: the commit, and how far the WAL was right after it.
        match self
            .client
            .simple_query("COMMIT; SELECT pg_current_wal_insert_lsn()")
            .await
        {
            Ok(messages) => {
                answer.lsn_after = messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0)?.parse::<Lsn>().ok(),
                    _ => None,
                });
                (Answered::Acknowledged, answer, false)
            }
            Err(error) => {
                answer.reason = Some(reason(&error));
                let refused = error.code().is_some_and(|code| !leaves_commit_open(code));
                (
                    if refused {
                        Answered::Rejected
                    } else {
                        Answered::Indeterminate
                    },
                    answer,
                    false,
                )
            }
        }
    }

    async fn write(&self, op: u64, operation: &Operation, answer: &mut Answer) -> Result<(), WriteError> {
        let Intent {
            writer,
            kind,
            version,
            name,
            description,
            size_bytes,
            rows_at,
            ..
        } = &operation.intent;
        let actor = author(*writer);
        let hash = Sha256::digest(operation.content.as_bytes());
        let hash: &[u8] = hash.as_slice();
        self.client.batch_execute("BEGIN").await?;
        let script = if let Some(script) = operation.intent.script {
            script
        } else {
            let row: [&(dyn ToSql + Sync); 3] = [name, description, rows_at];
            self.client.query_one(&self.create, &row).await?.try_get(0)?
        };
        answer.script = Some(script);
        match kind {
            OperationKind::CreateScript | OperationKind::AddVersion => {
                let row: [&(dyn ToSql + Sync); 6] = [&script, version, &operation.content, &hash, &actor, rows_at];
                self.client.execute(&self.version, &row).await?;
                if *kind == OperationKind::AddVersion {
                    let changed = self.client.query_opt(&self.current, &[&script, version]).await?;
                    let changed = changed.ok_or(WriteError::NoScript)?;
                    answer.updated_at = Some(changed.try_get(0)?);
                }
            }
            OperationKind::SoftDelete | OperationKind::Restore => {
                let deleted = *kind == OperationKind::SoftDelete;
                let row: [&(dyn ToSql + Sync); 3] = [&script, &deleted, rows_at];
                let changed = self.client.query_opt(&self.deleted, &row).await?;
                let changed = changed.ok_or(WriteError::NoScript)?;
                answer.updated_at = Some(changed.try_get(0)?);
            }
            OperationKind::Attach => {
                let name = format!("op-{op}.txt");
                let size = size_bytes.map(u64::cast_signed);
                let content = operation.content.as_bytes();
                let row: [&(dyn ToSql + Sync); 6] = [&script, &name, &content, &hash, rows_at, &size];
                let oid: u32 = self.client.query_one(&self.attach, &row).await?.try_get(0)?;
                let grant = format!("GRANT SELECT ON LARGE OBJECT {oid} TO drill_validator");
                self.client.batch_execute(&grant).await?;
            }
        }
        let row: [&(dyn ToSql + Sync); 6] = [&(op as i64), &kind.audit_kind(), &script, version, &actor, rows_at];
        let lsn: String = self.client.query_one(&self.audit, &row).await?.try_get(0)?;
        answer.lsn_before = lsn.parse().ok();
        Ok(())
    }
}

/// Why an operation came to nothing before its commit.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The script that it changes is not there.
    #[error("the script is not there")]
    NoScript,
    /// The server said no, or nothing.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
}

impl WriteError {
    /// Whether the server takes writes, and only this one does not fit what is there (class 23, integrity constraints).
    fn contradicts(&self) -> bool {
        match self {
            Self::NoScript => true,
            Self::Database(error) => error.code().is_some_and(|code| code.code().starts_with("23")),
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::NoScript => self.to_string(),
            Self::Database(error) => reason(error),
        }
    }
}

/// Whether an error at COMMIT leaves open what became of the commit. Class 57 (operator intervention) is the case of
/// a shutdown while waiting for a synchronous standby: committed here, perhaps not there.
fn leaves_commit_open(code: &SqlState) -> bool {
    ["08", "53", "57", "58", "XX"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), crate::values::message(db)),
        None => error.to_string(),
    }
}
