//! Clears up after runs that were killed before they could: servers still running, directories still there. Touches only
//! directories that carry a run's lock file, belong to us, and whose lock nobody holds; and only processes that /proc shows
//! at work in them.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde::Serialize;

use super::{
    ServerUser, Storage, container, files,
    process::{descendants, kill_marked, kill_orphans, recorded_postmasters, release_shared_memory, send},
    workdir::{KEEP, LOCK, LOCK_NEW, is_a_runs_lock, is_named_as_ours, is_ours},
};

/// A directory that a killed run had left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// The directory.
    pub path: PathBuf,
    /// How many processes were still at work in it, and were killed.
    pub killed: usize,
    /// How many containers belonged to it, and were removed.
    pub containers: usize,
    /// Whether the directory is gone now.
    pub removed: bool,
}

/// Clears up what killed runs left in the places where runs live.
pub fn sweep_stale() -> Vec<Swept> {
    let mut bases = vec![Storage::Memory.base(), Storage::Disk.base()];
    bases.dedup();
    let mut swept: Vec<Swept> = bases.iter().flat_map(|base| sweep_below(base)).collect();
    swept.extend(sweep_containers());
    swept
}

/// A directory with clusters that were left running as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The directory.
    pub path: PathBuf,
    /// The run that it belongs to.
    pub run_id: String,
}

/// What `drill run --keep` left running, in the places where runs live.
pub fn kept() -> Vec<Kept> {
    let Ok(user) = ServerUser::current() else {
        return Vec::new();
    };
    let bases = [Storage::Memory.base(), Storage::Disk.base()];
    let bases = bases.iter().filter_map(|base| base.canonicalize().ok());
    let mut paths: Vec<PathBuf> = bases.flat_map(|base| runs_below(&base)).collect();
    paths.extend(container::directories_of_runs());
    paths.sort();
    paths.dedup();
    let kept = |path: PathBuf| {
        let mark = path.join(KEEP);
        let meta = fs::symlink_metadata(&mark).ok()?;
        let run_id = fs::read_to_string(&mark).ok()?.trim().to_owned();
        (meta.is_file() && is_ours(&meta, &user)).then_some(Kept { path, run_id })
    };
    paths.into_iter().filter_map(kept).collect()
}

/// Stops and removes what was left running. `None` if its run still lives, or it is gone.
pub fn stop_kept(kept: &Kept) -> Option<Swept> {
    let user = ServerUser::current().ok()?;
    end(&kept.path, &user)
}

/// Clears up what Docker still has of runs whose directory is elsewhere, or gone.
fn sweep_containers() -> Vec<Swept> {
    let Ok(user) = ServerUser::current() else {
        return Vec::new();
    };
    let sweep_one = |path: PathBuf| {
        if path.exists() {
            return sweep(&path, &user);
        }
        Some(Swept {
            killed: 0,
            containers: container::remove_of_run(&path),
            removed: true,
            path,
        })
    };
    container::directories_of_runs()
        .into_iter()
        .filter_map(sweep_one)
        .collect()
}

/// As [`sweep_stale`], in one place.
pub(super) fn sweep_below(base: &Path) -> Vec<Swept> {
    let Ok(user) = ServerUser::current() else {
        return Vec::new();
    };
    let Ok(base) = base.canonicalize() else {
        return Vec::new();
    };
    runs_below(&base).filter_map(|path| sweep(&path, &user)).collect()
}

/// The directories in a place that are named as a run's are.
fn runs_below(base: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_named_as_ours));
    named.map(|entry| entry.path())
}

fn sweep(path: &Path, user: &ServerUser) -> Option<Swept> {
    if path.join(KEEP).exists() {
        return None;
    }
    end(path, user)
}

/// Clears up one directory, unless its run lives.
fn end(path: &Path, user: &ServerUser) -> Option<Swept> {
    let ours = |path: &Path| fs::symlink_metadata(path).ok().filter(|meta| is_ours(meta, user));
    let meta = ours(path)?;
    let is_private = meta.permissions().mode() & 0o777 == 0o700; // as a run makes it
    if !meta.is_dir() || !is_private || !path.file_name()?.to_str().is_some_and(is_named_as_ours) {
        return None;
    }
    if !path.join(LOCK).exists() {
        return sweep_unborn(path);
    }
    if !ours(&path.join(LOCK))?.is_file() || !is_a_runs_lock(&path.join(LOCK)) {
        return None;
    }
    // Held until the directory is gone, so that two sweepers do not share the work.
    let lock = File::open(path.join(LOCK)).ok()?;
    lock.try_lock().ok()?;
    let containers = if path.join(container::ACCOUNTS).exists() {
        container::remove_of_run(path)
    } else {
        0
    };
    let postmasters = postmasters(path);
    let mut doomed: Vec<u32> = postmasters.iter().flat_map(|pid| descendants(*pid)).collect();
    doomed.extend(&postmasters);
    send(&postmasters, Signal::STOP);
    send(&doomed, Signal::KILL);
    let killed = doomed.len() + kill_orphans(path, None) + kill_marked(path);
    for pid in started_below(path).into_iter().chain(postmasters) {
        release_shared_memory(pid);
    }
    unmount_below(path);
    let removed = files::remove_tree(path).is_ok();
    Some(Swept {
        path: path.to_owned(),
        killed,
        containers,
        removed,
    })
}

