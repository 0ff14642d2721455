//! Copies a backup's data directory into a new place, `pg_control` last: a copy that was interrupted cannot start.
//!
//! The copy is independent of the backup: the targets of symbolic links are copied, so that a server on the copy never writes
//! into the repository, and its owner may write to it, whatever modes the backup has. An entry that is neither a file nor a
//! directory, nor a link to one, is refused by name and never opened.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::Progress;
use crate::postgres::{
    cleared::{self, Kind},
    no_file as strange, open_file,
};

/// The directory for tablespaces, beside the new cluster's data directory.
pub const TABLESPACES: &str = "tablespaces";
/// The file without which no server starts.
const CONTROL: &str = "global/pg_control";
/// Files that are not copied: they configure the server that was copied, or another restore. Tablespaces are where this copy
/// puts them, not where a `tablespace_map` says.
const LEFT_OUT: &[&str] = &[
    "standby.signal",
    "recovery.signal",
    "postmaster.pid",
    "postmaster.opts",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
];
const TABLESPACE_LINKS: &str = "pg_tblspc";
const WAL: &str = "pg_wal";
/// So many files are copied side by side.
const AT_A_TIME: usize = 4;
/// How much is copied at a time.
const CHUNK: u64 = 8 << 20;

/// Copies files, counts their bytes, and stops early when it is told to.
#[derive(Clone, Default)]
pub struct Copier {
    progress: Progress,
    stop: Arc<AtomicBool>,
}

/// Ends a copy when it is dropped.
pub struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Copier {
    /// A copier that counts bytes in `progress`.
    pub fn new(progress: Progress) -> Self {
        Self {
            progress,
            stop: Arc::default(),
        }
    }

    /// A guard that ends the copy when it is dropped.
    pub fn stop_when_dropped(&self) -> Stop {
        Stop(Arc::clone(&self.stop))
    }

    /// Copies everything below `from` to `to`, which must not exist, and tablespaces beside it.
    ///
    /// # Errors
    /// If anything cannot be read or written, or is neither file nor directory; what was copied stays.
    pub fn data_directory(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = Tree {
            over: cleared::take(to, &|relative| belongs(from, relative)),
            files: Vec::new(),
        };
        tree.directory(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            match name.to_str() {
                Some(left_out) if LEFT_OUT.contains(&left_out) => {}
                Some(TABLESPACE_LINKS) => tree.tablespaces(&from.join(&name), to)?,
                // The link's target may be gone: the WAL then comes from the archive.
                Some(WAL) if !from.join(&name).exists() => tree.directory(&to.join(&name))?,
                _ => tree.entry(&from.join(&name), &to.join(&name), &from.join(CONTROL))?,
            }
        }
        self.files(&tree)?;
        self.file(&from.join(CONTROL), &to.join(CONTROL), false)
    }

    /// Several at a time: there is a wait for each. The error is that of the first file that could not be copied.
    fn files(&self, tree: &Tree) -> io::Result<()> {
        let next = AtomicUsize::new(0);
        let copy = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((from, to)) = tree.files.get(number) else {
                    return Ok(());
                };
                if let Err(error) = self.file(from, to, tree.over) {
                    next.store(tree.files.len(), Ordering::Relaxed); // the others stop as well
                    return Err((number, error));
                }
            }
        };
        let failed = thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(copy)).collect();
            let ended = threads.into_iter().filter_map(|thread| thread.join().ok());
            ended.filter_map(Result::err).min_by_key(|(number, _)| *number)
        });
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// With `over`, an empty file may be there already.
    fn file(&self, from: &Path, to: &Path, over: bool) -> io::Result<()> {
        let mut source = open_file(from).map_err(|error| named(from, &error))?;
        let mut target = File::options();
        target
            .write(true)
            .create_new(!over)
            .create(true)
            .truncate(over)
            .mode(0o600);
        let mut target = target.open(to)?;
        if over {
            target.set_permissions(Permissions::from_mode(0o600))?;
        }
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("the restore was given up"));
            }
            let copied = io::copy(&mut source.by_ref().take(CHUNK), &mut target)?;
            if copied == 0 {
                return Ok(());
            }
            self.progress.add(copied);
        }
    }
}

