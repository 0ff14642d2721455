//! Controls the reference application as a process of its own, so that a restart is a restart.
//!
//! The process is this same program, started again with the `app` subcommand; its log goes to the drill's evidence.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a process gets to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// The application, running or not.
pub struct Application {
    settings: PathBuf,
    log: PathBuf,
    client: reqwest::Client,
    running: Option<Running>,
}

struct Running {
    child: Child,
    address: String,
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

/// What `/health/ready` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// System identifier of the cluster that the application is connected to.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline_id: u32,
}

impl Application {
    /// An application that will read `settings` and log to `log`.
    pub fn new(settings: PathBuf, log: PathBuf) -> Self {
        Self {
            settings,
            log,
            client: reqwest::Client::new(),
            running: None,
        }
    }

    /// Starts the process and waits until it listens, at most for `patience`.
    ///
    /// # Errors
    /// With the last line of its log if it ends or does not listen in time.
    pub async fn start(&mut self, patience: Duration) -> Result<(), ApplicationError> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(ApplicationError::Spawn)?;
        let mut child = Command::new(std::env::current_exe().map_err(ApplicationError::Spawn)?)
            .arg("app")
            .arg("--settings")
            .arg(&self.settings)
            .arg("--until-eof")
            .stdin(Stdio::piped()) // closes with this process, even if that is killed
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(ApplicationError::Spawn)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(ApplicationError::Start {
                reason: "its standard output is gone".into(),
            });
        };
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(patience, lines.next_line()).await;
        let reason = match line {
            Ok(Ok(Some(line))) => {
                let listening = serde_json::from_str::<Value>(&line).ok();
                match listening.as_ref().and_then(|value| value["listening"].as_str()) {
                    Some(address) => {
                        self.running = Some(Running {
                            child,
                            address: address.to_owned(),
                        });
                        return Ok(());
                    }
                    None => format!("it said {line:?} instead of where it listens"),
                }
            }
            Ok(_) => self.last_log_line(),
            Err(_) => format!("it does not listen after {patience:?}"),
        };
        let _ = child.kill().await; // it may have ended already
        Err(ApplicationError::Start { reason })
    }

    /// Stops the process: SIGTERM, and SIGKILL if that does not help. Stopping what does not run is no error.
    pub async fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if let Some(pid) = running.child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended already
        }
        if timeout(GRACE, running.child.wait()).await.is_err() {
            let _ = running.child.kill().await;
        }
    }

    /// Whether the process was started and not stopped since.
    pub fn is_started(&self) -> bool {
        self.running.is_some()
    }

    /// Waits until `/health/ready` answers 200, at most for `patience`.
    ///
    /// # Errors
    /// With the last answer.
    pub async fn ready(&self, patience: Duration) -> Result<Ready, ApplicationError> {
        let began = Instant::now();
        loop {
            match self.get("/health/ready", None).await {
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
        let failed = |reason: String| ApplicationError::Request {
            request: format!("GET {path}"),
            reason,
        };
        let running = self
            .running
            .as_ref()
            .ok_or_else(|| failed("the application is not running".into()))?;
        let mut request = self
            .client
            .get(format!("{}{path}", running.address))
            .timeout(Duration::from_secs(10));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| failed(error.without_url().to_string()))?;
        let status = response.status();
        let body: Value = response
            .json()
            .await
            .map_err(|error| failed(format!("{status}, {}", error.without_url())))?;
        if status.is_success() {
            return Ok(body);
        }
        let reason = ["reason", "detail", "title"]
            .iter()
            .find_map(|key| body[*key].as_str())
            .unwrap_or_default();
        Err(failed(format!("{status} {reason}")))
    }

    fn last_log_line(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("its log says nothing")
            .to_owned()
    }
}
