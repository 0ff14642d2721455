//! Where a restore goes: a new or empty place in the drill's directory, never one that holds anything.

use std::{fs, path::PathBuf};

use super::{BackupError, Site};

/// The directory for the cluster of that name, if a restore may fill it.
///
/// # Errors
/// If anything is there already, or it cannot be looked at.
pub fn free(site: &Site, cluster: &str) -> Result<PathBuf, BackupError> {
    empty(site.work.path().join(cluster))
}

fn empty(path: PathBuf) -> Result<PathBuf, BackupError> {
    match fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(path),
        Ok(false) => Err(BackupError::TargetTaken { path }),
        Err(source) => Err(BackupError::Io {
            action: "look into",
            path,
            source,
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::empty;

    #[test]
    fn only_a_place_with_nothing_in_it_is_free() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("restored");
        assert_eq!(empty(place.clone()).unwrap(), place);
        fs::create_dir(&place).unwrap();
        assert_eq!(
            empty(place.clone()).unwrap(),
            place,
            "an empty filesystem is mounted like this"
        );
        fs::create_dir(place.join("data")).unwrap();
        let refusal = empty(place.clone()).unwrap_err().to_string();
        assert!(refusal.contains("is not empty"), "{refusal}");
        fs::write(root.path().join("file"), "").unwrap();
        let refusal = empty(root.path().join("file")).unwrap_err().to_string();
        assert!(refusal.starts_with("cannot look into"), "{refusal}");
    }
}