/// What will be at a path of a copy, before anything is copied; of tablespaces, of what is left out and of the file without
/// which no server starts, nothing is.
fn belongs(from: &Path, relative: &Path) -> Option<Kind> {
    let first = relative.iter().next()?.to_str();
    let alone = relative.iter().nth(1).is_none();
    match first {
        Some(name) if LEFT_OUT.contains(&name) => None,
        Some(TABLESPACE_LINKS) => alone.then_some(Kind::Directory),
        Some(WAL) if alone => Some(Kind::Directory),
        _ if relative == Path::new(CONTROL) => None,
        _ => Kind::of(&from.join(relative)),
    }
}

/// A copy whose directories are there; its files are still to be copied.
struct Tree {
    /// Whether it goes over a cleared data directory.
    over: bool,
    /// From where to where.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Tree {
    /// A link in `pg_tblspc` is a tablespace elsewhere: it gets a place of its own, and the link leads there.
    fn tablespaces(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let links = to.join(TABLESPACE_LINKS);
        self.directory(&links)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if !entry.file_type()?.is_symlink() {
                self.entry(&path, &links.join(&name), Path::new(""))?;
                continue;
            }
            let own = to.with_file_name(TABLESPACES);
            fs::create_dir_all(&own)?;
            self.entry(&path, &own.join(&name), Path::new(""))?;
            symlink(own.join(&name), links.join(&name))?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &Path, except: &Path) -> io::Result<()> {
        if from == except {
            return Ok(());
        }
        let metadata = fs::metadata(from).map_err(|error| named(from, &error))?;
        if metadata.is_file() {
            self.files.push((from.to_owned(), to.to_owned()));
            return Ok(());
        }
        if !metadata.is_dir() {
            return Err(io::Error::other(strange(from, metadata.file_type())));
        }
        if leads_to_itself(from)? {
            return Err(io::Error::other(format!(
                "{} leads to a directory that it is in",
                from.display()
            )));
        }
        self.directory(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            self.entry(&from.join(&name), &to.join(&name), except)?;
        }
        Ok(())
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if !(self.over && error.kind() == io::ErrorKind::AlreadyExists) => Err(error),
            _ => fs::set_permissions(path, Permissions::from_mode(0o700)), // whatever the umask
        }
    }
}

