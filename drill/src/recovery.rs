//! The fourteen steps of SEQ-RF-002, from the alert to *service restored*, in their order.
//!
//! [`recover`] reads like the runbook. Steps 3 to 8 are gone through again with the next candidate when a backup turns
//! out to be unusable; step 9 is the one commit point: it takes only a [`Validated`] cluster, and what comes after it is
//! undone when a later step fails. What the steps do in detail is in `backup`, `verify`, `cutover`, `monitor` and `notify`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use fixtures::Role as DatabaseRole;
use reports::{
    CheckId, CheckResult, Outcome, Phase, Role, Step, Verdict, What,
    event::{AlertRoute, JobStatus, Part, PlanInfo},
};

use crate::{
    backup::{
        self, Backup, Progress, RecoveryTarget, RestoreRequest, catalogue,
        job::{RestoreJob, Seen},
        pause::Pause,
        planner::{self, Candidate, Standing},
    },
    postgres::{Cluster, Lsn, Shutdown},
    record::milliseconds,
    run::{Drill, DrillError, inject},
    scenario::Moment,
    verify::{
        self, Found, Subject, chain, ledger, ledger_prefix, replay, row_counts, server_start, server_start::Diagnosis,
        smoke, suite, timed, wal_continuity,
    },
    workload::ledger::History,
};

mod confirm;

use confirm::{confirmed_unrecoverable, fence};

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    pub reason: String,
}

/// Why the straight line was left.
#[derive(Debug)]
pub enum Stop {
    /// The drill is over: a finding about the service, not about the harness.
    Ended(Ending),
    /// The harness itself cannot go on.
    Harness(DrillError),
}

impl<E: Into<DrillError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Harness(error.into())
    }
}

fn ended(outcome: Outcome, reason: impl Into<String>) -> Stop {
    Stop::Ended(Ending {
        outcome,
        reason: reason.into(),
    })
}

/// A restored cluster that passed validation: the only thing that can be cut over to.
pub struct Validated {
    cluster: Cluster,
    timeline: u32,
    served: Option<smoke::Expected>,
    data_loss_window_s: Option<f64>,
}

/// Carries the recovery out. Everything it did is in the events; the return value is how it ended.
///
/// # Errors
/// [`Stop::Harness`] if the harness could not go on; every way in which a *recovery* can fail is an [`Ending`].
pub async fn recover(drill: &mut Drill) -> Result<Ending, DrillError> {
    match runbook(drill).await {
        Ok(ending) | Err(Stop::Ended(ending)) => Ok(ending),
        Err(Stop::Harness(error)) => Err(error),
    }
}

async fn runbook(drill: &mut Drill) -> Result<Ending, Stop> {
    drill.recorder.part(Part::Detection);
    alert_received(drill).await?; // 1
    drill.recorder.part(Part::Decision);
    confirmed_unrecoverable(drill).await?; // 2
    let mut standings = BTreeMap::new();
    let mut attempt = 0;
    let mut validated = loop {
        attempt += 1;
        drill.recorder.part(Part::Decision);
        let backups = backups_listed(drill, attempt).await?; // 3
        let choice = backup_chosen(drill, attempt, backups, &mut standings).await?; // 4
        drill.recorder.part(Part::Restore);
        inject(drill, Moment::Restore, None).await?;
        let job = restore_started(drill, attempt, &choice)?; // 5
        let mut restored = match data_restored(drill, attempt, job).await? {
            Ok(restored) => restored, // 6, 7
            Err(reason) => {
                reject(&mut standings, &choice, None, reason);
                continue;
            }
        };
        inject(drill, Moment::Restored, Some(&mut restored)).await?;
        drill.recorder.part(Part::Validation);
        match data_validated(drill, attempt, restored, &choice).await? {
            Ok(validated) => break validated, // 8
            Err((check, reason)) => reject(&mut standings, &choice, Some(check), reason),
        }
    };
    drill.recorder.part(Part::Cutover);
    inject(drill, Moment::Cutover, Some(&mut validated.cluster)).await?;
    let before = match connection_updated(drill, &validated).await {
        Ok(before) => before, // 9
        Err(stop) => return Err(cutover_failed(drill, validated, None, stop).await),
    };
    if let Err(stop) = application_back(drill, &validated).await {
        return Err(cutover_failed(drill, validated, Some(&before), stop).await);
    } // 10 to 13
    let ending = declared_restored(drill, validated).await?; // 14
    afterwards(drill, ending).await
}

