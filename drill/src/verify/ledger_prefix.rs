//! `ledger-prefix`: compares the rows that the workload can have touched with the ledger.
//!
//! The service reads the rows ([`crate::service::Writes`]); the judgement is the pure function in [`super::ledger`].

use reports::{CheckId, CheckResult, Phase, event::LedgerComparison};
use tokio_postgres::Client;

use super::ledger::{Comparison, Recovery, compare};
use crate::{
    errors::chain,
    ledger::{History, OperationKind, Recovered},
    record::check::{Found, timed},
    service::{Rows, Served, Writes},
    values,
};

/// The result of the check.
pub struct LedgerVerdict {
    /// The check's row.
    pub result: CheckResult,
    /// The whole comparison, if there was one.
    pub comparison: Option<Comparison>,
    /// What the tables must count, going by the operations that survived.
    pub counts: Option<Vec<(&'static str, i64)>>,
    /// What the application must serve.
    pub served: Option<Served>,
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
    writes: &dyn Writes,
    recovery: Recovery,
    subject: &str,
) -> LedgerVerdict {
    let (mut comparison, mut counts, mut served) = (None, None, None);
    let touched = history.operations.iter().map(|operation| operation.key).collect();
    let result = timed(CheckId::LedgerPrefix, Phase::Restored, subject, async {
        let expected = "every acknowledged commit up to the recovery point, and nothing that nobody wrote";
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let Rows {
            recovered,
            served: expected_served,
        } = match writes.read(validator, touched).await {
            Ok(read) => read,
            Err(error) => return Ok::<_, tokio_postgres::Error>(Found::unknown(expected, chain(&error))),
        };
        counts = Some(expected_counts(writes, &recovered, history));
        served = expected_served;
        let seed = writes.seed();
        Ok(match compare(history, Some(&recovered), &seed, recovery) {
            Ok(found) => {
                let (verdict, text) = (found.verdict(), found.describe());
                let mut found = found;
                if values::are_shown() {
                    show(writes, validator, seed.called.key, &mut found.summary.examples).await;
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

/// Adds to each example that speaks of a version or a key what its row holds, for who may see it.
async fn show(writes: &dyn Writes, validator: &Client, called: &str, examples: &mut [String]) {
    for example in examples {
        let mut words = example.split([' ', ':', ',']);
        let (key, version) = match (words.next(), words.next(), words.next(), words.next(), words.next()) {
            (Some("version"), Some(version), Some("of"), Some(word), Some(key)) if word == called => {
                (key, version.parse().ok())
            }
            (Some(word), Some(key), ..) if word == called => (key, None),
            _ => continue,
        };
        let Ok(key) = key.parse() else { continue };
        if let Some(value) = writes.value(validator, key, version).await {
            *example = format!("{example}: {value:?}");
        }
    }
}

/// What must be there: the seed, and what each operation wrote that the ledger knows and whose audit row survived.
fn expected_counts(writes: &dyn Writes, recovered: &Recovered, history: &History) -> Vec<(&'static str, i64)> {
    let known = 1..=history.operations.len() as u64;
    let survived = recovered.audit.iter().filter(|row| known.contains(&row.operation));
    let mut added = std::collections::BTreeMap::<&str, i64>::new();
    // What one of no known kind did nobody knows, but that it left an audit row.
    let kinds = survived.map(|row| row.kind.unwrap_or(OperationKind::SoftDelete));
    for table in kinds.flat_map(|kind| writes.adds_to(kind)) {
        *added.entry(table).or_default() += 1;
    }
    let tables = writes.tables().into_iter();
    tables
        .map(|(table, seeded)| (table, seeded as i64 + added.get(table).copied().unwrap_or_default()))
        .collect()
}
