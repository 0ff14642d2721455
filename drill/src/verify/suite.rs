//! Which checks a cluster goes through, besides those that the ledger and the backup's WAL decide.
//!
//! One list for both looks: at the database that raised the alarm (step 2) and at the one that was restored (step 8), so
//! that they cannot drift apart. The checks are independent of each other and run side by side; each opens the
//! connections that it needs. The order of the results is the order of the list.

use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use reports::CheckResult;

use super::{
    Subject, catalog_inventory, collations,
    content_fingerprint::{self, Against},
    content_hash, index_integrity, isolation, page_checksums, privileges, referential_integrity, sequences,
};
use crate::record::milliseconds;

/// Runs them. `seed` is what was seeded, and what of it may have changed since.
pub async fn looks(subject: &Subject<'_>, seed: Against<'_>) -> Vec<CheckResult> {
    let checks: Vec<BoxFuture<'_, CheckResult>> = vec![
        Box::pin(page_checksums::check(subject)),
        Box::pin(index_integrity::check(subject)),
        Box::pin(referential_integrity::check(subject)),
        Box::pin(sequences::check(subject, None)), // the ledger's own comparison looks at what was acknowledged
        Box::pin(collations::check(subject)),
        Box::pin(content_fingerprint::check(subject, seed)),
        Box::pin(content_fingerprint::check_tables(subject)),
    ];
    let ((inventory, privileges), others, hashes) =
        tokio::join!(inventory(subject), join_all(checks), content_hash::check(subject));
    let mut results = vec![inventory, privileges];
    results.extend(others);
    results.extend(hashes);
    results
}

/// The two checks that judge a cluster's inventory, which is read once. Others may run meanwhile: what they make they make
/// in transactions that end in nothing.
pub async fn inventory(subject: &Subject<'_>) -> (CheckResult, CheckResult) {
    let began = Instant::now();
    let look = catalog_inventory::look(subject).await;
    let took_ms = milliseconds(began.elapsed());
    let (mut objects, privileges) = tokio::join!(
        catalog_inventory::check(subject, &look),
        privileges::check(subject, &look)
    );
    objects.duration_ms += took_ms;
    (objects, privileges)
}

/// The same, of a cluster that was restored: it must not act on production either.
pub async fn restored(
    subject: &Subject<'_>,
    seed: Against<'_>,
    production: Option<&isolation::Production>,
) -> Vec<CheckResult> {
    let (mut checks, isolated) = tokio::join!(looks(subject, seed), isolation::check(subject, production));
    checks.push(isolated);
    checks
}
