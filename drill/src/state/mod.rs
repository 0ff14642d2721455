//! What a drill holds while it is under way, and what may end it early.
//!
//! A [`Drill`] has four parts: the [`Desk`] (who decides, by what, and where it is written down), the [`Estate`] (clusters,
//! application and what stands around them), the [`Incident`] (when it failed) and the [`Injector`] (what was broken, and how it
//! is mended). [`set_up()`] makes them.
//!
//! - `options.rs`, `parts.rs`: what the command line decides, and what it can choose from by name
//! - `inject.rs`: breaks things at their moments; `foreign.rs`: another cluster in the same repository
//! - `remember.rs`: adds to the log of references; `promises.rs`: what writers were told; `repository.rs`: nobody writes to it
//! - `undo.rs`: what a cutover has changed; `interrupt.rs`: the wish to end now
//! - `answers.rs`: what the cluster in service says at the end; `last_words.rs`: what servers say when the harness cannot go on
//! - `disk.rs`: a filesystem that can be filled; `lacking.rs`: why this machine cannot carry a scenario out
//!
//! The story itself is in [`crate::drill`], the recovery in [`crate::recovery`].

pub mod answers;
mod desk;
mod disk;
mod drill;
mod error;
mod estate;
pub mod foreign;
mod header;
mod incident;
pub mod inject;
mod injector;
mod interrupt;
mod lacking;
pub mod last_words;
mod options;
mod parts;
pub mod promises;
pub mod remember;
mod repository;
mod setup;
mod undo;

pub use desk::{Desk, Objectives};
pub use disk::SmallDisk;
pub use drill::{Drill, LEFT_RUNNING};
pub use error::DrillError;
pub use estate::Estate;
pub use header::header;
pub use incident::Incident;
pub use inject::inject;
pub use injector::Injector;
pub use interrupt::{Interrupt, UnderWay};
pub use lacking::lacking;
pub use options::{Assignment, Options, StorageChoice};
pub use parts::Parts;
pub use setup::set_up;
pub use undo::{Change, Undo};
