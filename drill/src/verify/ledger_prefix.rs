//! `ledger-prefix`: reads what the workload can have touched and holds it against the ledger.
//!
//! The reading is here; the judgement is the pure function in [`super::ledger`]. Rows are read as the read-only role,
//! hashes are computed in the server, and everything comes in one snapshot.

use chrono::{DateTime, Utc};
use reports::{CheckId, CheckResult, Phase, event::LedgerComparison};
use tokio_postgres::{Client, IsolationLevel, types::ToSql};

use super::{
    Found, chain,
    ledger::{
        AttachmentRow, AuditRow, Comparison, Recovered, ScriptRow, SeedFacts, SequenceRow, Target, VersionRow, compare,
    },
    row_counts::Counts,
    smoke, timed,
};
use crate::workload::ledger::{History, OperationKind};

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
    target: Target,
    failed_at: (DateTime<Utc>, u64),
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
        Ok(match compare(history, Some(&recovered), seed, target, failed_at.1) {
            Ok(found) => {
                let (verdict, text) = (found.verdict(), found.describe());
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
    touched.extend(
        transaction
            .query(added, &[&seeded.max_version_id])
            .await?
            .iter()
            .map(|row| row.get::<_, i64>(0)),
    );
    touched.sort_unstable();
    touched.dedup();
    touched.retain(|script| (1..=seed.max_script_id).contains(script));
    let audit = r#"SELECT coalesce("OperationId", 0), "Kind", coalesce("ScriptId", 0), coalesce("VersionNumber", 0)
                     FROM "AuditEvents" WHERE "OperationId" IS NOT NULL OR "Id" > $1 ORDER BY 1"#;
    let scripts = r#"SELECT "Id", "CurrentVersion", "IsDeleted" FROM "TransformationScripts"
                      WHERE "Id" > $1 OR "Id" = ANY($2) ORDER BY 1"#;
    let versions = r#"SELECT "ScriptId", "VersionNumber", sha256(convert_to("Content", 'UTF8')), "ContentSha256"
                        FROM "TransformationScriptVersions" WHERE "ScriptId" > $1 OR "ScriptId" = ANY($2) ORDER BY 1, 2"#;
    let attachments = r#"SELECT a."ScriptId", coalesce(substring(a."FileName" FROM '^op-([0-9]+)\.txt$')::bigint, 0),
                                CASE WHEN m.oid IS NOT NULL THEN sha256(lo_get(a."LargeObject")) END
                           FROM "ScriptAttachments" a LEFT JOIN pg_largeobject_metadata m ON m.oid = a."LargeObject"
                          WHERE a."FileName" ~ '^op-[0-9]+\.txt$' OR a."Id" > $1 ORDER BY 2"#;
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
    let mut recovered = Recovered {
        audit: audit
            .iter()
            .map(|row| AuditRow {
                operation: row.get::<_, i64>(0) as u64,
                kind: kind(row.get(1)),
                script: row.get(2),
                version: row.get(3),
            })
            .collect(),
        scripts: scripts
            .iter()
            .map(|row| ScriptRow {
                id: row.get(0),
                current_version: row.get(1),
                deleted: row.get(2),
            })
            .collect(),
        versions: versions
            .iter()
            .map(|row| VersionRow {
                script: row.get(0),
                version: row.get(1),
                content: prefix(row.get(2)),
                stored: prefix(row.get(3)),
            })
            .collect(),
        attachments: attachments
            .iter()
            .map(|row| AttachmentRow {
                script: row.get(0),
                operation: row.get::<_, i64>(1) as u64,
                content: row.get::<_, Option<&[u8]>>(2).map_or(0, prefix),
            })
            .collect(),
        sequences: Vec::new(),
    };
    let tables = [
        "TransformationScripts",
        "TransformationScriptVersions",
        "ScriptAttachments",
        "AuditEvents",
    ];
    for table in tables {
        let owned = format!(r#"SELECT pg_get_serial_sequence('"{table}"', 'Id')"#);
        let sequence: String = transaction.query_one(&owned, &[]).await?.get(0);
        // Read directly: pg_sequences hides the value from a role without the privilege instead of saying so.
        let sql = format!(
            r#"SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END,
                      (SELECT coalesce(max("Id"), 0) FROM "{table}") FROM {sequence}"#
        );
        let row = transaction.query_one(&sql, &[]).await?;
        recovered.sequences.push(SequenceRow {
            name: table.to_owned(),
            last_value: row.get(0),
            largest_used: row.get(1),
        });
    }
    let total = r#"SELECT count(*) FROM "TransformationScripts" WHERE NOT "IsDeleted""#;
    let page =
        r#"SELECT "Id", "CurrentVersion" FROM "TransformationScripts" WHERE NOT "IsDeleted" ORDER BY "Id" LIMIT 50"#;
    let served = smoke::Expected {
        total: transaction.query_one(total, &[]).await?.get(0),
        first_page: transaction
            .query(page, &[])
            .await?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect(),
    };
    transaction.commit().await?;
    Ok((recovered, served))
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
