//! A setting that somebody changed.

use std::time::{Duration, Instant};

use postgres_protocol::escape::{escape_identifier, escape_literal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Deed, Doing, Done, FaultError, SUPERUSER, World,
        server::{failed, stop},
    },
    postgres::{Cluster, Shutdown},
    scenario::{Changes, Fault, FaultTarget, Kind, Needs, Text},
};

/// How long a reload may take to be seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes a setting of a server, with a restart where the setting asks for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Its name.
    pub name: Text,
    /// Its new value; absent: it is reset to what the configuration files say without the drill's doing.
    pub value: Option<String>,
}

impl Kind for Setting {
    fn name() -> &'static str {
        "setting"
    }

    fn needs() -> Needs {
        Needs::Server
    }

    fn in_words(&self, fault: &Fault) -> String {
        let (name, whose) = (&*self.name, fault.whose());
        match &self.value {
            Some(value) => format!("sets {name} = {value} on {whose}"),
            None => format!("resets {name} on {whose}"),
        }
    }

    fn changes(&self) -> Changes {
        Changes::Settings
    }

    fn wal_in_words(&self, fault: &Fault, _: u32, source: &str) -> Option<String> {
        let (name, line) = (&*self.name, fault.line);
        let archives = fault.target == FaultTarget::Cluster && name.starts_with("archive_");
        archives.then(|| format!(", with what {name} still brings into the {source} after line {line}"))
    }
}

impl Deed for Setting {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move { self.set(world.cluster(fault)?).await })
    }
}

impl Setting {
    /// Sets it by ALTER SYSTEM, or resets it, and has the server take it over; on a stopped server for its next start.
    async fn set(&self, cluster: &mut Cluster) -> Result<Done, FaultError> {
        let (name, value) = (&*self.name, self.value.as_deref());
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
                        kind: Self::name(),
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
                return Err(FaultError::NoEffect {
                    kind: Self::name(),
                    why,
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // a reload takes a moment to reach new sessions
        }
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
            kind: Setting::name(),
            why: format!("the server has no setting {name}"),
        }),
    }
}
