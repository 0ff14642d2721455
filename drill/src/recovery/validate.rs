//! Step 8: the restored cluster is looked at from every side before anything is switched over to it.
//!
//! The checks themselves are in [`crate::verify`]; independent ones run side by side.

use std::time::Duration;

use fixtures::Role as DatabaseRole;
use reports::{CheckId, Phase, Step, Verdict, What};
use tokio_postgres::Client;

use crate::{
    backup::RecoveryTarget,
    cutover::application::Ready,
    postgres::{Cluster, Shutdown, connection},
    record::milliseconds,
    stage::Drill,
    verify::{
        self, Found, chain, ledger, ledger_prefix, replay, restore_log, row_counts, server_start,
        server_start::Diagnosis, smoke, suite, timed,
    },
    workload::ledger::History,
};

use super::{
    OpenStep, Stop, Validated,
    choose::Choice,
    repair::{promoted, repaired, repairs},
};

/// What a look at a cluster found in order: what the cutover needs to know of it.
struct Sound {
    identity: Ready,
    served: Option<smoke::Expected>,
    data_loss_window_s: Option<f64>,
}

/// What a look found wrong.
struct Unsound {
    failed: Vec<CheckId>,
    reason: String,
    in_recovery: bool,
    timeline: Option<u32>,
}

/// Step 8, as the read-only role. What a repair cures is repaired, once, and everything is looked at again as another
/// attempt of the step; what is wrong then sends the operator back to the next candidate. `looks` counts the attempts.
pub(super) async fn data_validated(
    drill: &mut Drill,
    looks: &mut u32,
    mut cluster: Cluster,
    choice: &Choice,
) -> Result<Result<Validated, (CheckId, String)>, Stop> {
    *looks += 1;
    let mut found = Box::pin(looked_at(drill, *looks, &cluster, choice, None)).await?;
    if let Err(unsound) = &found
        && put_right(drill, &mut cluster, choice, unsound).await?
    {
        *looks += 1;
        found = Box::pin(looked_at(drill, *looks, &cluster, choice, unsound.timeline)).await?;
    }
    Ok(match found {
        Ok(sound) => Ok(Validated {
            cluster,
            identity: sound.identity,
            served: sound.served,
            data_loss_window_s: sound.data_loss_window_s,
        }),
        Err(unsound) => {
            let _ = cluster.stop(Shutdown::Immediate).await; // it is removed with the drill's directory in any case
            let first = unsound.failed.first().copied().unwrap_or(CheckId::ServerStart);
            let reason = format!("the restored data did not pass validation: {}", unsound.reason);
            Err((first, reason))
        }
    })
}

/// Whether everything that is wrong could be repaired in place.
async fn put_right(drill: &Drill, cluster: &mut Cluster, choice: &Choice, unsound: &Unsound) -> Result<bool, Stop> {
    if unsound.in_recovery {
        return Ok(promoted(drill, cluster).await);
    }
    let Some(repairs) = repairs(&unsound.failed) else {
        return Ok(false);
    };
    let history = History::read_or_unusable(&drill.ledger, &drill.ledger_header)?;
    let subject = drill.subject(cluster, Phase::Restored, choice.backup.inventory.as_ref());
    Ok(repaired(drill, &subject, &repairs, history.largest_created()).await)
}

