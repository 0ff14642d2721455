//! The first event of a log: what it is the log of, and everything that is known before anything is begun.

use serde::{Deserialize, Serialize};

use crate::{CheckId, Outcome, Step};

/// The format that this version writes. A log of a later one is refused; those of earlier ones are read.
///
/// 1: logs that do not say. 2: what was seeded is a list of tables; the log says its format and its kind.
pub const FORMAT: u32 = 2;

pub(crate) fn first_format() -> u32 {
    1
}

/// What a log is the log of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A drill: something is broken on purpose, and recovered.
    #[default]
    Drill,
}

/// Everything about a drill that is known before it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillHeader {
    /// The format of this log and of everything that is made of it; 1 in logs that do not say.
    #[serde(default = "first_format")]
    pub format: u32,
    /// What kind of work it is the log of.
    #[serde(default)]
    pub kind: Kind,
    /// The run that the drill belongs to.
    pub run_id: String,
    /// Name of the drill within the run: the scenario's id, or `<id>@<backup system>`.
    pub drill: String,
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's group; empty for a file outside the catalogue.
    pub group: String,
    /// One line.
    pub title: String,
    /// Why it is worth drilling.
    pub why: String,
    /// Where the scenario comes from.
    pub source: String,
    /// `basebackup`, `dump` …
    pub backup_system: String,
    /// `16.14`
    pub postgres_version: String,
    /// `embedded`, `installed`, `container`
    pub provider: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// The command line that carries out the same drill once more; empty in logs of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub again: String,
    /// `drill`'s own version.
    pub drill_version: String,
    /// The objectives.
    pub objectives: Objectives,
    /// What the scenario expects.
    pub expected: Expected,
    /// Where and on what it ran.
    pub environment: Environment,
    /// How the service's database was set up: `archive = true`, `wal_level = replica` …; names and values.
    pub given: Vec<(String, String)>,
    /// What shall be broken, in the order of the scenario's file; empty in logs of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<PlannedFault>,
}

/// A fault of the scenario, before it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Its number in the scenario, from 1.
    pub number: u32,
    /// The line of the scenario's file on which it begins.
    pub line: u64,
    /// When: `failure`, `after-backups` …
    pub at: String,
    /// Its kind: `remove-files` …
    pub kind: String,
    /// What it is aimed at: `cluster`, `backup:latest` …
    pub target: String,
}

/// Objectives of one drill.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    /// RPO in seconds.
    pub rpo_s: f64,
    /// RTO in seconds.
    pub rto_s: f64,
    /// Whether they are the scenario's own and not the service's.
    pub from_scenario: bool,
}

/// What a scenario expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// How it must end.
    pub outcome: Outcome,
    /// Checks that must notice the damage. `Some` of an empty list: nothing may be noticed at all.
    pub detected_by: Option<Vec<CheckId>>,
    /// Whether no other check may notice anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
    /// How many backup candidates must be rejected as unusable, if the scenario says.
    pub rejected: Option<u32>,
    /// Each must occur among the drill's findings, as they are displayed: severity, then text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// How often a restore must be begun (step 6), if the scenario says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// At least so many commits must be acknowledged, if the scenario says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_commits: Option<u64>,
    /// The step at which a drill that does not end in a recovery must end, if the scenario says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_step: Option<Step>,
    /// What the cluster in service at the end must answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<ExpectedAnswer>,
}

/// A statement, and what it must answer on the cluster that is in service at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedAnswer {
    /// The statement, run as superuser.
    pub sql: String,
    /// In which database. Empty: the application's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub database: String,
    /// The one value of its one row, as text.
    pub is: String,
}

/// Where a drill ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Operating system and architecture.
    pub platform: String,
    /// Logical processors.
    pub processors: u32,
    /// `disk` or `memory`.
    pub storage: String,
    /// Filesystem type under the clusters.
    pub filesystem: String,
    /// Whether the source ran with fsync.
    pub fsync: bool,
    /// Anything that was missing and what it means: "amcheck is not available: …".
    pub notes: Vec<String>,
}
