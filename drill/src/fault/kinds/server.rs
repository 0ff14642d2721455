//! Whole servers, stopped and started in order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Deed, Doing, Done, FaultError, World,
        server::{failed, stop},
    },
    postgres::{Cluster, Shutdown},
    scenario::{Changes, Fault, Kind, Needs, named},
};

/// Stops or starts a server in order, and waits until it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What is done to the server.
    pub does: ServerDeed,
}

named! {
    /// What is done to a whole server, in order.
    pub enum ServerDeed {
        /// `pg_ctl stop -m fast`: with a checkpoint, so that every page is on disk.
        StopFast = "stop-fast",
        /// `pg_ctl stop -m immediate`: as a crash.
        StopImmediate = "stop-immediate",
        /// Starts it and waits until it serves.
        Start = "start",
    }
}

impl Kind for Server {
    fn name() -> &'static str {
        "server"
    }

    fn needs() -> Needs {
        Needs::Server
    }

    fn in_words(&self, fault: &Fault) -> String {
        let whose = fault.whose();
        match self.does {
            ServerDeed::StopFast => format!("stops the server of {whose} in order"),
            ServerDeed::StopImmediate => format!("stops the server of {whose} as a crash would"),
            ServerDeed::Start => format!("starts the server of {whose}"),
        }
    }

    fn changes(&self) -> Changes {
        Changes::Nothing
    }
}

impl Deed for Server {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move { self.act(world.cluster(fault)?).await })
    }
}

impl Server {
    /// Stops or starts a server and waits until it has.
    async fn act(&self, cluster: &mut Cluster) -> Result<Done, FaultError> {
        let no_effect = |why: &str| {
            Err(FaultError::NoEffect {
                kind: Self::name(),
                why: why.to_owned(),
            })
        };
        let done = match (self.does, cluster.is_running()) {
            (ServerDeed::Start, true) => return no_effect("the server runs already"),
            (ServerDeed::Start, false) => {
                cluster.start().await.map_err(failed("start"))?;
                "started; it serves"
            }
            (_, false) => return no_effect("the server does not run"),
            (ServerDeed::StopFast, true) => stop(cluster, Shutdown::Fast).await?,
            (ServerDeed::StopImmediate, true) => stop(cluster, Shutdown::Immediate).await?,
        };
        let line = format!("server of {}: {done}", cluster.name());
        Ok(Done::new(line.clone(), [line]))
    }
}
