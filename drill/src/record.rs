//! Records what happens in a drill, on two clocks, and passes it on to whoever watches.
//!
//! One [`Recorder`] belongs to one drill. It appends to the drill's `events.jsonl`; the terminal gets a copy of each
//! event through a channel. It never decides anything: verdicts are made by steps and checks, totals by `reports`.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use reports::{
    Event, What,
    event::{Finding, JobStatus, Part, Severity},
    log::EventLog,
};
use tokio::sync::mpsc::UnboundedSender;

pub mod check;

/// Appends events; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    log: Mutex<Log>,
    watcher: Option<UnboundedSender<Event>>,
}

struct Log {
    file: EventLog,
    events: Vec<Event>,
    error: Option<std::io::Error>,
}

impl Recorder {
    /// Starts a log in `path`, which must not exist yet.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path, watcher: Option<UnboundedSender<Event>>) -> std::io::Result<Self> {
        let log = Log {
            file: EventLog::create(path)?,
            events: Vec::new(),
            error: None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                log: Mutex::new(log),
                watcher,
            }),
        })
    }

    /// Time since the drill started, on the monotonic clock.
    pub fn offset(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// The monotonic moment that offsets count from.
    pub fn started(&self) -> Instant {
        self.inner.started
    }

    /// Appends one event, stamped now. A failure to write is kept for [`Recorder::finish`]: a drill must be able to
    /// go on and clean up although its evidence cannot be written. Returns the event's offset.
    pub fn record(&self, what: What) -> Duration {
        let mut log = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        // Both clocks are read under the lock, so that the order of the log is the order of its times.
        let offset = self.inner.started.elapsed();
        match log.file.append(Utc::now(), offset, what) {
            Ok(event) => {
                if let Some(watcher) = &self.inner.watcher {
                    let _ = watcher.send(event.clone()); // nobody watching is no error
                }
                log.events.push(event);
            }
            Err(error) => {
                log.error.get_or_insert(error);
            }
        }
        offset
    }

    /// The next part of the drill begins.
    pub fn part(&self, part: Part) {
        self.record(What::PartStarted { part });
    }

    /// A restore job changed its status.
    pub fn job(&self, job_id: &str, status: JobStatus, reason: &str, restored_bytes: u64) {
        self.record(What::RestoreJob {
            job_id: job_id.into(),
            status,
            reason: reason.into(),
            restored_bytes,
        });
    }

    /// Something that somebody should look at.
    pub fn finding(&self, text: impl Into<String>) {
        self.finding_of(Severity::Warning, text);
    }

    /// Something that people must know, and how much it matters.
    pub fn finding_of(&self, severity: Severity, text: impl Into<String>) {
        let text = text.into();
        self.record(What::Finding(Finding { severity, text }));
    }

    /// Awaits work outside the harness (servers, client tools, queries) and records how long it took.
    pub async fn external<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let began = self.offset();
        let result = work.await;
        self.external_since(what, began);
        result
    }

    /// Records external work that began at `began` (an [`Recorder::offset`]) and ends now.
    pub fn external_since(&self, what: &str, began: Duration) {
        self.record(What::ExternalWork {
            what: what.into(),
            began_ns: nanoseconds(began),
            ended_ns: nanoseconds(self.offset()),
        });
    }

    /// Everything recorded so far.
    pub fn events(&self) -> Vec<Event> {
        self.inner
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .events
            .clone()
    }

    /// Everything recorded, once the drill is over.
    ///
    /// # Errors
    /// The first failure to write the log, if there was one.
    pub fn finish(&self) -> std::io::Result<Vec<Event>> {
        let mut log = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        match log.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut log.events)),
        }
    }
}

/// A duration in whole nanoseconds; 584 years fit.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration in milliseconds with its fraction.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
