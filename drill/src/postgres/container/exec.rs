//! A client tool at work in the drill's container for tools.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::StreamExt as _;
use rustix::process::Signal;
use testcontainers::bollard::{
    Docker,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
};

use super::{
    Containers,
    containers::Inner,
    docker::{self, Complaint},
};
use crate::{
    errors::chain,
    postgres::process::{descendants, send},
};

/// Where a stream of a tool goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// To whoever reads the other end.
    Pipe(DuplexStream),
    /// Into a file.
    File(File),
}

impl Sink {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.write_all(bytes).await,
            Self::File(file) => file.write_all(bytes),
        }
    }
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) current_dir: String,
}

/// A tool at work. Dropping it does not end it; [`Exec::signal`] does.
#[derive(Debug)]
pub(crate) struct Exec {
    task: JoinHandle<Result<i64, Complaint>>,
    id: Arc<OnceLock<(Docker, String)>>,
    ended: Option<ExitStatus>,
}

impl Exec {
    /// Starts it; what goes wrong on the way is told by [`Exec::wait`].
    pub(crate) fn start(containers: &Containers, call: Call, stdout: Sink, stderr: Sink) -> Self {
        let id = Arc::new(OnceLock::new());
        let task = docker::spawn(carry_out(containers.inner(), call, stdout, stderr, Arc::clone(&id)));
        Self { task, id, ended: None }
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let code = (&mut self.task).await.map_err(io::Error::other)?;
        let status = exit_status(code.map_err(io::Error::other)?);
        self.ended = Some(status);
        Ok(status)
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        self.ended.is_none() && !self.task.is_finished()
    }

    /// Its number among the host's processes, while it runs. The daemon may know it a moment later than it is at work.
    pub(crate) fn pid(&self) -> Option<u32> {
        let (docker, id) = self.id.get()?.clone();
        docker::block(async move {
            for _ in 0..200 {
                let inspected = docker.inspect_exec(&id).await.ok()?;
                let pid = inspected.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
                if inspected.running == Some(true) && pid > 0 {
                    return Some(pid);
                }
                if inspected.exit_code.is_some() {
                    return None; // it has ended
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // back-off of a bounded wait
            }
            None
        })
        .flatten()
    }

    /// Sends a signal to it and what it started.
    pub(crate) fn signal(&self, signal: Signal) {
        match self.pid() {
            Some(pid) => {
                let mut family = descendants(pid);
                family.push(pid);
                send(&family, signal);
            }
            // Not begun yet: it shall not.
            None if self.id.get().is_none() => self.task.abort(),
            None => {}
        }
    }
}

async fn carry_out(
    containers: Arc<Inner>,
    call: Call,
    mut stdout: Sink,
    mut stderr: Sink,
    known: Arc<OnceLock<(Docker, String)>>,
) -> Result<i64, Complaint> {
    let container = containers.tools().await?;
    let docker = docker::client().await?;
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        env: Some(call.environment),
        cmd: Some(call.argv),
        working_dir: Some(call.current_dir),
        ..CreateExecOptions::default()
    };
    let failed = |error| chain(&error);
    let id = docker.create_exec(container, options).await.map_err(failed)?.id;
    let _ = known.set((docker.clone(), id.clone())); // nobody else sets it; before it may be at work
    let started = docker.start_exec(&id, None).await.map_err(failed)?;
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(part) = output.next().await {
            let written = match part.map_err(failed)? {
                LogOutput::StdErr { message } => stderr.write(&message).await,
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                    stdout.write(&message).await
                }
            };
            if let Err(error) = written {
                tracing::debug!(%error, "what a tool said is lost");
            }
        }
    }
    // Its streams may be closed a moment before the daemon knows how it ended.
    loop {
        let inspected = docker.inspect_exec(&id).await.map_err(failed)?;
        match (inspected.running, inspected.exit_code) {
            (Some(false), Some(code)) => return Ok(code),
            _ => tokio::time::sleep(std::time::Duration::from_millis(2)).await, // back-off of a wait for its end
        }
    }
}

/// How it ended, by the code that Docker gives: it tells the end by a signal as shells do.
pub(super) fn exit_status(code: i64) -> ExitStatus {
    let code = i32::try_from(code).unwrap_or(255);
    if code > 128 && code < 160 {
        ExitStatus::from_raw(code - 128)
    } else {
        ExitStatus::from_raw(code << 8)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::exit_status;

    #[test]
    fn codes_above_128_are_signals() {
        assert_eq!((exit_status(0).code(), exit_status(3).code()), (Some(0), Some(3)));
        assert_eq!((exit_status(137).code(), exit_status(137).signal()), (None, Some(9)));
        assert_eq!(exit_status(255).code(), Some(255));
    }
}
