//! The directory of a run's evidence. It is made before anything is fetched or started, so that a failure to make it shows at
//! once; if nothing is written into it, it is removed again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Failure;

/// A directory that was made for a run.
pub(super) struct EvidenceDir {
    path: PathBuf,
    /// It, and those above it that were made for it; the innermost first.
    made: Vec<PathBuf>,
}

impl EvidenceDir {
    /// Makes it. Evidence is never overwritten: it must not be there yet.
    ///
    /// # Errors
    /// If there is something of that name, or it cannot be made: another `--out` is to be named.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let out = path.display();
        if path.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!(
                "{out} exists; evidence is never overwritten: name another --out"
            )));
        }
        let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let missing = parents.take_while(|parent| parent.symlink_metadata().is_err());
        let mut directory = Self {
            path: path.to_owned(),
            made: Vec::new(),
        };
        let mut wanted: Vec<&Path> = missing.collect();
        wanted.reverse();
        wanted.push(path);
        for one in wanted {
            fs::create_dir(one).map_err(|error| {
                Failure::usage(format!(
                    "cannot make the directory {out} for the evidence ({error}): name an --out that can be written"
                ))
            })?;
            directory.made.insert(0, one.to_owned());
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the plan of a run that recorded nothing.
    pub(super) fn withdraw(&self) {
        let names = |entry: std::io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
        let only_the_plan = fs::read_dir(&self.path)
            .and_then(|entries| entries.map(names).collect::<Result<Vec<_>, _>>())
            .is_ok_and(|names| names == [reports::plan::FILE_NAME]);
        if only_the_plan {
            let _ = fs::remove_file(self.path.join(reports::plan::FILE_NAME)); // the error that is reported says more
        }
    }
}

impl Drop for EvidenceDir {
    /// Removes what was made and is empty.
    fn drop(&mut self) {
        for made in &self.made {
            if fs::remove_dir(made).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_its_parents_unless_something_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("runs/today/one");
        let made = EvidenceDir::create(&path).unwrap();
        assert!(path.is_dir());
        assert!(EvidenceDir::create(&path).is_err(), "it exists");
        drop(made);
        assert!(!place.path().join("runs").exists());

        let made = EvidenceDir::create(&path).unwrap();
        fs::write(path.join(reports::plan::FILE_NAME), "{}").unwrap();
        made.withdraw();
        drop(made);
        assert!(!place.path().join("runs").exists(), "a plan of which nothing came");

        let made = EvidenceDir::create(&path).unwrap();
        fs::write(path.join("report.md"), "evidence").unwrap();
        made.withdraw();
        drop(made);
        assert!(path.join("report.md").exists());
    }
}
