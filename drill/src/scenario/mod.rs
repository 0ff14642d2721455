//! A scenario: what stands before the failure, what breaks, what the operator aims for and how it must end.
//!
//! Scenarios are TOML, read strictly: a key nobody knows is refused with its place and a suggestion. This module only
//! reads and describes them; [`crate::fault`] does the damage and [`crate::drill`] the drill.
//!
//! - `parse.rs` and `expect.rs` read a file, with `reader.rs` and `item.rs` (tables and values that remember their lines) and
//!   `kinds.rs` and `keys.rs` (one entry a fault kind, and the keys that several share)
//! - `action.rs`, `target.rs`, `selection.rs` and `behaviour.rs`: how, where, on which files and services a fault acts
//! - `rules.rs` refuses what contradicts itself
//! - `catalogue.rs` is the catalogue inside the binary, and what people select from it
//! - `show.rs` says a scenario in plain words, `plan.rs` what a drill of it would do
//! - `schema.rs` describes the files for editors

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use reports::{CheckId, Outcome, Role, Step, event::ExpectedAnswer};

mod action;
mod behaviour;
mod catalogue;
mod error;
mod expect;
mod item;
mod keys;
mod kinds;
mod named;
mod parse;
mod plan;
mod reader;
mod rules;
mod schema;
mod selection;
mod show;
mod show_faults;
mod target;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use action::{Action, Fault, Keep, PageChecksum, Process, Replacement, ServerDeed, SignalName};
pub use behaviour::Behaviour;
pub use catalogue::{all, find, resolve};
pub use error::{Place, ScenarioError};
pub use kinds::{KINDS, Kind, Needs};
pub use named::Named;
pub use parse::{load, parse};
pub use plan::{Circumstances, plan};
pub use schema::schema;
pub use selection::{Pick, SegmentOf, SegmentPlace, Selection};
pub use show::show;
pub use target::{FaultTarget, Moment, Which};

pub(crate) use named::hint;
use named::named;

/// One scenario file, read and found free of contradictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Unique within the catalogue and within a run; names the drill's directory.
    pub id: String,
    /// One line.
    pub title: String,
    /// Why it is worth drilling.
    pub why: String,
    /// Where it comes from: a requirement, an incident, a manual.
    pub source: String,
    /// Its folder in the catalogue; empty for a user's own file.
    pub group: String,
    /// The world before the failure.
    pub given: Given,
    /// Objectives of its own.
    pub objectives: ObjectivesOverride,
    /// What breaks, in the order of the file.
    pub faults: Vec<Fault>,
    /// The roles that the operator holds. `None`: all that a recovery needs.
    pub roles: Option<Vec<Role>>,
    /// What the operator aims for.
    pub recovery: RecoveryWish,
    /// How it must end.
    pub expect: Expect,
    /// The file; for a scenario of the catalogue its name below `scenarios/`.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
}

/// The world before the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Backup systems; the scenario runs once for each. Empty: the scenario does not say.
    pub backup: Vec<String>,
    /// The system that takes each backup, oldest first, where they differ; empty: `backup` takes all of them.
    pub methods: Vec<String>,
    /// How many backups are taken while the writers run.
    pub backups: u32,
    /// Whether a base backup brings along the WAL that it needs; else that is in the archive only.
    pub wal_in_backup: bool,
    /// Options of the tool that takes them, beyond those that it always gets.
    pub backup_options: Vec<String>,
    /// The role that takes dumps, instead of the superuser.
    pub backup_role: Option<fixtures::Role>,
    /// After them a backup of another cluster gets into the repository.
    pub foreign_backup: bool,
    /// Whether WAL is archived continuously.
    pub archive: bool,
    /// Whether, and how, WAL is streamed to a second place.
    pub streaming: Streaming,
    /// Seed data: scripts.
    pub scripts: Option<u64>,
    /// Seed data: versions of each script, on average.
    pub versions: Option<u32>,
    /// Seed data: bytes of each version's content, on average.
    pub content_bytes: Option<u32>,
    /// Seed of every random choice.
    pub seed: Option<u64>,
    /// Acknowledged commits before the failure; 0: nobody writes.
    pub commits: Option<u64>,
    /// Concurrent writers.
    pub writers: Option<u32>,
    /// Where the clusters live.
    pub storage: Option<StorageWish>,
    /// The source cluster gets a filesystem of its own, in memory, of so many bytes: one that can be filled.
    pub storage_bytes: Option<u64>,
    /// The first restore goes to a filesystem of its own, in memory, of so many bytes: one that may be too small.
    pub restore_bytes: Option<u64>,
    /// PostgreSQL settings of the source cluster, as they stand in `postgresql.conf`.
    pub settings: BTreeMap<String, String>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            backup: Vec::new(),
            methods: Vec::new(),
            backups: 2,
            wal_in_backup: true,
            backup_options: Vec::new(),
            backup_role: None,
            foreign_backup: false,
            archive: true,
            streaming: Streaming::Off,
            scripts: None,
            versions: None,
            content_bytes: None,
            seed: None,
            commits: None,
            writers: None,
            storage: None,
            storage_bytes: None,
            restore_bytes: None,
            settings: BTreeMap::new(),
        }
    }
}

