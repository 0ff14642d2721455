//! `row-counts`: each table has as many rows as the seed and the recovered operations add up to (step 8).
//!
//! Counts are cheap and say little: equal counts prove no content. They are here because the requirement asks for
//! them, each within 5 seconds, as the read-only role.

use std::time::{Duration, Instant};

use reports::{
    CheckId, CheckResult, Phase,
    text::{self, counted},
};
use tokio_postgres::Client;

use crate::record::check::{Found, first_few, timed};

/// Tables, each with how many rows it has, or must have.
pub type Counts = Vec<(&'static str, i64)>;

/// Counts those tables; and the time that the slowest query took.
///
/// # Errors
/// If a query fails.
pub async fn count(
    validator: &Client,
    tables: impl IntoIterator<Item = &'static str>,
) -> Result<(Counts, Duration), tokio_postgres::Error> {
    let (mut counts, mut slowest) = (Counts::new(), Duration::ZERO);
    for table in tables {
        let began = Instant::now();
        let sql = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
        counts.push((table, validator.query_one(&sql, &[]).await?.try_get(0)?));
        slowest = slowest.max(began.elapsed());
    }
    Ok((counts, slowest))
}

/// Compares what was counted with what must be there.
pub async fn check(
    counted_rows: Result<Counts, tokio_postgres::Error>,
    expected: Counts,
    subject: &str,
) -> CheckResult {
    timed(CheckId::RowCounts, Phase::Restored, subject, async {
        let found_rows = counted_rows?;
        let rows = |count: i64| text::counted(count, "row");
        let wrong: Vec<String> = found_rows
            .iter()
            .zip(&expected)
            .filter(|(found, wanted)| found.1 != wanted.1)
            .map(|(found, wanted)| format!("{}: {} instead of {}", found.0, rows(found.1), rows(wanted.1)))
            .collect();
        let total = |counts: &Counts| counts.iter().map(|(_, rows)| rows).sum::<i64>();
        let wanted = format!(
            "{} in {} (seed and recovered operations)",
            rows(total(&expected)),
            counted(expected.len(), "table")
        );
        let found = Found::judge(wrong.is_empty(), wanted, rows(total(&found_rows)));
        Ok::<_, tokio_postgres::Error>(found.detail(first_few(&wrong)))
    })
    .await
}
