//! The evidence model of a drill and its renderers.
//!
//! A drill writes [`Event`]s as they happen; [`evidence`] folds them into a [`DrillEvidence`]; the renderers turn a
//! [`RunEvidence`] into files. All of it is pure but for writing files: no async, no clock, no environment, so a
//! report can be made again from a run's events at any time. Start with [`event`], then [`evidence`].
//!
//! | to | look at |
//! |---|---|
//! | record what happens | [`event`], [`log`] |
//! | know what it proves | [`evidence`], [`run`], [`exit`] |
//! | read a run back | [`read`](mod@read) |
//! | know what a run was going to do | [`plan`] |
//! | write its reports | [`write`](mod@write), [`format`](mod@format) |
//! | see what a report says | `document` (the content of Markdown and HTML alike), then [`markdown`] and [`html`] |
//! | write a number for people | [`text`] |
//! | feed other programs | [`csv`], [`json`], [`junit`] |
//! | prove that nothing was changed since | [`manifest`] |

#![expect(clippy::similar_names, reason = "RPO and RTO are the words of the field")]

pub mod check;
pub mod csv;
mod document;
pub mod event;
pub mod evidence;
pub mod exit;
pub mod format;
pub mod html;
pub mod json;
pub mod junit;
pub mod log;
pub mod manifest;
pub mod markdown;
pub mod plan;
pub mod read;
pub mod run;
pub mod step;
pub mod text;
pub mod verdict;
pub mod write;

pub use check::{CheckId, CheckResult, NOT_COVERED, Phase};
pub use event::{Event, What};
pub use evidence::{DrillEvidence, FoldError, StepVerdict, fold};
pub use format::Format;
pub use log::EventLog;
pub use manifest::{ManifestProblem, verify};
pub use plan::{PlannedDrill, RunPlan};
pub use read::{ReadError, read};
pub use run::{RunEvidence, SCHEMA_VERSION};
pub use step::{Role, Step};
pub use verdict::{Outcome, Verdict};
pub use write::{WriteError, Written, write};
