//! `ledger-prefix`: reads what the workload can have touched and holds it against the ledger.
//!
//! The reading is here; the judgement is the pure function in [`super::ledger`]. Rows are read as the read-only role,
//! hashes are computed in the server, and everything comes in one snapshot.

use reports::{CheckId, CheckResult, Phase, event::LedgerComparison};
use tokio_postgres::{
    Client, IsolationLevel, Row,
    types::{FromSql, ToSql},
};

use super::{
    ledger::{
        AttachmentRow, AuditRow, Comparison, Recovered, Recovery, ScriptRow, SeedFacts, SequenceRow, VersionRow,
        compare,
    },
    row_counts::Counts,
    smoke,
};
use crate::{
    errors::chain,
    ledger::{History, OperationKind, PgTime, author_number, digest},
    record::check::{Found, timed},
    values,
};

/// What the check came to.
pub struct LedgerVerdict {
    /// The check's row.
    pub result: CheckResult,
    /// The whole comparison, if there was one.
    pub comparison: Option<Comparison>,
    /// What the tables must count, going by the operations that survived.
    pub counts: Option<Counts>,
    /// What the application must serve.
    pub served: Option<smoke::Expected>,
}

impl LedgerVerdict {
    /// The summary for the evidence, if there was a comparison.
    pub fn summary(&self) -> Option<LedgerComparison> {
        self.comparison.as_ref().map(|comparison| comparison.summary.clone())
    }
}

/// Runs the check on a recovered database, connected as the validator.
pub async fn check(
    validator: &mut Client,
    history: &History,
    seed: &SeedFacts,
    seeded: &fixtures::Seeded,
    recovery: Recovery,
    subject: &str,
) -> LedgerVerdict {
    let (mut comparison, mut counts, mut served) = (None, None, None);
    let touched = history.operations.iter().map(|operation| operation.script).collect();
    let result = timed(CheckId::LedgerPrefix, Phase::Restored, subject, async {
        let expected = "every acknowledged commit up to the recovery point, and nothing that nobody wrote";
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let (recovered, expected_served) = match read(validator, touched, seed, seeded).await {
            Ok(read) => read,
            Err(error) => return Ok::<_, tokio_postgres::Error>(Found::unknown(expected, chain(&error))),
        };
        counts = Some(expected_counts(&recovered, seeded, history));
        served = Some(expected_served);
        Ok(match compare(history, Some(&recovered), seed, recovery) {
            Ok(found) => {
                let (verdict, text) = (found.verdict(), found.describe());
                let mut found = found;
                if values::are_shown() {
                    show(validator, &mut found.summary.examples).await;
                }
                let examples = found.summary.examples.join("; ");
                comparison = Some(found);
                match verdict {
                    reports::Verdict::Pass => Found::pass(expected, text),
                    reports::Verdict::Fail => Found::fail(expected, text).detail(examples),
                    reports::Verdict::Unknown => Found::unknown(expected, format!("{text}; {examples}")),
                }
            }
            Err(reason) => Found::unknown(expected, reason.to_string()),
        })
    })
    .await;
    LedgerVerdict {
        result,
        comparison,
        counts,
        served,
    }
}

/// Adds to each example that speaks of a version or a script what its row holds, for who may see it.
async fn show(validator: &Client, examples: &mut [String]) {
    const VERSION: &str = r#"SELECT "Content" FROM "TransformationScriptVersions" WHERE "ScriptId" = $1 AND "VersionNumber" = $2::text::int"#;
    const SCRIPT: &str = r#"SELECT format('%s: %s', "Name", "Description") FROM "TransformationScripts" WHERE "Id" = $1 AND $2::text = ''"#;
    for example in examples {
        let mut words = example.split([' ', ':', ',']);
        let (sql, script, version) = match (words.next(), words.next(), words.next(), words.next(), words.next()) {
            (Some("version"), Some(version), Some("of"), Some("script"), Some(script)) => (VERSION, script, version),
            (Some("script"), Some(script), ..) => (SCRIPT, script, ""),
            _ => continue,
        };
        let Ok(id) = script.parse::<i64>() else { continue };
        if let Ok(Some(row)) = validator.query_opt(sql, &[&id, &version]).await
            && let Ok(Some(value)) = row.try_get::<_, Option<&str>>(0)
        {
            *example = format!("{example}: {:?}", values::shown(value));
        }
    }
}