/// A step that has begun. It is over when it passes or fails.
struct OpenStep {
    step: Step,
    attempt: u32,
    began: Instant,
}

impl OpenStep {
    fn begin(drill: &Drill, step: Step, attempt: u32) -> Self {
        drill.recorder.record(What::StepStarted { step, attempt });
        Self {
            step,
            attempt,
            began: Instant::now(),
        }
    }

    fn end(self, drill: &Drill, verdict: Verdict, detail: impl Into<String>) {
        let took = self.began.elapsed();
        self.end_after(drill, verdict, detail, took, None);
    }

    fn end_after(
        self,
        drill: &Drill,
        verdict: Verdict,
        detail: impl Into<String>,
        took: Duration,
        against_budget: Option<Duration>,
    ) {
        drill.recorder.record(What::StepFinished {
            step: self.step,
            attempt: self.attempt,
            role: self.step.role(),
            verdict,
            duration_ms: milliseconds(took),
            against_budget_ms: against_budget.map(milliseconds),
            detail: detail.into(),
        });
    }
}

/// Step 1. An alert that never comes is a finding; then the operator's own probe starts the recovery.
async fn alert_received(drill: &mut Drill) -> Result<(), Stop> {
    let step = OpenStep::begin(drill, Step::Alert, 1);
    let budget = Duration::from_millis(Step::Alert.budget_ms().unwrap_or(60_000)).min(drill.options.alert_patience);
    let began = drill.recorder.offset();
    let alert = tokio::time::timeout(budget, drill.alerts.next()).await.ok().flatten();
    drill.recorder.external_since("wait for the alert", began);
    let arrived = alert.is_some();
    let check = timed(CheckId::AlertDelivered, Phase::Source, "", async {
        let actual = match &alert {
            Some(alert) => format!("{} ({}): {}", alert.name, alert.severity, alert.summary),
            None => format!("no alert within {budget:?}"),
        };
        Ok::<_, std::convert::Infallible>(Found::judge(arrived, "a firing DB_UNAVAILABLE by webhook", actual))
    });
    drill.check(check.await);
    let via = if arrived {
        AlertRoute::Webhook
    } else {
        AlertRoute::OperatorProbe
    };
    let (name, severity, detail) = if let Some(alert) = alert {
        (alert.name, alert.severity, alert.summary)
    } else {
        let diagnosis = server_start::diagnose(&drill.as_application()).await;
        drill
            .recorder
            .finding("No alert arrived: the operator's own probe started the recovery.");
        (
            String::new(),
            String::new(),
            format!("no alert; the operator's probe: {diagnosis}"),
        )
    };
    drill.recorder.record(What::AlertReceived {
        via,
        alert: name,
        severity,
    });
    let since_failure = drill.recorder.offset().saturating_sub(drill.failed_offset());
    step.end_after(drill, Verdict::from_holds(arrived), detail, since_failure, None);
    Ok(())
}

/// Step 3, as RecoveryOperator.
async fn backups_listed(drill: &mut Drill, attempt: u32) -> Result<Vec<Backup>, Stop> {
    const TRIES: u32 = 3;
    let step = OpenStep::begin(drill, Step::ListBackups, attempt);
    if let Err(reason) = drill.operator.authorise(Role::RecoveryOperator) {
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::Refused, reason));
    }
    let mut tried = 1;
    let listing = loop {
        match catalogue::list(&drill.site.repository) {
            Ok(listing) => break listing,
            Err(error) if tried == TRIES => {
                let reason = format!(
                    "the backup catalogue is unavailable after {TRIES} tries: {}",
                    chain(&error)
                );
                step.end(drill, Verdict::Fail, reason.clone());
                return Err(ended(Outcome::NotRecovered, reason));
            }
            Err(_) => {
                tried += 1;
                tokio::time::sleep(Duration::from_millis(100)).await; // back-off of a bounded retry
            }
        }
    };
    if attempt == 1 {
        for (id, reason) in &listing.unfinished {
            let check = timed(CheckId::ArtifactReadable, Phase::Backup, id, async {
                Ok::<_, std::convert::Infallible>(Found::fail("a finished backup", reason.clone()))
            });
            drill.check(check.await);
            drill.recorder.record(What::CandidateRejected {
                backup_id: id.clone(),
                check: Some(CheckId::ArtifactReadable),
                reason: format!("not a finished backup: {reason}"),
                unusable: true,
            });
        }
    }
    let list: Vec<_> = listing.backups.iter().map(|backup| backup.info.id.as_str()).collect();
    step.end(
        drill,
        Verdict::Pass,
        format!("{} backups: {}", list.len(), list.join(", ")),
    );
    Ok(listing.backups)
}

