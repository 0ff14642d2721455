//! What the command line decides: about a run, and about each of its drills.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Interrupt, Parts};
use crate::{
    operator::OperatorMode,
    postgres::{Installation, Storage},
    scenario::{Given, Scenario},
    service::{Progress, Sizing},
};

/// What holds for all drills of a run.
#[derive(Clone)]
pub struct Options {
    /// What can be chosen by name.
    pub parts: Arc<Parts>,
    /// The run's id; part of every row of evidence.
    pub run_id: String,
    /// The run's directory.
    pub out: PathBuf,
    /// Seed of every random choice.
    pub seed: u64,
    /// Whether somebody chose it: it then wins over a scenario's own.
    pub seed_is_chosen: bool,
    /// Which service it is.
    pub service: String,
    /// Where its connection string is kept.
    pub config_store: String,
    /// How it is started and stopped.
    pub app_control: String,
    /// What notices the failure.
    pub monitor: String,
    /// Size of the seed data.
    pub sizing: Sizing,
    /// Acknowledged commits before the failure, unless the scenario says.
    pub commits: u64,
    /// Live writers, unless the scenario says.
    pub writers: u32,
    /// The service's recovery point objective.
    pub rpo: Duration,
    /// The service's recovery time objective.
    pub rto: Duration,
    /// Who decides.
    pub operator: OperatorMode,
    /// Leave the clusters running.
    pub keep: bool,
    /// Messages may hold values of rows.
    pub show_values: bool,
    /// Whether somebody wants the run to end now.
    pub interrupt: Interrupt,
    /// Where the progress of seeding is shown.
    pub seeding: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl Options {
    /// What holds for one drill: a scenario's own seed, unless somebody chose one, and its own size of the seed data.
    #[must_use]
    pub fn of_drill(&self, given: &Given) -> Self {
        Self {
            seed: given.seed.filter(|_| !self.seed_is_chosen).unwrap_or(self.seed),
            sizing: self.sizing.with(given),
            ..self.clone()
        }
    }

    /// Shows the progress of seeding, if anybody wants to see it.
    pub fn progress(&self, progress: Progress) {
        if let Some(show) = &self.seeding {
            show(progress);
        }
    }
}

/// What one drill is about.
pub struct Assignment<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The backup system.
    pub system: &'a str,
    /// Name of the drill within the run: the scenario's id, or `<id>@<system>`.
    pub name: String,
    /// The binaries.
    pub installation: &'a Installation,
    /// Where its clusters live.
    pub storage: Storage,
    /// The command line that carries out the same drill once more.
    pub again: String,
}

/// Where clusters live, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageChoice {
    /// One drill on disk with fsync, a catalogue in memory, unless the scenario says.
    Auto,
    /// In memory with fsync off.
    Memory,
    /// On disk with fsync on.
    Disk,
}
