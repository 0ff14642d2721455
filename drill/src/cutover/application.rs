//! Controls the reference application as a process of its own, so that a restart is a restart.
//!
//! The process is this same program, started again with the `app` subcommand; its log goes to the drill's evidence.

use std::{
    collections::VecDeque,
    fs::OpenOptions,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use reports::text::lasting;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::front::Front;
use crate::{http::Behaviour, service::Identity};

/// How long a process gets to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// The application, running or not.
pub struct Application {
    settings: PathBuf,
    log: PathBuf,
    client: reqwest::Client,
    running: Option<Running>,
    sabotage: VecDeque<Sabotage>,
    front: Option<Front>,
}

/// What befalls the processes that are started. A test of the service: the process itself knows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sabotage {
    /// So many starts are left alone first.
    pub after: u64,
    /// For so many starts; `None` for all that follow.
    pub times: Option<u64>,
    /// What befalls them.
    pub deed: Deed,
}

/// What befalls a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL, right after its start and before it listens: what an out-of-memory killer does.
    Kill,
    /// SIGSTOP once it listens: it takes connections and never answers.
    Freeze,
    /// Nothing: the process that runs goes on as it is, and whoever restarts it is told that it was done.
    Keep,
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
    /// An application that will read `settings` and log to `log`.
    pub fn new(settings: PathBuf, log: PathBuf) -> Self {
        Self {
            settings,
            log,
            client: reqwest::Client::new(),
            running: None,
            sabotage: VecDeque::new(),
            front: None,
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
        let log_before = log.metadata().map_or(0, |metadata| metadata.len());
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
        let befalls = self.next_deed();
        if befalls == Some(Deed::Kill) {
            let _ = child.start_kill(); // whether it died is seen below
        }
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(patience, lines.next_line()).await;
        let reason = match line {
            Ok(Ok(Some(line))) => {
                let listening = serde_json::from_str::<Value>(&line).ok();
                match listening.as_ref().and_then(|value| value["listening"].as_str()) {
                    Some(address) => {
                        if befalls == Some(Deed::Freeze) {
                            signal(&child, Signal::STOP);
                        }
                        if let Some(front) = &self.front {
                            front.leads_to(address);
                        }
                        self.running = Some(Running {
                            child,
                            address: address.to_owned(),
                        });
                        return Ok(());
                    }
                    None => format!("it said {line:?} instead of where it listens"),
                }
            }
            Ok(_) => match (child.wait().await, self.log_line_since(log_before)) {
                (_, Some(said)) => said,
                (Ok(status), None) => format!("its process ended before it listened, without a word: {status}"),
                (Err(error), None) => format!("its process is lost: {error}"),
            },
            Err(_) => format!("it does not listen after {}", lasting(patience)),
        };
        let _ = child.kill().await; // it may have ended already
        Err(ApplicationError::Start { reason })
    }

    /// Stops the process and starts a new one, which gets `patience` to listen.
    ///
    /// # Errors
    /// As [`Application::start`].
    pub async fn restart(&mut self, patience: Duration) -> Result<(), ApplicationError> {
        let next = self.sabotage.front();
        let stays = next.is_some_and(|next| next.deed == Deed::Keep && next.after == 0);
        if stays && self.running.is_some() {
            self.next_deed();
            return Ok(());
        }
        self.stop().await;
        self.start(patience).await
    }

    /// The process that runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|running| running.child.id())
    }

    /// Stops the process: SIGTERM, and SIGKILL if that does not help. Stopping what does not run is no error.
    pub async fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        signal(&running.child, Signal::TERM);
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
        let running = self
            .running
            .as_ref()
            .ok_or_else(|| failed("the application is not running".into()))?;
        let address = self
            .front
            .as_ref()
            .map_or_else(|| running.address.clone(), Front::address);
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

    /// Befalls the processes that are started from now on, and one that runs at once. Says what it did to that one.
    pub async fn sabotage(&mut self, sabotage: Sabotage) -> Option<String> {
        self.sabotage.push_back(sabotage);
        let running = self.running.as_mut().filter(|_| sabotage.after == 0)?;
        let pid = running.child.id()?;
        match sabotage.deed {
            Deed::Kill => {
                let _ = running.child.kill().await; // it may have ended already
                Some(format!("SIGKILL to process {pid}"))
            }
            Deed::Freeze => {
                signal(&running.child, Signal::STOP);
                Some(format!("SIGSTOP to process {pid}"))
            }
            Deed::Keep => Some(format!("process {pid} will stay as it is")),
        }
    }

    /// Something stands before it from now on, and treats its requests so: `after` requests as it should, then `times`
    /// of them, or all, as `behaviour` says. Tells where that listens.
    ///
    /// # Errors
    /// If it does not run, or no port can be bound.
    pub async fn fronted(&mut self, behaviour: Behaviour, after: u64, times: Option<u64>) -> std::io::Result<String> {
        let running = self.running.as_ref().ok_or(std::io::ErrorKind::NotConnected)?;
        let front = match self.front.take() {
            Some(front) => front,
            None => Front::of(&running.address).await?,
        };
        front.behave(behaviour, after, times);
        let address = front.address();
        self.front = Some(front);
        Ok(format!("requests to {} go through {address}", running.address))
    }

    /// Nothing befalls it any more, nothing stands before it, and a process that stands still goes on.
    pub fn mend(&mut self) {
        self.sabotage.clear();
        self.front = None;
        if let Some(running) = &self.running {
            signal(&running.child, Signal::CONT);
        }
    }

    /// What befalls the process that is being started.
    fn next_deed(&mut self) -> Option<Deed> {
        let next = self.sabotage.front_mut()?;
        if next.after > 0 {
            next.after -= 1;
            return None;
        }
        let deed = next.deed;
        if let Some(times) = &mut next.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.sabotage.pop_front();
            }
        }
        Some(deed)
    }

    /// The last thing that was logged after the log had `before` bytes.
    fn log_line_since(&self, before: u64) -> Option<String> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let new = log.get(usize::try_from(before).ok()?..)?;
        let lines = String::from_utf8_lossy(new);
        lines
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map(ToOwned::to_owned)
    }
}

/// Signals a process that may have ended already.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, signal);
    }
}
