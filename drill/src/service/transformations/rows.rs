//! Reads the rows that writers can have touched: as the read-only role, hashes computed in the server, in one snapshot.

use futures_util::future::BoxFuture;
use tokio_postgres::{
    Client, IsolationLevel, Row,
    types::{FromSql, ToSql},
};

use super::{
    super::{Rows, Served, Share, Writer},
    Transformations, Writes,
    writer::{SHARE, ScriptWriter},
};
use crate::{
    ledger::{
        AttachmentRow, AuditRow, Called, KeyRow, OperationKind, PgTime, Recovered, SeedFacts, SeededKey, SequenceRow,
        VersionRow, author_number, digest,
    },
    values,
};

impl Writes for Transformations {
    fn seed(&self) -> SeedFacts {
        let plan = self.plan;
        let key = move |id: i64| {
            let id = id.cast_unsigned();
            SeededKey {
                versions: plan.versions_of(id).cast_signed(),
                deleted: plan.is_deleted(id),
                changed: PgTime(plan.changed_us(id).cast_signed()),
            }
        };
        SeedFacts {
            max_key: plan.scripts.cast_signed(),
            key: Box::new(key),
            called: Called {
                key: "script",
                content: "Content",
                facts: "Name or Description",
            },
        }
    }

    fn writer(&self, share: Share) -> Box<dyn Writer> {
        Box::new(ScriptWriter::new(share, &self.plan))
    }

    fn theirs(&self, writers: u32) -> Vec<i64> {
        (1..=self.plan.scripts.cast_signed())
            .take(SHARE * writers as usize)
            .collect()
    }

    fn read<'a>(
        &'a self,
        validator: &'a mut Client,
        touched: Vec<i64>,
    ) -> BoxFuture<'a, Result<Rows, tokio_postgres::Error>> {
        Box::pin(self.rows(validator, touched))
    }

    fn tables(&self) -> Vec<(&'static str, u64)> {
        self.seeded().tables().into()
    }

    fn adds_to(&self, kind: OperationKind) -> &'static [&'static str] {
        match kind {
            OperationKind::Create => &["TransformationScripts", "TransformationScriptVersions", "AuditEvents"],
            OperationKind::AddVersion => &["TransformationScriptVersions", "AuditEvents"],
            OperationKind::Attach => &["ScriptAttachments", "AuditEvents"],
            OperationKind::SoftDelete | OperationKind::Restore => &["AuditEvents"],
        }
    }

    fn value<'a>(&'a self, validator: &'a Client, key: i64, version: Option<i32>) -> BoxFuture<'a, Option<String>> {
        const VERSION: &str =
            r#"SELECT "Content" FROM "TransformationScriptVersions" WHERE "ScriptId" = $1 AND "VersionNumber" = $2"#;
        const SCRIPT: &str =
            r#"SELECT format('%s: %s', "Name", "Description") FROM "TransformationScripts" WHERE "Id" = $1"#;
        Box::pin(async move {
            let row = match version {
                Some(version) => validator.query_opt(VERSION, &[&key, &version]).await,
                None => validator.query_opt(SCRIPT, &[&key]).await,
            };
            let value: Option<&str> = row.as_ref().ok()?.as_ref()?.try_get(0).ok()?;
            Some(values::shown(value?))
        })
    }
}

