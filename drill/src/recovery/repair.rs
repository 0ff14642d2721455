//! Forward repairs: what a restore does not cure, or must not be the cure for, is put right in place.
//!
//! Another backup of the same cluster has the same indexes, triggers and collations, and WAL replayed to its end has the
//! same statements in it. Where every check that failed is one that a statement cures, the statements are carried out and
//! the cluster is looked at again from every side. What is not cured by then is treated as if nothing had been tried: the
//! candidate is rejected, the source is given up. One round, never more.

use std::collections::BTreeSet;

use reports::{CheckId, Verdict, What};
use tokio_postgres::Client;

use crate::{
    backup::first_start::REPLAY_PATIENCE,
    errors::chain,
    postgres::Cluster,
    reference::{MAINTENANCE, inventory::Cure},
    state::Drill,
    verify::{Subject, catalog_inventory, collations, index_integrity, privileges, sequences},
};

/// What can be put right in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repair {
    /// Indexes that depend on a collation of another version are rebuilt, and the version is recorded.
    Collations,
    /// Indexes that are wrong are rebuilt.
    Indexes,
    /// Triggers are enabled, constraints validated.
    Catalog,
    /// Rights and role attributes are put back to what was recorded with the backup.
    Privileges,
    /// Sequences are moved past every number that was handed out. Last: a repair before it may hand some out.
    Sequences,
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Collations => "rebuild what depends on collations of another version",
            Self::Indexes => "rebuild the indexes that are wrong",
            Self::Catalog => "switch on what is switched off",
            Self::Privileges => "put privileges back as recorded",
            Self::Sequences => "move sequences past every number that was handed out",
        })
    }
}

/// The repairs that cure all of these failed checks, in the order in which they are carried out; none if one of the checks
/// speaks of something that no repair cures.
pub(super) fn repairs(failed: &[CheckId]) -> Option<BTreeSet<Repair>> {
    let mut repairs = BTreeSet::new();
    for check in failed {
        repairs.insert(match check {
            CheckId::Collations => Repair::Collations,
            CheckId::IndexIntegrity => Repair::Indexes,
            CheckId::CatalogInventory => Repair::Catalog,
            CheckId::Privileges => Repair::Privileges,
            CheckId::Sequences => Repair::Sequences,
            _ => return None,
        });
    }
    (!repairs.is_empty()).then_some(repairs)
}

/// Statements, and the database in which they are carried out.
type Statements = Vec<Cure>;

/// Carries repairs out on a cluster and records each. False if one of them cannot be, in which case nothing is touched,
/// or fails: what was done by then stays done.
pub(super) async fn repaired(
    drill: &Drill,
    subject: &Subject<'_>,
    repairs: &BTreeSet<Repair>,
    largest_acknowledged: Option<i64>,
) -> bool {
    let began = drill.desk.recorder.offset();
    let (mut plan, mut known) = (Vec::new(), BTreeSet::new());
    for repair in repairs {
        match planned(subject, *repair, largest_acknowledged).await {
            Ok(Some(mut statements)) => {
                statements.retain(|statement| known.insert(statement.clone())); // two may want the same index rebuilt
                plan.push((repair, Ok(statements)));
            }
            Ok(None) => return false,
            Err(reason) => plan.push((repair, Err(reason))),
        }
    }
    let mut all = true;
    for (repair, statements) in plan {
        let ran = match statements {
            Ok(statements) => run(subject, &statements).await,
            Err(reason) => Err(reason),
        };
        all = ran.is_ok();
        if let Ok(done) = &ran {
            drill
                .desk
                .recorder
                .finding(format!("Repaired in place ({}): {repair}: {done}.", subject.name));
        }
        drill.desk.recorder.record(What::Repaired {
            action: format!("{repair} ({})", subject.name),
            verdict: Verdict::from_holds(all),
            detail: ran.unwrap_or_else(|reason| reason),
        });
        if !all {
            break;
        }
    }
    drill.desk.recorder.external_since("repair in place", began);
    all
}

/// What is to be done; none if more is wrong than statements put right.
async fn planned(
    subject: &Subject<'_>,
    repair: Repair,
    largest_acknowledged: Option<i64>,
) -> Result<Option<Statements>, String> {
    let failed = |error: tokio_postgres::Error| chain(&error);
    let superuser = subject.superuser().await.map_err(failed)?;
    let statements = match repair {
        Repair::Collations => return collations(subject, &superuser).await.map(Some),
        Repair::Indexes => index_integrity::cures(subject).await,
        Repair::Catalog => {
            let look = catalog_inventory::look(subject).await;
            return catalog_inventory::cures(subject, &look).await.map_err(failed);
        }
        Repair::Privileges => return Ok(privileges::cures(&catalog_inventory::look(subject).await)),
        Repair::Sequences => sequences::cures(subject, largest_acknowledged).await.map(Some),
    };
    let cure = |(database, statement): (String, String)| Cure::new(&database, statement);
    Ok(statements
        .map_err(failed)?
        .map(|all| all.into_iter().map(cure).collect()))
}

