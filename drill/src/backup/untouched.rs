//! Checks that nobody wrote to the repository: backups are only read. A cheap listing (type, mode, size and times of every
//! entry) is compared after each restore; contents, by SHA-256 and up to a gibibyte, at the end.
//!
//! The listing is taken anew whenever something was broken on purpose. Files that did not change since are not hashed again,
//! and hashing runs in the background.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reports::text::{counted, number};

use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use crate::postgres::open_file;

/// At most this many bytes are hashed.
const LARGEST: u64 = 1 << 30;

/// One entry of the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

type Listing = BTreeMap<PathBuf, Entry>;
type Digests = BTreeMap<PathBuf, (Entry, [u8; 32])>;

/// The repository as it was noted last.
pub struct Untouched {
    repository: PathBuf,
    listing: Listing,
    digests: JoinHandle<Digests>,
    stop: Arc<AtomicBool>,
}

impl Drop for Untouched {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Untouched {
    /// Takes the listing now; files that are as in `before` are not hashed again.
    ///
    /// # Errors
    /// If the repository cannot be listed.
    pub fn note(repository: &Path, before: Option<Self>) -> io::Result<Self> {
        let listing = listed(repository)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (root, entries, given_up) = (repository.to_owned(), listing.clone(), Arc::clone(&stop));
        let digests = tokio::spawn(async move {
            let known = match before {
                Some(mut before) => (&mut before.digests).await.unwrap_or_default(),
                None => Digests::new(),
            };
            let read = move || digested(&root, &entries, &known, &given_up);
            tokio::task::spawn_blocking(read).await.unwrap_or_default()
        });
        Ok(Self {
            repository: repository.to_owned(),
            listing,
            digests,
            stop,
        })
    }

    /// What differs from the listing now.
    ///
    /// # Errors
    /// If the repository cannot be listed.
    pub fn differences(&self) -> io::Result<Vec<String>> {
        let now = listed(&self.repository)?;
        let mut found = Vec::new();
        for (path, entry) in &self.listing {
            match now.get(path) {
                None => found.push(format!("{} is gone", path.display())),
                Some(other) if other != entry => {
                    found.push(format!("{}: {}", path.display(), entry.describe_changes(*other)));
                }
                Some(_) => {}
            }
        }
        let new = now.keys().filter(|path| !self.listing.contains_key(*path));
        found.extend(new.map(|path| format!("{} is new", path.display())));
        Ok(found)
    }

    /// What differs in the listing or in the files' contents, and how many files were read.
    ///
    /// # Errors
    /// If the repository cannot be listed.
    pub async fn all_differences(mut self) -> io::Result<(Vec<String>, usize)> {
        let mut found = self.differences()?;
        let before = (&mut self.digests).await.unwrap_or_default();
        let (root, entries, stop) = (self.repository.clone(), self.listing.clone(), Arc::clone(&self.stop));
        let read = move || digested(&root, &entries, &Digests::new(), &stop);
        let now = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        let same = |path: &&PathBuf| now.get(*path).is_some_and(|(_, digest)| *digest != before[*path].1);
        found.extend(
            before
                .keys()
                .filter(same)
                .map(|path| format!("{} holds something else", path.display())),
        );
        Ok((found, before.len()))
    }
}

impl Entry {
    fn describe_changes(self, now: Self) -> String {
        let mut told = Vec::new();
        if self.size != now.size {
            told.push(format!("{}, not {}", counted(now.size, "byte"), number(self.size)));
        }
        if self.mode != now.mode {
            told.push(format!("mode {:o}, not {:o}", now.mode, self.mode));
        }
        if told.is_empty() {
            told.push("it was written to".to_owned());
        }
        told.join(", ")
    }
}

fn listed(repository: &Path) -> io::Result<Listing> {
    fn walk(root: &Path, directory: &Path, listing: &mut Listing) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let entry = Entry {
                mode: metadata.mode(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            };
            listing.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), entry);
            if metadata.is_dir() {
                walk(root, &path, listing)?;
            }
        }
        Ok(())
    }
    let mut listing = Listing::new();
    walk(repository, repository, &mut listing)?;
    Ok(listing)
}

/// The digests of the files; a file that has changed since the listing has none.
fn digested(root: &Path, listing: &Listing, known: &Digests, stop: &AtomicBool) -> Digests {
    let mut digests = Digests::new();
    let mut bytes = 0;
    for (path, entry) in listing {
        bytes += entry.size;
        if bytes > LARGEST || stop.load(Ordering::Relaxed) {
            break;
        }
        let digest = match known.get(path) {
            Some((same, digest)) if same == entry => Some(*digest),
            _ => digest(&root.join(path), entry, stop),
        };
        digests.extend(digest.map(|digest| (path.clone(), (*entry, digest))));
    }
    digests
}

fn digest(path: &Path, entry: &Entry, stop: &AtomicBool) -> Option<[u8; 32]> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = open_file(path).ok()?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 256 * 1024]);
    while !stop.load(Ordering::Relaxed) {
        let read = file.read(&mut buffer).ok()?;
        if read == 0 {
            let now = file.metadata().ok()?;
            let same = (now.ctime(), now.ctime_nsec()) == entry.changed;
            return same.then(|| digest.finalize().into());
        }
        digest.update(&buffer[..read]);
    }
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{
        fs::{File, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("one/data")).unwrap();
        for file in ["one/data/a", "one/data/b", "one/backup.json"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        root
    }

    #[tokio::test]
    async fn nothing_is_said_of_what_was_only_read() {
        let root = repository();
        let noted = Untouched::note(root.path(), None).unwrap();
        fs::read(root.path().join("one/data/a")).unwrap();
        assert_eq!(noted.differences().unwrap(), Vec::<String>::new());
        assert_eq!(noted.all_differences().await.unwrap(), (Vec::new(), 3));
    }

    #[tokio::test]
    async fn whatever_was_written_is_named() {
        let root = repository();
        let noted = Untouched::note(root.path(), None).unwrap();
        let time = fs::metadata(root.path().join("one/data/a"))
            .unwrap()
            .modified()
            .unwrap();
        fs::write(root.path().join("one/data/a"), "one/data/A").unwrap();
        File::options()
            .write(true)
            .open(root.path().join("one/data/a"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::set_permissions(root.path().join("one/data/b"), Permissions::from_mode(0o400)).unwrap();
        fs::remove_file(root.path().join("one/backup.json")).unwrap();
        fs::write(root.path().join("one/data/c"), "").unwrap();
        let told = noted.differences().unwrap().join("; ");
        for part in [
            "a: it was written to",
            "data/b: mode 100400, not",
            "backup.json is gone",
            "data/c is new",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[tokio::test]
    async fn what_is_broken_on_purpose_is_noted_anew_and_what_a_file_holds_is_compared() {
        let root = repository();
        let noted = Untouched::note(root.path(), None).unwrap();
        fs::write(root.path().join("one/data/a"), "broken").unwrap();
        let noted = Untouched::note(root.path(), Some(noted)).unwrap();
        let (differences, read) = noted.all_differences().await.unwrap();
        assert_eq!((differences, read), (Vec::new(), 3));
        // A listing that does not tell: as if times could be set back altogether.
        let mut noted = Untouched::note(root.path(), None).unwrap();
        let before = (&mut noted.digests).await.unwrap();
        fs::write(root.path().join("one/data/a"), "BROKEN").unwrap();
        noted.listing = listed(root.path()).unwrap();
        noted.digests = tokio::spawn(async move { before });
        assert_eq!(
            noted.all_differences().await.unwrap().0,
            ["one/data/a holds something else"]
        );
    }
}
