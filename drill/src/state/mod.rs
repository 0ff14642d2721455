//! The stage of a drill: what it holds while it is under way, and what may end it early.
//!
//! [`Drill`] is the state that the steps share and the errors of the harness, [`Options`] what the command line decides, [`Parts`]
//! what it can choose from by name,
//! [`inject()`] breaks things at their moments, [`remember`] adds to the log of references, [`promises`] is what writers were
//! told, [`answers`] what the cluster in service says at the end, [`SmallDisk`] a filesystem that can be filled, [`Undo`] what a cutover has changed, [`Interrupt`]
//! the wish to end now, [`foreign`]
//! another cluster in the same repository, [`lacking()`] why this machine cannot carry a scenario out. The story itself is in
//! [`crate::drill`], the recovery in [`crate::recovery`].

pub mod answers;
mod disk;
mod drill;
mod error;
pub mod foreign;
pub mod inject;
mod interrupt;
mod lacking;
pub mod last_words;
mod options;
mod parts;
pub mod promises;
pub mod remember;
mod repository;
mod undo;

pub use disk::SmallDisk;
pub use drill::{Drill, LEFT_RUNNING, Objectives};
pub use error::DrillError;
pub use inject::inject;
pub use interrupt::{Interrupt, UnderWay};
pub use lacking::lacking;
pub use options::{Options, StorageChoice};
pub use parts::Parts;
pub use undo::{Change, Undo};
