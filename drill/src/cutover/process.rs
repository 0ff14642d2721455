//! The reference application as a process of its own, so that a restart is a restart.
//!
//! The process is this same program, started again with the `app` subcommand; its log goes to the drill's evidence.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use reports::text::lasting;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{AppControl, ApplicationError};

/// How long a process gets to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// The process, running or not.
pub struct ProcessControl {
    settings: PathBuf,
    log: PathBuf,
    running: Option<Running>,
    pid: Arc<AtomicU32>,
}

struct Running {
    child: Child,
    address: String,
}

impl ProcessControl {
    /// One that will read `settings` and log to `log`.
    pub fn new(settings: PathBuf, log: PathBuf) -> Self {
        Self {
            settings,
            log,
            running: None,
            pid: Arc::default(),
        }
    }

    /// On failure with the last line of its log.
    async fn begin(&mut self, patience: Duration) -> Result<(), ApplicationError> {
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
        self.pid.store(child.id().unwrap_or_default(), Ordering::Relaxed);
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
            Ok(_) => match (child.wait().await, self.log_line_since(log_before)) {
                (_, Some(said)) => said,
                (Ok(status), None) => format!("its process ended before it listened, without a word: {status}"),
                (Err(error), None) => format!("its process is lost: {error}"),
            },
            Err(_) => format!("it does not listen after {}", lasting(patience)),
        };
        self.pid.store(0, Ordering::Relaxed); // it may be another process's soon
        let _ = child.kill().await; // it may have ended already
        Err(ApplicationError::Start { reason })
    }

    /// SIGTERM, and SIGKILL if that does not help.
    async fn end(&mut self) {
        self.pid.store(0, Ordering::Relaxed);
        let Some(mut running) = self.running.take() else { return };
        if let Some(pid) = running.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended already
        }
        if timeout(GRACE, running.child.wait()).await.is_err() {
            let _ = running.child.kill().await;
        }
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

impl AppControl for ProcessControl {
    fn start(&mut self, patience: Duration) -> BoxFuture<'_, Result<(), ApplicationError>> {
        Box::pin(self.begin(patience))
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.end())
    }

    fn address(&self) -> Option<String> {
        self.running.as_ref().map(|running| running.address.clone())
    }

    fn pid(&self) -> Option<Arc<AtomicU32>> {
        Some(Arc::clone(&self.pid))
    }
}
