//! A notification as JSON, posted over HTTP.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Channel, Notification, NotifyError};

/// How often a notification is tried, and how long one attempt may take.
const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(2);

/// The channel.
pub(super) struct Webhook {
    url: String,
}

impl Webhook {
    /// Posts there.
    pub(super) fn new(url: String) -> Self {
        Self { url }
    }

    async fn post(&self, notification: &Notification) -> Result<(), NotifyError> {
        let client = reqwest::Client::new();
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match client.post(&self.url).json(notification).timeout(TIMEOUT).send().await {
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
}

impl Channel for Webhook {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), NotifyError>> {
        Box::pin(self.post(notification))
    }
}