/// What must be there: the seed, and what each operation wrote that the ledger knows and whose audit row survived.
fn expected_counts(recovered: &Recovered, seeded: &fixtures::Seeded, history: &History) -> Counts {
    let known = 1..=history.operations.len() as u64;
    let survived: Vec<_> = recovered
        .audit
        .iter()
        .filter(|row| known.contains(&row.operation))
        .collect();
    let of = |kinds: &[OperationKind]| {
        survived
            .iter()
            .filter(|row| row.kind.is_some_and(|kind| kinds.contains(&kind)))
            .count() as i64
    };
    Counts {
        scripts: seeded.scripts as i64 + of(&[OperationKind::CreateScript]),
        versions: seeded.versions as i64 + of(&[OperationKind::CreateScript, OperationKind::AddVersion]),
        attachments: seeded.attachments as i64 + of(&[OperationKind::Attach]),
        audit_events: seeded.audit_events as i64 + survived.len() as i64,
    }
}

/// Every row that came after the seed, and the seeded scripts in `touched`, in one snapshot; and what the application
/// must serve.
///
/// # Errors
/// If a table cannot be read.
pub async fn read(
    validator: &mut Client,
    mut touched: Vec<i64>,
    seed: &SeedFacts,
    seeded: &fixtures::Seeded,
) -> Result<(Recovered, smoke::Expected), tokio_postgres::Error> {
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
    touched.retain(|script| (1..=seed.max_script_id).contains(script));
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
    let of_touched: [&(dyn ToSql + Sync); 2] = [&seed.max_script_id, &touched];
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
        recovered.scripts.extend(script_row(row)?);
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
            last_value: row.try_get(0)?,
            largest_used: row.try_get(1)?,
        });
    }
    let total = r#"SELECT count(*) FROM "TransformationScripts" WHERE NOT "IsDeleted""#;
    let page =
        r#"SELECT "Id", "CurrentVersion" FROM "TransformationScripts" WHERE NOT "IsDeleted" ORDER BY "Id" LIMIT 50"#;
    let page = transaction.query(page, &[]).await?;
    let shown = page.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let served = smoke::Expected {
        total: transaction.query_one(total, &[]).await?.try_get(0)?,
        // A row that cannot be shown for its NULLs is one of those above.
        first_page: shown.collect::<Result<_, tokio_postgres::Error>>().unwrap_or_default(),
    };
    transaction.commit().await?;
    Ok((recovered, served))
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
        script: row.row.try_get(3)?,
        version: row.row.try_get(4)?,
        author: row.known(5, "Actor")?.and_then(author_number),
        at: row.known(6, "OccurredAt")?.unwrap_or_default(),
    }))
}

fn script_row(mut row: Reader<'_>) -> Result<Option<ScriptRow>, tokio_postgres::Error> {
    let Some(id) = row.id else { return Ok(None) };
    Ok(Some(ScriptRow {
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
    let (script, version) = (row.known(1, "ScriptId")?, row.known(2, "VersionNumber")?);
    let (Some(script), Some(version)) = (script, version) else {
        return Ok(None);
    };
    Ok(Some(VersionRow {
        script,
        version,
        content: row.known(3, "Content")?.map_or(0, prefix),
        stored: row.known(4, "ContentSha256")?.map_or(0, prefix),
        author: row.known(5, "CreatedBy")?.and_then(author_number),
        at: row.known(6, "CreatedAt")?.unwrap_or_default(),
    }))
}

fn attachment_row(mut row: Reader<'_>) -> Result<Option<AttachmentRow>, tokio_postgres::Error> {
    let Some(script) = row.known(1, "ScriptId")? else {
        return Ok(None);
    };
    let size: Option<i64> = row.known(5, "SizeBytes")?;
    Ok(Some(AttachmentRow {
        script,
        operation: row.row.try_get::<_, i64>(2)?.cast_unsigned(),
        content: row.row.try_get::<_, Option<&[u8]>>(3)?.map_or(0, prefix),
        stored: row.known(4, "Sha256")?.map_or(0, prefix),
        facts: size.map_or(0, |size| digest([Some(size.to_string().as_str())])),
        at: row.known(6, "CreatedAt")?.unwrap_or_default(),
    }))
}

fn kind(text: &str) -> Option<OperationKind> {
    use OperationKind::{AddVersion, Attach, CreateScript, Restore, SoftDelete};
    [CreateScript, AddVersion, SoftDelete, Restore, Attach]
        .into_iter()
        .find(|kind| kind.audit_kind() == text)
}

/// First 16 bytes of a hash.
fn prefix(hash: &[u8]) -> u128 {
    hash.first_chunk::<16>().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}