/// What step 4 decided.
struct Choice {
    backup: Backup,
    target: RecoveryTarget,
    reach: Option<Lsn>,
}

/// Step 4. Looks at each candidate's WAL, chooses, verifies the chosen one, and chooses again if it is unsound.
async fn backup_chosen(
    drill: &mut Drill,
    attempt: u32,
    backups: Vec<Backup>,
    standings: &mut BTreeMap<String, Standing>,
) -> Result<Choice, Stop> {
    let step = OpenStep::begin(drill, Step::ChooseBackup, attempt);
    let target = drill.recovery_target();
    let mut candidates = Vec::new();
    for backup in backups {
        candidates.push(candidate(drill, backup, &target, standings, attempt).await);
    }
    let failed_at = drill.failed_utc();
    let rpo = chrono::Duration::from_std(drill.objectives.rpo).unwrap_or(chrono::Duration::MAX);
    loop {
        let Some(plan) = planner::choose(&candidates, failed_at, rpo) else {
            for candidate in &candidates {
                record_rejection(drill, candidate);
            }
            let reason = "no backup can be used";
            step.end(drill, Verdict::Fail, reason);
            return Err(ended(
                Outcome::NotRecovered,
                format!("{reason}: {}", why_none(&candidates)),
            ));
        };
        let chosen = plan.chosen;
        if candidates[chosen].standing == Standing::Unverified {
            let standing = verify_candidate(drill, &candidates[chosen].backup).await?;
            standings.insert(candidates[chosen].backup.info.id.clone(), standing.clone());
            candidates[chosen].standing = standing;
            continue;
        }
        for rejection in plan.rejected {
            drill.reject(rejection);
        }
        let best = candidates.swap_remove(chosen);
        drill.check(artifact_age(drill, &best, plan.age).await);
        drill.recorder.record(What::PlanChosen(PlanInfo {
            backup: best.backup.info.clone(),
            target: target.to_string(),
            provable_lsn: best.reach.map(|lsn| lsn.to_string()),
            provable_age_ms: plan.age.and_then(|age| u64::try_from(age.num_milliseconds()).ok()),
            within_rpo: plan.within_rpo,
        }));
        let miss = if plan.within_rpo {
            ""
        } else {
            "; nothing newer is usable, so the RPO will be missed"
        };
        let detail = format!("{} to the {target}{miss}", best.backup.info.id);
        if !drill.operator.decides(&format!("Restore {detail}?")).await {
            step.end(drill, Verdict::Fail, "the operator did not confirm");
            return Err(ended(Outcome::Refused, "the operator did not confirm the plan"));
        }
        step.end(drill, Verdict::Pass, detail);
        return Ok(Choice {
            backup: best.backup,
            target,
            reach: best.reach,
        });
    }
}

/// What can be said of a backup without reading it.
async fn candidate(
    drill: &mut Drill,
    backup: Backup,
    target: &RecoveryTarget,
    standings: &BTreeMap<String, Standing>,
    attempt: u32,
) -> Candidate {
    let id = backup.info.id.clone();
    let (mut reach, mut reach_at) = (backup.stop_lsn(), Some(backup.info.taken_at_utc));
    let mut standing = standings.get(&id).cloned().unwrap_or(Standing::Unverified);
    let unusable = |check, reason: &str| Standing::Unusable {
        check,
        reason: reason.to_owned(),
    };
    if backup.info.system_identifier != drill.source.recorded_identifier().to_string() {
        standing = unusable(None, "it is a backup of another cluster (system identifier)");
    }
    if let Some((check, wal)) = wal_continuity::check(&drill.site, &backup).await {
        if attempt == 1 {
            drill.check(check);
        }
        reach = reach.max(wal.end);
        reach_at = wal.last_commit.map(|(_, at)| at).or(reach_at);
    }
    let point_in_time =
        backup::system(&backup.info.method, &drill.site).is_some_and(|s| s.capabilities().point_in_time);
    if *target != RecoveryTarget::End && !point_in_time {
        standing = unusable(None, "it cannot recover to a point in time");
    }
    if let RecoveryTarget::Lsn(lsn) = target {
        if backup.stop_lsn().is_some_and(|stop| stop > *lsn) {
            standing = unusable(None, "it was taken after the recovery target");
        }
        reach = reach.map(|reach| reach.min(*lsn));
        reach_at = None; // the target decides, not the WAL's end
    }
    Candidate {
        backup,
        standing,
        reach,
        reach_at,
    }
}

