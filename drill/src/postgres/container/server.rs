//! A server in a container of its own, of which its postmaster is the first process.

use std::{fs, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus, time::Duration};

use rustix::process::Signal;

use super::{
    Containers,
    containers::Running,
    docker::{self, Complaint},
    exec::exit_status,
};
use crate::{
    errors::chain,
    postgres::{files, process::send},
};

/// A server in a container. The container goes when this is dropped.
#[derive(Debug)]
pub(crate) struct ContainerServer {
    running: Running,
    /// The postmaster's number among the host's processes; 0 if it had ended before one could look.
    pid: u32,
    /// When it was started, in the system's ticks: its number may be another's later.
    began: Option<String>,
    ended: Option<ExitStatus>,
}

impl ContainerServer {
    /// Starts `argv` for a cluster.
    pub(crate) async fn start(
        containers: &Containers,
        cluster: &str,
        argv: Vec<String>,
        environment: Vec<(String, String)>,
        log: &Path,
    ) -> Result<Self, Complaint> {
        let running = containers.start_server(cluster, argv, environment, log).await?;
        let id = running.id().to_owned();
        let inspected = docker::spawn(async move {
            let inspected = docker::client().await?.inspect_container(&id, None).await;
            inspected.map_err(|error| chain(&error))
        });
        let inspected = inspected.await.map_err(|error| error.to_string())??;
        let pid = inspected.state.and_then(|state| state.pid).unwrap_or(0);
        let pid = u32::try_from(pid).unwrap_or(0);
        Ok(Self {
            running,
            pid,
            began: start_time(pid),
            ended: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, once it has.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() && !self.lives() {
            self.ended = Some(self.ask_how_it_ended());
        }
        self.ended
    }

    fn lives(&self) -> bool {
        self.began.is_some() && start_time(self.pid) == self.began
    }

    /// Asks the daemon how it ended, which it may know a moment later.
    fn ask_how_it_ended(&self) -> ExitStatus {
        const UNKNOWN: i32 = 255 << 8;
        let id = self.running.id().to_owned();
        let code = docker::block(async move {
            let docker = docker::client().await.ok()?;
            for _ in 0..200 {
                let state = docker.inspect_container(&id, None).await.ok()?.state?;
                if state.running == Some(false) {
                    return state.exit_code;
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // back-off of a bounded wait
            }
            None
        });
        code.flatten()
            .map_or_else(|| ExitStatus::from_raw(UNKNOWN), exit_status)
    }

    /// Signals the postmaster, if it lives.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.lives() {
            send(&[self.pid], signal);
        }
    }

    /// Kills the postmaster; the system then kills whatever else is in its container.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        files::wait_blocking(Duration::from_secs(5), || !self.lives());
    }
}

/// When a process was started, if it lives: the 22nd field of /proc/PID/stat.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18).map(ToOwned::to_owned))?
}
