//! A scenario: what stands before the failure, what breaks, what the operator aims for and how it must end.
//!
//! Scenarios are TOML, read strictly: a key nobody knows is refused with its place and a suggestion. This module only
//! reads and describes them; [`crate::fault`] does the damage and [`crate::drill`] the drill.
//!
//! - `parse.rs` reads a file. Each table is a struct that derives its reader, its writer and its schema: `given.rs`,
//!   `recovery.rs`, `expect.rs`, the kinds of faults. `key_types.rs` has the types of keys that several share; `de.rs`, with
//!   `table.rs` and `key_value.rs` (tables and values that remember their lines), gives every error of serde its place
//! - `kind.rs`: what a scenario knows of a kind of fault, and the registry of kinds; `vocabulary.rs`: all the names by which a
//!   file is read
//! - `fault.rs`, `target.rs` and `selection.rs`: when, where and on which files a fault acts
//! - `rules.rs` refuses what contradicts itself
//! - `catalogue.rs` is the catalogue inside the binary, and what people select from it
//! - `show.rs` says a scenario in plain words, `plan.rs` what a drill of it would do
//! - `write.rs` writes a scenario as a file, `schema.rs` describes the files for editors

use std::{path::PathBuf, time::Duration};

use reports::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod catalogue;
mod de;
mod error;
mod expect;
mod fault;
mod given;
mod key_types;
mod key_value;
mod kind;
mod named;
mod parse;
mod plan;
mod recovery;
mod rules;
mod schema;
mod selection;
mod show;
mod table;
mod target;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod vocabulary;
mod write;

pub use catalogue::{all, find, resolve};
pub use error::{Place, ScenarioError};
pub use expect::Expect;
pub use fault::Fault;
pub use given::{Given, StorageWish, Streaming};
pub use key_types::{AtLeast, Between, DatabaseRole, Glob, Hex, Lasting, OneBackup, OneOrMore, Text};
pub use kind::{Action, Changes, Kind, Kinds, KnownKind, Needs, Wrong};
pub use named::Named;
pub use parse::{load, parse};
pub use plan::{Circumstances, plan};
pub use recovery::{Destination, RecoveryWish, Target};
pub use schema::schema;
pub use selection::{Pick, SegmentOf, SegmentPlace, Selection};
pub use show::show;
pub use target::{FaultTarget, Moment, Which};
pub use vocabulary::{Capabilities, Vocabulary};

use key_types::{lasting, via};
pub(crate) use named::{hint, named, nearest};
pub(crate) use show::plural;

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

/// Objectives that a scenario sets instead of the service's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "[objectives]")]
pub struct ObjectivesOverride {
    /// At most this much acknowledged work may be lost: "1h", "2s".
    #[serde(deserialize_with = "via::<Lasting, _, _>", serialize_with = "lasting")]
    #[schemars(with = "Option<Lasting>")]
    pub rpo: Option<Duration>,
    /// The service must be restored within this time after the failure: "4h".
    #[serde(deserialize_with = "via::<Lasting, _, _>", serialize_with = "lasting")]
    #[schemars(with = "Option<Lasting>")]
    pub rto: Option<Duration>,
}
