//! Notification of a restore's completion: `{job_id, status, duration_s}` over HTTP.
//!
//! Today there is one channel, a webhook, with a receiver of the drill's own at the other end so that arrival is
//! observed and not assumed. A notification that does not arrive is no failure of the recovery: the operator polls.

use std::time::Duration;

use reports::event::JobStatus;
use serde::{Deserialize, Serialize};

use crate::http::Receiver;

/// How often a notification is tried, and how long one attempt may take.
const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is notified (SEQ-RF-002, step 7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The restore job.
    pub job_id: String,
    /// Its final status.
    pub status: JobStatus,
    /// How long it took, in seconds.
    pub duration_s: f64,
}

/// A notification could not be delivered.
#[derive(Debug, thiserror::Error)]
#[error("the notification was not delivered in {attempts} attempts: {reason}")]
pub struct NotifyError {
    attempts: u32,
    reason: String,
}

/// Posts a notification; tries a few times.
///
/// # Errors
/// If no attempt was answered with success.
pub async fn post(url: &str, notification: &Notification) -> Result<(), NotifyError> {
    let client = reqwest::Client::new();
    let mut reason = String::new();
    for _ in 0..ATTEMPTS {
        match client.post(url).json(notification).timeout(TIMEOUT).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => reason = format!("the receiver answered {}", response.status()),
            Err(error) => reason = error.without_url().to_string(),
        }
    }
    Err(NotifyError {
        attempts: ATTEMPTS,
        reason,
    })
}

/// Receives notifications.
pub struct Inbox {
    receiver: Receiver,
}

impl Inbox {
    /// Starts to listen.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        Ok(Self {
            receiver: Receiver::start().await?,
        })
    }

    /// Where to post.
    pub fn url(&self) -> String {
        self.receiver.url("notifications")
    }

    /// How the receiver answers; scenarios break it here.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Waits for the notification of `job_id`, at most for `patience`.
    pub async fn wait_for(&mut self, job_id: &str, patience: Duration) -> Option<Notification> {
        let arrival = async {
            loop {
                let (_, body) = self.receiver.next().await?;
                match serde_json::from_value::<Notification>(body) {
                    Ok(notification) if notification.job_id == job_id => return Some(notification),
                    Ok(other) => tracing::debug!(job_id = other.job_id, "a notification of another job"),
                    Err(error) => tracing::warn!(%error, "a notification that cannot be read"),
                }
            }
        };
        tokio::time::timeout(patience, arrival).await.ok().flatten()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use reports::event::JobStatus;

    use super::{Inbox, Notification, post};
    use crate::http::Behaviour;

    fn notification() -> Notification {
        Notification {
            job_id: "restore-1".into(),
            status: JobStatus::Completed,
            duration_s: 1.5,
        }
    }

    #[tokio::test]
    async fn a_notification_arrives_as_it_was_sent() {
        let mut inbox = Inbox::start().await.unwrap();
        post(&inbox.url(), &notification()).await.unwrap();
        assert_eq!(
            inbox.wait_for("restore-1", Duration::from_secs(5)).await,
            Some(notification())
        );
    }

    #[tokio::test]
    async fn a_broken_receiver_is_an_error_that_names_its_answer() {
        let mut inbox = Inbox::start().await.unwrap();
        inbox.receiver().behave(Behaviour::Status(500), 0, None);
        let error = post(&inbox.url(), &notification()).await.unwrap_err();
        assert!(error.to_string().contains("500"), "{error}");
        assert_eq!(inbox.wait_for("restore-1", Duration::from_millis(10)).await, None);
    }
}
