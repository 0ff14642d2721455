//! The stage of a drill: what it holds while it is under way, and what may end it early.
//!
//! `drill` is the state that the steps share and the errors of the harness, `options` what the command line decides,
//! `inject` breaks things at their moments, `disk` is a filesystem that can be filled. The story itself is in
//! [`crate::run`], the recovery in [`crate::recovery`].

mod disk;
mod drill;
pub mod inject;
pub mod last_words;
mod options;

pub use disk::SmallDisk;
pub use drill::{Drill, DrillError, LEFT_RUNNING, Objectives};
pub use inject::inject;
pub use options::{Options, Sizing, StorageChoice};