impl Given {
    /// The systems of `methods` as one name: `basebackup+dump`. `None` where one system takes all backups.
    pub fn mixed(&self) -> Option<String> {
        let mut names = self.methods.clone();
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| names.join("+"))
    }

    /// The system that takes a backup, counted from 1, in a drill with `system`.
    pub fn method<'a>(&'a self, system: &'a str, number: u32) -> &'a str {
        let index = number.saturating_sub(1) as usize;
        let own = self
            .methods
            .get(index)
            .filter(|_| self.mixed().as_deref() == Some(system));
        own.map_or(system, String::as_str)
    }
}

named! {
    /// WAL streamed by `pg_receivewal` beside the archive.
    pub enum Streaming {
        /// None: what the archive has not got is lost with the cluster.
        Off = "off",
        /// The stream follows; the last moments may be missing.
        Asynchronous = "asynchronous",
        /// The stream is a synchronous standby: no acknowledged commit can be lost with the cluster.
        Synchronous = "synchronous",
    }
}

named! {
    /// Where a scenario wants its clusters.
    pub enum StorageWish {
        /// In memory, fsync off.
        Memory = "memory",
        /// On disk, fsync on, as production would be.
        Disk = "disk",
    }
}

/// Objectives that a scenario sets instead of the service's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectivesOverride {
    /// At most this much acknowledged work may be lost.
    pub rpo: Option<Duration>,
    /// The service must be restored within this time after the failure.
    pub rto: Option<Duration>,
}

/// What the operator aims for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryWish {
    /// Where replay shall stop.
    pub target: Target,
    /// Where the restore goes.
    pub into: Destination,
}

named! {
    /// Where the operator has the backup restored to.
    pub enum Destination {
        /// A new place: what must be.
        New = "new",
        /// The directory of the cluster that failed: what must be refused.
        FailedCluster = "failed-cluster",
    }
}

impl Default for RecoveryWish {
    fn default() -> Self {
        Self {
            target: Target::End,
            into: Destination::New,
        }
    }
}

/// Where replay shall stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// At the end of the WAL that survived.
    #[default]
    End,
    /// Just before the disaster.
    BeforeFailure,
    /// Just before the first fault that was injected.
    BeforeFault,
    /// Just before a location in the WAL: `0/3000028`.
    Lsn(String),
    /// With the last commit up to a time.
    Time(DateTime<Utc>),
    /// As [`Target::Time`], with the time that the source's clock shows when that moment of the drill first comes.
    Moment(Moment),
}

impl Target {
    /// The targets that are names in a file.
    pub const NAMES: [&str; 3] = ["end", "before-failure", "before-fault"];
    /// The moments whose time may be a target.
    pub const MOMENTS: [Moment; 4] = [
        Moment::BeforeBackups,
        Moment::BetweenBackups,
        Moment::AfterBackups,
        Moment::Failure,
    ];
}

/// How a drill of this scenario must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Its outcome.
    pub outcome: Outcome,
    /// The checks that must notice the damage. `None`: the scenario does not say; an empty list: none may.
    pub detected_by: Option<Vec<CheckId>>,
    /// Whether the checks in `detected_by` are all that may notice anything.
    pub only: bool,
    /// How many backups must be rejected as unusable, if it says.
    pub rejected: Option<u32>,
    /// How often a restore must be begun (step 6), if it says.
    pub tries: Option<u32>,
    /// Texts that must occur among the findings, as reports display them: `critical: …`.
    pub findings: Vec<String>,
    /// At least so many commits must be acknowledged, if it says.
    pub least_commits: Option<u64>,
    /// The step at which a drill must end that does not end in a recovery, if it says.
    pub at_step: Option<Step>,
    /// What the cluster in service at the end must answer.
    pub answers: Vec<ExpectedAnswer>,
}
