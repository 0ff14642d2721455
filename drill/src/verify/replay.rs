//! `replay-reached-end`: the restored server replayed as far as the plan proved that the WAL goes, and along the same timeline.
//!
//! A restore_command that fails too early looks to the server like the end of the archive; it then promotes without
//! a word, and everything after is missing. Another server's timeline in the archive may reach further and still not be the
//! service's. Only a comparison with what the WAL was known to hold can tell. Where recovery ended stands in the history
//! of the timeline that it began, which outlives a restart; a server that began none never was in archive recovery: how
//! far it came it only says itself, until it is restarted.

use reports::{CheckId, CheckResult, Phase};
use tokio_postgres::Client;

use super::{Found, timed};
use crate::{
    backup::RecoveryTarget,
    postgres::{Lsn, TimelineId},
};

/// Bytes of the longest header of a WAL page.
const PAGE_HEADER: u64 = 40;

/// What the server says itself, and the history of its timeline, which 15 reads only by offset and length.
const REPLAYED: &str = "SELECT pg_last_wal_replay_lsn()::text, pg_read_file(format('pg_wal/%s.history', \
                        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)), 0, 1048576, true)";

/// What the plan says of the WAL to replay.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// How far to replay it.
    pub target: &'a RecoveryTarget,
    /// The end of the WAL that was read before the restore, if there was any.
    pub reach: Option<Lsn>,
    /// Where the backup is complete: no server came less far.
    pub complete: Option<Lsn>,
    /// The timeline on which that is.
    pub along: Option<TimelineId>,
    /// The timeline on which the backup was taken.
    pub from: Option<u32>,
}

/// The check, on a restored server that is now on `timeline`; hands out where recovery ended as well, if that is before what
/// was planned, on the timeline that was planned.
pub async fn check(
    superuser: &Client,
    planned: Planned<'_>,
    timeline: u32,
    subject: &str,
) -> (CheckResult, Option<Lsn>) {
    let Planned { target, reach, .. } = planned;
    let mut ended_early = None;
    let result = timed(CheckId::ReplayReachedEnd, Phase::Restored, subject, async {
        let row = superuser.query_one(REPLAYED, &[]).await?;
        let (said, history): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
        let (replayed, branched) = if planned.from.is_some_and(|from| from != timeline) {
            let began = history.and_then(began_at);
            (began.map(|(_, lsn)| lsn), began.map(|(parent, _)| parent))
        } else {
            (said.and_then(|lsn| lsn.parse().ok()).or(planned.complete), None)
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
        let astray = branched.is_some_and(|branched| planned.along.is_some_and(|along| along != branched));
        ended_early = (!reached && !astray).then_some(replayed);
        let on = |timeline: Option<TimelineId>| timeline.map_or_else(String::new, |id| format!(" on timeline {id}"));
        Ok(Found::judge(
            reached && !astray,
            format!("replay to {goal}{}", on(planned.along)),
            format!("replayed to {replayed}{}", on(branched)),
        ))
    })
    .await;
    (result, ended_early)
}

/// Where a timeline began, and on which one: the last line of its history (`1  0/5000100  no recovery target`).
fn began_at(history: &str) -> Option<(TimelineId, Lsn)> {
    let last = history
        .lines()
        .rev()
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut words = last.split_whitespace();
    let parent = words.next()?.parse().ok()?;
    Some((TimelineId(parent), words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Lsn, TimelineId, began_at};

    #[test]
    fn a_timeline_began_where_the_one_before_it_was_left() {
        let history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000100\tbefore 2026\n";
        assert_eq!(began_at(history), Some((TimelineId(2), Lsn(0x500_0100))));
        assert_eq!(began_at(""), None);
        assert_eq!(began_at("nonsense\n"), None);
    }
}
