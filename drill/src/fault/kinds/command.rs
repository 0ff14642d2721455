//! Programs of the user's own: for what no other kind can break.

use std::{env, ffi::OsString, iter, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Deed, Doing, Done, FaultError, SUPERUSER, World},
    postgres::{Cluster, MARK, Tool},
    scenario::{Changes, Fault, Kind, Needs, OneOrMore, Text},
};

/// Runs a program of yours as the server's account; an exit code other than 0 is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    pub argv: OneOrMore<Text>,
}

impl Kind for Command {
    fn name() -> &'static str {
        "command"
    }

    fn needs() -> Needs {
        Needs::Server
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!("runs `{}` against {}", self.argv.0.join(" "), fault.whose())
    }

    fn changes(&self) -> Changes {
        Changes::Contents
    }
}

impl Deed for Command {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        let kept = Kept {
            archive: world.archive,
            stream: world.stream,
            repository: world.repository,
        };
        let database = world.database;
        Box::pin(async move { self.run(world.cluster(fault)?, database, kept).await })
    }
}

/// Where the drill keeps what a recovery needs.
struct Kept<'a> {
    archive: Option<&'a Path>,
    stream: Option<&'a Path>,
    repository: &'a Path,
}

impl Command {
    /// Runs the program as the server's account and takes what it prints for what it touched.
    async fn run(&self, cluster: &Cluster, database: &str, kept: Kept<'_>) -> Result<Done, FaultError> {
        let Some((program, arguments)) = self.argv.0.split_first() else {
            return Err(FaultError::NoEffect {
                kind: Self::name(),
                why: "argv is empty".to_owned(),
            });
        };
        let output = Tool::external(&**program)
            .args(arguments.iter().map(|argument| &**argument))
            .envs(cluster.client_environment(SUPERUSER, database, None))
            .env("PATH", path(cluster)?)
            .env("PGDATA", cluster.data_directory())
            .env("DRILL_ARCHIVE", kept.archive.unwrap_or(Path::new("")))
            .env("DRILL_STREAM", kept.stream.unwrap_or(Path::new("")))
            .env(MARK, kept.repository)
            .run()
            .await
            .map_err(FaultError::Command)?;
        let said = output.stdout.lines().map(str::to_owned);
        Ok(Done::new(format!("{} ended with exit code 0", output.command), said))
    }
}

/// The search path of programs, with those of the cluster's PostgreSQL first.
fn path(cluster: &Cluster) -> Result<OsString, FaultError> {
    let before = env::var_os("PATH").unwrap_or_default();
    let all = iter::once(cluster.installation().bindir.clone()).chain(env::split_paths(&before));
    env::join_paths(all).map_err(|source| FaultError::NoEffect {
        kind: Command::name(),
        why: source.to_string(),
    })
}
