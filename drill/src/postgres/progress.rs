//! Whether something that is waited for still makes progress: limits are for time without progress, never for the time that
//! honest work takes. Progress shows in /proc: the processor time used, the bytes read and written. Where that cannot be seen
//! there is no limit.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::process::descendants;

/// How long a program, a copy or a recovery may stand still.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What processes have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    processor_ticks: u64,
    bytes: u64,
}

/// Waits for `work` as long as `measure` changes; `None` once it has been the same for `patience`. A measure that cannot be
/// taken counts as a change.
pub async fn while_it_moves<T, M: PartialEq>(
    work: impl Future<Output = T>,
    patience: Duration,
    mut measure: impl FnMut() -> Option<M>,
) -> Option<T> {
    tokio::pin!(work);
    let (mut last, mut since) = (None, Instant::now());
    loop {
        if let Ok(done) = tokio::time::timeout(TICK.min(patience / 2), &mut work).await {
            return Some(done);
        }
        let now = measure();
        if now.is_none() || now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= patience {
            return None;
        }
    }
}

/// What a process and everything it started have done; `None` where /proc does not tell.
pub(super) fn of_family(pid: u32) -> Option<Work> {
    let own = of_process(pid)?;
    Some(sum(own, descendants(pid)))
}

/// What a server's processes have done that work for clients. Background processes never rest, so they do not count.
pub(super) fn of_clients(postmaster: u32) -> Work {
    let serves = |pid: &u32| {
        let title = title(*pid);
        title.contains("[local]") || title.contains("parallel worker")
    };
    let backends = descendants(postmaster).into_iter().filter(serves);
    sum(Work::default(), backends)
}

/// What one backend and its parallel workers have done; `None` where /proc does not show it. `backend` is its number as the
/// server knows it, which in a container is not the host's.
pub(super) fn of_backend(postmaster: u32, backend: u32) -> Option<Work> {
    let family = descendants(postmaster);
    let itself = family.iter().copied().find(|pid| own_number(*pid) == Some(backend))?;
    let own = of_process(itself)?;
    let leader = format!("parallel worker for PID {backend}");
    let helpers = family.into_iter().filter(|pid| title(*pid).contains(&leader));
    Some(sum(own, helpers))
}

/// Whether a process or one that it started is stopped, as by SIGSTOP.
pub(super) fn is_stopped(pid: u32) -> bool {
    let stopped = |pid: &u32| stat(*pid).is_some_and(|fields| fields.first().is_some_and(|state| state == "T"));
    stopped(&pid) || descendants(pid).iter().any(stopped)
}

fn sum(own: Work, others: impl IntoIterator<Item = u32>) -> Work {
    others.into_iter().filter_map(of_process).fold(own, |all, one| Work {
        processor_ticks: all.processor_ticks + one.processor_ticks,
        bytes: all.bytes + one.bytes,
    })
}

/// From `/proc/PID/stat`, fields 14 and 15, and `/proc/PID/io`, which only its owner may read.
fn of_process(pid: u32) -> Option<Work> {
    let fields = stat(pid)?;
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let counted = io.lines().filter_map(|line| line.split_once(": "));
    let bytes = counted.filter(|(name, _)| matches!(*name, "rchar" | "wchar" | "read_bytes" | "write_bytes"));
    Some(Work {
        processor_ticks: number(11)? + number(12)?,
        bytes: bytes.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).sum(),
    })
}

/// The fields after the name, of which the first is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The number that a process has in its own namespace.
fn own_number(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn title(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_moves_is_waited_for_and_what_stands_still_is_not() {
        let slow = || tokio::time::sleep(Duration::from_millis(300));
        let patience = Duration::from_millis(60);
        let mut count = 0;
        let moving = while_it_moves(slow(), patience, || {
            count += 1;
            Some(count)
        });
        assert!(moving.await.is_some());
        assert!(while_it_moves(slow(), patience, || Some(0)).await.is_none());
        assert!(while_it_moves(slow(), patience, || None::<u8>).await.is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_at_work_is_told_from_one_that_sleeps_and_one_that_is_stopped() {
        use rustix::process::Signal;
        let shell = |script: &str| {
            std::process::Command::new("/bin/sh")
                .args(["-c", script])
                .spawn()
                .unwrap()
        };
        let (mut busy, mut asleep) = (shell("while :; do :; done"), shell("sleep 60 & wait"));
        let moved = |pid: u32| {
            let before = of_family(pid);
            super::super::files::wait_blocking(Duration::from_secs(1), || of_family(pid) != before)
        };
        assert!(moved(busy.id()));
        super::super::files::wait_blocking(Duration::from_secs(5), || descendants(asleep.id()).len() == 1);
        let _ = moved(asleep.id()); // it may just be starting
        assert!(!moved(asleep.id()) && !is_stopped(asleep.id()));
        let family = descendants(asleep.id());
        super::super::process::send(&family, Signal::STOP);
        assert!(super::super::files::wait_blocking(Duration::from_secs(5), || {
            is_stopped(asleep.id())
        }));
        super::super::process::send(&family, Signal::KILL);
        let _ = busy.kill();
        let (_, _) = (busy.wait(), asleep.wait());
    }
}
