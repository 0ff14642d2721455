//! What kinds of faults on servers have in common.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::FaultError;
use crate::{
    backup::copy,
    postgres::{Cluster, Shutdown},
};

/// Stops a server in that way and in no other; says how, in words.
pub(super) async fn stop(cluster: &mut Cluster, mode: Shutdown) -> Result<&'static str, FaultError> {
    match (mode, cluster.stop(mode).await.map_err(failed("stop"))?) {
        (Shutdown::Fast, Shutdown::Fast) => Ok("stopped, with a checkpoint"),
        (Shutdown::Immediate, Shutdown::Immediate) => Ok("stopped at once, without a checkpoint"),
        (_, really) => Err(FaultError::NotVerified {
            what: format!("the server had to be stopped by {really:?}"),
        }),
    }
}

/// For `map_err`: a server could not be made to do `what`.
pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> FaultError {
    move |source| FaultError::Server {
        what,
        source: Box::new(source),
    }
}

/// Copies a backup's data directory.
pub(super) async fn copied(from: PathBuf, to: PathBuf) -> Result<(), FaultError> {
    let source = from.clone();
    tokio::task::spawn_blocking(move || copy::Copier::default().data_directory(&source, &to))
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(FaultError::io("copy", from))
}

/// The files of a directory.
pub(super) fn names(directory: &Path) -> Result<BTreeSet<String>, FaultError> {
    let entries = fs::read_dir(directory).map_err(FaultError::io("list", directory))?;
    Ok(entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}
