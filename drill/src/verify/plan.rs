//! Which checks to run on a database, by what is known of it; besides those of the ledger and of the backup's WAL.
//!
//! One list for both looks: at the database that raised the alarm (step 2) and at the one that was restored (step 8), so
//! they cannot drift apart. A check that needs something unknown is not planned, and [`Plan::not_checked`] says why; one that
//! was planned and cannot run is Unknown. The checks are independent of each other and run side by side; each opens the
//! connections that it needs. The order of the results is the order of the list.

use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use reports::{CheckId, CheckResult};

use super::{
    Subject, catalog_inventory, collations,
    content_fingerprint::{self, Against},
    content_hash, index_integrity,
    isolation::{self, Production},
    page_checksums, privileges, referential_integrity, sequences,
};
use crate::{record::milliseconds, service::Service};

/// What is known of a database.
#[derive(Clone, Copy)]
pub struct Knowledge<'a> {
    /// The application that it belongs to.
    pub service: &'a dyn Service,
    /// What was seeded, and what of it may have changed since.
    pub seed: Option<Against<'a>>,
    /// Whether it was restored; it must then not act on production either.
    pub is_restored: bool,
    /// What production's archive held before the restore.
    pub production: Option<&'a Production>,
}

/// One look at a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// `catalog-inventory` and `privileges`, which share a reading.
    Inventory,
    /// `page-checksums`
    Pages,
    /// `index-integrity`
    Indexes,
    /// `referential-integrity`
    References,
    /// `sequences`; the ledger's own comparison looks at what was acknowledged.
    Sequences,
    /// `collations`
    Collations,
    /// `content-fingerprint` of what was seeded.
    Seed,
    /// `content-fingerprint` of every other table.
    Tables,
    /// `content-hash`
    StoredHashes,
    /// `isolation`
    Isolation,
}

/// What is checked, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The looks, in the order of their results.
    pub looks: Vec<Look>,
    /// Checks that are not planned, and why.
    pub not_checked: Vec<(CheckId, &'static str)>,
}

/// Which checks make sense with what is known.
pub fn plan(known: &Knowledge<'_>) -> Plan {
    use Look::{Collations, Indexes, Inventory, Isolation, Pages, References, Seed, Sequences, StoredHashes, Tables};
    let mut looks = vec![Inventory, Pages, Indexes, References, Sequences, Collations];
    let mut not_checked = Vec::new();
    let mut needs = |is_known: bool, check: CheckId, why: &'static str| {
        if !is_known {
            not_checked.push((check, why));
        }
        is_known
    };
    let has_seed = known.seed.is_some();
    if needs(has_seed, CheckId::ContentFingerprint, "nobody knows what was seeded") {
        looks.push(Seed);
    }
    looks.push(Tables);
    let has_hashes = known.service.stored_hashes().is_some();
    if needs(has_hashes, CheckId::ContentHash, "no content is stored with its hash") {
        looks.push(StoredHashes);
    }
    if known.is_restored {
        looks.push(Isolation);
    }
    let writes = known.service.writes().is_some();
    needs(writes, CheckId::LedgerPrefix, "nobody knows what writers write");
    needs(writes, CheckId::RowCounts, "nobody knows what writers write");
    needs(
        known.service.serves().is_some(),
        CheckId::Smoke,
        "nobody knows what the service serves",
    );
    Plan { looks, not_checked }
}

/// Carries a plan out.
pub async fn run(plan: &Plan, subject: &Subject<'_>, known: Knowledge<'_>) -> Vec<CheckResult> {
    let looks = plan.looks.iter().map(|look| -> BoxFuture<'_, Vec<CheckResult>> {
        match look {
            Look::Inventory => Box::pin(async { <[CheckResult; 2]>::from(inventory(subject).await).into() }),
            Look::Pages => one(page_checksums::check(subject)),
            Look::Indexes => one(index_integrity::check(subject)),
            Look::References => one(referential_integrity::check(subject)),
            Look::Sequences => one(sequences::check(subject, None)),
            Look::Collations => one(collations::check(subject)),
            Look::Seed => Box::pin(async move {
                match known.seed {
                    Some(seed) => vec![content_fingerprint::check(subject, seed).await],
                    None => Vec::new(), // it was planned by other knowledge
                }
            }),
            Look::Tables => one(content_fingerprint::check_tables(subject)),
            Look::StoredHashes => Box::pin(async { content_hash::check(subject).await.into_iter().collect() }),
            Look::Isolation => one(isolation::check(subject, known.production)),
        }
    });
    join_all(looks).await.concat()
}

fn one<'a>(check: impl Future<Output = CheckResult> + Send + 'a) -> BoxFuture<'a, Vec<CheckResult>> {
    Box::pin(async { vec![check.await] })
}

/// The two checks that judge a cluster's inventory, which is read once. Other checks may run meanwhile: what they create is
/// rolled back.
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

#[cfg(test)]
mod tests {
    use reports::CheckId::{self, ContentFingerprint, ContentHash, LedgerPrefix, RowCounts, Smoke};

    use super::{Knowledge, Look, plan};
    use crate::service::{AnySchema, transformations};

    #[test]
    fn what_nobody_knows_is_not_planned_and_told() {
        let any = AnySchema {
            database: "app".to_owned(),
        };
        let known = Knowledge {
            service: &any,
            seed: None,
            is_restored: true,
            production: None,
        };
        let planned = plan(&known);
        assert!(!planned.looks.contains(&Look::Seed) && !planned.looks.contains(&Look::StoredHashes));
        assert!(planned.looks.contains(&Look::Isolation) && planned.looks.contains(&Look::Tables));
        let not_checked: Vec<CheckId> = planned.not_checked.iter().map(|(check, _)| *check).collect();
        assert_eq!(
            not_checked,
            [ContentFingerprint, ContentHash, LedgerPrefix, RowCounts, Smoke]
        );
        let fixture = Knowledge {
            service: transformations::any(),
            ..known
        };
        assert_eq!(
            plan(&fixture).not_checked,
            [(ContentFingerprint, "nobody knows what was seeded")]
        );
    }
}
