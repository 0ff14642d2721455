//! `replay-reached-end`: the restored server replayed as far as the plan proved that the WAL goes.
//!
//! A restore_command that fails too early looks to the server like the end of the archive; it then promotes without
//! a word, and everything after is missing. Only a comparison with what the WAL was known to hold can tell.

use reports::{CheckId, CheckResult, Phase};
use tokio_postgres::Client;

use super::{Found, timed};
use crate::{backup::RecoveryTarget, postgres::Lsn};

/// Bytes of the longest header of a WAL page.
const PAGE_HEADER: u64 = 40;

/// The check. `reach` is the end of the WAL that was read before the restore, if there was any.
pub async fn check(superuser: &Client, target: &RecoveryTarget, reach: Option<Lsn>, subject: &str) -> CheckResult {
    timed(CheckId::ReplayReachedEnd, Phase::Restored, subject, async {
        let row = superuser
            .query_one("SELECT pg_last_wal_replay_lsn()::text", &[])
            .await?;
        let replayed: Option<Lsn> = row.get::<_, Option<String>>(0).and_then(|lsn| lsn.parse().ok());
        let goal = match target {
            RecoveryTarget::Lsn(lsn) => Some(reach.map_or(*lsn, |reach| reach.min(*lsn))),
            RecoveryTarget::End => reach,
            RecoveryTarget::Time(_) | RecoveryTarget::Xid(_) => None,
        };
        let (Some(replayed), Some(goal)) = (replayed, goal) else {
            let reason = "there is no LSN to compare: nothing was replayed, or the target is no LSN";
            return Ok::<_, tokio_postgres::Error>(Found::unknown("replay as far as the WAL goes", reason));
        };
        // An exclusive LSN target stops before the first record that begins at the target or after it. The record before
        // that one ends there, but for the header of a page between the two.
        let slack = if matches!(target, RecoveryTarget::Lsn(_)) {
            PAGE_HEADER
        } else {
            0
        };
        let reached = replayed.0 + slack >= goal.0;
        Ok(Found::judge(
            reached,
            format!("replay to {goal}"),
            format!("replayed to {replayed}"),
        ))
    })
    .await
}
