//! One writer: an application's client that creates scripts, adds versions, soft-deletes, restores and attaches.
//!
//! It owns a share of the scripts; sequences, indexes and the audit table are contended for by all.

use fixtures::SeedPlan;
use futures_util::future::BoxFuture;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tokio_postgres::{Client, Error, Statement, types::ToSql};

use super::super::{Planned, Share, WriteError, Writer};
use crate::ledger::{Answer, Intent, OperationKind, PgTime, author, digest};

/// Description of every script that a writer creates.
const DESCRIPTION: &str = "written live";
/// Average size of what writers write, in bytes: small commits, many of them.
const CONTENT_BYTES: u32 = 1_000;
/// So many of the seeded scripts a writer works on: a bounded share is enough, however large the seed is.
pub(super) const SHARE: usize = 1_000;

/// A script as its writer knows it.
#[derive(Clone, Copy)]
struct Script {
    id: i64,
    version: i32,
    deleted: bool,
}

/// The writer.
pub(super) struct ScriptWriter {
    share: Share,
    random: StdRng,
    scripts: Vec<Script>,
    created: u64,
}

impl ScriptWriter {
    pub(super) fn new(share: Share, seeded: &SeedPlan) -> Self {
        let random =
            StdRng::seed_from_u64(share.seed ^ (u64::from(share.number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let scripts = (1..=seeded.scripts)
            .filter(|id| id % u64::from(share.writers) == u64::from(share.number))
            .take(SHARE)
            .map(|id| Script {
                id: id as i64,
                version: seeded.versions_of(id) as i32,
                deleted: seeded.is_deleted(id),
            })
            .collect();
        Self {
            share,
            random,
            scripts,
            created: 0,
        }
    }
}

/// The statements, in the order in which they are prepared.
#[derive(Clone, Copy)]
enum Prepared {
    Create,
    Version,
    Current,
    Deleted,
    Attach,
    Audit,
}

const STATEMENTS: [&str; 6] = [
    r#"INSERT INTO "TransformationScripts" ("Name", "Description", "CurrentVersion", "IsDeleted", "CreatedAt", "UpdatedAt")
       VALUES ($1::text, $2, 1, false, $3, $3) RETURNING "Id""#,
    r#"INSERT INTO "TransformationScriptVersions" ("ScriptId", "VersionNumber", "Content", "ContentSha256", "CreatedBy", "CreatedAt")
       VALUES ($1, $2, $3, $4, $5, $6)"#,
    r#"UPDATE "TransformationScripts" SET "CurrentVersion" = $2 WHERE "Id" = $1 RETURNING "UpdatedAt""#,
    r#"UPDATE "TransformationScripts" SET "IsDeleted" = $2, "DeletedAt" = CASE WHEN $2 THEN $3::timestamptz END
        WHERE "Id" = $1 RETURNING "UpdatedAt""#,
    r#"WITH stored AS (SELECT lo_from_bytea(0, $3) AS loid)
       INSERT INTO "ScriptAttachments" ("ScriptId", "FileName", "LargeObject", "SizeBytes", "Sha256", "CreatedAt")
       SELECT $1, $2, loid, $6, $4, $5 FROM stored RETURNING "LargeObject""#,
    r#"INSERT INTO "AuditEvents" ("OperationId", "Kind", "ScriptId", "VersionNumber", "Actor", "OccurredAt")
       VALUES ($1, $2, $3, $4, $5, $6) RETURNING pg_current_wal_insert_lsn()::text"#,
];

impl Writer for ScriptWriter {
    fn next(&mut self) -> Planned {
        let roll = self.random.random_range(0..100);
        let owned = (!self.scripts.is_empty() && roll >= 25).then(|| self.random.random_range(0..self.scripts.len()));
        let script = owned.and_then(|index| self.scripts.get(index).copied());
        let (kind, version) = match script {
            None => (OperationKind::Create, 1),
            Some(script) if script.deleted => (OperationKind::Restore, script.version),
            Some(script) if roll < 75 => (OperationKind::AddVersion, script.version + 1),
            Some(script) if roll < 88 => (OperationKind::SoftDelete, script.version),
            Some(script) => (OperationKind::Attach, script.version),
        };
        let writes_content = !matches!(kind, OperationKind::SoftDelete | OperationKind::Restore);
        let content = if writes_content {
            fixtures::random_content(&mut self.random, CONTENT_BYTES)
        } else {
            String::new()
        };
        let creates = kind == OperationKind::Create;
        self.created += u64::from(creates);
        let name = format!("live-{}-{}", self.share.number, self.created);
        Planned {
            intent: Intent {
                writer: self.share.number,
                kind,
                key: script.map(|script| script.id),
                version,
                sha256: writes_content.then(|| hex::encode(Sha256::digest(content.as_bytes()))),
                rows_at: Some(PgTime::now()),
                facts: creates.then(|| digest([Some(name.as_str()), Some(DESCRIPTION)])),
                size_bytes: (kind == OperationKind::Attach).then_some(content.len() as u64),
            },
            owned,
            texts: vec![content, name],
        }
    }

    fn prepare<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, Result<Vec<Statement>, Error>> {
        Box::pin(futures_util::future::try_join_all(
            STATEMENTS.map(|sql| client.prepare(sql)),
        ))
    }

    fn write<'a>(
        &'a self,
        client: &'a Client,
        statements: &'a [Statement],
        number: u64,
        planned: &'a Planned,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(write(client, statements, number, planned, answer))
    }

    fn acknowledged(&mut self, planned: &Planned, answer: &Answer) {
        match planned.owned.and_then(|index| self.scripts.get_mut(index)) {
            Some(script) => {
                script.version = planned.intent.version;
                match planned.intent.kind {
                    OperationKind::SoftDelete => script.deleted = true,
                    OperationKind::Restore => script.deleted = false,
                    _ => {}
                }
            }
            None => self.scripts.extend(answer.key.map(|id| Script {
                id,
                version: 1,
                deleted: false,
            })),
        }
    }

    fn given_up(&mut self, planned: &Planned) {
        if let Some(index) = planned.owned {
            self.scripts.swap_remove(index);
        }
    }
}

async fn write(
    client: &Client,
    statements: &[Statement],
    number: u64,
    planned: &Planned,
    answer: &mut Answer,
) -> Result<(), WriteError> {
    let Intent {
        writer,
        kind,
        version,
        size_bytes,
        rows_at,
        ..
    } = &planned.intent;
    let statement = |which: Prepared| &statements[which as usize];
    let [content, name] = planned.texts.as_slice() else {
        return Err(WriteError::NoKey); // it was planned elsewhere, and nothing of it is written
    };
    let actor = author(*writer);
    let hash = Sha256::digest(content.as_bytes());
    let hash: &[u8] = hash.as_slice();
    let script = if let Some(script) = planned.intent.key {
        script
    } else {
        let row: [&(dyn ToSql + Sync); 3] = [name, &DESCRIPTION, rows_at];
        client.query_one(statement(Prepared::Create), &row).await?.try_get(0)?
    };
    answer.key = Some(script);
    match kind {
        OperationKind::Create | OperationKind::AddVersion => {
            let row: [&(dyn ToSql + Sync); 6] = [&script, version, content, &hash, &actor, rows_at];
            client.execute(statement(Prepared::Version), &row).await?;
            if *kind == OperationKind::AddVersion {
                let changed = client
                    .query_opt(statement(Prepared::Current), &[&script, version])
                    .await?;
                answer.updated_at = Some(changed.ok_or(WriteError::NoKey)?.try_get(0)?);
            }
        }
        OperationKind::SoftDelete | OperationKind::Restore => {
            let deleted = *kind == OperationKind::SoftDelete;
            let row: [&(dyn ToSql + Sync); 3] = [&script, &deleted, rows_at];
            let changed = client.query_opt(statement(Prepared::Deleted), &row).await?;
            answer.updated_at = Some(changed.ok_or(WriteError::NoKey)?.try_get(0)?);
        }
        OperationKind::Attach => {
            let name = format!("op-{number}.txt");
            let size = size_bytes.map(u64::cast_signed);
            let content = content.as_bytes();
            let row: [&(dyn ToSql + Sync); 6] = [&script, &name, &content, &hash, rows_at, &size];
            let oid: u32 = client.query_one(statement(Prepared::Attach), &row).await?.try_get(0)?;
            let grant = format!("GRANT SELECT ON LARGE OBJECT {oid} TO drill_validator");
            client.batch_execute(&grant).await?;
        }
    }
    let row: [&(dyn ToSql + Sync); 6] = [&(number as i64), &kind.name(), &script, version, &actor, rows_at];
    let lsn: String = client.query_one(statement(Prepared::Audit), &row).await?.try_get(0)?;
    answer.lsn_before = lsn.parse().ok();
    Ok(())
}
