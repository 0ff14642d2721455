//! Keeps the failed primary from accepting another write.
//!
//! Fencing here is the bluntest there is: every process of the failed cluster is killed. What counts is the proof
//! afterwards, which tries to connect with the connection string that applications had.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::{
    errors::describe,
    postgres::{Cluster, Shutdown},
};

/// Kills the failed cluster and proves that it is gone: connecting as the application did must fail. Returns the
/// reason that a client now gets.
///
/// # Errors
/// If it still accepts connections.
pub async fn fence(cluster: &mut Cluster, as_application: &tokio_postgres::Config) -> Result<String, String> {
    if let Err(error) = cluster.stop(Shutdown::Kill).await {
        tracing::warn!(%error, "the failed cluster did not stop cleanly");
    }
    match timeout(Duration::from_secs(2), as_application.connect(NoTls)).await {
        Ok(Ok(_)) => Err("the failed primary still accepts connections".into()),
        Ok(Err(error)) => Ok(describe(&error)),
        Err(_) => Ok("no answer to a connection attempt".into()),
    }
}
