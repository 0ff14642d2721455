//! Cutover: the application's connection string, the application's process, and the failed primary's fence.
//!
//! [`config_store`] holds the connection string, [`application`] starts and stops the service, [`front`] stands before it where
//! a scenario wants that, [`fencing`] keeps the failed primary from coming back, and [`pinned`] tries whether it does. The order, and what is undone when, is in [`crate::recovery`].

pub mod application;
pub mod config_store;
pub mod fencing;
pub mod front;
pub mod pinned;