async fn verify_candidate(drill: &mut Drill, backup: &Backup) -> Result<Standing, Stop> {
    let Some(system) = backup::system(&backup.info.method, &drill.site) else {
        return Ok(Standing::Unusable {
            check: None,
            reason: format!("no system restores {:?}", backup.info.method),
        });
    };
    let mut standing = Standing::Sound;
    for check in system.verify(backup).await {
        if check.verdict == Verdict::Fail {
            standing = Standing::Unusable {
                check: Some(check.check),
                reason: check.actual.clone(),
            };
        }
        drill.check(check);
    }
    Ok(standing)
}

/// `artifact-age`: how old the point is that the plan can prove.
async fn artifact_age(drill: &Drill, best: &Candidate, age: Option<chrono::Duration>) -> CheckResult {
    let rpo = drill.objectives.rpo;
    timed(CheckId::ArtifactAge, Phase::Backup, &best.backup.info.id, async {
        let expected = format!(
            "a provable point at most {} before the failure",
            humantime::format_duration(rpo)
        );
        Ok::<_, std::convert::Infallible>(match age.and_then(|age| age.to_std().ok()) {
            Some(age) => Found::judge(age <= rpo, expected, format!("{:.3} s before", age.as_secs_f64())),
            None => Found::pass(
                expected,
                format!("the chosen target; the backup is of {}", best.backup.info.taken_at_utc),
            ),
        })
    })
    .await
}

fn record_rejection(drill: &mut Drill, candidate: &Candidate) {
    if let Standing::Unusable { check, reason } = &candidate.standing {
        drill.reject(planner::Rejection {
            backup_id: candidate.backup.info.id.clone(),
            check: *check,
            reason: reason.clone(),
            unusable: true,
        });
    }
}

fn why_none(candidates: &[Candidate]) -> String {
    let reasons: Vec<String> = candidates
        .iter()
        .filter_map(|candidate| match &candidate.standing {
            Standing::Unusable { reason, .. } => Some(format!("{}: {reason}", candidate.backup.info.id)),
            _ => None,
        })
        .collect();
    if reasons.is_empty() {
        "the catalogue is empty".into()
    } else {
        reasons.join("; ")
    }
}

/// The chosen candidate turned out to be unusable: back to step 3 with the next.
fn reject(standings: &mut BTreeMap<String, Standing>, choice: &Choice, check: Option<CheckId>, reason: String) {
    standings.insert(choice.backup.info.id.clone(), Standing::Unusable { check, reason });
}

/// Step 5, as RecoveryOperator: refused before anything is touched, or a job id at once.
fn restore_started(drill: &mut Drill, attempt: u32, choice: &Choice) -> Result<RestoreJob, Stop> {
    let step = OpenStep::begin(drill, Step::StartRestore, attempt);
    if let Err(reason) = drill.operator.authorise(Role::RecoveryOperator) {
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::Refused, reason));
    }
    let Some(system) = backup::system(&choice.backup.info.method, &drill.site) else {
        let reason = format!("no system restores {:?}", choice.backup.info.method);
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::Refused, reason));
    };
    let request = RestoreRequest {
        backup: choice.backup.clone(),
        cluster: format!("restored-{attempt}"),
        target: choice.target.clone(),
        progress: Progress::default(),
        pause: Pause::default(), // the job has the other end of it
    };
    let id = format!("restore-{attempt}");
    let job = RestoreJob::start(id.clone(), system, request, drill.inbox.url());
    drill.recorder.job(&id, JobStatus::Accepted, "", 0);
    step.end(drill, Verdict::Pass, format!("job {id}"));
    Ok(job)
}