/// In every database whose collation has another version: each has indexes of its own.
async fn collations(subject: &Subject<'_>, superuser: &Client) -> Result<Statements, String> {
    let failed = |error: tokio_postgres::Error| chain(&error);
    let databases = "SELECT datname::text FROM pg_database WHERE datallowconn
                        AND (datname = current_database() OR datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid))
                      ORDER BY 1";
    let mut statements = Vec::new();
    for row in superuser.query(databases, &[]).await.map_err(failed)? {
        let database: String = row.get(0);
        let client = connect(subject, &database).await?;
        let cures = collations::cures(&client).await.map_err(failed)?;
        statements.extend(cures.into_iter().map(|statement| Cure::new(&database, statement)));
    }
    Ok(statements)
}

/// One after the other, in no transaction: a repair that ends half-way is half a repair, and looked at as such.
async fn run(subject: &Subject<'_>, statements: &Statements) -> Result<String, String> {
    let mut done = Vec::new();
    for Cure {
        database,
        statement,
        told,
    } in statements
    {
        let database = if database.is_empty() { MAINTENANCE } else { database };
        let ran = connect(subject, database).await?.batch_execute(statement).await;
        ran.map_err(|error| format!("{told} (in {database}): {}", chain(&error)))?;
        done.push(told.as_str());
    }
    Ok(if done.is_empty() {
        "nothing more was to be done".to_owned()
    } else {
        done.join("; ")
    })
}

async fn connect(subject: &Subject<'_>, database: &str) -> Result<Client, String> {
    let client = subject.cluster.verifying("postgres", database).await;
    client.map_err(|error| chain(&error))
}

/// Ends a recovery that waits at its target, as `recovery_target_action = pause` has it do, and lets the server promote.
/// False if it does not wait, or does not come out of recovery.
pub(super) async fn promoted(drill: &Drill, cluster: &mut Cluster) -> bool {
    let began = drill.desk.recorder.offset();
    let (verdict, detail) = match resumed(cluster).await {
        Ok(at) => (Verdict::Pass, format!("it had paused at {at}")),
        Err(reason) => (Verdict::Fail, reason),
    };
    drill.desk.recorder.record(What::Repaired {
        action: format!("end the recovery that is paused at its target ({})", cluster.name()),
        verdict,
        detail,
    });
    drill.desk.recorder.external_since("promote the restored server", began);
    verdict == Verdict::Pass
}

async fn resumed(cluster: &mut Cluster) -> Result<String, String> {
    let failed = |error: tokio_postgres::Error| chain(&error);
    let client = cluster
        .verifying("postgres", "postgres")
        .await
        .map_err(|error| chain(&error))?;
    let paused = "SELECT pg_get_wal_replay_pause_state(), coalesce(pg_last_wal_replay_lsn()::text, '')";
    let row = client.query_one(paused, &[]).await.map_err(failed)?;
    let (state, at): (&str, String) = (row.get(0), row.get(1));
    if state != "paused" {
        return Err(format!("it is not paused: {state} at {at}"));
    }
    let resume = "SELECT pg_wal_replay_resume()"; // at the target this ends recovery
    client.batch_execute(resume).await.map_err(failed)?;
    let out = cluster.wait_until_writable(REPLAY_PATIENCE).await;
    out.map(|()| at).map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use reports::CheckId;

    use super::{Repair, repairs};

    fn of(failed: &[CheckId]) -> Option<Vec<Repair>> {
        repairs(failed).map(|repairs| repairs.into_iter().collect())
    }

    #[test]
    fn what_a_statement_cures_is_repaired_each_once_and_sequences_last() {
        assert_eq!(of(&[CheckId::Sequences]), Some(vec![Repair::Sequences]));
        let several = [
            CheckId::Sequences,
            CheckId::Privileges,
            CheckId::CatalogInventory,
            CheckId::IndexIntegrity,
            CheckId::Collations,
        ];
        let all = [
            Repair::Collations,
            Repair::Indexes,
            Repair::Catalog,
            Repair::Privileges,
            Repair::Sequences,
        ];
        assert_eq!(of(&several), Some(all.to_vec()));
    }

    #[test]
    fn one_check_that_only_another_candidate_cures_forbids_every_repair() {
        assert_eq!(of(&[CheckId::Sequences, CheckId::ContentFingerprint]), None);
        assert_eq!(of(&[CheckId::ReferentialIntegrity]), None, "orphans");
        let curable = [
            CheckId::Collations,
            CheckId::IndexIntegrity,
            CheckId::CatalogInventory,
            CheckId::Privileges,
            CheckId::Sequences,
        ];
        for check in CheckId::ALL {
            assert_eq!(of(&[*check]).is_some(), curable.contains(check), "{check}");
        }
        assert_eq!(of(&[]), None);
    }
}
