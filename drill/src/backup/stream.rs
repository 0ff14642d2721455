//! pg_receivewal beside the archive: the WAL leaves the primary as it is written, not a segment at a time.
//!
//! As a synchronous standby it makes the recovery point zero: no commit is acknowledged before its WAL is on the
//! other disk. It runs until stopped; its newest file carries the suffix `.partial`.

use crate::service::Role;
use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{BackupError, Site};
use crate::postgres::{Cluster, RunningTool};

/// Its name in pg_stat_replication, its slot's, and in synchronous_standby_names.
pub const STANDBY_NAME: &str = "drill_stream";
/// How long it may take to connect.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running pg_receivewal. It is killed when dropped.
pub struct Stream {
    tool: RunningTool,
}

impl Stream {
    /// Starts to receive into `directory` and waits until the server streams to it. With `synchronous` the server
    /// then waits for it at every commit.
    ///
    /// # Errors
    /// If it cannot be started or does not connect.
    pub async fn start(
        site: &Site,
        source: &Cluster,
        directory: &Path,
        log: &Path,
        synchronous: bool,
    ) -> Result<Self, BackupError> {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|source| BackupError::Io {
                action: "create",
                path: log.to_owned(),
                source,
            })?;
        let query = |what| move |source| BackupError::Query { what, source };
        let client = source.connect("postgres", "postgres").await?;
        client
            .execute(
                "SELECT pg_create_physical_replication_slot($1, true) \
                 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)",
                &[&STANDBY_NAME],
            )
            .await
            .map_err(query("cannot create the replication slot of pg_receivewal"))?;
        let mut tool = site
            .tool("pg_receivewal")
            .envs(site.environment(source, Role::RecoveryOperator, "postgres"))
            .env("PGAPPNAME", STANDBY_NAME)
            .arg("--directory")
            .arg(directory)
            .args([
                "--slot",
                STANDBY_NAME,
                "--no-loop",
                "--no-password",
                "--status-interval=1",
            ])
            .args(synchronous.then_some("--synchronous"))
            .stderr(log_file)
            .spawn()?;
        let began = Instant::now();
        let streaming = "SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'";
        while client
            .query_opt(streaming, &[&STANDBY_NAME])
            .await
            .map_err(query("cannot read pg_stat_replication"))?
            .is_none()
        {
            if !tool.is_running() || began.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(BackupError::Unexpected {
                    what: "pg_receivewal".into(),
                    problem: said.lines().last().unwrap_or("it does not connect").to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
        }
        if synchronous {
            let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY_NAME}'");
            client
                .batch_execute(&set)
                .await
                .map_err(query("cannot set synchronous_standby_names"))?;
            client
                .batch_execute("SELECT pg_reload_conf()")
                .await
                .map_err(query("cannot reload the configuration"))?;
            let synchronous = "SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync'";
            while client
                .query_opt(synchronous, &[&STANDBY_NAME])
                .await
                .map_err(query("cannot read pg_stat_replication"))?
                .is_none()
            {
                if began.elapsed() > PATIENCE {
                    return Err(BackupError::Unexpected {
                        what: "pg_receivewal".into(),
                        problem: "it does not become a synchronous standby".into(),
                    });
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(Self { tool })
    }

    /// Whether it still receives: it ends by itself when the server closes its connection.
    pub fn is_running(&mut self) -> bool {
        self.tool.is_running()
    }

    /// Waits for it to end by itself after its server is gone (so that what it received is flushed), and kills it
    /// otherwise.
    pub async fn stop(mut self) {
        let began = Instant::now();
        while self.tool.is_running() && began.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(2)).await; // back-off of a bounded wait
        }
        if let Err(error) = self.tool.stop(Signal::INT, Duration::from_secs(5)).await {
            tracing::warn!(%error, "pg_receivewal did not end in order");
        }
    }
}
