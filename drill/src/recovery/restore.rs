//! Steps 5 to 7: a restore job is started, waited for, and its completion notified, or polled where that does not come.

use std::time::{Duration, Instant};

use reports::{CheckId, Outcome, Phase, Role, Step, Verdict, event::JobStatus};

use crate::{
    backup::{
        self, Progress, RestoreRequest,
        job::{RestoreJob, Seen},
        pause::Pause,
    },
    postgres::Cluster,
    scenario::Moment,
    stage::{Drill, DrillError, inject},
    verify::{Found, chain, timed},
};

use super::{OpenStep, Stop, choose::Choice, ended};

/// Step 5, as RecoveryOperator: refused before anything is touched, or a job id at once.
pub(super) fn restore_started(drill: &mut Drill, attempt: u32, choice: &Choice) -> Result<RestoreJob, Stop> {
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
        timeline: choice.timeline,
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
pub(super) async fn data_restored(
    drill: &mut Drill,
    attempt: u32,
    mut job: RestoreJob,
) -> Result<Result<Cluster, String>, Stop> {
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
