//! A black-box prober: connects anew each time, queries what the application needs, and alerts after failures in a row.
//!
//! Connecting anew matters: a server whose files are gone may serve old connections for a while.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::NoTls;

use super::ALERT;

/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long one probe may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Failures in a row before the alert: one may be chance.
const FAILURES: u32 = 2;

/// The query that stands for "the application can work".
pub const QUERY: &str = r#"SELECT s."Id", v."Id" FROM "TransformationScripts" s
    JOIN "TransformationScriptVersions" v ON v."ScriptId" = s."Id" AND v."VersionNumber" = s."CurrentVersion" LIMIT 1"#;

/// A running prober. It stops when dropped.
pub struct Prober {
    task: JoinHandle<()>,
    failing: Failing,
}

/// Since when nothing has succeeded any more, if that is so.
#[derive(Clone, Default)]
pub struct Failing(Arc<Mutex<Option<Instant>>>);

impl Failing {
    /// Since when.
    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It succeeded.
    pub fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It failed, as far as anybody knows at this moment.
    pub fn failed(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
    }
}

impl Prober {
    /// Starts to probe `database` and to post alerts to `webhook`.
    pub fn start(database: tokio_postgres::Config, webhook: String) -> Self {
        let failing = Failing::default();
        Self {
            task: tokio::spawn(watch(database, webhook, failing.clone())),
            failing,
        }
    }

    /// Since when every probe has failed, if the last one did.
    pub fn failing_since(&self) -> Option<Instant> {
        self.failing.since()
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
pub async fn probe(database: &tokio_postgres::Config) -> Result<(), String> {
    let attempt = async {
        let (client, connection) = database.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        let result = client.query_opt(QUERY, &[]).await.map(|_| ());
        connection.abort();
        result
    };
    match timeout(TIMEOUT, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
    }
}

async fn watch(database: tokio_postgres::Config, webhook: String, failing: Failing) {
    let client = reqwest::Client::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failures = 0;
    loop {
        ticks.tick().await;
        match probe(&database).await {
            Ok(()) => {
                failures = 0;
                failing.succeeded();
            }
            Err(reason) => {
                failures += 1;
                failing.failed();
                tracing::debug!(failures, %reason, "probe failed");
                // Alertmanager repeats a firing alert until somebody reacts; so does this.
                if failures % FAILURES == 0 && post(&client, &webhook, &reason).await.is_err() {
                    tracing::warn!("the alert could not be delivered; it will be repeated");
                }
            }
        }
    }
}

/// Raises the alert once, as the monitoring would.
///
/// # Errors
/// If the receiver does not take it.
pub async fn alert(webhook: &str, reason: &str) -> Result<(), reqwest::Error> {
    post(&reqwest::Client::new(), webhook, reason).await
}

async fn post(client: &reqwest::Client, webhook: &str, reason: &str) -> Result<(), reqwest::Error> {
    let body = json!({
        "version": "4",
        "status": "firing",
        "receiver": "drill",
        "groupLabels": { "alertname": ALERT },
        "commonLabels": { "alertname": ALERT, "severity": "critical" },
        "alerts": [{
            "status": "firing",
            "labels": { "alertname": ALERT, "severity": "critical", "service": "transformations" },
            "annotations": { "summary": reason },
            "startsAt": chrono::Utc::now().to_rfc3339(),
        }],
    });
    client
        .post(webhook)
        .json(&body)
        .timeout(TIMEOUT)
        .send()
        .await?
        .error_for_status()
        .map(|_| ())
}

/// A database error in words: SQLSTATE and message, or the operating system's reason.
pub fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match error.as_db_error() {
        Some(db) => format!(
            "{} {} ({})",
            db.severity(),
            crate::values::message(db),
            db.code().code()
        ),
        None => error
            .source()
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}
