//! What a drill cost: wall time by part, external work, the harness's own share, bytes.
//!
//! External work counts as the union of its intervals, so that work side by side counts once.

use std::collections::BTreeMap;

use crate::event::{Event, Part, What};

use super::{Cost, DrillEvidence, ExternalTime, PartTime};

/// Accounts for the drill's time and space, from its events and what has been collected of them.
pub(super) fn of(events: &[Event], evidence: &DrillEvidence) -> Cost {
    let end_ns = evidence.times.ended.offset_ns;
    let wall_ns = end_ns - evidence.times.started.offset_ns;
    let external_ns = covered_ns(&external_intervals(events), evidence.times.started.offset_ns, end_ns);
    let wall_ms = rounded_ms(wall_ns);
    let external_ms = rounded_ms(external_ns);
    Cost {
        wall_ms,
        external_ms,
        harness_overhead_ms: wall_ms - external_ms,
        parts: parts(events, end_ns),
        external: by_name(events),
        backup_bytes: evidence.chosen_backup().map(|backup| backup.bytes),
        all_backups_bytes: evidence.backups.iter().map(|backup| backup.bytes).sum(),
        restored_bytes: evidence.restore_jobs.last().map(|job| job.restored_bytes),
        database_bytes: evidence.seeded.as_ref().map(|seeded| seeded.database_bytes),
        peak_disk_bytes: events
            .iter()
            .filter_map(|event| {
                if let What::PeakDisk { bytes } = event.what {
                    Some(bytes)
                } else {
                    None
                }
            })
            .max(),
    }
}

fn external_intervals(events: &[Event]) -> Vec<(u64, u64)> {
    events
        .iter()
        .filter_map(|event| match event.what {
            What::ExternalWork { began_ns, ended_ns, .. } => Some((began_ns, ended_ns)),
            _ => None,
        })
        .collect()
}

/// Wall time of each part: from its beginning to that of the next one, or to the end.
fn parts(events: &[Event], end_ns: u64) -> Vec<PartTime> {
    let begins: Vec<(Part, u64)> = events
        .iter()
        .filter_map(|event| {
            if let What::PartStarted { part } = event.what {
                Some((part, event.offset_ns))
            } else {
                None
            }
        })
        .collect();
    let ends = begins.iter().skip(1).map(|(_, begin)| *begin).chain([end_ns]);
    let mut totals: Vec<(Part, u64)> = Vec::new();
    for (&(part, begin), end) in begins.iter().zip(ends) {
        match totals.iter_mut().find(|(known, _)| *known == part) {
            Some((_, total)) => *total += end - begin,
            None => totals.push((part, end - begin)),
        }
    }
    totals
        .into_iter()
        .map(|(part, ns)| PartTime {
            part,
            duration_ms: rounded_ms(ns),
        })
        .collect()
}

/// Whole milliseconds, rounded to the nearest.
pub(super) fn rounded_ms(ns: u64) -> u64 {
    ns.saturating_add(500_000) / 1_000_000
}

/// Nanoseconds within `from..to` that at least one of the intervals covers. Intervals are `(begin, end)`; one that
/// ends before it begins covers nothing.
fn covered_ns(intervals: &[(u64, u64)], from: u64, to: u64) -> u64 {
    let mut sorted: Vec<(u64, u64)> = intervals
        .iter()
        .map(|&(begin, end)| (begin.max(from), end.min(to)))
        .filter(|(begin, end)| begin < end)
        .collect();
    sorted.sort_unstable();
    let mut covered = 0;
    let mut reached = from;
    for (begin, end) in sorted {
        covered += end.saturating_sub(begin.max(reached));
        reached = reached.max(end);
    }
    covered
}

/// External work summed up by its name, the longest first.
fn by_name(events: &[Event]) -> Vec<ExternalTime> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for event in events {
        if let What::ExternalWork {
            what,
            began_ns,
            ended_ns,
        } = &event.what
        {
            let (count, total_ns) = sums.entry(what).or_default();
            *count += 1;
            *total_ns += ended_ns.saturating_sub(*began_ns);
        }
    }
    let mut rows: Vec<ExternalTime> = sums
        .into_iter()
        .map(|(what, (count, ns))| ExternalTime {
            what: what.to_owned(),
            count,
            total_ms: rounded_ms(ns),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.total_ms));
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::covered_ns;

    #[test]
    fn overlaps_count_once() {
        assert_eq!(covered_ns(&[(0, 10), (5, 15), (20, 30)], 0, 100), 25);
        assert_eq!(covered_ns(&[(0, 10), (2, 3)], 5, 100), 5, "clipped at the beginning");
        assert_eq!(covered_ns(&[(90, 120)], 0, 100), 10, "clipped at the end");
        assert_eq!(
            covered_ns(&[(9, 3)], 0, 100),
            0,
            "an end before its beginning covers nothing"
        );
    }

    proptest! {
        #[test]
        fn equals_counting_every_nanosecond(
            intervals in prop::collection::vec((0_u64..200, 0_u64..200), 0..12), from in 0_u64..100, length in 0_u64..120,
        ) {
            let to = from + length;
            let counted = (from..to).filter(|ns| intervals.iter().any(|(begin, end)| begin <= ns && ns < end)).count();
            prop_assert_eq!(covered_ns(&intervals, from, to), counted as u64);
        }
    }
}
