//! Small errands on directory trees: walk, copy, remove, make readable, lock. Plain and synchronous; callers on an async
//! thread wrap the longer ones.

use std::{
    fs::{self, File, FileType, OpenOptions, Permissions, TryLockError},
    io,
    num::NonZero,
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;

/// Calls `visit` for a path and everything below it, directories before what they hold. Symbolic links are not followed.
pub(super) fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    visit(path, &meta)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), visit)?;
        }
    }
    Ok(())
}

/// Bytes of all files below a directory. Files that vanish meanwhile do not count.
pub fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => directory_bytes(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
            _ => 0,
        })
        .sum()
}

/// Copies a tree into `to`, which must not exist: files, directories and symbolic links, with their permission bits.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    copy_tree_over(from, to)
}

/// The same where directories, and empty files of the same names, may be there already, and nothing else.
pub(super) fn copy_tree_over(from: &Path, to: &Path) -> io::Result<()> {
    walk(from, &mut |path, meta| {
        let target = path
            .strip_prefix(from)
            .map_or_else(|_| to.to_owned(), |relative| join(to, relative));
        if meta.is_dir() {
            match fs::DirBuilder::new().mode(0o700).create(&target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => fs::set_permissions(&target, meta.permissions()),
            }
        } else if meta.is_symlink() {
            symlink(fs::read_link(path)?, &target)
        } else {
            fs::copy(path, &target).map(drop)
        }
    })
}

/// Moves everything in `from` over what is in `to`, on one file system; files that are already there are replaced.
pub(super) fn merge_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            merge_tree(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(())
}

/// `join` that does not append a slash for an empty path.
fn join(base: &Path, relative: &Path) -> std::path::PathBuf {
    if relative.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(relative)
    }
}

/// Removes a tree, first giving ourselves back any permission that someone took away. Nothing there is no error.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if gone(fs::remove_dir_all(path)).is_ok() {
        return Ok(());
    }
    let _ = walk(path, &mut |entry, meta| {
        if meta.is_dir() {
            fs::set_permissions(entry, Permissions::from_mode(0o700))
        } else {
            Ok(())
        }
    });
    gone(fs::remove_dir_all(path))
}

/// Does something to many things on a few threads, neighbours on the same one. The first error, if there was one.
pub(super) fn side_by_side<T: Sync>(things: &[T], work: impl Fn(&T) -> io::Result<()> + Sync) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    let share = things.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let shares = things
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().try_for_each(&work)));
        let threads: Vec<_> = shares.collect();
        let ended = threads.into_iter().filter_map(|thread| thread.join().ok());
        ended.fold(Ok(()), io::Result::and)
    })
}

/// Removes a large tree: its files first, on a few threads, then whatever is left of it.
pub(super) fn remove_large_tree(path: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    let _ = walk(path, &mut |entry, meta| {
        if !meta.is_dir() {
            files.push(entry.to_owned());
        }
        Ok(())
    });
    let _ = side_by_side(&files, |file| fs::remove_file(file).or(Ok(()))); // what could not be removed is tried once more
    remove_tree(path)
}

/// Lets everyone read a tree and enter its directories; what its owner may execute, everyone may.
pub(super) fn make_readable(path: &Path) -> io::Result<()> {
    walk(path, &mut |entry, meta| {
        if meta.is_symlink() {
            return Ok(());
        }
        let mode = meta.permissions().mode() & 0o7777;
        let execute = if meta.is_dir() || mode & 0o100 != 0 { 0o111 } else { 0 };
        let wanted = mode | 0o444 | execute;
        if wanted == mode {
            Ok(())
        } else {
            fs::set_permissions(entry, Permissions::from_mode(wanted))
        }
    })
}

/// Opens a file and nothing else: a pipe would wait for somebody at its other end, a device for who knows what.
///
/// # Errors
/// If it cannot be opened, or is no file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(no_file(path, kind)))
    }
}

/// Describes what is no file: a pipe, a device and so on.
pub(crate) fn no_file(path: &Path, kind: FileType) -> String {
    let what = match kind {
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_dir() => "a directory",
        _ => "a device",
    };
    format!("{} is {what}, no file", path.display())
}

const COMPLETE: &str = "complete";

/// Marks a tree as whole, as the last thing before it is renamed into place.
///
/// The mark has a content, and only with it does it count: should the machine lose power before any of this reached the disk,
/// the mark, written last, is empty like the rest, and the tree is made again. Syncing the disk instead takes seconds on a
/// busy machine, for what can be made again.
pub(super) fn mark_complete(tree: &Path) -> io::Result<()> {
    fs::write(tree.join(COMPLETE), COMPLETE)
}

/// Whether a tree is marked as whole.
pub(super) fn is_complete(tree: &Path) -> bool {
    fs::read(tree.join(COMPLETE)).is_ok_and(|mark| mark == COMPLETE.as_bytes())
}

/// Removes, as far as it can, the entries of a directory whose names begin with `prefix`.
pub(super) fn remove_by_prefix(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Takes an exclusive lock on a file, waiting for whoever has it; calls `waiting` once if there is a wait.
///
/// The lock goes with the returned file, also when the process is killed.
pub(super) async fn lock(path: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Waits on this thread until `done` answers true, at most `limit`; says whether it did.
pub(super) fn wait_blocking(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begun.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The last `count` lines that are not blank, oldest first.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(count)
        .collect();
    lines.reverse();
    lines.join("\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_modes_and_links_and_can_be_removed_when_closed() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/run"), "x").unwrap();
        fs::set_permissions(from.join("deep/run"), Permissions::from_mode(0o700)).unwrap();
        symlink("run", from.join("deep/link")).unwrap();
        copy_tree(&from, &to).unwrap();
        assert_eq!(
            fs::metadata(to.join("deep/run")).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read_link(to.join("deep/link")).unwrap(), Path::new("run"));

        fs::set_permissions(to.join("deep"), Permissions::from_mode(0o000)).unwrap();
        remove_tree(&to).unwrap();
        remove_tree(&to).unwrap();
        assert!(!to.exists());
    }

    #[test]
    fn a_merge_replaces_and_keeps_the_rest() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        for (directory, file) in [(&from, "both"), (&to, "both"), (&to, "only")] {
            fs::create_dir_all(directory.join("d")).unwrap();
            fs::write(directory.join("d").join(file), directory.to_str().unwrap()).unwrap();
        }
        merge_tree(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("d/both")).unwrap(), from.to_str().unwrap());
        assert!(to.join("d/only").exists());
    }

    #[test]
    fn last_lines_skips_the_blank_ones() {
        assert_eq!(last_lines("a\n\nb\nc\n\n", 2), "b\nc");
    }
}
