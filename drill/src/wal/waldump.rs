//! pg_waldump: runs it, and reads from what it says where the WAL ends and what was committed last.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{SegmentNumber, WalError, WalSource, segment};
use crate::postgres::{Installation, Lsn, TimelineId, Tool, WorkDir};

/// What reads WAL: pg_waldump of a version, in a directory of the run.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) installation: &'a Installation,
    pub(super) work: &'a WorkDir,
}

impl Reader<'_> {
    /// pg_waldump's output for the records of `segments` that lie between two positions, its last words on stderr included.
    ///
    /// # Errors
    /// If it cannot be run, or its output is not as expected: then nothing is known of the WAL.
    pub(super) async fn dump(
        &self,
        wal: &WalSource,
        segments: &[(SegmentNumber, &PathBuf)],
        (from, to): (Lsn, Lsn),
        timeline: TimelineId,
        arguments: &[&str],
    ) -> Result<String, WalError> {
        let staging = tempfile::Builder::new()
            .prefix("wal-")
            .tempdir_in(self.work.path())
            .map_err(|source| WalError::Io {
                action: "create a directory in",
                path: self.work.path().to_owned(),
                source,
            })?;
        let failed = |source| WalError::Io {
            action: "prepare",
            path: staging.path().to_owned(),
            source,
        };
        for (segment, path) in segments {
            // pg_waldump reads one timeline by its names; what came before a branch stands in under the same timeline.
            let name = wal.name(SegmentNumber {
                timeline: timeline.0,
                ..*segment
            });
            std::os::unix::fs::symlink(path, staging.path().join(name)).map_err(failed)?;
        }
        self.work.user().chown(staging.path())?;
        let output = Tool::new(self.installation, "pg_waldump")
            .arg("--path")
            .arg(staging.path())
            .arg(format!("--timeline={}", timeline.0))
            .arg(format!("--start={from}"))
            // For the segment after the last it would wait five seconds.
            .arg(format!("--end={to}"))
            .args(arguments)
            .output() // it fails where it meets the end of the WAL within a segment
            .await?;
        if !output.status.success() && !output.stderr.contains("error: ") {
            return Err(WalError::Unexpected {
                what: output.command,
                problem: format!("it ended with {} and said nothing of the WAL", output.status),
            });
        }
        Ok(format!("{}\n{}", output.stdout, output.stderr))
    }
}

/// The end of the readable WAL where pg_waldump's last words name it, and the last commit that begins before `until`.
pub(super) fn read_dump(text: &str, until: Option<Lsn>) -> (Option<Lsn>, Option<(Lsn, DateTime<Utc>)>) {
    // Of a record that cannot be read, only these say where it begins, which is where the one before it ends.
    const NAMING: [&str; 3] = [
        "invalid record length at ",
        "record with incorrect prev-link",
        "resource manager",
    ];
    let (mut end, mut last_commit) = (None, None);
    for line in text.lines() {
        if let (Some(lsn), Some(at)) = (field(line, "lsn: "), commit_time(line)) {
            let commit = lsn.parse().ok().map(|lsn| (lsn, at));
            let needed = commit.filter(|(lsn, _)| until.is_none_or(|until| *lsn < until));
            last_commit = needed.or(last_commit);
        } else if let Some((_, said)) = line.split_once("error in WAL record at ") {
            let names = NAMING.iter().any(|words| said.contains(words));
            let positions = said
                .split(" at ")
                .skip(1)
                .filter_map(|rest| rest.split([':', ' ']).next()?.parse::<Lsn>().ok());
            let stopped = positions.last().filter(|_| names);
            end = stopped.map(segment::before_page_header).or(end);
        }
    }
    (end, last_commit)
}

/// The records that end their segment early.
pub(super) fn switches(text: &str) -> Vec<Lsn> {
    let switches = text.lines().filter(|line| line.contains("desc: SWITCH"));
    switches.filter_map(|line| field(line, "lsn: ")?.parse().ok()).collect()
}

/// Where the last record began that pg_waldump read, by its last words.
pub(super) fn stopped_after(text: &str) -> Option<Lsn> {
    let (_, said) = text.rsplit_once("error in WAL record at ")?;
    said.split([':', ' ']).next()?.parse().ok()
}

/// Where the last record ends that pg_waldump printed.
pub(super) fn last_record_end(text: &str, segment_bytes: u64) -> Option<Lsn> {
    let line = text.lines().rev().find(|line| line.starts_with("rmgr: "))?;
    let begins: Lsn = field(line, "lsn: ")?.parse().ok()?;
    if line.contains("desc: SWITCH") {
        return Some(Lsn((begins.0 / segment_bytes + 1) * segment_bytes));
    }
    let (_, total) = line.split_once("len (rec/tot):")?.1.split_once('/')?;
    Some(segment::record_end(
        begins,
        total.split(',').next()?.trim().parse().ok()?,
        segment_bytes,
    ))
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split([',', ' ']).next()
}

fn commit_time(line: &str) -> Option<DateTime<Utc>> {
    let rest = line.split_once("desc: COMMIT ")?.1;
    let time = rest.split(" UTC").next()?;
    NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f")
        .ok()
        .map(|time| time.and_utc())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{last_record_end, read_dump};
    use crate::postgres::Lsn;

    #[test]
    fn the_end_and_the_last_commit_are_read_from_pg_waldump() {
        let text = "rmgr: Transaction len (rec/tot):     46/    46, tx:        735, lsn: 0/01952E38, prev 0/01952DF8, \
                    desc: COMMIT 2026-05-01 10:00:00.123456 UTC; inval msgs: catcache 50\n\
                    pg_waldump: error: error in WAL record at 0/1952E38: invalid record length at 0/1952E70: expected at least 24, got 0";
        let (end, last_commit) = read_dump(text, None);
        assert_eq!(end, Some(Lsn(0x195_2E70)));
        assert_eq!(
            read_dump(text, Some(Lsn(0x195_2E38))),
            (end, None),
            "it is behind the end"
        );
        let (lsn, at) = last_commit.unwrap();
        assert_eq!(lsn, Lsn(0x195_2E38));
        assert_eq!(at.to_rfc3339(), "2026-05-01T10:00:00.123456+00:00");
    }

    #[test]
    fn a_record_says_where_it_ends_and_a_switch_ends_its_segment() {
        let record = "rmgr: Heap        len (rec/tot):     54/  8142, tx:        735, lsn: 0/01952E38, prev 0/01952DF8, desc: INSERT";
        let crossing = 0x195_2E38 + 8142 + 24;
        assert_eq!(
            last_record_end(record, 1 << 20),
            Some(Lsn(u64::next_multiple_of(crossing, 8)))
        );
        let switch = "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/01952E38, prev 0/01952DF8, desc: SWITCH ";
        assert_eq!(last_record_end(switch, 1 << 20), Some(Lsn(0x1A0_0000)));
    }
}
