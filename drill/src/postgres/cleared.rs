//! Data directories that nobody needs any more: emptied, kept in the cache, and written over by the next copy.
//!
//! A data directory has more than a thousand files. ext4 does not give out the inode of a removed file again for some
//! minutes, and looks past all of them for each file that is made; so making and removing them costs more than writing what
//! is in them. What is kept here has no content: every file is empty, and there is nothing but directories and files. A copy
//! over it removes what does not belong to it before it begins.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{cache, files};

/// So many are kept: what one drill leaves.
const MOST: usize = 4;

/// What a copy will have at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A file, and whatever of its content is written.
    File,
}

impl Kind {
    /// What a path is, symbolic links followed; none for what is neither directory nor file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let file = meta.is_file().then_some(Self::File);
        if meta.is_dir() { Some(Self::Directory) } else { file }
    }
}

/// Keeps the data directories below `place`, a run's own directory that is about to be removed; the rest of it stays.
/// Whatever cannot be kept stays as well.
pub(super) fn keep_those_below(place: &Path) {
    let Ok(kept) = cache::subdirectory("cleared") else {
        return;
    };
    keep_those(place, &kept);
}

fn keep_those(place: &Path, kept: &Path) {
    let mut room = MOST.saturating_sub(fs::read_dir(kept).map_or(MOST, Iterator::count));
    for tree in data_directories(place, 3) {
        if room == 0 {
            return;
        }
        let same_device = device(&tree).is_some_and(|there| device(kept) == Some(there));
        if same_device && empty(&tree).is_ok() {
            let name = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
            room -= usize::from(fs::rename(&tree, kept.join(name)).is_ok());
        }
    }
}

/// Puts a kept data directory to `to`, where nothing is, without what `belongs` does not name as the same kind; paths are
/// relative to it. Whether there was one: where not, nothing is there as before.
pub(crate) fn take(to: &Path, belongs: &dyn Fn(&Path) -> Option<Kind>) -> bool {
    let Ok(kept) = cache::subdirectory("cleared") else {
        return false;
    };
    take_from(&kept, to, belongs)
}

fn take_from(kept: &Path, to: &Path, belongs: &dyn Fn(&Path) -> Option<Kind>) -> bool {
    let parent = to.parent().unwrap_or(to);
    if device(kept).is_none() || device(kept) != device(parent) || to.symlink_metadata().is_ok() {
        return false;
    }
    let trees = fs::read_dir(kept).into_iter().flatten().flatten();
    let mut ours = trees.filter(|tree| {
        let owner = tree.metadata().map(|meta| meta.uid());
        let me = rustix::process::geteuid();
        me.is_root() || owner.is_ok_and(|owner| owner == me.as_raw())
    });
    if !ours.any(|tree| fs::rename(tree.path(), to).is_ok()) {
        return false; // none, or somebody else was quicker
    }
    let pruned =
        fs::set_permissions(to, Permissions::from_mode(0o700)).and_then(|()| prune(to, Path::new(""), belongs));
    if pruned.is_err() {
        let _ = files::remove_tree(to); // then whoever copies sees that something is in the way
    }
    pruned.is_ok()
}

