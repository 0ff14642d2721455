//! A program at work: wait for it, signal it, and keep what it prints without letting it fill the memory.

use std::{
    io,
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
    task::JoinHandle,
};

use super::{
    super::{container::Exec, files::last_lines, progress},
    STDERR_LINES, ToolError,
    error::status_text,
};

/// What is kept of each output stream: its first and, when there is more, its last part.
pub(super) const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct ToolOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed; the middle is cut out beyond 8 MiB; empty when it went to a file.
    pub stdout: String,
    /// What it complained about, cut likewise.
    pub stderr: String,
    /// From start to end.
    pub duration: Duration,
    /// The command line, for messages.
    pub command: String,
}

impl ToolOutput {
    /// The error for a program that ended badly.
    pub fn failed(self) -> ToolError {
        let stderr = last_lines(&self.stderr, STDERR_LINES);
        ToolError::Failed {
            command: self.command,
            status: self.status,
            stderr,
        }
    }

    /// Why its output proves nothing, if it did not run to its end: a signal, or a shell's exit code for a signal or a
    /// program that cannot be run.
    pub fn broke_off(&self) -> Option<String> {
        let whole = self.status.code().is_some_and(|code| code < 126);
        (!whole).then(|| format!("it ended with {}", status_text(self.status)))
    }
}

/// Why a program is not waited for any longer.
enum GivenUp {
    TooLong,
    StoodStill,
}

/// A program at work. Dropping it kills it and what it started.
#[derive(Debug)]
pub struct RunningTool {
    pub(super) body: Body,
    pub(super) stdout: Option<JoinHandle<String>>,
    pub(super) stderr: Option<JoinHandle<String>>,
    pub(super) command: String,
    pub(super) started: Instant,
    pub(super) time_limit: Option<Duration>,
    pub(super) patience: Duration,
    pub(super) server: Option<u32>,
}

/// Where it is at work.
#[derive(Debug)]
pub(super) enum Body {
    /// Here, at the head of a process group.
    Process { child: Child, group: Option<Pid> },
    /// In a container.
    Exec(Exec),
}

impl Body {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Process { child, .. } => child.wait().await,
            Self::Exec(exec) => exec.wait().await,
        }
    }
}

impl RunningTool {
    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        match &self.body {
            Body::Process { child, .. } => child.id(),
            Body::Exec(exec) => exec.pid(),
        }
    }

    /// Its process id for watching what it does; asking a container's daemon for it would take longer than most tools.
    fn pid_now(&self) -> Option<u32> {
        match &self.body {
            Body::Process { child, .. } => child.id(),
            Body::Exec(_) => None,
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        match &mut self.body {
            Body::Process { child, .. } => matches!(child.try_wait(), Ok(None)),
            Body::Exec(exec) => exec.is_running(),
        }
    }

    /// Sends a signal to it and what it started, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        match &self.body {
            Body::Process { group: Some(group), .. } => drop(kill_process_group(*group, signal)), // it may end just now
            Body::Process { group: None, .. } => {}
            Body::Exec(exec) => exec.signal(signal),
        }
    }

    /// Waits for its end, within its time limit and as long as it makes progress.
    pub async fn wait(mut self) -> Result<ToolOutput, ToolError> {
        let limit = self
            .time_limit
            .map(|limit| limit.saturating_sub(self.started.elapsed()));
        let (pid, server) = (self.pid_now(), self.server);
        let measure = || Some((progress::of_family(pid?)?, server.map(progress::of_clients)));
        let moving = progress::while_it_moves(self.body.wait(), self.patience, measure);
        let ended = match limit {
            None => moving.await.ok_or(GivenUp::StoodStill),
            Some(limit) => match tokio::time::timeout(limit, moving).await {
                Ok(moved) => moved.ok_or(GivenUp::StoodStill),
                Err(_) => Err(GivenUp::TooLong),
            },
        };
        let duration = self.started.elapsed();
        if ended.is_err() {
            self.signal(Signal::KILL);
            let _ = self.body.wait().await;
        }
        let (stdout, stderr) = (finish(self.stdout.take()).await, finish(self.stderr.take()).await);
        let command = std::mem::take(&mut self.command);
        match ended {
            Ok(Ok(status)) => Ok(ToolOutput {
                status,
                stdout,
                stderr,
                duration,
                command,
            }),
            Ok(Err(source)) => Err(ToolError::Wait { command, source }),
            Err(why) => {
                let stderr = last_lines(&stderr, STDERR_LINES);
                let (limit, patience) = (self.time_limit.unwrap_or_default(), self.patience);
                Err(match why {
                    GivenUp::TooLong => ToolError::TimedOut { command, limit, stderr },
                    GivenUp::StoodStill => ToolError::Stalled {
                        command,
                        patience,
                        stderr,
                    },
                })
            }
        }
    }

    /// Asks it to end with a signal, kills it after `patience`, and answers how it ended.
    pub async fn stop(mut self, signal: Signal, patience: Duration) -> Result<ToolOutput, ToolError> {
        self.signal(signal);
        if tokio::time::timeout(patience, self.body.wait()).await.is_err() {
            self.signal(Signal::KILL);
        }
        self.time_limit = None;
        self.wait().await
    }
}

impl Drop for RunningTool {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// What a reader made of a stream. A grandchild that outlives the program may hold the stream open: it is not waited for.
async fn finish(reader: Option<JoinHandle<String>>) -> String {
    let Some(mut reader) = reader else { return String::new() };
    if let Ok(kept) = tokio::time::timeout(Duration::from_secs(2), &mut reader).await {
        return kept.unwrap_or_default();
    }
    reader.abort();
    String::new()
}

/// Reads a stream to its end and keeps its first and last part.
pub(in crate::postgres) async fn keep(mut stream: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut cut) = (Vec::new(), 0_usize);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > KEPT_BYTES {
            let excess = kept.len() - KEPT_BYTES;
            kept.drain(KEPT_BYTES / 2..KEPT_BYTES / 2 + excess);
            cut += excess;
        }
    }
    if cut == 0 {
        return String::from_utf8_lossy(&kept).into_owned();
    }
    let (first, last) = kept.split_at(KEPT_BYTES / 2);
    format!(
        "{}\n[{cut} bytes cut]\n{}",
        String::from_utf8_lossy(first),
        String::from_utf8_lossy(last)
    )
}
