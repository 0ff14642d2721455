//! Steps 5 to 7: a restore job is started, waited for, and its completion notified, or polled where that does not come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reports::{CheckId, Outcome, Phase, Role, Step, Verdict, event::JobStatus, text};

use crate::{
    backup::{BackupError, Progress, RestoreRequest, pause::Pause, target},
    errors::chain,
    postgres::Cause,
    record::check::{Found, timed},
    recovery::job::{RestoreJob, Seen},
    scenario::{Destination, Moment},
    state::{Drill, DrillError, SmallDisk, inject},
    verify::isolation::Production,
    wal::RecoveryTarget,
};

use super::{OpenStep, Restored, Stop, attempts::Attempts, choose::Choice};

/// A restore that failed.
pub(super) struct Failure {
    /// Why, for people.
    pub(super) reason: String,
    remedy: Remedy,
}

/// What a restore that failed calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// It was killed; nothing says that it would not succeed if it were left alone.
    Again,
    /// There was no room for it: a larger target.
    MoreRoom,
    /// The WAL ends before the recovery target: everything that there is comes before it.
    ToTheEnd,
    /// The backup cannot be restored.
    AnotherCandidate,
}

/// Step 5, as RecoveryOperator: refused before anything is touched, or a job id at once.
pub(super) fn restore_started(drill: &mut Drill, attempt: u32, choice: &Choice) -> Result<RestoreJob, Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::StartRestore, attempt);
    if let Err(reason) = drill.desk.operator.authorise(Role::RecoveryOperator) {
        return Err(step.fail(Outcome::Refused, reason));
    }
    let cluster = match drill.desk.scenario.recovery.into {
        Destination::New => format!("restored-{attempt}"),
        Destination::FailedCluster => drill.estate.source.name().to_owned(),
    };
    let free = match drill.desk.scenario.recovery.into {
        Destination::FailedCluster if drill.estate.source.is_running() => Err(BackupError::TargetRuns {
            path: drill.estate.source.data_directory().to_owned(),
        }),
        _ => target::free(&drill.estate.site, &cluster),
    };
    if let Err(error) = free {
        let reason = chain(&error);
        return Err(step.fail(Outcome::Refused, reason));
    }
    small_target(drill, attempt, &cluster)?;
    let Some(system) = drill.estate.systems.named(&choice.backup.info.method).cloned() else {
        let reason = format!("no system restores {:?}", choice.backup.info.method);
        return Err(step.fail(Outcome::Refused, reason));
    };
    let request = RestoreRequest {
        backup: choice.backup.clone(),
        cluster,
        target: choice.target.clone(),
        timeline: choice.timeline.filter(|_| choice.explicit),
        instead: choice.instead.clone(),
        progress: Progress::default(),
        pause: Pause::default(), // the job has the other end of it
    };
    let id = format!("restore-{attempt}");
    let job = RestoreJob::start(
        id.clone(),
        drill.estate.site.clone(),
        system,
        request,
        Arc::clone(&drill.estate.channel),
        archive_recorded(drill),
    );
    drill.desk.recorder.job(&id, JobStatus::Accepted, "", 0);
    step.end(Verdict::Pass, format!("job {id}"));
    Ok(job)
}

/// What is in production's archive before a restored cluster runs: what is new later, it archived.
fn archive_recorded(drill: &Drill) -> Option<Production> {
    let archive = drill.estate.site.wal.archive.as_deref();
    let recorded = archive.map(|archive| Production::record(archive, drill.estate.timeline));
    recorded?
        .inspect_err(|error| {
            let text = "What production's archive held before the restore is not known";
            drill.desk.recorder.finding(format!("{text}: {error}."));
        })
        .ok()
}

/// The scenario may give the first restore a filesystem that is too small for it; the next gets what there is.
fn small_target(drill: &mut Drill, attempt: u32, cluster: &str) -> Result<(), DrillError> {
    drill.estate.target_disk = None;
    if let (1, Some(bytes)) = (attempt, drill.desk.scenario.given.restore_bytes) {
        drill.estate.target_disk = Some(SmallDisk::of_cluster(&drill.estate.site.work, cluster, bytes)?);
    }
    Ok(())
}