fn prune(directory: &Path, relative: &Path, belongs: &dyn Fn(&Path) -> Option<Kind>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, relative) = (entry.path(), relative.join(entry.file_name()));
        let meta = entry.metadata()?;
        match belongs(&relative) {
            Some(Kind::Directory) if meta.is_dir() => prune(&path, &relative, belongs)?,
            Some(Kind::File) if meta.is_file() && meta.len() == 0 && meta.nlink() == 1 => {}
            _ if meta.is_dir() => files::remove_tree(&path)?,
            _ => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

/// Empties every file, and removes whatever is neither a file of its own nor a directory.
fn empty(tree: &Path) -> io::Result<()> {
    let mut full = Vec::new();
    files::walk(tree, &mut |entry, meta| {
        let is_file = meta.is_file() && meta.nlink() == 1;
        if is_file && meta.len() > 0 {
            full.push(entry.to_owned());
        } else if !is_file && !meta.is_dir() {
            fs::remove_file(entry)?;
        }
        Ok(())
    })?;
    files::side_by_side(&full, |file| {
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        File::options().write(true).custom_flags(flags).open(file)?.set_len(0)
    })
}

/// The data directories in `place` and so many levels below it.
fn data_directories(place: &Path, levels: u32) -> Vec<PathBuf> {
    if place.join("PG_VERSION").is_file() && place.join("base").is_dir() {
        return vec![place.to_owned()];
    }
    if levels == 0 {
        return Vec::new();
    }
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories
        .flat_map(|entry| data_directories(&entry.path(), levels - 1))
        .collect()
}

fn device(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.dev())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn cluster(path: &Path) {
        for directory in ["base/5", "global", "pg_wal", "later"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        for file in ["PG_VERSION", "base/5/1", "base/5/2", "pg_wal/old", "later/9"] {
            fs::write(path.join(file), "secret").unwrap();
        }
        symlink("/etc/passwd", path.join("base/5/3")).unwrap();
    }

    fn all(path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        files::walk(path, &mut |entry, meta| {
            let name = entry.strip_prefix(path).unwrap().display().to_string();
            found.push(format!("{name} {}", if meta.is_dir() { 0 } else { meta.len() }));
            Ok(())
        })
        .unwrap();
        found.sort();
        found
    }

    #[test]
    fn what_is_kept_has_no_content_and_what_is_taken_nothing_that_does_not_belong() {
        let root = tempfile::tempdir().unwrap();
        let (kept, work) = (root.path().join("kept"), root.path().join("work"));
        fs::create_dir(&kept).unwrap();
        cluster(&work.join("source/data"));
        fs::hard_link(work.join("source/data/base/5/2"), root.path().join("another-name")).unwrap();
        keep_those(&work, &kept);
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
        assert!(!work.join("source/data").exists() && work.join("source").is_dir());
        assert_eq!(
            fs::read(root.path().join("another-name")).unwrap(),
            b"secret",
            "it is somebody's"
        );

        let to = work.join("source/restored");
        let belongs = |path: &Path| match path.to_str().unwrap() {
            "base" | "base/5" | "global" | "pg_wal" | "later/9" => Some(Kind::Directory),
            "PG_VERSION" | "base/5/1" | "later" => Some(Kind::File),
            _ => None,
        };
        assert!(take_from(&kept, &to, &belongs));
        assert_eq!(
            all(&to),
            [
                " 0",
                "PG_VERSION 0",
                "base 0",
                "base/5 0",
                "base/5/1 0",
                "global 0",
                "pg_wal 0"
            ]
        );
        assert!(!take_from(&kept, &work.join("another"), &belongs), "there was one");
    }

    #[test]
    fn no_more_are_kept_than_a_drill_leaves_and_nothing_is_put_over_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let (kept, work) = (root.path().join("kept"), root.path().join("work"));
        fs::create_dir(&kept).unwrap();
        for n in 0..=MOST {
            cluster(&work.join(format!("{n}/data")));
        }
        keep_those(&work, &kept);
        assert_eq!(fs::read_dir(&kept).unwrap().count(), MOST);
        let left = data_directories(&work, 3);
        assert_eq!(left.len(), 1);
        assert!(!take_from(&kept, &left[0], &|_| None));
        assert_eq!(fs::read(left[0].join("base/5/1")).unwrap(), b"secret");
        fs::write(
            fs::read_dir(&kept)
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
                .path()
                .join("PG_VERSION"),
            "16",
        )
        .unwrap();
        let to = root.path().join("to");
        while take_from(&kept, &to, &|path| {
            (path == Path::new("PG_VERSION")).then_some(Kind::File)
        }) {
            assert!(fs::read(to.join("PG_VERSION")).is_ok_and(|text| text.is_empty()) || all(&to) == [" 0"]);
            fs::remove_dir_all(&to).unwrap();
        }
    }
}
