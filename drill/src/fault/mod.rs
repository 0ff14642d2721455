//! Faults: the damage that scenarios are composed of.
//!
//! [`inject`] does one fault, verifies that it happened and says exactly what it touched; a fault that changed nothing
//! is an error. Each kind has a file of its own in `kinds/`: a struct with its keys, which is a [`Kind`] to
//! [`crate::scenario`] and a [`Deed`] here. Beside them stand:
//!
//! - `world.rs`: everything that a fault can be aimed at, and what protects everything else
//! - `root.rs`: a directory that nothing leads out of, and the selection of files in it
//! - `files.rs` and `bytes.rs`: what kinds on files, and on bytes inside of them, have in common
//! - `service/`: what befalls the services around the database, from outside
//! - `server.rs` and `processes.rs`: what kinds on servers have in common

use std::{fmt, pin::Pin, sync::Arc};

use reports::{event::FaultReport, text::left_out};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::scenario::{Fault, Kind, KnownKind};

mod bytes;
mod error;
mod files;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod guard_tests;
pub mod kinds;
mod processes;
mod root;
mod server;
pub mod service;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod world;

pub use error::FaultError;
pub use files::OnFiles;
pub use kinds::{clock, kinds, service::Services};
pub use root::{Entry, EntryKind, Root};
pub use world::World;

/// Who runs a scenario's statements.
const SUPERUSER: &str = "postgres";

/// A kind of fault that can be done.
pub trait Deed: Kind {
    /// Does the damage that its keys say, verifies that it happened and says what it touched.
    ///
    /// # Errors
    /// If it cannot be done, or changed nothing: a drill without its damage proves nothing.
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a>;
}

/// A fault that is being done.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<Done, FaultError>> + Send + 'a>>;

/// The entry of a kind for the registry by which scenarios are read.
pub fn kind<K: Deed + Serialize + DeserializeOwned + JsonSchema>() -> KnownKind {
    KnownKind::new(|keys: Arc<K>| keys as Arc<dyn Deed>)
}

/// Does one fault and verifies that it happened.
///
/// A cluster is asked for its authorisation first: it must be one that this run made.
///
/// # Errors
/// If the fault cannot be done, or changed nothing.
pub async fn inject(fault: &Fault, world: &mut World<'_>) -> Result<Injected, FaultError> {
    let kind = fault.action.kind();
    let deed = fault.action.deed::<Arc<dyn Deed>>();
    let done = deed.ok_or(FaultError::NoDeed { kind })?.inject(fault, world).await?;
    tracing::info!(at = %fault.at, kind, target = %fault.target, "{}", done.summary);
    let report = FaultReport {
        number: fault.number,
        at: fault.at.to_string(),
        kind: kind.to_owned(),
        target: fault.target.to_string(),
        summary: done.summary,
        touched: done.touched.into_iter().chain(left_out(done.more as u64)).collect(),
    };
    Ok(Injected {
        report,
        mending: done.mending,
    })
}

/// A fault that was injected.
pub struct Injected {
    /// What it touched.
    pub report: FaultReport,
    /// How it is mended when the drill is over, where it is not the recovery's to make good.
    pub mending: Option<Mending>,
}

/// Takes a fault back once it is awaited, and with it whatever else was done to the same service. Tells how often a fault of
/// that service was met, where that is counted. Dropping it leaves the fault as it is.
pub type Mending = Pin<Box<dyn Future<Output = Result<Option<u64>, FaultError>> + Send>>;

/// What a fault did.
pub struct Done {
    /// One sentence with the totals.
    summary: String,
    /// Each thing touched, up to [`Done::MOST`].
    touched: Vec<String>,
    /// So many more are not named.
    more: usize,
    /// How it is mended.
    mending: Option<Mending>,
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

impl Done {
    /// So many things are named one by one.
    const MOST: usize = 40;

    /// `summary` is one sentence with the totals; `touched` says each thing that was touched, and what became of it.
    pub fn new(summary: String, touched: impl IntoIterator<Item = String>) -> Self {
        let mut touched: Vec<String> = touched.into_iter().collect();
        let more = touched.len().saturating_sub(Self::MOST);
        touched.truncate(Self::MOST);
        Self {
            summary,
            touched,
            more,
            mending: None,
        }
    }

    /// At the end of the drill it is taken back so. What is done to a service is; damage to data is the recovery's to make good.
    #[must_use]
    pub fn mended_by(self, mending: Mending) -> Self {
        Self {
            mending: Some(mending),
            ..self
        }
    }
}
