//! `replay-reached-end`: the restored server replayed as far as the plan proved that the WAL goes, and along the same timeline.
//!
//! A restore_command that fails too early looks to the server like the end of the archive; it then promotes without
//! a word, and everything after is missing. Another server's timeline in the archive may reach further and still not be the
//! service's. Only a comparison with what the WAL was known to hold can tell. The end of recovery is read from the history file
//! of the timeline that the server began, which outlives a restart. A server that began none was never in archive recovery; it
//! reports how far it came only until it is restarted.

use reports::{CheckId, CheckResult, Phase};
use tokio_postgres::Client;

use crate::{
    errors::chain,
    postgres::{Lsn, TimelineId},
    record::check::{Found, timed},
    wal::RecoveryTarget,
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
    /// Where the backup is consistent: every server comes at least so far.
    pub complete: Option<Lsn>,
    /// The timeline on which replay is to end.
    pub along: Option<TimelineId>,
    /// The timeline on which the backup was taken.
    pub from: Option<u32>,
}

/// How far a server replayed WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Where replay ended.
    pub lsn: Option<Lsn>,
    /// Where each timeline before the server's own was left, oldest first.
    left: Vec<(TimelineId, Lsn)>,
    /// Why recovery ended there, in the server's words, where it began a timeline.
    why: String,
    /// The server's own timeline.
    own: TimelineId,
}

impl Replayed {
    /// Asks a restored server that is now on `timeline` and was restored from a backup of timeline `from`.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn of(superuser: &Client, from: Option<u32>, timeline: u32) -> Result<Self, tokio_postgres::Error> {
        let row = superuser.query_one(REPLAYED, &[]).await?;
        let (said, history): (Option<&str>, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
        let own = TimelineId(timeline);
        if from.is_none_or(|from| from == timeline) {
            return Ok(Self {
                lsn: said.and_then(|lsn| lsn.parse().ok()),
                left: Vec::new(),
                why: String::new(),
                own,
            });
        }
        let (left, why) = branches(history.unwrap_or_default());
        Ok(Self {
            lsn: left.last().map(|&(_, lsn)| lsn),
            left,
            why,
            own,
        })
    }

    /// The timeline on which replay ended, where that is not the server's own.
    fn branched(&self) -> Option<TimelineId> {
        self.left.last().map(|&(timeline, _)| timeline)
    }

    /// How far it replayed the WAL of a timeline, if it replayed any of it.
    pub fn along(&self, timeline: TimelineId) -> Option<Lsn> {
        if self.left.is_empty() {
            return self.lsn.filter(|_| self.own == timeline);
        }
        let left = self.left.iter().find(|(left, _)| *left == timeline);
        left.map(|&(_, lsn)| lsn)
    }
}

/// The check; hands out where recovery ended as well, if that is before what was planned, on the timeline that was planned.
pub async fn check(
    replayed: Result<&Replayed, &tokio_postgres::Error>,
    planned: Planned<'_>,
    subject: &str,
) -> (CheckResult, Option<Lsn>) {
    let mut ended_early = None;
    let result = timed(CheckId::ReplayReachedEnd, Phase::Restored, subject, async {
        Ok::<_, std::convert::Infallible>(match replayed {
            Ok(replayed) => {
                let (found, ended) = judge(replayed, planned);
                ended_early = ended;
                found
            }
            Err(error) => Found::unknown(planned.said(), chain(error)),
        })
    })
    .await;
    (result, ended_early)
}

