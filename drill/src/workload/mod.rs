//! The live workload: writers that keep the service's database moving, and the ledger of what they were promised.
//!
//! [`crate::ledger`] is the journal outside the database (the drill's only source of truth), [`writer`] one writer's life,
//! this file starts them, paces them and stops them. What the ledger proves is worked out in [`crate::verify::ledger`].

pub mod writer;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use reports::{event::WorkloadCounts, text::lasting};
use tokio::{
    sync::{OwnedRwLockWriteGuard, RwLock, Semaphore, watch},
    task::JoinSet,
};

use crate::{
    ledger::{Ledger, LedgerHeader},
    service::{Failing, Share, Writes},
};

use self::writer::Writer;

/// Permits that stand for "write as fast as you can".
const UNPACED: usize = 1 << 28;

/// What a workload needs to know.
pub struct WorkloadPlan {
    /// How many writers, at least 1.
    pub writers: u32,
    /// Seed of every random choice.
    pub seed: u64,
    /// How to reach the database as the application's role.
    pub database: tokio_postgres::Config,
}

/// What writers and their owner share.
pub(crate) struct Shared {
    pub(crate) ledger: Ledger,
    /// One permit is one operation.
    pub(crate) pace: Semaphore,
    /// Each operation holds it for reading; to hold all operations back, hold it for writing.
    pub(crate) gate: Arc<RwLock<()>>,
    /// Counts so far; changes with every answer.
    pub(crate) counts: watch::Sender<WorkloadCounts>,
    /// Since when no write has got through.
    pub(crate) refused: Failing,
}

/// While it lives, no writer writes.
#[must_use]
pub struct Hold {
    _gate: OwnedRwLockWriteGuard<()>,
}

/// Running writers. Dropping it stops them without waiting.
pub struct Workload {
    shared: Arc<Shared>,
    writers: JoinSet<()>,
    stop: watch::Sender<bool>,
    counts: watch::Receiver<WorkloadCounts>,
}

/// The writers failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The journal cannot be written.
    #[error("cannot write the ledger {path}; nothing was sent to the database without it")]
    Ledger {
        /// The ledger's path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// No commit was acknowledged for too long.
    #[error(
        "the live writers stand still: {acknowledged} of {wanted} commits were acknowledged and none in the last {}; \
         see the server's log",
        lasting(*waited)
    )]
    Stalled {
        /// Commits so far.
        acknowledged: u64,
        /// Commits waited for.
        wanted: u64,
        /// How long none came.
        waited: Duration,
    },
}

/// Begins the ledger of a drill in which nobody writes: nothing is sent, nothing acknowledged.
///
/// # Errors
/// If it cannot be created.
pub fn nobody_writes(path: &Path, header: &LedgerHeader, started: Instant) -> Result<(), WorkloadError> {
    let created = Ledger::create(path, header, started);
    created.map(drop).map_err(|source| WorkloadError::Ledger {
        path: path.display().to_string(),
        source,
    })
}

impl Workload {
    /// Starts the writers of a service. They wait for [`Workload::allow`] before they write.
    ///
    /// # Errors
    /// If the ledger cannot be created.
    pub fn start(
        plan: &WorkloadPlan,
        writes: &dyn Writes,
        path: &Path,
        header: &LedgerHeader,
        started: Instant,
    ) -> Result<Self, WorkloadError> {
        let ledger = Ledger::create(path, header, started).map_err(|source| WorkloadError::Ledger {
            path: path.display().to_string(),
            source,
        })?;
        let (sender, counts) = watch::channel(WorkloadCounts::default());
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            ledger,
            pace: Semaphore::new(0),
            gate: Arc::default(),
            counts: sender,
            refused: Failing::default(),
        });
        let mut writers = JoinSet::new();
        for number in 0..plan.writers.max(1) {
            let share = Share {
                number,
                writers: plan.writers.max(1),
                seed: plan.seed,
            };
            let writer = Writer {
                number,
                database: plan.database.clone(),
                work: writes.writer(share),
                shared: Arc::clone(&shared),
            };
            writers.spawn(writer.run(stopped.clone()));
        }
        Ok(Self {
            shared,
            writers,
            stop,
            counts,
        })
    }

    /// Allows `operations` more operations.
    pub fn allow(&self, operations: u64) {
        self.shared
            .pace
            .add_permits(usize::try_from(operations).unwrap_or(UNPACED).min(UNPACED));
    }

    /// Takes the brakes off: from now on writers write as fast as they can.
    pub fn allow_all(&self) {
        self.allow(UNPACED as u64);
    }

    /// Holds the writers: no operation is under way any more, and none begins before the result is dropped.
    pub async fn hold(&self) -> Hold {
        Hold {
            _gate: Arc::clone(&self.shared.gate).write_owned().await,
        }
    }

    /// Since when every write was refused or got no answer, if the last one was.
    pub fn refused_since(&self) -> Option<Instant> {
        self.shared.refused.since()
    }

    /// Counts so far.
    pub fn counts(&self) -> WorkloadCounts {
        *self.counts.borrow()
    }

    /// Waits until `wanted` commits are acknowledged in total.
    ///
    /// # Errors
    /// [`WorkloadError::Stalled`] when none is acknowledged for `patience`.
    pub async fn reached(&mut self, wanted: u64, patience: Duration) -> Result<(), WorkloadError> {
        loop {
            let before = self.counts.borrow_and_update().acknowledged;
            if before >= wanted {
                return Ok(());
            }
            let progress = self.counts.wait_for(|counts| counts.acknowledged > before);
            if !matches!(tokio::time::timeout(patience, progress).await, Ok(Ok(_))) {
                return Err(WorkloadError::Stalled {
                    acknowledged: before,
                    wanted,
                    waited: patience,
                });
            }
        }
    }

    /// Tells the writers to stop, waits for the operation that each is in, and closes the ledger.
    ///
    /// # Errors
    /// If the ledger could not be written at some point.
    pub async fn stop(mut self) -> Result<WorkloadCounts, WorkloadError> {
        let _ = self.stop.send(true);
        while self.writers.join_next().await.is_some() {}
        self.shared.ledger.close().map_err(|source| WorkloadError::Ledger {
            path: self.shared.ledger.path().display().to_string(),
            source,
        })?;
        let counts = *self.counts.borrow();
        Ok(counts)
    }
}
