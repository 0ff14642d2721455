//! Whole servers: stopped, started, configured.

use std::time::{Duration, Instant};

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::{Done, FaultError, SUPERUSER};
use crate::{
    postgres::{Cluster, Shutdown},
    scenario::ServerDeed,
};

/// How long a reload may take to be seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops or starts a server and waits until it has.
pub(super) async fn act(cluster: &mut Cluster, does: ServerDeed) -> Result<Done, FaultError> {
    let no_effect = |why: &str| {
        Err(FaultError::NoEffect {
            kind: "server",
            why: why.to_owned(),
        })
    };
    let done = match (does, cluster.is_running()) {
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

async fn stop(cluster: &mut Cluster, mode: Shutdown) -> Result<&'static str, FaultError> {
    match (mode, cluster.stop(mode).await.map_err(failed("stop"))?) {
        (Shutdown::Fast, Shutdown::Fast) => Ok("stopped, with a checkpoint"),
        (Shutdown::Immediate, Shutdown::Immediate) => Ok("stopped at once, without a checkpoint"),
        (_, really) => Err(FaultError::NotVerified {
            what: format!("the server had to be stopped by {really:?}"),
        }),
    }
}

/// Sets `name` by ALTER SYSTEM, or resets it, and has the server take it over; on a stopped server for its next start.
pub(super) async fn set(cluster: &mut Cluster, name: &str, value: Option<&str>) -> Result<Done, FaultError> {
    if !cluster.is_running() {
        let line = match value {
            Some(value) => {
                cluster.set(name, value);
                format!("{name} = {value} from the next start on")
            }
            None if cluster.unset(name) => {
                format!("{name} from the next start on as the configuration files have it")
            }
            None => {
                return Err(FaultError::NoEffect {
                    kind: "setting",
                    why: format!("nothing overrules what the configuration files say of {name}"),
                });
            }
        };
        return Ok(Done::new(line.clone(), [line]));
    }
    let (before, context) = current(cluster, name).await?;
    let parameter = escape_identifier(name);
    let statement = match value {
        Some(value) => format!("ALTER SYSTEM SET {parameter} = {}", escape_literal(value)),
        None => format!("ALTER SYSTEM RESET {parameter}"),
    };
    let client = cluster
        .connect(SUPERUSER, SUPERUSER)
        .await
        .map_err(failed("connect to"))?;
    for sql in [statement.as_str(), "SELECT pg_reload_conf()"] {
        client
            .batch_execute(sql)
            .await
            .map_err(|source| FaultError::Statement {
                statement: sql.to_owned(),
                source,
            })?;
    }
    let mut how = "reloaded";
    if context == "postmaster" {
        how = "restarted";
        stop(cluster, Shutdown::Fast).await?;
        cluster.start().await.map_err(failed("start"))?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (after, _) = current(cluster, name).await?;
        if after != before {
            let line = format!("{name}: {before} → {after}, {how}");
            return Ok(Done::new(line.clone(), [line]));
        }
        if Instant::now() > deadline {
            let why = format!("{name} is still {before}; the command line or the role may overrule it");
            return Err(FaultError::NoEffect { kind: "setting", why });
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // a reload takes a moment to reach new sessions
    }
}

/// A setting as a new session has it, and when it can be changed.
async fn current(cluster: &Cluster, name: &str) -> Result<(String, String), FaultError> {
    const SQL: &str = "SELECT setting || coalesce(unit, ''), context FROM pg_settings WHERE lower(name) = lower($1)";
    let client = cluster
        .connect(SUPERUSER, SUPERUSER)
        .await
        .map_err(failed("connect to"))?;
    let row = client.query_opt(SQL, &[&name]).await;
    let row = row.map_err(|source| FaultError::Statement {
        statement: SQL.to_owned(),
        source,
    })?;
    match row {
        Some(row) => Ok((row.get(0), row.get(1))),
        None => Err(FaultError::NoEffect {
            kind: "setting",
            why: format!("the server has no setting {name}"),
        }),
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> FaultError {
    move |source| FaultError::Server {
        what,
        source: Box::new(source),
    }
}
