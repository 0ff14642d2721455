//! A restored server's first start: through replay to the point at which it accepts writes, or waits for somebody to decide.

use std::time::{Duration, Instant};

use reports::{CheckId, Phase, Verdict, What};

use super::{BackupError, Site};
use crate::{
    errors::chain,
    postgres::{Cause, Cluster, ControlData, progress::PATIENCE},
    record::check::{Found, timed},
};

/// How long a server may take to come out of recovery without making progress.
pub const REPLAY_PATIENCE: Duration = PATIENCE;

/// How long a server that closed our connection may take to exit, or to accept connections again.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Starts a restored server and waits until it has left recovery or paused at its target; the validation judges whether that
/// is the right place. Settings that are too low for recovery are raised to the source's values.
///
/// # Errors
/// If it does not start, or makes no progress before that.
pub async fn restored_server(site: &Site, cluster: &mut Cluster) -> Result<(), BackupError> {
    match cluster.start().await {
        // Recovery refuses to go on where a setting is below what it was on the source (PostgreSQL manual, 27.4.3).
        Err(error) if error.cause() == Cause::SettingsTooLow => {
            let found = Found::fail("it starts and replays", chain(&error));
            let check = timed(CheckId::ServerStart, Phase::Restored, cluster.name(), async {
                Ok::<_, std::convert::Infallible>(found)
            });
            site.recorder.record(What::CheckFinished(check.await));
            raise_settings(site, cluster).await?;
            cluster.start().await?;
        }
        started => started?,
    }
    match wait_for_promotion(cluster).await {
        // It answered as a hot standby and has exited since: the reason for its exit is what matters.
        Err(BackupError::Cluster(_) | BackupError::Query { .. }) => Ok(cluster.wait_until_writable(LAST_WORDS).await?),
        waited => waited,
    }
}

/// Sets what recovery needs to the source's values, which are in pg_control.
async fn raise_settings(site: &Site, cluster: &mut Cluster) -> Result<(), BackupError> {
    let control = ControlData::read(&site.installation, cluster.data_directory()).await?;
    let settings = control.primary_settings;
    for (name, value) in &settings {
        cluster.set(name, &value.to_string());
    }
    let said: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    site.recorder.record(What::Repaired {
        action: format!("raise the settings that recovery needs ({})", cluster.name()),
        verdict: Verdict::Pass,
        detail: format!("as in pg_control: {}", said.join(", ")),
    });
    Ok(())
}

/// Waits until the server is out of recovery or has paused; as long as replay makes progress, it may take its time.
async fn wait_for_promotion(cluster: &mut Cluster) -> Result<(), BackupError> {
    let query = |source| BackupError::Query {
        what: "cannot ask the restored server whether it is in recovery",
        source,
    };
    let client = cluster.verifying("postgres", "postgres").await?;
    let (mut last, mut since) = (String::new(), Instant::now());
    loop {
        let sql = "SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn()::text, ''), \
                   pg_is_in_recovery() AND pg_get_wal_replay_pause_state() = 'paused'";
        let row = client.query_one(sql, &[]).await.map_err(query)?;
        let read = |column| row.try_get::<_, bool>(column).map_err(query);
        let replayed: String = row.try_get(1).map_err(query)?;
        if !read(0)? || read(2)? {
            return Ok(());
        }
        if replayed != last {
            (last, since) = (replayed, Instant::now());
        } else if since.elapsed() > REPLAY_PATIENCE {
            return Err(BackupError::StillInRecovery {
                reason: format!("no progress beyond {last}"),
            });
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
    }
}
