//! Step 8: the restored cluster is looked at from every side before anything is switched over to it.
//!
//! The checks themselves are in [`crate::verify`]; independent ones run side by side.

use reports::{
    CheckId, Phase, Step, Verdict, What,
    event::Severity,
    text::{counted, lasting},
};
use tokio_postgres::Client;

use crate::{
    errors::chain,
    ledger::History,
    postgres::{Cluster, Lsn, Shutdown},
    record::check::{Found, timed},
    reference::Truth,
    service::Role as AccountRole,
    service::{Identity, Probe},
    state::Drill,
    verify::{
        self, Knowledge, connect,
        content_fingerprint::Against,
        enforcement, ledger, ledger_prefix, replay, restore_log, row_counts,
        server_start::{self, Diagnosis},
    },
    wal::RecoveryTarget,
};

use super::{
    OpenStep, Restored, Sound, Stop, Validated,
    attempts::{Attempts, Early},
    choose::Choice,
    prepared,
    repair::{promoted, repaired, repairs},
    restart,
    second_look::Position,
};

/// What a look found wrong.
struct Unsound {
    failed: Vec<CheckId>,
    reason: String,
    in_recovery: bool,
    /// What no statement puts right.
    beyond_repair: bool,
    timeline: Option<u32>,
    truth: Option<Truth>,
    /// Where recovery ended, if that is before what the plan had promised.
    ended_early: Option<Lsn>,
}

impl Unsound {
    /// A server that nobody could look into.
    fn not_started(reason: String, timeline: Option<u32>) -> Self {
        Self {
            failed: vec![CheckId::ServerStart],
            reason,
            in_recovery: false,
            beyond_repair: false,
            timeline,
            truth: None,
            ended_early: None,
        }
    }
}

/// Why a restored cluster is not cut over to.
pub(super) enum Unfit {
    /// A check found that something is wrong with it.
    Unsound(CheckId, String),
    /// Its recovery ended before what the plan had promised.
    EndedEarly(Box<Early>),
}

/// Step 8, as the read-only role. What a repair cures is repaired, once, and everything is looked at again as another
/// attempt of the step; what is wrong then sends the operator back to the next candidate.
pub(super) async fn data_validated(
    drill: &mut Drill,
    attempts: &mut Attempts,
    mut restored: Restored,
    choice: &Choice,
) -> Result<Result<Validated, Unfit>, Stop> {
    let mut found = Box::pin(looked_at(drill, attempts.next_look(), &mut restored, choice, None)).await?;
    if let Err(unsound) = &found
        && put_right(drill, &mut restored.cluster, unsound).await?
    {
        let look = attempts.next_look();
        found = Box::pin(looked_at(drill, look, &mut restored, choice, unsound.timeline)).await?;
    }
    Ok(match found {
        Ok(known) => Ok(Validated { restored, known }),
        Err(Unsound {
            ended_early: Some(at), ..
        }) => Err(Unfit::EndedEarly(Box::new(Early::new(choice, at, restored)))),
        Err(unsound) => {
            let _ = restored.cluster.stop(Shutdown::Immediate).await; // it is removed with the drill's directory in any case
            let first = unsound.failed.first().copied().unwrap_or(CheckId::ServerStart);
            let reason = format!("the restored data did not pass validation: {}", unsound.reason);
            Err(Unfit::Unsound(first, reason))
        }
    })
}

/// Whether everything that is wrong could be repaired in place.
async fn put_right(drill: &Drill, cluster: &mut Cluster, unsound: &Unsound) -> Result<bool, Stop> {
    if unsound.in_recovery {
        return Ok(promoted(drill, cluster).await);
    }
    let Some(repairs) = repairs(&unsound.failed).filter(|_| !unsound.beyond_repair) else {
        return Ok(false);
    };
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?;
    let subject = drill.estate.subject(cluster, Phase::Restored, unsound.truth.as_ref());
    Ok(repaired(drill, &subject, &repairs, history.largest_created()).await)
}

