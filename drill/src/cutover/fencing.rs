//! The bluntest fence there is: every process of the failed cluster is killed. What counts is the proof afterwards, which
//! tries to connect with the connection string that applications had.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::Fence;
use crate::{
    errors::describe,
    postgres::{Cluster, Shutdown},
};

/// How long the proof waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The fence.
#[derive(Debug, Clone, Copy)]
pub struct Kill;

impl Fence for Kill {
    fn fence<'a>(
        &'a self,
        cluster: &'a mut Cluster,
        as_application: &'a tokio_postgres::Config,
    ) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async {
            if let Err(error) = cluster.stop(Shutdown::Kill).await {
                tracing::warn!(%error, "the failed cluster did not stop cleanly");
            }
            match timeout(PATIENCE, as_application.connect(NoTls)).await {
                Ok(Ok(_)) => Err("the failed primary still accepts connections".into()),
                Ok(Err(error)) => Ok(describe(&error)),
                Err(_) => Ok("no answer to a connection attempt".into()),
            }
        })
    }
}
