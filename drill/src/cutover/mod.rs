//! Cutover: the application's connection string, the application itself, and the failed primary's fence.
//!
//! Three traits say what must be done, and each implementation has a file of its own: [`ConfigStore`] (`config_store.rs`: a
//! settings file), [`AppControl`] (`process.rs`: a process), [`Fence`] (`fencing.rs`: every process is killed). [`application`]
//! is the application as it is asked over HTTP, whoever controls it; [`untold`] tries whether the fence holds. The order, and
//! what is undone when, is in [`crate::recovery`]; nothing here breaks itself, faults wrap it from outside.

pub mod application;
pub mod config_store;
pub mod fencing;

pub mod process;
pub mod untold;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::{errors::describe, postgres::Cluster, registry::Registry};

pub use application::{Application, ApplicationError};
pub use config_store::ConfigStoreError;

/// How long the proof of a fence waits for an answer.
const FENCE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the application's connection string lives.
pub trait ConfigStore: Send + Sync {
    /// Sets it up as it is on a good day, with all settings of the application.
    fn prepare<'a>(&'a self, settings: &'a Value) -> BoxFuture<'a, Result<(), ConfigStoreError>>;

    /// The connection string that is there now.
    fn connection(&self) -> BoxFuture<'_, Result<String, ConfigStoreError>>;

    /// Puts another one in its place; on an error it is as it was.
    fn replace<'a>(&'a self, connection: &'a str) -> BoxFuture<'a, Result<(), ConfigStoreError>>;

    /// The file from which the application reads it, where it is in one.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Where a new version of that file is written before it takes the old one's place, where there is such a path.
    fn beside(&self) -> Option<PathBuf> {
        None
    }
}

/// Replaces the connection string and reads it back. Answers what was there before.
///
/// # Errors
/// If it cannot be read or replaced, or another one is there afterwards.
pub async fn set_connection(store: &dyn ConfigStore, connection: &str) -> Result<String, ConfigStoreError> {
    let before = store.connection().await?;
    store.replace(connection).await?;
    if store.connection().await? == connection {
        Ok(before)
    } else {
        Err(ConfigStoreError::NotTaken)
    }
}

/// How the application is started and stopped.
pub trait AppControl: Send + Sync {
    /// Starts it and waits until it listens, at most for `patience`.
    fn start(&mut self, patience: Duration) -> BoxFuture<'_, Result<(), ApplicationError>>;

    /// Stops it and starts it again.
    fn restart(&mut self, patience: Duration) -> BoxFuture<'_, Result<(), ApplicationError>> {
        Box::pin(async move {
            self.stop().await;
            self.start(patience).await
        })
    }

    /// Stops it. Stopping what does not run is no error.
    fn stop(&mut self) -> BoxFuture<'_, ()>;

    /// Where it listens, `http://host:port`, while it runs.
    fn address(&self) -> Option<String>;

    /// Where its process id stands, from the moment at which the process is begun until it is stopped or has failed to start; 0
    /// otherwise. It stands in the same place over restarts. Faults send signals to it. None for what is no process.
    fn pid(&self) -> Option<Arc<AtomicU32>> {
        None
    }
}

/// Keeps the old primary out.
pub trait Fence: Send + Sync {
    /// Fences the failed cluster. Whether that holds is proven by somebody else: see [`proof_of_fence`]. The error says why it
    /// is not sure of itself.
    fn fence<'a>(&'a self, cluster: &'a mut Cluster) -> BoxFuture<'a, Result<(), String>>;
}

/// Connects as the application did: a fenced primary lets nobody in. Answers the reason that a client now gets; the error
/// says that it is still let in.
///
/// # Errors
/// If it is.
pub async fn proof_of_fence(as_application: &tokio_postgres::Config) -> Result<String, String> {
    match tokio::time::timeout(FENCE_PATIENCE, as_application.connect(NoTls)).await {
        Ok(Ok(_)) => Err("the failed primary still accepts connections".into()),
        Ok(Err(error)) => Ok(describe(&error)),
        Err(_) => Ok("no answer to a connection attempt".into()),
    }
}

/// Makes a store for one drill: the file from which the reference application reads its settings.
pub type MakeStore = fn(PathBuf) -> Box<dyn ConfigStore>;
/// Makes a control for one drill: the file of settings, and where the application logs.
pub type MakeControl = fn(PathBuf, PathBuf) -> Box<dyn AppControl>;
/// Makes a fence.
pub type MakeFence = fn() -> Box<dyn Fence>;

/// The stores that drill brings. Of this and of what follows, the first is taken where nobody chooses.
pub fn config_stores() -> Registry<MakeStore> {
    Registry::new("configuration store").with("file", "appsettings.json, replaced in one step", |path| {
        Box::new(config_store::FileStore::new(path))
    })
}

/// The controls that drill brings.
pub fn app_controls() -> Registry<MakeControl> {
    Registry::new("control of the application").with("process", "a process of its own, by signals", |settings, log| {
        Box::new(process::ProcessControl::new(settings, log))
    })
}

/// The fences that drill brings.
pub fn fences() -> Registry<MakeFence> {
    Registry::new("fence").with("kill", "every process of the failed cluster is killed", || {
        Box::new(fencing::Kill)
    })
}
