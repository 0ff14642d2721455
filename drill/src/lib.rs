//! drill: an automated disaster-recovery drill and verification harness for PostgreSQL.
//!
//! It seeds a disposable PostgreSQL with an application's data, runs live writers, takes backups, breaks something on
//! purpose, carries out the whole recovery from alert to *service restored*, measures what was really lost and how
//! long it really took, and leaves evidence.
//!
//! Start with [`drill`] (one drill, top to bottom), then [`recovery`] (the fourteen steps).
//!
//! # The rooms: top-level modules, by layer
//!
//! A room may use those in the lines below its own, and none beside it or above. A test reads every path in every file and
//! compares it with this list.
//!
//! ```text
//! cli                          what a user types; one file per subcommand
//! run                          many drills, one after the other and side by side
//! drill                        one drill as a story
//! recovery                     the fourteen steps, in their order
//! state                        what a drill holds while it is under way, and the moments at which things break
//! fault                        what breaks things on purpose
//! backup verify cutover monitor notify workload
//! service                      the application under drill, and all that is known of it
//! wal reference ledger         write-ahead log; records of the service's cluster; the journal of commits
//! record scenario operator     what happened; what is to happen; who decides
//! postgres http                disposable clusters; a receiver of requests
//! errors registry              errors in words; what can be chosen by its name
//! values                       keeps values of rows out of messages
//! ```

pub mod backup;
pub mod cli;
pub mod cutover;
pub mod drill;
pub mod errors;
pub mod fault;
pub mod http;
pub mod ledger;
pub mod monitor;
pub mod notify;
pub mod operator;
pub mod postgres;
pub mod record;
pub mod recovery;
pub mod reference;
pub mod registry;
pub mod run;
pub mod scenario;
pub mod service;
pub mod state;
pub mod values;
pub mod verify;
pub mod wal;
pub mod workload;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod layers;
