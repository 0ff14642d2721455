//! Programs of the user's own: for what no other kind can break.

use std::{env, ffi::OsString, iter, path::Path};

use super::{Done, FaultError, SUPERUSER};
use crate::postgres::{Cluster, MARK, Tool};

/// Where the drill keeps what a recovery needs.
pub(super) struct Kept<'a> {
    pub(super) archive: Option<&'a Path>,
    pub(super) stream: Option<&'a Path>,
    pub(super) repository: &'a Path,
}

/// Runs `argv` as the server's account and takes what it prints for what it touched.
pub(super) async fn run(cluster: &Cluster, argv: &[String], kept: Kept<'_>) -> Result<Done, FaultError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(FaultError::NoEffect {
            kind: "command",
            why: "argv is empty".to_owned(),
        });
    };
    let output = Tool::external(program)
        .args(arguments)
        .envs(cluster.client_environment(SUPERUSER, fixtures::DATABASE, None))
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

/// The search path of programs, with those of the cluster's PostgreSQL first.
fn path(cluster: &Cluster) -> Result<OsString, FaultError> {
    let before = env::var_os("PATH").unwrap_or_default();
    let all = iter::once(cluster.installation().bindir.clone()).chain(env::split_paths(&before));
    env::join_paths(all).map_err(|source| FaultError::NoEffect {
        kind: "command",
        why: source.to_string(),
    })
}
