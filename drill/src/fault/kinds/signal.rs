//! Signals to the processes of a server.

use std::{
    io,
    time::{Duration, Instant},
};

use reports::text::counted;
use rustix::process::{Pid, Signal as UnixSignal, kill_process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Deed, Doing, Done, FaultError, World,
        processes::{self, Found, descendants},
    },
    scenario::{Changes, Fault, Kind, Named as _, Needs, named},
};

/// Sends a signal to processes of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// To which.
    pub process: Process,
    /// Which signal.
    pub signal: SignalName,
}

named! {
    /// Processes of a PostgreSQL server.
    pub enum Process {
        /// The one that starts all others.
        Postmaster = "postmaster",
        /// The postmaster and every child.
        All = "all",
        /// Writes dirty pages at checkpoints.
        Checkpointer = "checkpointer",
        /// Writes dirty pages between checkpoints.
        BackgroundWriter = "background-writer",
        /// Writes WAL.
        Walwriter = "walwriter",
        /// Runs `archive_command`.
        Archiver = "archiver",
        /// Starts autovacuum workers.
        AutovacuumLauncher = "autovacuum-launcher",
        /// Replays WAL during recovery.
        Startup = "startup",
        /// Streams WAL to a receiver.
        Walsender = "walsender",
    }
}

named! {
    /// Signals that a fault can send.
    pub enum SignalName {
        /// Ends the process at once.
        Kill = "KILL",
        /// To the postmaster: fast shutdown.
        Int = "INT",
        /// To the postmaster: immediate shutdown.
        Quit = "QUIT",
        /// To the postmaster: smart shutdown.
        Term = "TERM",
        /// Stops the process where it stands.
        Stop = "STOP",
    }
}

impl Kind for Signal {
    fn name() -> &'static str {
        "signal"
    }

    fn needs() -> Needs {
        Needs::Server
    }

    fn in_words(&self, fault: &Fault) -> String {
        let (signal, whose) = (self.signal, fault.whose());
        match self.process {
            Process::All => format!("sends {signal} to every process of {whose}"),
            process => format!("sends {signal} to the {} of {whose}", process.name()),
        }
    }

    fn changes(&self) -> Changes {
        Changes::Nothing
    }
}

impl Deed for Signal {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        let Self { process, signal } = *self;
        Box::pin(async move {
            let postmaster = world.cluster(fault)?.pid();
            send_to(postmaster.ok_or(FaultError::NoProcess { process })?, process, signal).await
        })
    }
}

/// A signal must show its effect within this time; a fast shutdown writes a checkpoint first.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a signal leads to, where that is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The process ends.
    Ends,
    /// The process stands still.
    Stops,
    /// The process decides: a smart shutdown waits for its clients.
    Open,
}

/// Sends `signal` to `process` of the server whose postmaster has that number, and waits for its effect.
pub(in crate::fault) async fn send_to(
    postmaster: u32,
    process: Process,
    signal: SignalName,
) -> Result<Done, FaultError> {
    let receivers = receivers(&list()?, postmaster, process);
    if receivers.is_empty() {
        return Err(FaultError::NoProcess { process });
    }
    let mut touched = Vec::new();
    for pid in &receivers {
        match kill(*pid, signal) {
            Ok(()) => touched.push(format!("{signal} to process {pid}")),
            // A child that ended because its postmaster did needs no signal any more.
            Err(source)
                if source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) && *pid != postmaster => {}
            Err(source) => {
                return Err(FaultError::Signal {
                    signal,
                    pid: *pid,
                    source,
                });
            }
        }
    }
    await_effect(&receivers, effect(process, signal), signal).await?;
    let summary = match receivers.as_slice() {
        [pid] => format!("{signal} sent to the {process} (process {pid})"),
        many => format!("{signal} sent to {process}: {}", counted(many.len(), "process")),
    };
    Ok(Done::new(summary, touched))
}

/// Sends `signal` to one process of any kind, and waits for its effect where that is certain.
pub(in crate::fault) async fn send_to_one(pid: u32, signal: SignalName) -> Result<(), FaultError> {
    kill(pid, signal).map_err(|source| FaultError::Signal { signal, pid, source })?;
    await_effect(&[pid], effect(Process::Postmaster, signal), signal).await
}

/// Whom a signal is for; the postmaster first, so that it starts nothing anew.
fn receivers(all: &[Found], postmaster: u32, process: Process) -> Vec<u32> {
    let family = || descendants(all, postmaster).into_iter();
    let of_role = |role: &str| family().filter(|found| found.is(role)).map(|found| found.pid).collect();
    match process {
        Process::Postmaster => all
            .iter()
            .map(|found| found.pid)
            .filter(|pid| *pid == postmaster)
            .collect(),
        Process::All => receivers(all, postmaster, Process::Postmaster)
            .into_iter()
            .chain(family().map(|found| found.pid))
            .collect(),
        Process::Checkpointer => of_role("checkpointer"),
        Process::BackgroundWriter => of_role("background writer"),
        Process::Walwriter => of_role("walwriter"),
        Process::Archiver => of_role("archiver"),
        Process::AutovacuumLauncher => of_role("autovacuum launcher"),
        Process::Startup => of_role("startup"),
        Process::Walsender => of_role("walsender"),
    }
}

fn effect(process: Process, signal: SignalName) -> Effect {
    match (signal, process) {
        (SignalName::Kill | SignalName::Quit, _) | (SignalName::Int, Process::Postmaster | Process::All) => {
            Effect::Ends
        }
        (SignalName::Stop, _) => Effect::Stops,
        (SignalName::Int | SignalName::Term, _) => Effect::Open,
    }
}

fn kill(pid: u32, signal: SignalName) -> io::Result<()> {
    let number = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let signal = match signal {
        SignalName::Kill => UnixSignal::KILL,
        SignalName::Int => UnixSignal::INT,
        SignalName::Quit => UnixSignal::QUIT,
        SignalName::Term => UnixSignal::TERM,
        SignalName::Stop => UnixSignal::STOP,
    };
    Ok(kill_process(number, signal)?)
}

async fn await_effect(receivers: &[u32], effect: Effect, signal: SignalName) -> Result<(), FaultError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let living = list()?;
        let unaffected = living.iter().find(|found| {
            receivers.contains(&found.pid)
                && match effect {
                    Effect::Ends => true,
                    Effect::Stops => !found.is_stopped(),
                    Effect::Open => false,
                }
        });
        match unaffected {
            None => return Ok(()),
            Some(found) if Instant::now() > deadline => {
                let what = format!(
                    "{signal} had no effect on process {} within {} s",
                    found.pid,
                    PATIENCE.as_secs()
                );
                return Err(FaultError::NotVerified { what });
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

fn list() -> Result<Vec<Found>, FaultError> {
    processes::all().map_err(FaultError::io("list", "/proc"))
}
