//! Which checks a restored cluster goes through besides those that the ledger and the backup's WAL decide.
//!
//! They are independent of each other and run side by side; each opens the connections that it needs. The order of the
//! results is the order of the list.

use std::path::Path;

use reports::CheckResult;

use super::{
    Subject, catalog_inventory, collations, index_integrity, isolation, page_checksums, privileges,
    referential_integrity, sequences,
};

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
    let checks = tokio::join!(
        catalog_inventory::check(subject.cluster, subject.inventory, subject.phase, subject.name),
        page_checksums::check(subject),
        index_integrity::check(subject),
        referential_integrity::check(subject),
        sequences::check(subject, known.largest_acknowledged),
        privileges::check(subject),
        collations::check(subject),
        isolation::check(subject, known.production_archive),
    );
    let (inventory, pages, indexes, references, sequences, privileges, collations, isolation) = checks;
    vec![inventory, pages, indexes, references, sequences, privileges, collations, isolation]
}