/// Steps 6 and 7: waits for the job, and for its notification; polls where that does not come.
async fn data_restored(drill: &mut Drill, attempt: u32, mut job: RestoreJob) -> Result<Result<Cluster, String>, Stop> {
    const POLL: Duration = Duration::from_millis(200);
    let step = OpenStep::begin(drill, Step::RestoreData, attempt);
    let id = job.id.clone();
    let mut reported = JobStatus::Accepted;
    let status = loop {
        let status = match tokio::time::timeout(POLL, job.next()).await {
            Ok(Seen::Over(status)) => status,
            Ok(Seen::Paused(mut paused)) => {
                inject(drill, Moment::Restore, Some(&mut paused.cluster)).await?;
                paused.resume();
                job.status()
            }
            Err(_) => job.status(),
        };
        let is_over = matches!(status, JobStatus::Completed | JobStatus::Failed);
        if status != reported && !is_over {
            drill.recorder.job(&id, status, "", job.bytes());
            reported = status;
        }
        if is_over {
            break status;
        }
    };
    let bytes = job.bytes();
    let completed = Instant::now();
    let notify = |drill: &Drill| OpenStep::begin(drill, Step::Notify, attempt);
    if status == JobStatus::Completed {
        drill.recorder.job(&id, status, "", bytes);
        step.end(
            drill,
            Verdict::Pass,
            format!("{bytes} bytes restored into a new cluster"),
        );
        let step = notify(drill);
        let Some(outcome) = job.outcome().await else {
            return Err(DrillError::JobDied { id }.into());
        };
        let arrived = match &outcome.notified {
            Ok(()) => drill.inbox.wait_for(&id, Duration::from_mins(1)).await,
            Err(_) => None,
        };
        let detail = match (&arrived, &outcome.notified) {
            (Some(notification), _) => {
                format!(
                    "{{{}, completed, {:.3} s}} arrived",
                    notification.job_id, notification.duration_s
                )
            }
            (None, Err(error)) => format!("{error}; the job was polled instead: completed"),
            (None, Ok(())) => "accepted by the receiver and never seen; the job was polled instead: completed".into(),
        };
        let delivered = arrived.is_some();
        let check = timed(CheckId::NotificationDelivered, Phase::Restored, &id, async {
            Ok::<_, std::convert::Infallible>(Found::judge(
                delivered,
                "{job_id, status, duration} by webhook",
                &detail,
            ))
        });
        drill.check(check.await);
        if !delivered {
            drill
                .recorder
                .finding("The completion of the restore was not notified; the job was polled.");
        }
        step.end_after(drill, Verdict::from_holds(delivered), detail, completed.elapsed(), None);
        let cluster = outcome.result.map_err(DrillError::from)?;
        return Ok(Ok(cluster));
    }
    let reason = match job.outcome().await {
        Some(outcome) => outcome.result.err().map_or_else(String::new, |error| chain(&error)),
        None => "the job died".to_owned(),
    };
    drill.recorder.job(&id, JobStatus::Failed, &reason, bytes);
    step.end(drill, Verdict::Fail, reason.clone());
    Ok(Err(reason))
}

/// Step 8, as the read-only role. A mismatch sends the operator back to the next candidate.
async fn data_validated(
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
    let history = History::read(&drill.ledger, &drill.ledger_header)?;
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
    Ok(Ok(Validated {
        cluster,
        timeline,
        served,
        data_loss_window_s,
    }))
}

