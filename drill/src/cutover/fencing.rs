//! The bluntest fence there is: every process of the failed cluster is killed.

use futures_util::future::BoxFuture;

use super::Fence;
use crate::{
    errors::chain,
    postgres::{Cluster, Shutdown},
};

/// The fence.
#[derive(Debug, Clone, Copy)]
pub struct Kill;

impl Fence for Kill {
    fn fence<'a>(&'a self, cluster: &'a mut Cluster) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            cluster
                .stop(Shutdown::Kill)
                .await
                .map(drop)
                .map_err(|error| chain(&error))
        })
    }
}