fn judge(replayed: &Replayed, planned: Planned<'_>) -> (Found, Option<Lsn>) {
    let Planned { target, reach, .. } = planned;
    let branched = replayed.branched();
    // A server that began no timeline and was restarted says nothing more; it came as far as the backup at least.
    let Some(lsn) = replayed.lsn.or(planned.complete) else {
        let found = Found::unknown(planned.said(), "the server does not say how far it replayed");
        return (found, None);
    };
    let goal = match target {
        RecoveryTarget::Lsn(target) => reach.map_or(*target, |reach| reach.min(*target)),
        RecoveryTarget::End => match reach {
            Some(reach) => reach,
            None => {
                return (
                    Found::unknown(planned.said(), "no WAL was read before the restore"),
                    None,
                );
            }
        },
        // Only the server knows which commit was the first after the time: it says whether one ended the recovery.
        RecoveryTarget::Time(_) | RecoveryTarget::Xid(_) => {
            let stopped = replayed.why.starts_with("before ") || replayed.why.starts_with("after ");
            let actual = format!("stopped at {lsn}{}: {}", on(branched), replayed.why);
            return (
                Found::judge(stopped && !planned.is_astray(branched), planned.said(), actual),
                None,
            );
        }
    };
    // An exclusive LSN target stops before the first record that begins at the target or after it. The record before
    // that one ends there, but for the header of a page between the two.
    let slack = if matches!(target, RecoveryTarget::Lsn(_)) {
        PAGE_HEADER
    } else {
        0
    };
    let reached = lsn.0 + slack >= goal.0;
    let astray = planned.is_astray(branched);
    let found = Found::judge(
        reached && !astray,
        format!("replay to {goal}{}", on(planned.along)),
        format!("replayed to {lsn}{}", on(branched)),
    );
    (found, (!reached && !astray).then_some(lsn))
}

impl Planned<'_> {
    fn said(self) -> String {
        format!("replay to {}{}", self.target, on(self.along))
    }

    /// Whether another timeline was followed than the plan proved.
    fn is_astray(self, branched: Option<TimelineId>) -> bool {
        branched.is_some_and(|branched| self.along.is_some_and(|along| along != branched))
    }
}

fn on(timeline: Option<TimelineId>) -> String {
    timeline.map_or_else(String::new, |id| format!(" on timeline {id}"))
}

/// Where each timeline of a history was left, and why the last one was (`1  0/5000100  no recovery target specified`).
fn branches(history: &str) -> (Vec<(TimelineId, Lsn)>, String) {
    let mut why = "";
    let branch = |line: &str| {
        let mut words = line.split_whitespace();
        Some((TimelineId(words.next()?.parse().ok()?), words.next()?.parse().ok()?))
    };
    let mut left = Vec::new();
    for line in history.lines() {
        if let Some(found) = branch(line) {
            left.push(found);
            why = line.splitn(3, '\t').nth(2).unwrap_or_default();
        }
    }
    (left, why.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use reports::Verdict;

    use super::{Lsn, Planned, RecoveryTarget, Replayed, TimelineId, branches, judge};

    const HISTORY: &str = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000100\tbefore 2026-01-01 00:00:00+00\n";

    #[test]
    fn a_timeline_began_where_the_one_before_it_was_left() {
        let (left, why) = branches(HISTORY);
        assert_eq!(
            left,
            [(TimelineId(1), Lsn(0x300_0000)), (TimelineId(2), Lsn(0x500_0100))]
        );
        assert_eq!(why, "before 2026-01-01 00:00:00+00");
        assert_eq!(branches("").0, []);
        assert_eq!(branches("nonsense\n").0, []);
    }

    fn replayed(history: &str) -> Replayed {
        let (left, why) = branches(history);
        Replayed {
            lsn: left.last().map(|&(_, lsn)| lsn),
            left,
            why,
            own: TimelineId(3),
        }
    }

    #[test]
    fn each_timeline_was_replayed_as_far_as_it_was_followed() {
        let replayed = replayed(HISTORY);
        assert_eq!(replayed.along(TimelineId(1)), Some(Lsn(0x300_0000)));
        assert_eq!(replayed.along(TimelineId(3)), None, "its own began there");
    }

    #[test]
    fn a_time_is_reached_where_the_server_says_that_it_stopped_for_it() {
        let target = RecoveryTarget::Time(DateTime::UNIX_EPOCH);
        let planned = Planned {
            target: &target,
            reach: Some(Lsn(0x600_0000)),
            complete: None,
            along: Some(TimelineId(2)),
            from: Some(1),
        };
        assert_eq!(judge(&replayed(HISTORY), planned).0.verdict(), Verdict::Pass);
        let ran_out = HISTORY.replace("before 2026-01-01 00:00:00+00", "no recovery target specified");
        assert_eq!(judge(&replayed(&ran_out), planned).0.verdict(), Verdict::Fail);
    }
}