impl Transformations {
    async fn rows(&self, validator: &mut Client, mut touched: Vec<i64>) -> Result<Rows, tokio_postgres::Error> {
        let seeded = self.seeded();
        let max_key = self.plan.scripts.cast_signed();
        let transaction = validator
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        // A damaged index must not hide rows from the comparison, nor bring them out of order.
        let sequential =
            "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";
        transaction.batch_execute(sequential).await?;
        // Rows that came after the seed belong to the workload or to nobody; either way the ledger must account for them.
        let added = r#"SELECT DISTINCT "ScriptId" FROM "TransformationScriptVersions" WHERE "Id" > $1"#;
        for row in &transaction.query(added, &[&seeded.max_version_id]).await? {
            touched.extend(row.try_get::<_, Option<i64>>(0)?);
        }
        touched.sort_unstable();
        touched.dedup();
        touched.retain(|script| (1..=max_key).contains(script));
        let audit = r#"SELECT "Id", coalesce("OperationId", 0), "Kind", coalesce("ScriptId", 0), coalesce("VersionNumber", 0),
                              "Actor", "OccurredAt"
                         FROM "AuditEvents" WHERE "OperationId" IS NOT NULL OR "Id" > $1 ORDER BY 2"#;
        let scripts = r#"SELECT "Id", "CurrentVersion", "IsDeleted", "Name"::text, "Description", "CreatedAt", "UpdatedAt", "DeletedAt"
                           FROM "TransformationScripts" WHERE "Id" > $1 OR "Id" = ANY($2) OR "Id" IS NULL ORDER BY 1"#;
        let versions = r#"SELECT "Id", "ScriptId", "VersionNumber", sha256(convert_to("Content", 'UTF8')), "ContentSha256",
                                 "CreatedBy", "CreatedAt"
                            FROM "TransformationScriptVersions"
                           WHERE "ScriptId" > $1 OR "ScriptId" = ANY($2) OR "ScriptId" IS NULL ORDER BY 2, 3"#;
        let attachments = r#"SELECT a."Id", a."ScriptId", coalesce(substring(a."FileName" FROM '^op-([0-9]{1,18})\.txt$')::bigint, 0),
                                    CASE WHEN m.oid IS NOT NULL THEN sha256(lo_get(a."LargeObject")) END,
                                    a."Sha256", a."SizeBytes", a."CreatedAt"
                               FROM "ScriptAttachments" a LEFT JOIN pg_largeobject_metadata m ON m.oid = a."LargeObject"
                              WHERE a."FileName" ~ '^op-[0-9]+\.txt$' OR a."Id" > $1 OR a."Id" IS NULL ORDER BY 3"#;
        let (seeded_audit, seeded_attachments) = (seeded.audit_events as i64, seeded.attachments as i64);
        let after_seeded_audit: [&(dyn ToSql + Sync); 1] = [&seeded_audit];
        let after_seeded_attachments: [&(dyn ToSql + Sync); 1] = [&seeded_attachments];
        let of_touched: [&(dyn ToSql + Sync); 2] = [&max_key, &touched];
        let (audit, scripts, versions, attachments) = tokio::try_join!(
            transaction.query(audit, &after_seeded_audit),
            transaction.query(scripts, &of_touched),
            transaction.query(versions, &of_touched),
            transaction.query(attachments, &after_seeded_attachments),
        )?;
        let mut recovered = Recovered::default();
        for row in &audit {
            let row = Reader::new("AuditEvents", row, &mut recovered.malformed)?;
            recovered.audit.extend(audit_row(row)?);
        }
        for row in &scripts {
            let row = Reader::new("TransformationScripts", row, &mut recovered.malformed)?;
            recovered.keys.extend(key_row(row)?);
        }
        for row in &versions {
            let row = Reader::new("TransformationScriptVersions", row, &mut recovered.malformed)?;
            recovered.versions.extend(version_row(row)?);
        }
        for row in &attachments {
            let row = Reader::new("ScriptAttachments", row, &mut recovered.malformed)?;
            recovered.attachments.extend(attachment_row(row)?);
        }
        let tables = [
            "TransformationScripts",
            "TransformationScriptVersions",
            "ScriptAttachments",
            "AuditEvents",
        ];
        for table in tables {
            let owned = format!(r#"SELECT pg_get_serial_sequence('"{table}"', 'Id')"#);
            let Some(sequence) = transaction
                .query_one(&owned, &[])
                .await?
                .try_get::<_, Option<String>>(0)?
            else {
                recovered
                    .malformed
                    .push(format!("{table} has no sequence from which new rows get their Id"));
                continue;
            };
            // Read directly: pg_sequences hides the value from a role without the privilege instead of saying so.
            let sql = format!(
                r#"SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END,
                          (SELECT coalesce(max("Id"), 0) FROM "{table}") FROM {sequence}"#
            );
            let row = transaction.query_one(&sql, &[]).await?;
            recovered.sequences.push(SequenceRow {
                name: table.to_owned(),
                is_of_keys: table == "TransformationScripts",
                last_value: row.try_get(0)?,
                largest_used: row.try_get(1)?,
            });
        }
        let total = r#"SELECT count(*) FROM "TransformationScripts" WHERE NOT "IsDeleted""#;
        let page = r#"SELECT "Id", "CurrentVersion" FROM "TransformationScripts" WHERE NOT "IsDeleted" ORDER BY "Id" LIMIT 50"#;
        let page = transaction.query(page, &[]).await?;
        let shown = page.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let served = Served {
            total: transaction.query_one(total, &[]).await?.try_get(0)?,
            // A row that cannot be shown for its NULLs is one of those above.
            first_page: shown.collect::<Result<_, tokio_postgres::Error>>().unwrap_or_default(),
        };
        transaction.commit().await?;
        Ok(Rows {
            recovered,
            served: Some(served),
        })
    }
}

/// A row of a table while it is read. A NULL where none may be is noted, and the value is then the type's default.
struct Reader<'a> {
    table: &'static str,
    row: &'a Row,
    /// "Id" of the row.
    id: Option<i64>,
    malformed: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    /// The first column is the row's "Id".
    fn new(table: &'static str, row: &'a Row, malformed: &'a mut Vec<String>) -> Result<Self, tokio_postgres::Error> {
        let id = row.try_get(0)?;
        let mut reader = Self {
            table,
            row,
            id,
            malformed,
        };
        if id.is_none() {
            reader.note("Id");
        }
        Ok(reader)
    }

