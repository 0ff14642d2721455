//! Which checks a restored cluster goes through besides those that the ledger and the backup's WAL decide.
//!
//! They are independent of each other and run side by side; each opens the connections that it needs. The order of the
//! results is the order of the list.

use futures_util::future::{BoxFuture, join_all};
use reports::CheckResult;

use super::{
    Subject, catalog_inventory, collations, index_integrity, isolation, page_checksums, privileges,
    referential_integrity, sequences,
};

/// What the checks must know besides the subject.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Where production archives to, and what was there before the restore.
    pub production: Option<&'a isolation::Production>,
    /// The largest script id that the ledger promised to a client, if the restore was to keep it.
    pub largest_acknowledged: Option<i64>,
}

/// Runs them.
pub async fn restored(subject: &Subject<'_>, known: Known<'_>) -> Vec<CheckResult> {
    let checks: Vec<BoxFuture<'_, CheckResult>> = vec![
        Box::pin(catalog_inventory::check(
            subject.cluster,
            subject.inventory,
            subject.phase,
            subject.name,
        )),
        Box::pin(page_checksums::check(subject)),
        Box::pin(index_integrity::check(subject)),
        Box::pin(referential_integrity::check(subject)),
        Box::pin(sequences::check(subject, known.largest_acknowledged)),
        Box::pin(privileges::check(subject)),
        Box::pin(collations::check(subject)),
        Box::pin(isolation::check(subject, known.production)),
    ];
    join_all(checks).await
}