/// One look from every side. A server that takes no writes, or nobody in, is not looked at any further. `timeline` is that
/// of a server that was looked at before.
async fn looked_at(
    drill: &mut Drill,
    attempt: u32,
    restored: &mut Restored,
    choice: &Choice,
    timeline: Option<u32>,
) -> Result<Result<Sound, Unsound>, Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::Validate, attempt);
    let Restored { cluster, production } = restored;
    let name = cluster.name().to_owned();
    if timeline.is_none() {
        if let Some(check) = restart::came_back(drill, cluster).await {
            let reason = format!("{}: {}", check.check, check.actual);
            drill.desk.check(check);
            step.end(Verdict::Fail, reason.clone());
            let unsound = Unsound::not_started(reason, timeline);
            return Ok(Err(Unsound {
                beyond_repair: true,
                ..unsound
            }));
        }
        prepared::cleared(drill, cluster, Step::Validate).await;
    }
    let cluster = &*cluster;
    let began = drill.desk.recorder.offset();
    let login = drill.estate.login(cluster, AccountRole::TransformationApp);
    let application = Probe::of(login, drill.estate.site.service.as_ref());
    let (check, diagnosis) = server_start::check(&application, Phase::Restored, &name).await;
    // What a restored cluster cannot answer speaks against it, and not against the drill.
    let (mut superuser, identity) = match usable(drill, cluster, timeline, &diagnosis).await {
        Ok(usable) => usable,
        Err(told) => {
            drill.desk.recorder.external_since("validation queries", began);
            let check = match told {
                Some(error) if check.verdict != Verdict::Fail => {
                    let found = Found::fail(check.expected, error);
                    let check = async { Ok::<_, std::convert::Infallible>(found) };
                    timed(CheckId::ServerStart, Phase::Restored, &name, check).await
                }
                _ => check,
            };
            let reason = format!("{}: {}", check.check, check.actual);
            drill.desk.check(check);
            step.end(Verdict::Fail, reason.clone());
            let unsound = Unsound::not_started(reason, timeline);
            return Ok(Err(Unsound {
                in_recovery: diagnosis == Diagnosis::InRecovery,
                ..unsound
            }));
        }
    };
    let timeline = identity.timeline_id;
    let mut checks = vec![check];
    let (mut ended_early, mut replayed) = (None, None);
    checks.extend(restore_log::check(cluster).await);
    if choice.backup.start_lsn().is_some() {
        let read = replay::Replayed::of(&superuser, choice.backup.info.timeline, timeline).await;
        let planned = replay::Planned {
            target: &choice.target,
            reach: choice.reach,
            complete: choice.backup.stop_lsn(),
            along: choice.timeline,
            from: choice.backup.info.timeline,
        };
        let (check, ended) = replay::check(read.as_ref(), planned, &name).await;
        checks.push(check);
        (ended_early, replayed) = (ended, read.ok());
    }
    let truth = drill.estate.restored_truth(cluster, &superuser, &choice.backup).await;
    let subject = drill.estate.subject(cluster, Phase::Restored, truth.as_ref());
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?;
    let seed = Against::Seed {
        reference: &drill.estate.fingerprint,
        history: &history,
    };
    let known = Knowledge {
        service: drill.estate.site.service.as_ref(),
        seed: Some(seed),
        is_restored: true,
        production: production.as_ref(),
    };
    let planned = verify::plan(&known);
    if attempt == 1 {
        not_checked(drill, &planned);
    }
    let suite = Box::pin(verify::run(&planned, &subject, known));
    let mut slowest = None;
    let mut served = None;
    let mut ledger_compared = None;
    let mut only_sequences_are_behind = false;
    let recovery = of_ledger(drill, choice, replayed.as_ref());
    let writes = drill.estate.site.service.writes();
    match (
        writes,
        connect(&drill.estate.login(cluster, AccountRole::DrillValidator)).await,
    ) {
        (Some(writes), Ok(mut validator)) => {
            let ledger = ledger_prefix::check(&mut validator, &history, writes, recovery, &name);
            let (verdict, suite) = tokio::join!(ledger, suite);
            checks.extend(suite);
            let tables = writes.tables().into_iter().map(|(table, _)| table);
            let counted = row_counts::count(&validator, tables).await;
            slowest = counted.as_ref().ok().map(|(_, slowest)| *slowest);
            if let Some(expected) = verdict.counts.clone() {
                checks.push(row_counts::check(counted.map(|(counts, _)| counts), expected, &name).await);
            }
            let comparison = verdict.comparison.as_ref();
            only_sequences_are_behind = comparison.is_some_and(ledger::Comparison::only_sequences_are_behind);
            if let Some(summary) = verdict.summary() {
                ledger_compared = Some(summary.clone());
                drill.desk.recorder.record(What::LedgerCompared(summary));
            }
            served = verdict.served;
            checks.push(verdict.result);
        }
        (None, Ok(_)) => checks.extend(suite.await),
        (_, Err(error)) => {
            checks.extend(suite.await);
            let reason = format!("cannot connect as drill_validator: {error}");
            checks.push(
                timed(CheckId::LedgerPrefix, Phase::Restored, &name, async {
                    Ok::<_, std::convert::Infallible>(Found::fail("the validator can read the restored data", reason))
                })
                .await,
            );
        }
    }
    let mut beyond_repair = false;
    if checks.iter().all(|check| check.verdict != Verdict::Fail) {
        let check = enforcement::check(&subject).await; // last: whatever is merely switched off is known by now
        beyond_repair = check.as_ref().is_some_and(|check| check.verdict == Verdict::Fail);
        checks.extend(check);
    }
    drill.desk.recorder.external_since("validation queries", began);
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .cloned()
        .collect();
    let unknown = checks.iter().filter(|check| check.verdict == Verdict::Unknown).count();
    let all = checks.len();
    let is_sure = |id: &CheckId| {
        let mut results = checks.iter().filter(|check| check.check == *id).peekable();
        results.peek().is_some() && results.all(|check| check.verdict == Verdict::Pass)
    };
    let passed = CheckId::ALL.iter().copied().filter(is_sure).collect();
    for check in checks {
        drill.desk.check(check);
    }
    let took = step.took();
    if !failed.is_empty() {
        let names: Vec<_> = failed
            .iter()
            .map(|check| format!("{}: {}", check.check, check.actual))
            .collect();
        let reason = names.join("; ");
        step.end_after(Verdict::Fail, reason.clone(), took, slowest);
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
            beyond_repair,
            timeline: Some(timeline),
            truth,
            ended_early,
        }));
    }
    let verdict = if unknown > 0 { Verdict::Unknown } else { Verdict::Pass };
    let detail = format!(
        "{} of {} passed{}",
        all - unknown,
        counted(all, "check"),
        slowest.map_or_else(String::new, |slowest| format!("; slowest count {}", lasting(slowest)))
    );
    step.end_after(verdict, detail, took, slowest);
    Ok(Ok(Sound {
        identity,
        served,
        ledger: ledger_compared,
        truth,
        recovery,
        passed,
        position: Position::read(&mut superuser).await.ok(),
    }))
}

