//! `row-counts`: each table has as many rows as the seed and the recovered operations add up to (step 8).
//!
//! Counts are cheap and say little: equal counts prove no content. They are here because the requirement asks for
//! them, each within 5 seconds, as the read-only role.

use std::time::{Duration, Instant};

use reports::{CheckId, CheckResult, Phase, text};
use tokio_postgres::Client;

use crate::record::check::{Found, first_few, timed};

/// Rows of each table of the application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// "TransformationScripts"
    pub scripts: i64,
    /// "TransformationScriptVersions"
    pub versions: i64,
    /// "ScriptAttachments"
    pub attachments: i64,
    /// "AuditEvents"
    pub audit_events: i64,
}

impl Counts {
    /// Tables and their counts.
    pub fn tables(&self) -> [(&'static str, i64); 4] {
        [
            ("TransformationScripts", self.scripts),
            ("TransformationScriptVersions", self.versions),
            ("ScriptAttachments", self.attachments),
            ("AuditEvents", self.audit_events),
        ]
    }
}

/// Counts, and the time that the slowest query took.
///
/// # Errors
/// If a query fails.
pub async fn count(validator: &Client) -> Result<(Counts, Duration), tokio_postgres::Error> {
    let (mut counts, mut slowest) = (Counts::default(), Duration::ZERO);
    let slots = [
        &mut counts.scripts,
        &mut counts.versions,
        &mut counts.attachments,
        &mut counts.audit_events,
    ];
    for ((table, _), slot) in Counts::default().tables().into_iter().zip(slots) {
        let began = Instant::now();
        let sql = format!(r#"SELECT count(*) FROM "{table}""#);
        *slot = validator.query_one(&sql, &[]).await?.try_get(0)?;
        slowest = slowest.max(began.elapsed());
    }
    Ok((counts, slowest))
}

/// Compares what was counted with what must be there.
pub async fn check(counted: Result<Counts, tokio_postgres::Error>, expected: Counts, subject: &str) -> CheckResult {
    timed(CheckId::RowCounts, Phase::Restored, subject, async {
        let counted = counted?;
        let rows = |count: i64| text::counted(count, "row");
        let wrong: Vec<String> = counted
            .tables()
            .into_iter()
            .zip(expected.tables())
            .filter(|(found, wanted)| found.1 != wanted.1)
            .map(|(found, wanted)| format!("{}: {} instead of {}", found.0, rows(found.1), rows(wanted.1)))
            .collect();
        let total = |counts: Counts| counts.tables().iter().map(|(_, rows)| rows).sum::<i64>();
        let wanted = format!("{} in 4 tables (seed and recovered operations)", rows(total(expected)));
        let found = Found::judge(wrong.is_empty(), wanted, rows(total(counted)));
        Ok::<_, tokio_postgres::Error>(found.detail(first_few(&wrong)))
    })
    .await
}
