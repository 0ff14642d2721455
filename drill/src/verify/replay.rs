//! `replay-reached-end`: the restored server replayed as far as the plan proved that the WAL goes.
//!
//! A restore_command that fails too early looks to the server like the end of the archive; it then promotes without
//! a word, and everything after is missing. Only a comparison with what the WAL was known to hold can tell. Where recovery
//! ended stands in the history of the timeline that it began, which outlives a restart; a server that began none never
//! was in archive recovery, and only says itself how far it came.

use reports::{CheckId, CheckResult, Phase};
use tokio_postgres::Client;

use super::{Found, timed};
use crate::{backup::RecoveryTarget, postgres::Lsn};

/// Bytes of the longest header of a WAL page.
const PAGE_HEADER: u64 = 40;

/// What the server says itself, and the history of its timeline, which 15 reads only by offset and length.
const REPLAYED: &str = "SELECT pg_last_wal_replay_lsn()::text, pg_read_file(format('pg_wal/%s.history', \
                        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)), 0, 1048576, true)";

/// The check, on a server on `timeline`, restored from a backup of timeline `before`. `reach` is the end of the WAL that was
/// read before the restore, if there was any.
pub async fn check(
    superuser: &Client,
    target: &RecoveryTarget,
    reach: Option<Lsn>,
    (before, timeline): (Option<u32>, u32),
    subject: &str,
) -> CheckResult {
    timed(CheckId::ReplayReachedEnd, Phase::Restored, subject, async {
        let row = superuser.query_one(REPLAYED, &[]).await?;
        let (said, history): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
        let replayed = if before.is_some_and(|before| before != timeline) {
            history.and_then(began_at)
        } else {
            said.and_then(|lsn| lsn.parse().ok())
        };
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

/// Where a timeline began: the last line of its history is about the one before it (`1  0/5000100  no recovery target`).
fn began_at(history: &str) -> Option<Lsn> {
    let last = history
        .lines()
        .rev()
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit()))?;
    last.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Lsn, began_at};

    #[test]
    fn a_timeline_began_where_the_one_before_it_was_left() {
        let history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000100\tbefore 2026\n";
        assert_eq!(began_at(history), Some(Lsn(0x500_0100)));
        assert_eq!(began_at(""), None);
        assert_eq!(began_at("nonsense\n"), None);
    }
}
