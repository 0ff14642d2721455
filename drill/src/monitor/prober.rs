//! A black-box prober: connects anew each time, queries what the application needs, and alerts after failures in a row.
//!
//! Connecting anew matters: a server whose files are gone may serve old connections for a while.

use std::time::{Duration, Instant};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::NoTls;

use super::{Monitor, alertmanager};
use crate::{
    errors::describe,
    service::{Failing, Probe},
};

/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long one probe may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Failures in a row before the alert: one may be chance.
const FAILURES: u32 = 2;

/// A running prober. It stops when dropped.
pub struct Prober {
    task: JoinHandle<()>,
    failing: Failing,
}

impl Prober {
    /// Starts to probe as the application and to post alerts to `webhook`.
    pub fn start(application: Probe, webhook: String) -> Self {
        let failing = Failing::default();
        Self {
            task: tokio::spawn(watch(application, webhook, failing.clone())),
            failing,
        }
    }
}

impl Monitor for Prober {
    fn failing_since(&self) -> Option<Instant> {
        self.failing.since()
    }

    /// Each of the failures may take as long as a probe may, and so may the delivery.
    fn promise(&self) -> Duration {
        (INTERVAL + TIMEOUT) * FAILURES + alertmanager::PATIENCE
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One probe.
///
/// # Errors
/// What the application would see: the reason in words.
pub async fn probe(application: &Probe) -> Result<(), String> {
    let attempt = async {
        let (client, connection) = application.login.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        let result = application.ask(&client).await;
        connection.abort();
        result
    };
    match timeout(TIMEOUT, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
    }
}

async fn watch(application: Probe, webhook: String, failing: Failing) {
    let client = reqwest::Client::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failures = 0;
    loop {
        ticks.tick().await;
        match probe(&application).await {
            Ok(()) => {
                failures = 0;
                failing.succeeded();
            }
            Err(reason) => {
                failures += 1;
                failing.failed();
                tracing::debug!(failures, %reason, "probe failed");
                // Alertmanager repeats a firing alert until somebody reacts; so does this.
                if failures % FAILURES == 0 && alertmanager::post(&client, &webhook, &reason).await.is_err() {
                    tracing::warn!("the alert could not be delivered; it will be repeated");
                }
            }
        }
    }
}
