//! What drill notes beside a backup that it took: `backup.json`, with a digest of itself.
//!
//! A backup is listed from its own files. The note adds what no tool records: the WAL position of a dump's snapshot, and the
//! hashes of the reference record that was taken then. If the note is damaged or gone, the backup is listed all the same.

use std::{fs, io, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Backup, BackupError, copy};

/// Its name in a backup's directory.
const FILE: &str = "backup.json";
/// The key of its digest.
const DIGEST: &str = "digest";

/// Writes the note of a finished backup.
///
/// # Errors
/// If it cannot be written.
pub fn write(backup: &Backup) -> Result<(), BackupError> {
    let path = backup.directory.join(FILE);
    let write = || {
        let mut note = serde_json::to_value(backup)?;
        let digest = digest(&note)?;
        if let Value::Object(fields) = &mut note {
            fields.insert(DIGEST.to_owned(), Value::String(digest));
        }
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(&note)?)?;
        fs::rename(&beside, &path)
    };
    write().map_err(|source| BackupError::Io {
        action: "write",
        path: path.clone(),
        source,
    })
}

/// Reads a note whose digest is right.
///
/// # Errors
/// What is the matter with the note, in words.
pub(super) fn read(directory: &Path) -> Result<Backup, String> {
    let bytes = copy::read(&directory.join(FILE)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("it has no {FILE}: {error}"),
        _ => format!("its {FILE} cannot be read: {error}"),
    })?;
    let unreadable = |error: serde_json::Error| format!("its {FILE} cannot be read: {error}");
    let mut note: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let written = note.as_object_mut().and_then(|fields| fields.remove(DIGEST));
    let now = digest(&note).map_err(unreadable)?;
    if written.as_ref().and_then(Value::as_str) != Some(now.as_str()) {
        return Err(format!("its {FILE} is not what was written: the digest is another"));
    }
    let backup: Backup = serde_json::from_value(note).map_err(unreadable)?;
    Ok(Backup {
        directory: directory.to_owned(),
        ..backup
    })
}

/// The number of a backup, which it was given when it was taken and which its id ends with; it keeps it when others expire.
/// `None` for a backup that was not taken of the service.
pub fn number(id: &str) -> Option<u32> {
    id.rsplit_once('-')?.1.parse().ok()
}

/// The digest of what a note says, whatever its layout.
fn digest(note: &Value) -> Result<String, serde_json::Error> {
    Ok(format!(
        "sha256:{}",
        hex::encode(Sha256::digest(serde_json::to_vec(note)?))
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use reports::event::BackupInfo;

    use super::*;

    #[test]
    fn a_note_is_taken_at_its_word_only_where_it_is_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let info = BackupInfo {
            id: "dump-1".into(),
            method: "dump".into(),
            taken_at_utc: "2026-03-02T04:00:02.5Z".parse().unwrap(),
            bytes: 1,
            start_lsn: None,
            stop_lsn: Some("0/2000100".into()),
            timeline: None,
            system_identifier: "7481223344556677889".into(),
        };
        let backup = Backup {
            info,
            directory: directory.path().to_owned(),
            recorded: None,
        };
        assert!(read(directory.path()).unwrap_err().starts_with("it has no backup.json"));
        write(&backup).unwrap();
        assert_eq!(read(directory.path()).unwrap().info, backup.info);
        let path = directory.path().join(FILE);
        let whole = fs::read_to_string(&path).unwrap();
        let damages = [
            whole.replace("0/2000100", "0/2000900"),
            whole.replace("sha256:", "sha256:0"),
            whole.replace('{', "Q"),
            String::new(),
        ];
        for damaged in damages {
            fs::write(&path, damaged).unwrap();
            assert!(read(directory.path()).is_err());
        }
    }

    #[test]
    fn the_number_of_a_backup_is_its_own() {
        assert_eq!(number("basebackup-12"), Some(12));
        assert_eq!(number("basebackup-of-another-cluster"), None);
    }
}