/// Steps 6 and 7: waits for the job, and for its notification; polls where that does not come.
pub(super) async fn data_restored(
    drill: &mut Drill,
    attempt: u32,
    mut job: RestoreJob,
) -> Result<Result<Restored, Failure>, Stop> {
    const POLL: Duration = Duration::from_millis(200);
    let step = OpenStep::begin(&drill.desk.recorder, Step::RestoreData, attempt);
    let id = job.id.clone();
    let mut reported = JobStatus::Accepted;
    let status = loop {
        let status = match tokio::time::timeout(POLL, job.next()).await {
            Ok(Seen::Over(status)) => status,
            Ok(Seen::Paused(mut paused)) => {
                inject(drill, Moment::Restore, Some(&mut paused.cluster)).await?;
                job.production = archive_recorded(drill); // what happened to it until now, the restored cluster did not do
                paused.resume();
                job.status()
            }
            Err(_) => job.status(),
        };
        let is_over = matches!(status, JobStatus::Completed | JobStatus::Failed);
        if status != reported && !is_over {
            drill.desk.recorder.job(&id, status, "", job.bytes());
            reported = status;
        }
        if is_over {
            break status;
        }
    };
    let bytes = job.bytes();
    drill.estate.look_at_repository().await;
    let completed = Instant::now();
    let notify = |drill: &Drill| OpenStep::begin(&drill.desk.recorder, Step::Notify, attempt);
    if status == JobStatus::Completed {
        drill.desk.recorder.job(&id, status, "", bytes);
        step.end(
            Verdict::Pass,
            format!("{} restored into a new cluster", text::bytes(bytes)),
        );
        let step = notify(drill);
        let production = job.production.take();
        let Some(outcome) = job.outcome().await else {
            return Err(DrillError::JobDied { id }.into());
        };
        let arrived = match &outcome.notified {
            Ok(()) => drill.estate.inbox.wait_for(&id, Duration::from_mins(1)).await,
            Err(_) => None,
        };
        let detail = match (&arrived, &outcome.notified) {
            (Some(notification), _) => {
                format!(
                    "{{{}, completed, {}}} arrived",
                    notification.job_id,
                    text::seconds(notification.duration_s)
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
        drill.desk.check(check.await);
        if !delivered {
            drill
                .desk
                .recorder
                .finding("The completion of the restore was not notified; the job was polled.");
        }
        step.end_after(Verdict::from_holds(delivered), detail, completed.elapsed(), None);
        let cluster = outcome.result.map_err(DrillError::from)?;
        return Ok(Ok(Restored { cluster, production }));
    }
    let Some(error) = job.outcome().await.and_then(|outcome| outcome.result.err()) else {
        return Err(DrillError::JobDied { id }.into());
    };
    let reason = chain(&error);
    if matches!(error, BackupError::Start(_)) {
        let found = Found::fail("the restored server starts", &reason);
        let check = async { Ok::<_, std::convert::Infallible>(found) };
        drill.desk.check(
            timed(
                CheckId::ServerStart,
                Phase::Restored,
                &format!("restored-{attempt}"),
                check,
            )
            .await,
        );
    }
    drill.desk.recorder.job(&id, JobStatus::Failed, &reason, bytes);
    step.end(Verdict::Fail, reason.clone());
    Ok(Err(Failure {
        reason,
        remedy: remedy(&error),
    }))
}

/// Whether the same candidate is restored once more, and says so in the evidence. Once for each, and a recovery target
/// is given up once: what fails again is another candidate's turn.
pub(super) fn tried_again(drill: &Drill, attempts: &mut Attempts, choice: &Choice, failure: &Failure) -> bool {
    let id = &choice.backup.info.id;
    let text = match failure.remedy {
        Remedy::ToTheEnd if choice.target != RecoveryTarget::End && attempts.give_up_target() => {
            format!(
                "The WAL ends before the recovery target ({}): recovery goes to its end instead.",
                choice.target
            )
        }
        Remedy::Again if attempts.restore_again(choice) => {
            format!("The restore of {id} was killed; it is tried once more.")
        }
        Remedy::MoreRoom if attempts.restore_again(choice) => {
            format!("The target had no room for {id}; it is restored once more, into a larger one.")
        }
        _ => return false,
    };
    drill.desk.recorder.finding(text);
    true
}

fn remedy(error: &BackupError) -> Remedy {
    match error.cause() {
        Cause::NoRoom => Remedy::MoreRoom,
        Cause::Killed => Remedy::Again,
        Cause::TargetNotReached => Remedy::ToTheEnd,
        Cause::SettingsTooLow | Cause::Other => Remedy::AnotherCandidate,
    }
}
