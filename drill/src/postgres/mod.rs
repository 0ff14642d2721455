//! Disposable PostgreSQL clusters: finding the binaries, making a cluster in a moment, starting it, killing it, and
//! leaving nothing behind. Nothing here knows about backups, faults or drills; everything above talks to PostgreSQL
//! through this module.
//!
//! Where to read on:
//!
//! - Which binaries: [`locate`] asks [`installed`], then [`embedded`], then [`container`], and answers with an [`Installation`].
//! - Where things live: [`cache`] keeps what is worth keeping, [`WorkDir`] what must vanish, [`sweep_stale`] clears up after
//!   killed runs.
//! - Who runs them: [`ServerUser`], because a PostgreSQL server refuses to be root.
//! - One cluster: `template` (initdb once, copied for each), `identity` (no two clusters share a system identifier),
//!   [`Cluster`] (create, adopt, start, stop), `process` (signals), [`Authorised`] (it can only hurt what it made).
//! - Client tools: [`Tool`]; what `pg_controldata` says: [`ControlData`].
//! - Names: [`Lsn`], [`TimelineId`], [`SystemIdentifier`].

mod authorisation;
pub mod cache;
mod cause;
pub(crate) mod cleared;
mod cluster;
pub mod connection;
pub mod container;
mod control;
pub mod embedded;
mod files;
mod identity;
mod ids;
mod installation;
pub mod installed;
pub mod packages;
pub mod page;
mod process;
pub mod progress;
mod readiness;
mod settings;
mod sweep;
mod template;
mod tool;
mod user;
mod workdir;

pub use authorisation::{Authorised, Basis, Marker, Refusal};
pub use cause::Cause;
pub use cluster::{Cluster, ClusterError, ClusterOptions, Shutdown};
pub use container::{ContainerError, ContainerOptions, Limits};
pub use control::{ClusterState, ControlData, ControlError, read_system_identifier};
pub use files::directory_bytes;
pub(crate) use files::{no_file, open_file};
pub use identity::intact_identifier;
pub use ids::{Lsn, ParseIdError, SystemIdentifier, TimelineId, WAL_SEGMENT_DEFAULT, parse_segment_name};
pub use installation::{Installation, LocateError, Progress, Provider, Request, Silent, locate};
pub use process::ServerProcess;
pub(crate) use process::{MARK, release_shared_memory};
pub use readiness::{Accepting, StartError};
pub(crate) use settings::conf_quoted;
pub use sweep::{Kept, Swept, kept, stop_kept, sweep_stale};
pub use template::TemplateError;
pub(crate) use tool::shell_quoted;
pub use tool::{RunningTool, Tool, ToolError, ToolOutput};
pub use user::{ServerUser, UserError};
pub use workdir::{Filesystem, Storage, WorkDir, WorkDirError, filesystem, remember_places};

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;
