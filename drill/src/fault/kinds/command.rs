//! Programs of the user's own: for what no other kind can break.

use std::{env, ffi::OsString, iter, path::Path};

use reports::text::counted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Deed, Doing, Done, FaultError, SUPERUSER, World},
    postgres::{Cluster, MARK, Tool},
    scenario::{Changes, Fault, Kind, Needs, OneOrMore, Text},
    values,
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
    /// Runs the program as the server's account and takes what it prints for what it touched. Nobody knows whether that holds
    /// values of rows, so that it is told only to those who may see them.
    async fn run(&self, cluster: &Cluster, database: &str, kept: Kept<'_>) -> Result<Done, FaultError> {
        let Some((program, arguments)) = self.argv.0.split_first() else {
            return Err(FaultError::NoEffect {
                kind: Self::name(),
                why: "argv is empty".to_owned(),
            });
        };
        let mut output = Tool::external(&**program)
            .args(arguments.iter().map(|argument| &**argument))
            .envs(cluster.client_environment(SUPERUSER, database, None))
            .env("PATH", path(cluster)?)
            .env("PGDATA", cluster.data_directory())
            .env("DRILL_ARCHIVE", kept.archive.unwrap_or(Path::new("")))
            .env("DRILL_STREAM", kept.stream.unwrap_or(Path::new("")))
            .env(MARK, kept.repository)
            .output()
            .await
            .map_err(|error| FaultError::Command(error.with_stderr(told)))?;
        if !output.status.success() {
            output.stderr = told(&output.stderr);
            return Err(FaultError::Command(output.failed()));
        }
        let said = told(&output.stdout);
        let said = said.lines().map(str::to_owned);
        Ok(Done::new(format!("{} ended with exit code 0", output.command), said))
    }
}

/// What may be told of what a program said.
fn told(said: &str) -> String {
    if values::are_shown() || said.is_empty() {
        return said.to_owned();
    }
    let lines = counted(said.lines().count(), "line");
    format!("it said {lines}, which may hold values (--show-values shows them)")
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

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn what_a_program_says_is_counted_and_not_told() {
        assert_eq!(
            told("hunter2\nhunter2\n"),
            "it said 2 lines, which may hold values (--show-values shows them)"
        );
        assert_eq!(told(""), "");
    }
}