/// One look from every side. A server that takes no writes, or nobody in, is not looked at any further. `timeline` is that
/// of a server that was looked at before.
async fn looked_at(
    drill: &mut Drill,
    attempt: u32,
    cluster: &Cluster,
    choice: &Choice,
    timeline: Option<u32>,
) -> Result<Result<Sound, Unsound>, Stop> {
    let step = OpenStep::begin(drill, Step::Validate, attempt);
    let name = cluster.name().to_owned();
    let began = drill.recorder.offset();
    let application = drill.login(cluster, DatabaseRole::TransformationApp);
    let (check, diagnosis) = server_start::check(&application, Phase::Restored, &name).await;
    // What a restored cluster cannot answer speaks against it, and not against the drill.
    let (superuser, identity) = match usable(drill, cluster, timeline, &diagnosis).await {
        Ok(usable) => usable,
        Err(told) => {
            drill.recorder.external_since("validation queries", began);
            let check = match told {
                Some(error) if check.verdict != Verdict::Fail => {
                    let found = Found::fail(check.expected, error);
                    let check = async { Ok::<_, std::convert::Infallible>(found) };
                    timed(CheckId::ServerStart, Phase::Restored, &name, check).await
                }
                _ => check,
            };
            let reason = format!("{}: {}", check.check, check.actual);
            drill.check(check);
            step.end(drill, Verdict::Fail, reason.clone());
            return Ok(Err(Unsound {
                failed: vec![CheckId::ServerStart],
                reason,
                in_recovery: diagnosis == Diagnosis::InRecovery,
                timeline,
            }));
        }
    };
    let timeline = identity.timeline_id;
    let mut checks = vec![check];
    checks.extend(restore_log::check(cluster).await);
    if choice.backup.start_lsn().is_some() {
        let planned = replay::Planned {
            target: &choice.target,
            reach: choice.reach,
            along: choice.timeline,
            from: choice.backup.info.timeline,
        };
        checks.push(replay::check(&superuser, planned, timeline, &name).await);
    }
    let subject = drill.subject(cluster, Phase::Restored, choice.backup.inventory.as_ref());
    let known = suite::Known {
        production_archive: drill.site.wal.archive.as_deref(),
        largest_acknowledged: None, // the ledger's own comparison looks at this, target and losses considered
    };
    let suite = suite::restored(&subject, known);
    let mut slowest = Duration::ZERO;
    let mut served = None;
    let mut data_loss_window_s = None;
    let mut only_sequences_are_behind = false;
    let history = History::read_or_unusable(&drill.ledger, &drill.ledger_header)?;
    let dumped = choice
        .backup
        .fingerprint
        .as_ref()
        .map(|reference| (reference, choice.backup.info.id.as_str()));
    let content = Box::pin(verify::content(&subject, &drill.fingerprint, &history, dumped));
    match connect(&drill.login(cluster, DatabaseRole::DrillValidator)).await {
        Ok(mut validator) => {
            let target = match choice.target {
                RecoveryTarget::Lsn(lsn) => ledger::Target::Lsn(lsn),
                _ => ledger::Target::End,
            };
            let failed = (drill.failed_utc(), crate::record::nanoseconds(drill.failed_offset()));
            let facts = drill.seed_facts();
            let ledger = ledger_prefix::check(&mut validator, &history, &facts, &drill.seeded, target, failed, &name);
            let (verdict, content, suite) = tokio::join!(ledger, content, suite);
            checks.extend(suite);
            let counted = row_counts::count(&validator).await;
            slowest = counted.as_ref().map_or(Duration::ZERO, |(_, slowest)| *slowest);
            if let Some(expected) = verdict.counts {
                checks.push(row_counts::check(counted.map(|(counts, _)| counts), expected, &name).await);
            }
            let comparison = verdict.comparison.as_ref();
            only_sequences_are_behind = comparison.is_some_and(ledger::Comparison::only_sequences_are_behind);
            if let Some(summary) = verdict.summary() {
                data_loss_window_s = Some(summary.data_loss_window_s);
                drill.recorder.record(What::LedgerCompared(summary));
            }
            served = verdict.served;
            checks.push(verdict.result);
            checks.extend(content);
        }
        Err(error) => {
            checks.extend(suite.await);
            checks.extend(content.await);
            let reason = format!("cannot connect as drill_validator: {error}");
            checks.push(
                timed(CheckId::LedgerPrefix, Phase::Restored, &name, async {
                    Ok::<_, std::convert::Infallible>(Found::fail("the validator can read the restored data", reason))
                })
                .await,
            );
        }
    }
    drill.recorder.external_since("validation queries", began);
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .cloned()
        .collect();
    let unknown = checks.iter().filter(|check| check.verdict == Verdict::Unknown).count();
    let all = checks.len();
    for check in checks {
        drill.check(check);
    }
    let took = step.began.elapsed();
    if !failed.is_empty() {
        let names: Vec<_> = failed
            .iter()
            .map(|check| format!("{}: {}", check.check, check.actual))
            .collect();
        let reason = names.join("; ");
        step.end_after(drill, Verdict::Fail, reason.clone(), took, Some(slowest));
        return Ok(Err(Unsound {
            failed: failed
                .iter()
                .map(|check| match check.check {
                    CheckId::LedgerPrefix if only_sequences_are_behind => CheckId::Sequences,
                    check => check,
                })
                .collect(),
            reason,
            in_recovery: false,
            timeline: Some(timeline),
        }));
    }
    let verdict = if unknown > 0 { Verdict::Unknown } else { Verdict::Pass };
    let detail = format!(
        "{} of {all} checks passed; slowest count {:.1} ms",
        all - unknown,
        milliseconds(slowest)
    );
    step.end_after(drill, verdict, detail, took, Some(slowest));
    Ok(Ok(Sound {
        identity,
        served,
        data_loss_window_s,
    }))
}

/// What only a server that can be used tells: a connection as superuser, and which database it is. The error is `None` where
/// it answers and is still in recovery.
async fn usable(
    drill: &Drill,
    cluster: &Cluster,
    timeline: Option<u32>,
    diagnosis: &Diagnosis,
) -> Result<(Client, Ready), Option<String>> {
    if *diagnosis == Diagnosis::InRecovery {
        return Err(None);
    }
    let superuser = cluster.verifying("postgres", fixtures::DATABASE).await;
    let superuser = superuser.map_err(|error| Some(chain(&error)))?;
    let timeline_id = match timeline {
        Some(timeline) => timeline,
        None => drill
            .cluster_started(cluster.name(), cluster)
            .await
            .map_err(|error| Some(chain(&error)))?,
    };
    let sql = "SELECT oid FROM pg_database WHERE datname = current_database()";
    let row = superuser.query_one(sql, &[]).await;
    let database_oid = row
        .and_then(|row| row.try_get(0))
        .map_err(|error| Some(chain(&error)))?;
    let system_identifier = cluster.system_identifier();
    let system_identifier = system_identifier.map_err(|error| Some(chain(&error)))?.to_string();
    let identity = Ready {
        system_identifier,
        timeline_id,
        database_oid,
    };
    Ok((superuser, identity))
}

pub(super) async fn connect(database: &tokio_postgres::Config) -> Result<Client, String> {
    connection::verifying(database).await.map_err(|error| chain(&error))
}
