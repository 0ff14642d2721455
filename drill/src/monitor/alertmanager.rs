//! An alert as Prometheus' Alertmanager posts it to a webhook (its format, version 4).

use std::time::Duration;

use serde_json::json;

use super::ALERT;

/// How long the receiver may take.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Posts a firing `DB_UNAVAILABLE` to `webhook`, with `reason` as its summary.
///
/// # Errors
/// If the receiver does not take it.
pub async fn post(client: &reqwest::Client, webhook: &str, reason: &str) -> Result<(), reqwest::Error> {
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
        .timeout(PATIENCE)
        .send()
        .await?
        .error_for_status()
        .map(|_| ())
}
