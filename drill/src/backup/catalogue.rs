//! The backup catalogue: one directory a backup, each with a record, `backup.json`, that is written last.
//!
//! The record carries a digest of itself. Where it is damaged or gone, what it said is derived again from the backup, which
//! is no worse for it; a directory that holds no finished backup either is listed as such and never used.

use std::{fs, io, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Backup, BackupError, copy, derive};

/// Name of a backup's record.
pub const ENTRY: &str = "backup.json";
/// Where in a record its digest is.
const DIGEST: &str = "digest";

/// Enters a finished backup.
///
/// # Errors
/// If its record cannot be written.
pub fn enter(backup: &Backup) -> Result<(), BackupError> {
    let path = backup.directory.join(ENTRY);
    let write = || {
        let mut record = serde_json::to_value(backup)?;
        let digest = digest(&record)?;
        if let Value::Object(fields) = &mut record {
            fields.insert(DIGEST.to_owned(), Value::String(digest));
        }
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(&record)?)?;
        fs::rename(&beside, &path)
    };
    write().map_err(|source| BackupError::Io {
        action: "write",
        path: path.clone(),
        source,
    })
}

/// What the repository holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Finished backups, oldest first.
    pub backups: Vec<Backup>,
    /// Backups whose record is damaged or gone, and what is the matter with it: what it said was derived from the backup.
    pub derived: Vec<(String, String)>,
    /// Directories that are no finished backup, and why.
    pub unfinished: Vec<(String, String)>,
}

/// Lists the repository.
///
/// # Errors
/// If the repository itself cannot be read.
pub fn list(repository: &Path) -> Result<Listing, BackupError> {
    let failed = |source| BackupError::Io {
        action: "list the backup repository",
        path: repository.to_owned(),
        source,
    };
    let mut listing = Listing::default();
    for entry in fs::read_dir(repository).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        match recorded(&entry.path()) {
            Ok(backup) => listing.backups.push(backup),
            Err(problem) => match derive::backup(&name, &entry.path()) {
                Some(backup) => {
                    listing.backups.push(backup);
                    listing.derived.push((name, problem));
                }
                None => listing.unfinished.push((name, problem)),
            },
        }
    }
    listing
        .backups
        .sort_by(|a, b| (a.info.taken_at_utc, &a.info.id).cmp(&(b.info.taken_at_utc, &b.info.id)));
    listing.derived.sort();
    listing.unfinished.sort();
    Ok(listing)
}

/// What a backup's record says, if it is what was written.
fn recorded(directory: &Path) -> Result<Backup, String> {
    let bytes = copy::read(&directory.join(ENTRY)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("it has no {ENTRY}: {error}"),
        _ => format!("its {ENTRY} cannot be read: {error}"),
    })?;
    let unreadable = |error: serde_json::Error| format!("its {ENTRY} cannot be read: {error}");
    let mut record: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let written = record.as_object_mut().and_then(|fields| fields.remove(DIGEST));
    let now = digest(&record).map_err(unreadable)?;
    if written.as_ref().and_then(Value::as_str) != Some(now.as_str()) {
        return Err(format!("its {ENTRY} is not what was written: the digest is another"));
    }
    let backup: Backup = serde_json::from_value(record).map_err(unreadable)?;
    Ok(Backup {
        directory: directory.to_owned(),
        ..backup
    })
}

/// The number of a backup, which it was given when it was taken and which its id ends with: it stays the same, whatever
/// becomes of the others. None for one that was not taken of the service.
pub fn number(id: &str) -> Option<u32> {
    id.rsplit_once('-')?.1.parse().ok()
}

/// Of what a record says, however it is laid out.
fn digest(record: &Value) -> Result<String, serde_json::Error> {
    Ok(format!(
        "sha256:{}",
        hex::encode(Sha256::digest(serde_json::to_vec(record)?))
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use chrono::{DateTime, Utc};
    use reports::event::BackupInfo;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A base backup as far as its record goes, and the record.
    fn base(repository: &Path) -> Backup {
        let directory = repository.join("basebackup-1");
        let data = directory.join("data");
        fs::create_dir_all(data.join("global")).unwrap();
        fs::write(
            data.join("global/pg_control"),
            7_481_223_344_556_677_889_u64.to_le_bytes(),
        )
        .unwrap();
        let label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n\
                     BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-03-02 04:00:01 UTC\nLABEL: basebackup-1\nSTART TIMELINE: 1\n";
        fs::write(data.join("backup_label"), label).unwrap();
        let manifest = r#"{ "PostgreSQL-Backup-Manifest-Version": 1, "Files": [], "WAL-Ranges": [
            { "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" } ], "Manifest-Checksum": "0" }"#;
        fs::write(data.join("backup_manifest"), manifest).unwrap();
        let info = BackupInfo {
            id: "basebackup-1".into(),
            method: "basebackup".into(),
            taken_at_utc: time("2026-03-02T04:00:02.5Z"),
            bytes: 1,
            start_lsn: Some("0/2000028".into()),
            stop_lsn: Some("0/2000100".into()),
            timeline: Some(1),
            system_identifier: "7481223344556677889".into(),
        };
        let backup = Backup {
            info,
            directory,
            recorded: None,
        };
        enter(&backup).unwrap();
        backup
    }

    #[test]
    fn a_record_is_taken_at_its_word_only_where_it_is_what_was_written() {
        let repository = tempfile::tempdir().unwrap();
        let backup = base(repository.path());
        let listing = list(repository.path()).unwrap();
        assert_eq!(listing.backups[0].info, backup.info);
        assert!(listing.derived.is_empty() && listing.unfinished.is_empty());

        let record = backup.directory.join(ENTRY);
        let whole = fs::read_to_string(&record).unwrap();
        let damages = [
            whole.replace("0/2000100", "0/2000900"),
            whole.replace("sha256:", "sha256:0"),
            whole.replace('{', "Q"),
            String::new(),
        ];
        for damaged in damages {
            fs::write(&record, damaged).unwrap();
            let listing = list(repository.path()).unwrap();
            let (derived, written) = (&listing.backups[0].info, &backup.info);
            assert_eq!(listing.derived.len(), 1, "{:?}", listing.unfinished);
            assert_eq!(
                (
                    &derived.start_lsn,
                    &derived.stop_lsn,
                    derived.timeline,
                    &derived.system_identifier
                ),
                (
                    &written.start_lsn,
                    &written.stop_lsn,
                    written.timeline,
                    &written.system_identifier
                )
            );
            assert!(derived.taken_at_utc >= time("2026-03-02T04:00:01Z"));
        }
        fs::remove_file(&record).unwrap();
        assert!(
            list(repository.path()).unwrap().derived[0]
                .1
                .starts_with("it has no backup.json")
        );
    }

    #[test]
    fn a_directory_without_a_backup_is_none() {
        let repository = tempfile::tempdir().unwrap();
        let backup = base(repository.path());
        fs::remove_file(backup.directory.join(ENTRY)).unwrap();
        fs::remove_file(backup.directory.join("data/backup_manifest")).unwrap();
        fs::create_dir(repository.path().join("empty")).unwrap();
        let listing = list(repository.path()).unwrap();
        assert!(listing.backups.is_empty());
        assert_eq!(listing.unfinished.len(), 2);
    }
}