async fn connect(database: &tokio_postgres::Config) -> Result<tokio_postgres::Client, String> {
    let (client, connection) = database
        .connect(tokio_postgres::NoTls)
        .await
        .map_err(|error| chain(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Step 9, as AppAdmin: the commit point. Returns the connection string that was there before.
async fn connection_updated(drill: &mut Drill, validated: &Validated) -> Result<String, Stop> {
    let step = OpenStep::begin(drill, Step::UpdateConnection, 1);
    if let Err(reason) = drill.operator.authorise(Role::AppAdmin) {
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::Refused, reason));
    }
    if !drill
        .operator
        .decides("The restored data is valid. Switch the application over to it?")
        .await
    {
        step.end(drill, Verdict::Fail, "the operator did not confirm");
        return Err(ended(Outcome::Refused, "the operator did not confirm the cutover"));
    }
    fence(drill).await; // proven again right before the commit point
    let connection = drill.connection_string(&validated.cluster);
    match drill.store.replace_connection(&connection.to_npgsql()) {
        Ok(before) => {
            step.end(
                drill,
                Verdict::Pass,
                "ConnectionStrings:DefaultConnection points to the restored cluster",
            );
            Ok(before)
        }
        Err(error) => {
            let reason = format!("the connection string could not be updated: {}", chain(&error));
            step.end(drill, Verdict::Fail, reason.clone());
            Err(ended(Outcome::NotRecovered, reason))
        }
    }
}

/// Steps 10 to 13. On failure the caller rolls back.
async fn application_back(drill: &mut Drill, validated: &Validated) -> Result<(), Stop> {
    let step = OpenStep::begin(drill, Step::RestartApplication, 1);
    if let Err(reason) = drill.operator.authorise(Role::AppAdmin) {
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::Refused, reason));
    }
    let patience = Duration::from_millis(Step::RestartApplication.budget_ms().unwrap_or(60_000));
    let began = drill.recorder.offset();
    drill.application.stop().await;
    let mut started = drill.application.start(patience).await;
    let mut tries = "at the first try";
    if let Err(error) = &started {
        drill.recorder.finding(format!(
            "The application did not start at the first try ({}); tried again.",
            chain(error)
        ));
        started = drill.application.start(patience).await;
        tries = "at the second try";
    }
    drill.recorder.external_since("restart the application", began);
    if let Err(error) = started {
        let reason = format!(
            "the application does not start, manual intervention is needed: {}",
            chain(&error)
        );
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::NotRecovered, reason));
    }
    step.end(drill, Verdict::Pass, format!("a new process listens, {tries}"));

    let step = OpenStep::begin(drill, Step::Connect, 1);
    let superuser = validated.cluster.connect("postgres", fixtures::DATABASE).await?;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND datname = $2";
    let connected = superuser
        .query_one(sql, &[&DatabaseRole::TransformationApp.name(), &fixtures::DATABASE])
        .await;
    let connections: i64 = connected
        .map_err(|source| DrillError::Query {
            what: "cannot read pg_stat_activity",
            source,
        })?
        .get(0);
    if connections == 0 {
        let reason = "the application has no connection to the restored database";
        step.end(drill, Verdict::Fail, reason);
        return Err(ended(Outcome::NotRecovered, reason));
    }
    step.end(
        drill,
        Verdict::Pass,
        format!("{connections} connections of transformation_app on the restored cluster"),
    );

    let step = OpenStep::begin(drill, Step::Readiness, 1);
    let began = drill.recorder.offset();
    let ready = drill
        .application
        .ready(Duration::from_millis(Step::Readiness.budget_ms().unwrap_or(5_000)))
        .await;
    drill.recorder.external_since("wait for readiness", began);
    let ready = match ready {
        Ok(ready) => ready,
        Err(error) => {
            let reason = format!("the application does not become ready: {}", chain(&error));
            step.end(drill, Verdict::Fail, reason.clone());
            return Err(ended(Outcome::NotRecovered, reason));
        }
    };
    let restored = validated.cluster.system_identifier()?.to_string();
    let check = smoke::identity(&ready, &restored, validated.timeline).await;
    let (verdict, actual) = (check.verdict, check.actual.clone());
    drill.check(check);
    step.end(drill, verdict, format!("ready, connected to {actual}"));
    if verdict == Verdict::Fail {
        return Err(ended(
            Outcome::NotRecovered,
            format!("the application is connected to another database: {actual}"),
        ));
    }

    let step = OpenStep::begin(drill, Step::SmokeTest, 1);
    let began = drill.recorder.offset();
    let (check, took) = smoke::smoke(
        &drill.application,
        &drill.admin_token,
        validated.served.as_ref(),
        Phase::Cutover,
    )
    .await;
    drill.recorder.external_since("smoke test", began);
    let (verdict, actual) = (check.verdict, check.actual.clone());
    drill.check(check);
    step.end_after(drill, verdict, actual.clone(), took, None);
    if verdict == Verdict::Pass {
        return Ok(());
    }
    Err(ended(Outcome::NotRecovered, format!("the smoke test failed: {actual}")))
}