    fn note(&mut self, column: &str) {
        let which = self.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        self.malformed.push(format!("{} {which}: {column} is NULL", self.table));
    }

    /// The value of a column, or `None` and a note.
    fn known<T: FromSql<'a>>(&mut self, index: usize, column: &str) -> Result<Option<T>, tokio_postgres::Error> {
        let value: Option<T> = self.row.try_get(index)?;
        if value.is_none() {
            self.note(column);
        }
        Ok(value)
    }
}

fn audit_row(mut row: Reader<'_>) -> Result<Option<AuditRow>, tokio_postgres::Error> {
    Ok(Some(AuditRow {
        operation: row.row.try_get::<_, i64>(1)?.cast_unsigned(),
        kind: row.known(2, "Kind")?.and_then(kind),
        key: row.row.try_get(3)?,
        version: row.row.try_get(4)?,
        author: row.known(5, "Actor")?.and_then(author_number),
        at: row.known(6, "OccurredAt")?.unwrap_or_default(),
    }))
}

fn key_row(mut row: Reader<'_>) -> Result<Option<KeyRow>, tokio_postgres::Error> {
    let Some(id) = row.id else { return Ok(None) };
    Ok(Some(KeyRow {
        id,
        current_version: row.known(1, "CurrentVersion")?.unwrap_or_default(),
        deleted: row.known(2, "IsDeleted")?.unwrap_or_default(),
        facts: digest([row.known(3, "Name")?, row.row.try_get(4)?]),
        created: row.known(5, "CreatedAt")?.unwrap_or_default(),
        updated: row.known(6, "UpdatedAt")?.unwrap_or_default(),
        deleted_at: row.row.try_get::<_, Option<PgTime>>(7)?.unwrap_or_default(),
    }))
}

fn version_row(mut row: Reader<'_>) -> Result<Option<VersionRow>, tokio_postgres::Error> {
    let (key, version) = (row.known(1, "ScriptId")?, row.known(2, "VersionNumber")?);
    let (Some(key), Some(version)) = (key, version) else {
        return Ok(None);
    };
    Ok(Some(VersionRow {
        key,
        version,
        content: row.known(3, "Content")?.map_or(0, prefix),
        stored: row.known(4, "ContentSha256")?.map_or(0, prefix),
        author: row.known(5, "CreatedBy")?.and_then(author_number),
        at: row.known(6, "CreatedAt")?.unwrap_or_default(),
    }))
}

fn attachment_row(mut row: Reader<'_>) -> Result<Option<AttachmentRow>, tokio_postgres::Error> {
    let Some(key) = row.known(1, "ScriptId")? else {
        return Ok(None);
    };
    let size: Option<i64> = row.known(5, "SizeBytes")?;
    Ok(Some(AttachmentRow {
        key,
        operation: row.row.try_get::<_, i64>(2)?.cast_unsigned(),
        content: row.row.try_get::<_, Option<&[u8]>>(3)?.map_or(0, prefix),
        stored: row.known(4, "Sha256")?.map_or(0, prefix),
        facts: size.map_or(0, |size| digest([Some(size.to_string().as_str())])),
        at: row.known(6, "CreatedAt")?.unwrap_or_default(),
    }))
}

fn kind(text: &str) -> Option<OperationKind> {
    use OperationKind::{AddVersion, Attach, Create, Restore, SoftDelete};
    [Create, AddVersion, SoftDelete, Restore, Attach]
        .into_iter()
        .find(|kind| kind.name() == text)
}

/// First 16 bytes of a hash.
fn prefix(hash: &[u8]) -> u128 {
    hash.first_chunk::<16>().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}