/// A run that was killed between making its directory and locking it: nothing is in there yet but the beginning of a
/// lock. One that is younger than a moment may still be about to lock it.
fn sweep_unborn(path: &Path) -> Option<Swept> {
    const MOMENT: Duration = Duration::from_secs(1);
    let age = fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()?;
    let mut entries = fs::read_dir(path).ok()?.flatten();
    if age < MOMENT || !entries.all(|entry| entry.file_name() == LOCK_NEW) {
        return None;
    }
    let removed = files::remove_tree(path).is_ok();
    Some(Swept {
        path: path.to_owned(),
        killed: 0,
        containers: 0,
        removed,
    })
}

/// Unmounts the small filesystems that a killed run left below its directory.
fn unmount_below(path: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1).map(Path::new));
    for place in places.filter(|place| place.starts_with(path) && *place != path) {
        let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH); // if not, removing says so
    }
}

/// Every postmaster that was started below `work`, dead or alive, by the list that each cluster keeps.
fn started_below(work: &Path) -> Vec<u32> {
    let homes = fs::read_dir(work).into_iter().flatten().flatten();
    homes.flat_map(|home| recorded_postmasters(&home.path())).collect()
}

/// The living postmasters that lock files below `work` name, if they really are at work there.
fn postmasters(work: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect()
    };
    let homes = directories(work);
    let data = homes
        .iter()
        .flat_map(|home| directories(home))
        .chain(homes.iter().cloned());
    for directory in data {
        let pid = fs::read_to_string(directory.join("postmaster.pid")).ok();
        let pid = pid.and_then(|text| text.lines().next()?.trim().parse::<u32>().ok());
        found.extend(pid.filter(|pid| works_in(*pid, work)));
    }
    found
}

/// Whether a process's working directory or command line lies in `directory`.
fn works_in(pid: u32, directory: &Path) -> bool {
    let there = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
    let told = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|part| std::str::from_utf8(part).is_ok_and(|part| Path::new(part).starts_with(directory)))
    });
    there || told
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::postgres::WorkDir;

    #[test]
    fn the_living_the_kept_and_the_strangers_stay() {
        let base = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(base.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let living = WorkDir::create_in(base.path(), Storage::Disk, "living").unwrap();
        let kept = WorkDir::create_in(base.path(), Storage::Disk, "kept").unwrap();
        kept.keep();
        let kept_path = kept.path().to_owned();
        drop(kept);
        // Of somebody else: named otherwise, open to others, with a lock that no run wrote.
        let strangers =
            ["drill-holes", "drill-stran1", "drill-stran2", "drill-stran3"].map(|name| base.path().join(name));
        for (stranger, lock) in strangers.iter().zip(["drill run 1 1", "drill run 1 1", "12345", ""]) {
            let open = if stranger.ends_with("drill-stran1") {
                0o755
            } else {
                0o700
            };
            fs::create_dir(stranger).unwrap();
            fs::set_permissions(stranger, fs::Permissions::from_mode(open)).unwrap();
            fs::write(stranger.join(LOCK), lock).unwrap();
            fs::write(stranger.join("plans"), "of somebody").unwrap();
        }
        let stale = base.path().join("drill-stale1");
        fs::create_dir_all(stale.join("source/data")).unwrap();
        fs::write(stale.join(LOCK), "drill run 1 1").unwrap();
        fs::set_permissions(&stale, fs::Permissions::from_mode(0o700)).unwrap();
        // A number that is alive but no server of that run.
        fs::write(
            stale.join("source/data/postmaster.pid"),
            format!("{}\n", std::process::id()),
        )
        .unwrap();

        let swept = sweep_below(base.path());
        let expected = Swept {
            path: stale.canonicalize().unwrap_or(stale.clone()),
            killed: 0,
            containers: 0,
            removed: true,
        };
        assert_eq!(swept, [expected]);
        assert!(living.path().exists() && kept_path.exists() && !stale.exists());
        assert!(strangers.iter().all(|stranger| stranger.join("plans").exists()));

        let kept = Kept {
            path: kept_path.clone(),
            run_id: "kept".to_owned(),
        };
        assert!(stop_kept(&kept).is_some_and(|swept| swept.removed));
        assert!(!kept_path.exists());
        let alive = Kept {
            path: living.path().to_owned(),
            run_id: "living".to_owned(),
        };
        assert_eq!(stop_kept(&alive), None);
        assert!(living.path().exists());
    }
}
