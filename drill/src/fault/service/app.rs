//! What befalls the application: a control around the real one, which knows nothing of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};

use super::load_balancer::LoadBalancer;
use crate::{
    cutover::{AppControl, Application, ApplicationError},
    fault::{
        FaultError, Mending,
        kinds::signal::{SignalName, send_to_one},
    },
    http::Behaviour,
};

/// What befalls the starts of an application.
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

/// What befalls an application, told by a drill and done by [`Misbehaving`]. Clones are the same.
#[derive(Clone, Default)]
pub struct AppFaults(Arc<std::sync::Mutex<State>>);

#[derive(Default)]
struct State {
    sabotage: VecDeque<Sabotage>,
    /// How many starts something befell, and processes that ran.
    met: u64,
    balancer: Option<LoadBalancer>,
}

impl AppFaults {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Befalls what is started from now on, and what runs at once. Says what it did to that, once it shows.
    ///
    /// # Errors
    /// If what runs cannot be signalled, or goes on all the same.
    pub async fn sabotage(&self, application: &Application, sabotage: Sabotage) -> Result<Option<String>, FaultError> {
        self.with(|state| state.sabotage.push_back(sabotage));
        let Some(pid) = application.pid().filter(|_| sabotage.after == 0) else {
            return Ok(None);
        };
        self.with(|state| state.met += u64::from(sabotage.deed != Deed::Keep));
        let did = match sabotage.deed {
            Deed::Kill => {
                send_to_one(pid, SignalName::Kill).await?;
                format!("SIGKILL to process {pid}")
            }
            Deed::Freeze => {
                send_to_one(pid, SignalName::Stop).await?;
                format!("SIGSTOP to process {pid}")
            }
            Deed::Keep => format!("process {pid} will stay as it is"),
        };
        Ok(Some(did))
    }

    /// Something stands before the application from now on, and treats its requests so: `after` requests as it should, then
    /// `times` of them, or all, as `behaviour` says. Tells where that listens.
    ///
    /// # Errors
    /// If the application does not run, or no port can be bound.
    pub async fn put_before(
        &self,
        application: &Application,
        behaviour: Behaviour,
        after: u64,
        times: Option<u64>,
    ) -> std::io::Result<String> {
        let address = application.control.address().ok_or(std::io::ErrorKind::NotConnected)?;
        let front = match self.with(|state| state.balancer.take()) {
            Some(front) => front,
            None => LoadBalancer::of(&address).await?,
        };
        front.behave(behaviour, after, times);
        let did = format!("requests to {} go through {}", front.leads_where(), front.address());
        self.with(|state| state.balancer = Some(front));
        Ok(did)
    }

    /// Once it is awaited, nothing befalls the application any more, nothing stands before it, and a process that stands still
    /// goes on.
    pub fn mending(&self, application: &Application) -> Mending {
        let (faults, pid) = (self.clone(), application.control.pid());
        Box::pin(async move {
            let met = faults.with(|state| {
                let met = state.met + state.balancer.as_ref().map_or(0, LoadBalancer::met);
                *state = State {
                    met,
                    ..State::default()
                };
                met
            });
            let pid = pid.map_or(0, |pid| pid.load(Ordering::Relaxed));
            if pid != 0 {
                signal(pid, Signal::CONT);
            }
            Ok(Some(met))
        })
    }

    /// What befalls what is being started.
    fn next_deed(&self) -> Option<Deed> {
        self.with(|state| {
            let next = state.sabotage.front_mut()?;
            if next.after > 0 {
                next.after -= 1;
                return None;
            }
            let deed = next.deed;
            state.met += 1;
            if let Some(times) = &mut next.times {
                *times = times.saturating_sub(1);
                if *times == 0 {
                    state.sabotage.pop_front();
                }
            }
            Some(deed)
        })
    }

    /// Whether the next restart is one in name only; it then counts as done.
    fn stays(&self) -> bool {
        let stays = self.with(|state| {
            let next = state.sabotage.front();
            next.is_some_and(|next| next.deed == Deed::Keep && next.after == 0)
        });
        stays && self.next_deed().is_some()
    }
}

/// A control of an application that [`AppFaults`] befall.
pub struct Misbehaving {
    real: Box<dyn AppControl>,
    faults: AppFaults,
}

impl Misbehaving {
    /// Around the real one.
    pub fn around(real: Box<dyn AppControl>, faults: AppFaults) -> Self {
        Self { real, faults }
    }

    async fn begin(&mut self, patience: Duration) -> Result<(), ApplicationError> {
        let deed = self.faults.next_deed();
        let pid = self.real.pid();
        match (deed, pid) {
            (Some(Deed::Kill), Some(pid)) => {
                pid.store(0, Ordering::Relaxed);
                let killing = tokio::spawn(kill_once_begun(pid));
                let started = self.real.start(patience).await;
                killing.abort();
                started?;
                // It listened before it was noticed; it is gone all the same.
                self.real.stop().await;
                let reason = "it was killed as soon as it listened".to_owned();
                return Err(ApplicationError::Start { reason });
            }
            _ => self.real.start(patience).await?,
        }
        if deed == Some(Deed::Freeze)
            && let Some(pid) = self.real.pid()
        {
            signal(pid.load(Ordering::Relaxed), Signal::STOP);
        }
        if let Some(address) = self.real.address() {
            self.faults.with(|state| {
                if let Some(front) = &state.balancer {
                    front.leads_to(&address);
                }
            });
        }
        Ok(())
    }
}

impl AppControl for Misbehaving {
    fn start(&mut self, patience: Duration) -> BoxFuture<'_, Result<(), ApplicationError>> {
        Box::pin(self.begin(patience))
    }

    fn restart(&mut self, patience: Duration) -> BoxFuture<'_, Result<(), ApplicationError>> {
        Box::pin(async move {
            if self.real.address().is_some() && self.faults.stays() {
                return Ok(());
            }
            self.real.stop().await;
            self.begin(patience).await
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.real.stop()
    }

    fn address(&self) -> Option<String> {
        let real = self.real.address()?;
        let front = self
            .faults
            .with(|state| state.balancer.as_ref().map(LoadBalancer::address));
        Some(front.unwrap_or(real))
    }

    fn pid(&self) -> Option<Arc<AtomicU32>> {
        self.real.pid()
    }
}

/// Kills a process as soon as there is one: long before it listens.
async fn kill_once_begun(pid: Arc<AtomicU32>) {
    loop {
        match pid.load(Ordering::Relaxed) {
            0 => tokio::time::sleep(Duration::from_micros(200)).await, // between two looks
            begun => return signal(begun, Signal::KILL),
        }
    }
}

/// Signals a process that may have ended already.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}
