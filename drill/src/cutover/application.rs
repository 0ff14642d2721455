//! The application as it is asked over HTTP, whoever starts and stops it.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use reports::text::lasting;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::AppControl;
use crate::service::Identity;

/// The application, running or not.
pub struct Application {
    /// What starts and stops it.
    pub control: Box<dyn AppControl>,
    client: reqwest::Client,
}

/// The application did not do what it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The process could not be started.
    #[error("cannot start the application")]
    Spawn(#[source] std::io::Error),
    /// It ended instead of listening.
    #[error("the application did not start: {reason}")]
    Start {
        /// What its log says.
        reason: String,
    },
    /// It did not answer as it should.
    #[error("{request}: {reason}")]
    Request {
        /// `GET /health/ready`
        request: String,
        /// What came back.
        reason: String,
    },
}

/// What the application answered, whatever it was.
#[derive(Debug)]
pub struct Reply {
    request: String,
    /// Its status.
    pub status: reqwest::StatusCode,
    /// Its JSON.
    pub body: Value,
}

impl Reply {
    /// The status and, of a problem, what it says.
    pub fn said(&self) -> String {
        let said = ["reason", "detail", "title"]
            .iter()
            .find_map(|key| self.body[*key].as_str());
        match said {
            Some(said) => format!("{}: {said}", self.status),
            None => self.status.to_string(),
        }
    }

    fn success(self) -> Result<Value, ApplicationError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let reason = self.said();
        Err(ApplicationError::Request {
            request: self.request,
            reason,
        })
    }
}

/// A 200 of `/health/ready`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Readiness {
    /// What the application is connected to.
    #[serde(flatten)]
    pub connected_to: Identity,
    /// How long it took to open the connection.
    connected_within_ms: f64,
}

impl Readiness {
    /// How long it took the application to open its connection.
    pub fn connected_within(&self) -> Duration {
        Duration::try_from_secs_f64(self.connected_within_ms / 1e3).unwrap_or(Duration::MAX)
    }
}

impl Application {
    /// One that is controlled so.
    pub fn new(control: Box<dyn AppControl>) -> Self {
        Self {
            control,
            client: reqwest::Client::new(),
        }
    }

    /// The process that runs, if it is one.
    pub fn pid(&self) -> Option<u32> {
        let pid = self.control.pid()?.load(Ordering::Relaxed);
        (pid != 0).then_some(pid)
    }

    /// Waits until `/health/ready` answers 200, at most for `patience`.
    ///
    /// # Errors
    /// With the last answer.
    pub async fn ready(&self, patience: Duration) -> Result<Readiness, ApplicationError> {
        let began = Instant::now();
        loop {
            let left = patience.saturating_sub(began.elapsed()).max(Duration::from_millis(100));
            let answer = timeout(left, self.get("/health/ready", None)).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(ApplicationError::Request {
                    request: "GET /health/ready".into(),
                    reason: format!("no answer within {}", lasting(patience)),
                })
            });
            match answer {
                Ok(body) => {
                    return serde_json::from_value(body).map_err(|error| ApplicationError::Request {
                        request: "GET /health/ready".into(),
                        reason: error.to_string(),
                    });
                }
                Err(error) if began.elapsed() >= patience => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// `GET path`, as the bearer of `token` if one is given; the JSON body of a 200.
    ///
    /// # Errors
    /// For anything but a 200 with JSON.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<Value, ApplicationError> {
        let answered = self.request(reqwest::Method::GET, path, token, None).await?;
        answered.success()
    }

    /// `POST path` with a JSON body, as the bearer of `token`; whatever is answered, if anything is.
    ///
    /// # Errors
    /// If there is no answer: then nobody knows what became of it.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Result<Reply, ApplicationError> {
        self.request(reqwest::Method::POST, path, Some(token), Some(body)).await
    }

    async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Reply, ApplicationError> {
        let request = format!("{method} {path}");
        let failed = |reason: String| ApplicationError::Request {
            request: request.clone(),
            reason,
        };
        let address = self.control.address();
        let address = address.ok_or_else(|| failed("the application is not running".into()))?;
        let mut sent = self
            .client
            .request(method, format!("{address}{path}"))
            .timeout(Duration::from_secs(10));
        if let Some(token) = token {
            sent = sent.bearer_auth(token);
        }
        if let Some(body) = body {
            sent = sent.json(body);
        }
        let response = sent
            .send()
            .await
            .map_err(|error| failed(error.without_url().to_string()))?;
        let status = response.status();
        let body: Value = response
            .json()
            .await
            .map_err(|error| failed(format!("{status}, {}", error.without_url())))?;
        Ok(Reply { request, status, body })
    }
}
