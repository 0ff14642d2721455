//! Restore jobs: started, answered with an id at once, polled or notified (steps 5 to 7).
//!
//! A job runs by itself, posts a webhook when it is over, and keeps its result until somebody takes it.

use std::{sync::Arc, time::Instant};

use reports::event::JobStatus;
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::JoinHandle,
};

use crate::{
    backup::{
        BackupError, BackupSystem, Progress, RestoreRequest, Site,
        pause::{Pause, Paused},
        restore,
    },
    notify::{self, Channel},
    postgres::Cluster,
    verify::isolation::Production,
};

/// A restore under way.
pub(super) struct RestoreJob {
    /// Unique within the drill.
    pub(super) id: String,
    /// What production's archive held before it, or where it paused.
    pub(super) production: Option<Production>,
    status: watch::Receiver<JobStatus>,
    progress: Progress,
    paused: UnboundedReceiver<Paused>,
    task: JoinHandle<Outcome>,
}

/// What can be seen of a job from outside.
pub(super) enum Seen {
    /// Its files are in place, and it waits before it starts the server.
    Paused(Box<Paused>),
    /// It is over.
    Over(JobStatus),
}

/// What a job came to.
pub(super) struct Outcome {
    /// The restored cluster, or why there is none.
    pub(super) result: Result<Cluster, BackupError>,
    /// Whether the completion could be notified, and if not why.
    pub(super) notified: Result<(), notify::NotifyError>,
}

impl RestoreJob {
    /// Starts a job and returns at once. Its completion is told by `channel`.
    pub(super) fn start(
        id: String,
        site: Site,
        system: Arc<dyn BackupSystem>,
        request: RestoreRequest,
        channel: Arc<dyn Channel>,
        production: Option<Production>,
    ) -> Self {
        let (sender, status) = watch::channel(JobStatus::Accepted);
        let progress = request.progress.clone();
        let (pause, paused) = Pause::new();
        let request = RestoreRequest { pause, ..request };
        let job_id = id.clone();
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let _ = sender.send(JobStatus::Restoring);
            let result = restore::restore(&site, system.as_ref(), &request).await;
            let duration = began.elapsed();
            let status = if result.is_ok() {
                JobStatus::Completed
            } else {
                JobStatus::Failed
            };
            let _ = sender.send(status);
            let notification = notify::Notification {
                job_id,
                status,
                duration_s: duration.as_secs_f64(),
            };
            let notified = channel.send(&notification).await;
            Outcome { result, notified }
        });
        Self {
            id,
            production,
            status,
            progress,
            paused,
            task,
        }
    }

    /// Its status now.
    pub(super) fn status(&self) -> JobStatus {
        match *self.status.borrow() {
            JobStatus::Restoring if self.progress.is_replaying() => JobStatus::Replaying,
            status => status,
        }
    }

    /// Bytes restored so far.
    pub(super) fn bytes(&self) -> u64 {
        self.progress.bytes()
    }

    /// Waits until there is something to do for the job, or it is over; its notification may still be under way.
    pub(super) async fn next(&mut self) -> Seen {
        let is_over = |status: &JobStatus| matches!(status, JobStatus::Completed | JobStatus::Failed);
        let over = async {
            self.status
                .wait_for(is_over)
                .await
                .map_or(JobStatus::Failed, |status| *status)
        };
        tokio::select! {
            Some(paused) = self.paused.recv() => Seen::Paused(Box::new(paused)),
            status = over => Seen::Over(status),
        }
    }

    /// What it came to. `None` if the job itself died.
    pub(super) async fn outcome(self) -> Option<Outcome> {
        self.task.await.ok()
    }
}
