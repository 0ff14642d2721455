//! Which checks a restored cluster goes through besides those that the ledger and the backup's WAL decide.
//!
//! They are independent of each other and run side by side; each opens the connections that it needs. The order of the
//! results is the order of the list.

use std::{path::Path, time::Instant};

use futures_util::future::{BoxFuture, join_all};
use reports::CheckResult;

use super::{
    Subject, catalog_inventory, collations, index_integrity, isolation, page_checksums, privileges,
    referential_integrity, sequences,
};
use crate::record::milliseconds;

/// Where the result of `privileges` stands among the others.
const PRIVILEGES: usize = 5;

/// What the checks must know besides the subject.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Where production archives to.
    pub production_archive: Option<&'a Path>,
    /// The largest script id that the ledger promised to a client, if the restore was to keep it.
    pub largest_acknowledged: Option<i64>,
}

/// Runs them.
pub async fn restored(subject: &Subject<'_>, known: Known<'_>) -> Vec<CheckResult> {
    let checks: Vec<BoxFuture<'_, CheckResult>> = vec![
        Box::pin(page_checksums::check(subject)),
        Box::pin(index_integrity::check(subject)),
        Box::pin(referential_integrity::check(subject)),
        Box::pin(sequences::check(subject, known.largest_acknowledged)),
        Box::pin(collations::check(subject)),
        Box::pin(isolation::check(subject, known.production_archive)),
    ];
    let ((inventory, privileges), mut results) = tokio::join!(inventory(subject), join_all(checks));
    results.insert(0, inventory);
    results.insert(PRIVILEGES, privileges);
    results
}

/// The two checks that judge a cluster's inventory, read once. Others may run meanwhile: what they make they make in
/// transactions that end in nothing.
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
