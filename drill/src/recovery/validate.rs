//! Step 8: the restored cluster is looked at from every side before anything is switched over to it.
//!
//! The checks themselves are in [`crate::verify`]; independent ones run side by side.

use std::time::Duration;

use fixtures::Role as DatabaseRole;
use reports::{CheckId, Phase, Step, Verdict, What};

use crate::{
    backup::RecoveryTarget,
    cutover::application::Ready,
    postgres::{Cluster, Shutdown},
    record::milliseconds,
    stage::{Drill, DrillError},
    verify::{self, Found, Subject, chain, ledger, ledger_prefix, replay, row_counts, server_start, suite, timed},
    workload::ledger::History,
};

use super::{OpenStep, Stop, Validated, choose::Choice};

/// Step 8, as the read-only role. A mismatch sends the operator back to the next candidate.
pub(super) async fn data_validated(
    drill: &mut Drill,
    attempt: u32,
    cluster: Cluster,
    choice: &Choice,
) -> Result<Result<Validated, (CheckId, String)>, Stop> {
    let step = OpenStep::begin(drill, Step::Validate, attempt);
    let name = format!("restored-{attempt}");
    let began = drill.recorder.offset();
    let superuser = cluster.connect("postgres", fixtures::DATABASE).await?;
    let timeline = drill.cluster_started(&name, &cluster).await?;
    let mut checks = Vec::new();
    let (check, _) = server_start::check(
        &drill.login(&cluster, DatabaseRole::TransformationApp),
        Phase::Restored,
        &name,
    )
    .await;
    checks.push(check);
    if choice.backup.start_lsn().is_some() {
        checks.push(replay::check(&superuser, &choice.target, choice.reach, &name).await);
    }
    let subject = Subject {
        cluster: &cluster,
        name: &name,
        phase: Phase::Restored,
        credentials: &drill.site.credentials,
        inventory: choice.backup.inventory.as_ref(),
    };
    let known = suite::Known {
        production_archive: drill.site.wal.archive.as_deref(),
        largest_acknowledged: None, // the ledger's own comparison looks at this, target and losses considered
    };
    let suite = suite::restored(&subject, known);
    let mut slowest = Duration::ZERO;
    let mut served = None;
    let mut data_loss_window_s = None;
    let history = History::read_or_unusable(&drill.ledger, &drill.ledger_header)?;
    let dumped = choice
        .backup
        .fingerprint
        .as_ref()
        .map(|reference| (reference, choice.backup.info.id.as_str()));
    let content = Box::pin(verify::content(&subject, &drill.fingerprint, &history, dumped));
    match connect(&drill.login(&cluster, DatabaseRole::DrillValidator)).await {
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
    if let Some(first) = failed.first() {
        let names: Vec<_> = failed
            .iter()
            .map(|check| format!("{}: {}", check.check, check.actual))
            .collect();
        let reason = names.join("; ");
        step.end_after(drill, Verdict::Fail, reason.clone(), took, Some(slowest));
        let mut cluster = cluster;
        let _ = cluster.stop(Shutdown::Immediate).await; // it is removed with the drill's directory in any case
        return Ok(Err((
            first.check,
            format!("the restored data did not pass validation: {reason}"),
        )));
    }
    let verdict = if unknown > 0 { Verdict::Unknown } else { Verdict::Pass };
    let detail = format!(
        "{} of {all} checks passed; slowest count {:.1} ms",
        all - unknown,
        milliseconds(slowest)
    );
    step.end_after(drill, verdict, detail, took, Some(slowest));
    let sql = "SELECT oid FROM pg_database WHERE datname = current_database()";
    let row = superuser.query_one(sql, &[]).await;
    let row = row.map_err(|source| DrillError::Query {
        what: "cannot read the number of the restored database",
        source,
    })?;
    let identity = Ready {
        system_identifier: cluster.system_identifier()?.to_string(),
        timeline_id: timeline,
        database_oid: row.get(0),
    };
    Ok(Ok(Validated {
        cluster,
        identity,
        served,
        data_loss_window_s,
    }))
}

pub(super) async fn connect(database: &tokio_postgres::Config) -> Result<tokio_postgres::Client, String> {
    let (client, connection) = database
        .connect(tokio_postgres::NoTls)
        .await
        .map_err(|error| chain(&error))?;
    tokio::spawn(connection);
    Ok(client)
}
