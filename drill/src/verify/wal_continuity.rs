//! `wal-continuity`: the WAL that a backup needs is there without a gap, and can be read to its end.
//!
//! Looked at before the restore, because a server that meets a gap promotes silently at it. Every segment must be whole,
//! of this cluster, in its place and readable by the server's account; timelines are followed as the server follows them,
//! and no further than the recovery is to go. What it cannot see: WAL that never left the primary, so that nothing after
//! the end is no problem to it.

use std::path::Path;

use reports::{CheckId, CheckResult, Phase, text::counted};

use super::{Found, timed};
use crate::backup::{
    Backup, BackupError, Site,
    wal::{Reach, Start},
};
use crate::postgres::{Lsn, TimelineId};

/// The check, for a service that was on timeline `own` last and is to be recovered `until` some position; hands out how far
/// the WAL reaches as well. `None` for a backup that does not replay.
pub async fn check(
    site: &Site,
    backup: &Backup,
    own: TimelineId,
    held: Option<&Path>,
    until: Option<Lsn>,
) -> Option<(CheckResult, Reach)> {
    let (start, timeline) = (backup.start_lsn()?, TimelineId(backup.info.timeline?));
    let mut reach = Reach::default();
    let result = timed(CheckId::WalContinuity, Phase::Backup, &backup.info.id, async {
        let begin = Start {
            from: start,
            timeline,
            own,
            system: backup.info.system_identifier.parse().ok(),
            held,
            // What makes the backup consistent is needed in any case.
            until: until.map(|until| backup.stop_lsn().map_or(until, |stop| until.max(stop))),
        };
        reach = site
            .recorder
            .external("pg_waldump", site.wal.reach(site, begin))
            .await?;
        let expected = format!("segments of this cluster from {start} on without a gap, every record readable");
        let end = reach.end.map_or_else(|| "nothing".to_owned(), |end| end.to_string());
        let onto = reach.timeline.filter(|newest| *newest != timeline);
        let onto = onto.map_or_else(String::new, |newest| format!(" on timeline {newest}"));
        let actual = format!("{}, readable to {end}{onto}", counted(reach.segments, "segment"));
        let told: Vec<_> = [&reach.problems, &reach.remarks]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        Ok::<_, BackupError>(match &reach.unread {
            Some(reason) if reach.problems.is_empty() => Found::unknown(expected, reason.clone()),
            _ => Found::judge(reach.problems.is_empty(), expected, actual).detail(told.join("; ")),
        })
    })
    .await;
    Some((result, reach))
}