/// Whether a link leads to a directory above it: copying what is in there would never end.
fn leads_to_itself(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.is_symlink() {
        return Ok(false);
    }
    let parent = path.parent().unwrap_or(path).canonicalize()?;
    Ok(parent.starts_with(path.canonicalize()?))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads a file that is small by its nature.
///
/// # Errors
/// If it cannot be read, is no file, or is larger than such a file ever is.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    const LARGEST: u64 = 256 << 20;
    let mut bytes = Vec::new();
    open_file(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == LARGEST {
        return Err(io::Error::other("it is larger than such a file ever is"));
    }
    Ok(bytes)
}

/// Describes the first entry of a backup that is neither a file nor a directory, nor a link to one.
pub fn no_file(directory: &Path) -> Option<String> {
    let entries: Vec<PathBuf> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.iter().find_map(|path| {
        let kind = fs::symlink_metadata(path).ok()?.file_type();
        if kind.is_dir() {
            return no_file(path);
        }
        let kind = fs::metadata(path).ok()?.file_type();
        (!kind.is_file() && !kind.is_dir()).then(|| strange(path, kind))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn backup(root: &Path) -> PathBuf {
        let from = root.join("backup/data");
        for directory in ["global", "pg_wal", "pg_tblspc", "base/5"] {
            fs::create_dir_all(from.join(directory)).unwrap();
        }
        fs::write(from.join("PG_VERSION"), "16").unwrap();
        fs::write(from.join(CONTROL), "control").unwrap();
        from
    }

    fn copied(from: &Path, place: &Path) -> io::Result<u64> {
        fs::create_dir_all(place).unwrap();
        let progress = Progress::default();
        Copier::new(progress.clone()).data_directory(from, &place.join("data"))?;
        Ok(progress.bytes())
    }

    #[test]
    fn everything_is_copied_and_without_a_control_file_the_copy_fails() {
        let root = tempfile::tempdir().unwrap();
        let from = backup(root.path());
        assert_eq!(copied(&from, &root.path().join("to")).unwrap(), 9);
        assert_eq!(
            fs::read_to_string(root.path().join("to/data/global/pg_control")).unwrap(),
            "control"
        );
        fs::remove_file(from.join(CONTROL)).unwrap();
        assert!(copied(&from, &root.path().join("broken")).is_err());
        assert!(!root.path().join("broken/data/global/pg_control").exists());
    }

    #[test]
    fn what_is_copied_has_no_way_back_to_the_backup() {
        let root = tempfile::tempdir().unwrap();
        let from = backup(root.path());
        let (wal, space) = (root.path().join("backup/wal"), root.path().join("backup/16400"));
        fs::remove_dir(from.join("pg_wal")).unwrap();
        fs::create_dir_all(space.join("PG_16_1/5")).unwrap();
        fs::create_dir(&wal).unwrap();
        fs::write(wal.join("000000010000000000000002"), "wal").unwrap();
        fs::write(space.join("PG_16_1/5/1"), "row").unwrap();
        symlink(&wal, from.join("pg_wal")).unwrap();
        symlink(&space, from.join("pg_tblspc/16400")).unwrap();
        symlink(from.join("PG_VERSION"), from.join("base/5/PG_VERSION")).unwrap();
        let place = root.path().join("to");
        copied(&from, &place).unwrap();
        let is_link = |path: &str| fs::symlink_metadata(place.join(path)).unwrap().is_symlink();
        assert!(!is_link("data/pg_wal") && !is_link("data/base/5/PG_VERSION"));
        assert_eq!(
            fs::read_link(place.join("data/pg_tblspc/16400")).unwrap(),
            place.join("tablespaces/16400")
        );
        assert_eq!(
            fs::read(place.join("data/pg_tblspc/16400/PG_16_1/5/1")).unwrap(),
            b"row"
        );
        assert_eq!(
            fs::read(place.join("data/pg_wal/000000010000000000000002")).unwrap(),
            b"wal"
        );
        fs::remove_dir_all(&wal).unwrap();
        copied(&from, &root.path().join("without")).unwrap();
        assert!(
            root.path().join("without/data/pg_wal").is_dir(),
            "its WAL may be in the archive"
        );
    }

    #[test]
    fn how_another_server_was_to_run_is_left_out_and_modes_are_for_the_restore() {
        let root = tempfile::tempdir().unwrap();
        let from = backup(root.path());
        for left_out in LEFT_OUT {
            fs::write(from.join(left_out), "").unwrap();
        }
        fs::write(from.join("base/5/1"), "row").unwrap();
        fs::set_permissions(from.join("base/5/1"), Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(from.join("base/5"), Permissions::from_mode(0o500)).unwrap();
        copied(&from, &root.path().join("to")).unwrap();
        let to = root.path().join("to/data");
        assert!(LEFT_OUT.iter().all(|left_out| !to.join(left_out).exists()));
        let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("base/5/1"), mode("base/5")), (0o600, 0o700));
        fs::set_permissions(from.join("base/5"), Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn what_is_no_file_is_named_and_never_opened() {
        let root = tempfile::tempdir().unwrap();
        let from = backup(root.path());
        assert_eq!(no_file(&from), None);
        let pipe = from.join("pg_wal/000000010000000000000003");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let told = format!("{} is a pipe, no file", pipe.display());
        assert_eq!(no_file(&from).as_deref(), Some(told.as_str()));
        assert_eq!(copied(&from, &root.path().join("to")).unwrap_err().to_string(), told);
        assert_eq!(read(&pipe).unwrap_err().to_string(), told);
        fs::remove_file(&pipe).unwrap();
        symlink("/dev/zero", from.join("base/5/1")).unwrap();
        assert!(no_file(&from).unwrap().ends_with("base/5/1 is a device, no file"));
        fs::remove_file(from.join("base/5/1")).unwrap();
        symlink(&from, from.join("base/5/loop")).unwrap();
        let told = copied(&from, &root.path().join("round")).unwrap_err().to_string();
        assert!(told.ends_with("leads to a directory that it is in"), "{told}");
    }

    #[test]
    fn a_copy_that_nobody_waits_for_ends() {
        let root = tempfile::tempdir().unwrap();
        let from = backup(root.path());
        let copier = Copier::new(Progress::default());
        drop(copier.stop_when_dropped());
        fs::create_dir(root.path().join("to")).unwrap();
        let told = copier
            .data_directory(&from, &root.path().join("to/data"))
            .unwrap_err()
            .to_string();
        assert_eq!(told, "the restore was given up");
    }
}
