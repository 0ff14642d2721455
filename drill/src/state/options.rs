//! What the command line decides about a run.

use std::{path::PathBuf, sync::Arc, time::Duration};

use fixtures::SeedPlan;

use super::Parts;
use crate::{operator::OperatorMode, scenario::Given};

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
    /// How long step 1 waits for an alert before the operator looks for himself; the step's budget is the upper limit.
    pub alert_patience: Duration,
    /// Where the progress of seeding is shown.
    pub seeding: Option<Arc<dyn Fn(fixtures::Progress) + Send + Sync>>,
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
    pub fn progress(&self, progress: fixtures::Progress) {
        if let Some(show) = &self.seeding {
            show(progress);
        }
    }
}

/// Size of the seed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizing {
    /// By numbers; what is not given is the default.
    Numbers {
        /// Scripts.
        scripts: Option<u64>,
        /// Versions of each, on average.
        versions: Option<u32>,
        /// Bytes of each version's content, on average.
        content_bytes: Option<u32>,
    },
    /// By the size that the database shall have, in bytes.
    Target(u64),
}

impl Sizing {
    /// The same, but for the numbers that a scenario has of its own.
    #[must_use]
    pub fn with(self, given: &Given) -> Self {
        if (given.scripts, given.versions, given.content_bytes) == (None, None, None) {
            return self;
        }
        let (scripts, versions, content_bytes) = match self {
            Self::Numbers {
                scripts,
                versions,
                content_bytes,
            } => (scripts, versions, content_bytes),
            Self::Target(_) => (None, None, None),
        };
        Self::Numbers {
            scripts: given.scripts.or(scripts),
            versions: given.versions.or(versions),
            content_bytes: given.content_bytes.or(content_bytes),
        }
    }

    /// Size of a WAL segment that suits the seed: small ones make small clusters, but each costs a run of
    /// `archive_command`, so a large database gets the usual 16 MiB.
    pub fn wal_segment_mb(self) -> u32 {
        const LARGE: u64 = 256 << 20;
        let plan = self.plan(0);
        let bytes = plan.scripts * u64::from(plan.versions_per_script) * u64::from(plan.content_bytes);
        if bytes < LARGE { 1 } else { 16 }
    }

    /// The plan for the seed data.
    pub fn plan(self, seed: u64) -> SeedPlan {
        match self {
            Self::Target(bytes) => SeedPlan::for_target_size(bytes, seed),
            Self::Numbers {
                scripts,
                versions,
                content_bytes,
            } => {
                let default = SeedPlan::default();
                SeedPlan {
                    seed,
                    scripts: scripts.unwrap_or(default.scripts),
                    versions_per_script: versions.unwrap_or(default.versions_per_script),
                    content_bytes: content_bytes.unwrap_or(default.content_bytes),
                    ..default
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::Sizing;
    use crate::scenario::Given;

    #[test]
    fn a_scenarios_own_size_wins_number_by_number() {
        let asked = Sizing::Numbers {
            scripts: Some(7),
            versions: Some(2),
            content_bytes: None,
        };
        let given = Given {
            scripts: Some(40),
            content_bytes: Some(900),
            ..Given::default()
        };
        let both = Sizing::Numbers {
            scripts: Some(40),
            versions: Some(2),
            content_bytes: Some(900),
        };
        assert_eq!(asked.with(&given), both);
        assert_eq!(asked.with(&Given::default()), asked);
        let plan = Sizing::Target(64 << 20).with(&given).plan(3);
        assert_eq!((plan.scripts, plan.content_bytes, plan.seed), (40, 900, 3));
    }
}
