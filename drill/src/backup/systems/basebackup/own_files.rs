//! What a base backup records of itself: its manifest, which is written last, its label and its control file. Manifest and
//! control file carry a checksum of themselves and count only if that is right.

use std::{fs, path::Path};

use chrono::{DateTime, NaiveDateTime, Utc};
use reports::event::BackupInfo;
use sha2::{Digest as _, Sha256};

use super::{
    super::{super::Listing, directories},
    Backup, BackupError, DATA, NAME, copy,
};
use crate::postgres::{directory_bytes, intact_identifier};

const MANIFEST: &str = "backup_manifest";

/// Lists the base backups of a repository. One without a manifest was never finished, or cannot be proven complete.
pub(super) fn listing(repository: &Path) -> Result<Listing, BackupError> {
    let mut listing = Listing::default();
    for (name, directory) in directories(repository)? {
        let data = directory.join(DATA);
        if !data.exists() {
            continue;
        }
        if data.join(MANIFEST).exists() {
            listing.backups.push(backup(&name, &directory));
        } else {
            listing
                .unfinished
                .push((name, format!("it has no {MANIFEST}, which is written last")));
        }
    }
    Ok(listing)
}

/// The backup in a directory, as far as its files tell.
pub(super) fn backup(id: &str, directory: &Path) -> Backup {
    let data = directory.join(DATA);
    let label = copy::read(&data.join("backup_label")).unwrap_or_default();
    let label = Label(String::from_utf8_lossy(&label).into_owned());
    let manifest = copy::read(&data.join(MANIFEST)).unwrap_or_default();
    let range = wal_range(&manifest);
    let finished = fs::metadata(data.join(MANIFEST)).and_then(|file| file.modified()).ok();
    let info = BackupInfo {
        id: id.to_owned(),
        method: NAME.to_owned(),
        taken_at_utc: finished
            .map(DateTime::<Utc>::from)
            .or_else(|| label.began())
            .unwrap_or(DateTime::UNIX_EPOCH),
        bytes: directory_bytes(&data),
        start_lsn: range
            .as_ref()
            .map(|range| range.start.clone())
            .or_else(|| label.start()),
        stop_lsn: range.as_ref().map(|range| range.end.clone()),
        timeline: range.as_ref().map(|range| range.timeline).or_else(|| label.timeline()),
        system_identifier: intact_identifier(&data).map_or_else(String::new, |identifier| identifier.to_string()),
    };
    Backup {
        info,
        directory: directory.to_owned(),
        recorded: None,
    }
}

/// `backup_label`.
struct Label(String);

impl Label {
    fn says(&self, name: &str) -> Option<&str> {
        let lines = &mut self.0.lines();
        lines.find_map(|line| line.strip_prefix(name)).map(str::trim)
    }

    fn start(&self) -> Option<String> {
        let start = self.says("START WAL LOCATION: ")?.split_whitespace().next();
        start.map(ToOwned::to_owned)
    }

    fn timeline(&self) -> Option<u32> {
        self.says("START TIMELINE: ")?.parse().ok()
    }

    fn began(&self) -> Option<DateTime<Utc>> {
        let began = NaiveDateTime::parse_from_str(self.says("START TIME: ")?, "%Y-%m-%d %H:%M:%S UTC");
        began.ok().map(|began| began.and_utc())
    }
}

/// The WAL that makes a backup consistent.
#[derive(Debug, PartialEq, Eq)]
struct WalRange {
    timeline: u32,
    start: String,
    end: String,
}

/// The WAL that a manifest says is needed; none if the manifest was altered: its last line is a SHA-256 of all lines before
/// (PostgreSQL manual, 77.1).
fn wal_range(manifest: &[u8]) -> Option<WalRange> {
    const LAST: &[u8] = b"\"Manifest-Checksum\"";
    let last = manifest.windows(LAST.len()).rposition(|bytes| bytes == LAST)?;
    let told: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    if told["Manifest-Checksum"].as_str()? != hex::encode(Sha256::digest(&manifest[..last])) {
        return None;
    }
    let range = &told["WAL-Ranges"][0];
    Some(WalRange {
        timeline: u32::try_from(range["Timeline"].as_u64()?).ok()?,
        start: range["Start-LSN"].as_str()?.to_owned(),
        end: range["End-LSN"].as_str()?.to_owned(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A base backup as far as its label and manifest go.
    fn made(repository: &Path) -> std::path::PathBuf {
        let data = repository.join("basebackup-1").join(DATA);
        fs::create_dir_all(&data).unwrap();
        let label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n\
                     BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-03-02 04:00:01 UTC\nLABEL: basebackup-1\nSTART TIMELINE: 1\n";
        fs::write(data.join("backup_label"), label).unwrap();
        let mut manifest = String::from(
            "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [],\n\"WAL-Ranges\": [\n\
             { \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n",
        );
        let digest = hex::encode(Sha256::digest(&manifest));
        manifest.extend(["\"Manifest-Checksum\": \"", &digest, "\"}\n"]);
        fs::write(data.join(MANIFEST), manifest).unwrap();
        data
    }

    fn listed(repository: &Path) -> BackupInfo {
        listing(repository).unwrap().backups[0].info.clone()
    }

    #[test]
    fn a_backup_is_what_its_own_files_say_as_long_as_they_are_what_was_written() {
        let repository = tempfile::tempdir().unwrap();
        let data = made(repository.path());
        let whole = listed(repository.path());
        let of = |info: &BackupInfo| (info.start_lsn.clone(), info.stop_lsn.clone(), info.timeline);
        assert_eq!(
            of(&whole),
            (Some("0/2000028".into()), Some("0/2000100".into()), Some(1))
        );
        assert_eq!(whole.system_identifier, "", "there is no control file that would tell");

        let manifest = data.join(MANIFEST);
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("0/2000100", "0/2000900")).unwrap();
        assert_eq!(
            of(&listed(repository.path())),
            (Some("0/2000028".into()), None, Some(1))
        );
        fs::write(data.join("backup_label"), "").unwrap();
        assert_eq!(of(&listed(repository.path())), (None, None, None));
        fs::remove_file(&manifest).unwrap();
        let listing = listing(repository.path()).unwrap();
        assert!(listing.backups.is_empty());
        assert_eq!(listing.unfinished[0].0, "basebackup-1");
    }
}