/// A cutover that failed is undone; the restored cluster stays for whoever looks into it.
async fn cutover_failed(drill: &mut Drill, validated: Validated, before: Option<&str>, stop: Stop) -> Stop {
    if matches!(&stop, Stop::Ended(ending) if ending.outcome == Outcome::NotRecovered) {
        roll_back(drill, before).await;
    }
    drill.restored = Some(validated.cluster);
    stop
}

/// Undoes step 9 and stops the application: no traffic to a service that is not what it should be. `before` is the
/// connection string to go back to; without one it was never changed, and that is proven.
async fn roll_back(drill: &mut Drill, before: Option<&str>) {
    drill.application.stop().await;
    drill.undone("application", Ok::<_, DrillError>("stopped: no traffic"));
    if let Some(before) = before {
        let undone = drill.store.replace_connection(before);
        drill.undone(
            "connection string",
            undone.map(|_| "the value before is in place again"),
        );
        return;
    }
    let original = drill.connection_string(&drill.source).to_npgsql();
    let (verdict, detail) = match drill.store.connection() {
        Ok(now) if now == original => (Verdict::Pass, "it was not changed".to_owned()),
        Ok(_) => (Verdict::Fail, "it is not what it was before".to_owned()),
        Err(error) => (Verdict::Fail, chain(&error)),
    };
    drill.recorder.record(What::Undone {
        what: "connection string".to_owned(),
        verdict,
        detail,
    });
}

/// Step 14.
async fn declared_restored(drill: &mut Drill, validated: Validated) -> Result<Ending, Stop> {
    let step = OpenStep::begin(drill, Step::Declare, 1);
    if !drill.operator.decides("Declare the service restored?").await {
        step.end(
            drill,
            Verdict::Fail,
            "the operator did not declare the service restored",
        );
        drill.restored = Some(validated.cluster);
        return Err(ended(
            Outcome::NotRecovered,
            "the operator did not declare the service restored",
        ));
    }
    drill.recorder.record(What::Restored);
    let recovery = drill.recorder.offset().saturating_sub(drill.failed_offset());
    let rto_met = recovery <= drill.objectives.rto;
    let rpo_met = validated
        .data_loss_window_s
        .is_some_and(|window| window <= drill.objectives.rpo.as_secs_f64());
    let restored_at: DateTime<Utc> = Utc::now();
    let met = if rto_met { "met" } else { "missed" };
    let detail = format!(
        "from {} to {}: RTO of {} {met}",
        drill.failed_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        restored_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        humantime::format_duration(drill.objectives.rto),
    );
    step.end_after(drill, Verdict::Pass, detail, recovery, None);
    drill.restored = Some(validated.cluster);
    Ok(Ending {
        outcome: Outcome::restored(rpo_met, rto_met),
        reason: String::new(),
    })
}

/// What may still happen to a service that is restored: the failed primary comes back, the new one fails. Looked at
/// where a scenario lets something happen then.
async fn afterwards(drill: &mut Drill, ending: Ending) -> Result<Ending, Stop> {
    if !drill
        .scenario
        .faults
        .iter()
        .any(|fault| fault.at == Moment::AfterCutover)
    {
        return Ok(ending);
    }
    let mut restored = drill.restored.take();
    let injected = inject(drill, Moment::AfterCutover, restored.as_mut()).await;
    drill.restored = restored;
    injected?;
    let diagnosis = server_start::diagnose(&drill.as_application()).await;
    let gone = matches!(diagnosis, Diagnosis::Unreachable(_));
    let check = timed(CheckId::OldPrimaryFenced, Phase::AfterCutover, "source", async {
        let expected = "no connection with the connection string that applications had";
        Ok::<_, std::convert::Infallible>(Found::judge(gone, expected, diagnosis.to_string()))
    });
    drill.check(check.await);
    if !gone {
        drill
            .recorder
            .finding("The failed primary came back after the cutover; it was fenced again.");
        fence(drill).await;
    }
    let (check, _) = smoke::smoke(&drill.application, &drill.admin_token, None, Phase::AfterCutover).await;
    let lost = (check.verdict == Verdict::Fail)
        .then(|| format!("after the cutover the service failed again: {}", check.actual));
    drill.check(check);
    Ok(lost.map_or(ending, |reason| Ending {
        outcome: Outcome::NotRecovered,
        reason,
    }))
}
