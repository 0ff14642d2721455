//! Detection: notices that the service is gone and says so over HTTP.
//!
//! [`prober`] plays the monitoring system: it connects and queries as the application would, and posts a webhook in
//! Alertmanager's format after two failures in a row. [`Alerts`] is the drill's end of it.

pub mod alertmanager;
pub mod prober;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    http::{Port, Receiver},
    registry::Registry,
    service::Probe,
};

/// Name of the alert (SEQ-RF-002, step 1).
pub const ALERT: &str = "DB_UNAVAILABLE";

/// What notices that the service is gone. It stops when dropped.
pub trait Monitor: Send + Sync {
    /// Since when everything that it saw has failed, if the last did.
    fn failing_since(&self) -> Option<Instant>;

    /// Within what time after the beginning of an outage its alert arrives; whoever waits longer waits for nothing.
    fn promise(&self) -> Duration;
}

/// Starts a monitor: how the application gets in, and where alerts go.
pub type StartMonitor = fn(Probe, String) -> Box<dyn Monitor>;

/// The monitors that drill brings. The first is taken where nobody chooses.
pub fn monitors() -> Registry<StartMonitor> {
    Registry::new("monitor").with(
        "prober",
        "connects and queries as the application does, every 50 ms",
        |probe, webhook| Box::new(prober::Prober::start(probe, webhook)),
    )
}

/// An alert that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `DB_UNAVAILABLE`
    pub name: String,
    /// `critical`
    pub severity: String,
    /// What the monitor saw.
    pub summary: String,
}

/// Receives alerts in the format of Alertmanager's webhook (version 4).
pub struct Alerts {
    receiver: Receiver,
}

impl Alerts {
    /// Starts to listen.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        Ok(Self {
            receiver: Receiver::start().await?,
        })
    }

    /// Where monitors post.
    pub fn url(&self) -> String {
        self.receiver.url("alerts")
    }

    /// Where the receiver listens; scenarios break it there.
    pub fn port(&self) -> Port {
        self.receiver.port()
    }

    /// Forgets what arrived until now: an alert from before the failure says nothing about it.
    pub fn forget(&mut self) {
        while self.receiver.try_next().is_some() {}
    }

    /// The next firing `DB_UNAVAILABLE`. Other alerts, and resolved ones, are passed over.
    pub async fn next(&mut self) -> Option<Alert> {
        loop {
            let (_, body) = self.receiver.next().await?;
            if let Some(alert) = firing(&body).find(|alert| alert.name == ALERT) {
                return Some(alert);
            }
            tracing::debug!(%body, "an alert that does not concern the database");
        }
    }
}

fn firing(body: &Value) -> impl Iterator<Item = Alert> {
    let alerts = body
        .get("alerts")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    alerts
        .iter()
        .filter(|alert| alert["status"] == "firing")
        .map(|alert| Alert {
            name: alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned(),
            severity: alert["labels"]["severity"].as_str().unwrap_or_default().to_owned(),
            summary: alert["annotations"]["summary"].as_str().unwrap_or_default().to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Alerts, firing};

    #[test]
    fn resolved_alerts_do_not_fire() {
        let body =
            json!({"version": "4", "alerts": [{"status": "resolved", "labels": {"alertname": "DB_UNAVAILABLE"}}]});
        assert_eq!(firing(&body).count(), 0);
        assert_eq!(firing(&json!({"nothing": 1})).count(), 0);
    }

    #[tokio::test]
    #[expect(clippy::unwrap_used, reason = "a test")]
    async fn an_alert_arrives_over_the_socket_and_others_are_passed_over() {
        let mut alerts = Alerts::start().await.unwrap();
        let client = reqwest::Client::new();
        for name in ["DISK_WARM", "DB_UNAVAILABLE"] {
            let body = json!({"alerts": [{"status": "firing", "labels": {"alertname": name, "severity": "critical"}}]});
            client
                .post(alerts.url())
                .json(&body)
                .send()
                .await
                .unwrap()
                .error_for_status()
                .unwrap();
        }
        let alert = alerts.next().await.unwrap();
        assert_eq!(
            (alert.name.as_str(), alert.severity.as_str()),
            ("DB_UNAVAILABLE", "critical")
        );
    }
}
