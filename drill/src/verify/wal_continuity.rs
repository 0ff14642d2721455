//! `wal-continuity`: the WAL that a backup needs is there without a gap, and can be read to its end.
//!
//! Looked at before the restore, because a server that meets a gap promotes silently at it. Every segment must be whole,
//! of this cluster, in its place and readable by the server's account; timelines are followed as the server follows them,
//! and no further than the recovery is to go. What it cannot see: WAL that never left the primary, so that nothing after
//! the end is no problem to it.

use reports::{CheckId, CheckResult, Phase, text::counted};

use crate::{
    record::check::{Found, timed},
    wal::{Reach, Start, WalError},
};

/// The check, of what is `read` of the WAL from a start on; hands out how far it reaches as well.
pub async fn check(
    subject: &str,
    start: Start<'_>,
    read: impl Future<Output = Result<Reach, WalError>>,
) -> (CheckResult, Reach) {
    let (from, timeline) = (start.from, start.timeline);
    let mut reach = Reach::default();
    let result = timed(CheckId::WalContinuity, Phase::Backup, subject, async {
        reach = read.await?;
        let expected = format!("segments of this cluster from {from} on without a gap, every record readable");
        let end = reach.end.map_or_else(|| "nothing".to_owned(), |end| end.to_string());
        let onto = reach.timeline.filter(|newest| *newest != timeline);
        let onto = onto.map_or_else(String::new, |newest| format!(" on timeline {newest}"));
        let actual = format!("{}, readable to {end}{onto}", counted(reach.segments, "segment"));
        let told: Vec<_> = [&reach.problems, &reach.remarks]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        Ok::<_, WalError>(match &reach.unread {
            Some(reason) if reach.problems.is_empty() => Found::unknown(expected, reason.clone()),
            _ => Found::judge(reach.problems.is_empty(), expected, actual).detail(told.join("; ")),
        })
    })
    .await;
    (result, reach)
}