/// Tells what is not checked, where that is anything.
fn not_checked(drill: &Drill, planned: &verify::plan::Plan) {
    let told = planned
        .not_checked
        .iter()
        .map(|(check, why)| format!("{check}, because {why}"));
    let told: Vec<_> = told.collect();
    if !told.is_empty() {
        let text = format!("Not checked: {}.", told.join("; "));
        drill.desk.recorder.finding_of(Severity::Info, text);
    }
}

/// What the ledger's comparison must know of the restore. Of a target that is no LSN only the server knew where it was.
fn of_ledger(drill: &Drill, choice: &Choice, replayed: Option<&replay::Replayed>) -> ledger::Recovery {
    let target = match (&choice.target, replayed.and_then(|replayed| replayed.lsn)) {
        (RecoveryTarget::Lsn(lsn), _) => ledger::Target::Lsn(*lsn),
        (RecoveryTarget::Time(_) | RecoveryTarget::Xid(_), Some(stopped)) => ledger::Target::Lsn(stopped),
        _ => ledger::Target::End,
    };
    ledger::Recovery {
        target,
        reached: replayed.and_then(|replayed| replayed.along(drill.estate.timeline)),
        backup: choice.backup.stop_lsn(),
        failed_ns: crate::record::nanoseconds(drill.incident.failed_offset()),
    }
}

/// What only a server that can be used tells: a connection as superuser, and which database it is. The error is `None` where
/// it answers and is still in recovery.
async fn usable(
    drill: &Drill,
    cluster: &Cluster,
    timeline: Option<u32>,
    diagnosis: &Diagnosis,
) -> Result<(Client, Identity), Option<String>> {
    if *diagnosis == Diagnosis::InRecovery {
        return Err(None);
    }
    let superuser = cluster
        .verifying("postgres", drill.estate.site.service.database())
        .await;
    let superuser = superuser.map_err(|error| Some(chain(&error)))?;
    let timeline_id = match timeline {
        Some(timeline) => timeline,
        None => drill
            .estate
            .cluster_started(cluster.name(), cluster)
            .await
            .map_err(|error| Some(chain(&error)))?,
    };
    let sql = "SELECT oid, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
                 FROM pg_database WHERE datname = current_database()";
    let row = superuser.query_one(sql, &[]).await;
    let (database_oid, postmaster_started_us) = row
        .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .map_err(|error| Some(chain(&error)))?;
    let system_identifier = cluster.system_identifier();
    let system_identifier = system_identifier.map_err(|error| Some(chain(&error)))?.to_string();
    let identity = Identity {
        system_identifier,
        timeline_id,
        database_oid,
        postmaster_started_us,
    };
    Ok((superuser, identity))
}
