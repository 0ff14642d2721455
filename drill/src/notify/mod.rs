//! Notification of a restore's completion: `{job_id, status, duration_s}` over HTTP.
//!
//! A [`Channel`] delivers it, one file each; the drill's own [`Inbox`] is at the other end, so that arrival is observed and not
//! assumed. A notification that does not arrive is no failure of the recovery: the operator polls.

mod webhook;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use reports::event::JobStatus;
use serde::{Deserialize, Serialize};

use crate::{
    http::{Port, Receiver},
    registry::Registry,
};

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
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub reason: String,
}

/// How people are told.
pub trait Channel: Send + Sync {
    /// Delivers a notification; tries a few times. The error says that no attempt was answered with success.
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), NotifyError>>;
}

/// Opens a channel to an address.
pub type OpenChannel = fn(String) -> Arc<dyn Channel>;

/// The channels that drill brings. The first is taken where nobody chooses.
pub fn channels() -> Registry<OpenChannel> {
    Registry::new("channel").with("webhook", "JSON posted over HTTP", |url| {
        Arc::new(webhook::Webhook::new(url))
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

    /// Where the receiver listens; scenarios break it there.
    pub fn port(&self) -> Port {
        self.receiver.port()
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

    use super::{Channel as _, Inbox, Notification, webhook::Webhook};
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
        Webhook::new(inbox.url()).send(&notification()).await.unwrap();
        assert_eq!(
            inbox.wait_for("restore-1", Duration::from_secs(5)).await,
            Some(notification())
        );
    }

    #[tokio::test]
    async fn a_broken_receiver_is_an_error_that_names_its_answer() {
        let mut inbox = Inbox::start().await.unwrap();
        inbox.port().behave(Behaviour::Status(500), 0, None);
        let error = Webhook::new(inbox.url()).send(&notification()).await.unwrap_err();
        assert!(error.to_string().contains("500"), "{error}");
        assert_eq!(inbox.wait_for("restore-1", Duration::from_millis(10)).await, None);
    }
}
