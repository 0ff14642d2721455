//! The first act of step 8: the restored server is stopped and started. A file that it needs only at its start, a commit log
//! that it has in memory and not on disk, a library that is not installed here: all of that shows now, or at the next
//! reboot.

use std::time::Duration;

use reports::{CheckId, CheckResult, Phase};

use crate::{
    errors::chain,
    postgres::{Cluster, Shutdown},
    record::check::{Found, timed},
    state::Drill,
};

/// How long it may take to tell whether it is in recovery.
const PATIENCE: Duration = Duration::from_secs(2);

/// Stops and starts a server that is out of recovery. One that is not, or that does not answer, is left as it is: what is the
/// matter with it is told by whoever looks at it next. The failed check if it does not come back.
pub(super) async fn came_back(drill: &Drill, cluster: &mut Cluster) -> Option<CheckResult> {
    if !matches!(
        tokio::time::timeout(PATIENCE, is_writable(drill, cluster)).await,
        Ok(Some(true))
    ) {
        return None;
    }
    let name = cluster.name().to_owned();
    let began = drill.desk.recorder.offset();
    let mut failed = false;
    let check = timed(CheckId::ServerStart, Phase::Restored, &name, async {
        let again = again(drill, cluster).await;
        failed = again.is_err();
        let expected = "it comes back after a restart";
        Ok::<_, std::convert::Infallible>(match again {
            Ok(()) => Found::pass(expected, "it came back"),
            Err(reason) => Found::fail(expected, reason),
        })
    });
    let check = check.await;
    drill.desk.recorder.external_since("restart the restored server", began);
    failed.then_some(check)
}

async fn is_writable(drill: &Drill, cluster: &Cluster) -> Option<bool> {
    let client = cluster
        .connect("postgres", drill.estate.site.service.database())
        .await
        .ok()?;
    let row = client.query_one("SELECT NOT pg_is_in_recovery()", &[]).await.ok()?;
    row.try_get(0).ok()
}

async fn again(drill: &Drill, cluster: &mut Cluster) -> Result<(), String> {
    match cluster.stop(Shutdown::Fast).await {
        Ok(Shutdown::Fast) => {}
        Ok(how) => drill.desk.recorder.finding(format!(
            "The restored server did not obey a fast shutdown; it took {how:?}."
        )),
        Err(error) => return Err(chain(&error)),
    }
    cluster.start().await.map_err(|error| chain(&error))
}
