//! What befalls the services around the database, from outside: none of them knows how to break itself.
//!
//! `app.rs` is a control around the application's real one, `load_balancer.rs` stands before the application, `config_store.rs` is a
//! store around the real one. Receivers of alerts and notifications are the drill's own, and misbehave as
//! [`crate::http::Receiver`] says.

pub mod app;
pub mod config_store;
mod load_balancer;
