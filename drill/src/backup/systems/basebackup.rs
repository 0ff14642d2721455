//! pg_basebackup with its manifest, and point-in-time recovery through the WAL archive.
//!
//! A backup is taken as `recovery_operator` (role attribute REPLICATION) in plain format, with the WAL that it needs. It is
//! listed from its label, manifest and control file (`own_files.rs`) and verified with pg_verifybackup. A restore copies it into a
//! new place, `pg_control` last, so that an interrupted copy cannot start.

mod own_files;

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use reports::{CheckId, Phase};

use super::{
    super::{Backup, Progress, RestoreRequest, copy},
    BackupError, BackupSystem, Capabilities, Listing, Site,
};
use crate::{
    postgres::{Cluster, ToolOutput, progress},
    record::check::{Found, timed},
    service::Role,
    wal,
};

/// Its name on the command line.
pub const NAME: &str = "basebackup";
/// What it can do.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    point_in_time: true,
    physical: true,
    as_any_role: false,
};
/// Where in a backup's directory the data directory is.
const DATA: &str = "data";

/// The system.
pub struct BaseBackup {
    site: Site,
}

impl BaseBackup {
    /// The system for the backups of this site.
    pub fn new(site: Site) -> Self {
        Self { site }
    }

    async fn take_into(&self, source: &Cluster, id: &str) -> Result<Backup, BackupError> {
        let directory = self.site.new_backup_directory(id)?;
        let data = directory.join(DATA);
        let mut tool = self
            .site
            .tool("pg_basebackup")
            .envs(self.site.environment(source, Role::RecoveryOperator, "postgres"))
            .served_by(source)
            .arg("--pgdata")
            .arg(&data)
            .arg(if self.site.wal_in_backup {
                "--wal-method=stream"
            } else {
                "--wal-method=none" // the server then waits until what the backup needs is archived
            })
            .args(["--checkpoint=fast", "--no-password", "--label"])
            .arg(id);
        // Syncing a thousand files one by one takes seconds; one syncfs does the same (as --sync-method=syncfs does
        // from PostgreSQL 17 on).
        tool = tool.arg("--no-sync").args(&self.site.backup_options);
        self.site.recorder.external("pg_basebackup", tool.run()).await?;
        if self.site.durable {
            let began = self.site.recorder.offset();
            let synced = sync_filesystem(data.clone()).await;
            synced.map_err(|source| BackupError::Io {
                action: "sync",
                path: data.clone(),
                source,
            })?;
            self.site.recorder.external_since("sync the backup", began);
        }
        let mut backup = own_files::backup(id, &directory);
        backup.info.system_identifier = source.recorded_identifier().to_string();
        Ok(backup)
    }
}

impl BackupSystem for BaseBackup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn take<'a>(&'a self, source: &'a Cluster, id: &'a str) -> BoxFuture<'a, Result<Backup, BackupError>> {
        Box::pin(self.take_into(source, id))
    }

    fn verify<'a>(&'a self, backup: &'a Backup) -> BoxFuture<'a, Vec<reports::CheckResult>> {
        Box::pin(async move {
            let result = timed(CheckId::BackupManifest, Phase::Backup, &backup.info.id, async {
                let expected = "every file, its size and checksum, as in the manifest";
                if let Some(strange) = copy::no_file(&backup.directory) {
                    return Ok(Found::fail(expected, strange)); // nobody opens that
                }
                let output = self
                    .site
                    .recorder
                    .external(
                        "pg_verifybackup",
                        self.site
                            .tool("pg_verifybackup")
                            .arg("--quiet")
                            .arg("--no-parse-wal") // the WAL is wal-continuity's to look at, wherever it is
                            .arg(backup.directory.join(DATA))
                            .output(),
                    )
                    .await?;
                Ok::<_, crate::postgres::ToolError>(verdict(expected, &output))
            });
            vec![result.await]
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, BackupError>> {
        let repository = self.site.repository.clone();
        Box::pin(async move {
            let listing = tokio::task::spawn_blocking(move || own_files::listing(&repository));
            listing
                .await
                .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        })
    }

    fn made(&self, directory: &Path) -> bool {
        directory.join(DATA).exists()
    }

    /// The WAL that makes it consistent, unless it was taken without.
    fn held_wal(&self, backup: &Backup) -> Option<PathBuf> {
        let directory = backup.directory.join(DATA).join("pg_wal");
        let mut entries = fs::read_dir(&directory).ok()?.flatten();
        let some = entries.any(|entry| wal::is_segment(&entry.file_name().to_string_lossy()));
        some.then_some(directory)
    }

    fn lay_down<'a>(&'a self, request: &'a RestoreRequest, data: &'a Path) -> BoxFuture<'a, Result<(), BackupError>> {
        Box::pin(async move {
            let from = request.backup.directory.join(DATA);
            // Without its label a server begins at the checkpoint of its control file, which may be long after the backup's start.
            let label = from.join(LABEL);
            label.metadata().map_err(|source| BackupError::Io {
                action: "restore a base backup without",
                path: label.clone(),
                source,
            })?;
            copied(&request.progress, &from, data).await
        })
    }
}

/// Where a server must begin its recovery.
const LABEL: &str = "backup_label";

/// Judges what pg_verifybackup said. Only a complaint about the backup fails it; where the program itself failed, nothing is
/// known.
fn verdict(expected: &str, output: &ToolOutput) -> Found {
    const SAID_OF_ITSELF: &[&str] = &[
        "out of memory",
        "Permission denied",
        "Too many open files",
        "pg_waldump",
    ];
    if let Some(reason) = output.broke_off() {
        return Found::unknown(expected, format!("pg_verifybackup looked at a part only: {reason}"));
    }
    if output.status.success() {
        return Found::pass(expected, "as expected");
    }
    let complaints: Vec<&str> = output
        .stderr
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("pg_verifybackup: ")?.split_once("error: ")?.1))
        .collect();
    let of_itself = |line: &&&str| SAID_OF_ITSELF.iter().any(|text| line.contains(text));
    match complaints.iter().find(|line| !of_itself(line)) {
        Some(first) => Found::fail(expected, *first).detail(complaints.join("\n")),
        None if complaints.is_empty() => {
            Found::unknown(expected, "pg_verifybackup could not look: it does not say why")
        }
        None => Found::unknown(
            expected,
            format!("pg_verifybackup could not look: {}", complaints.join("; ")),
        ),
    }
}

/// Copies a backup's data directory into the place of a new cluster; gives up when no more bytes arrive.
async fn copied(progress: &Progress, from: &Path, to: &Path) -> Result<(), BackupError> {
    let io = |source| BackupError::Io {
        action: "copy",
        path: from.to_owned(),
        source,
    };
    let copier = copy::Copier::new(progress.clone());
    let (source, to) = (from.to_owned(), to.to_owned());
    let under_way = copier.clone(); // gone with this future, which tells the thread to end
    let task = tokio::task::spawn_blocking(move || under_way.data_directory(&source, &to));
    let _stop = copier.stop_when_dropped();
    let done = progress::while_it_moves(task, progress::PATIENCE, || Some(progress.bytes())).await;
    let done = done.ok_or_else(|| {
        io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "no byte arrived for a minute",
        ))
    });
    done?
        .map_err(std::io::Error::other)
        .and_then(|copied| copied)
        .map_err(io)
}

/// Writes everything of the filesystem that `path` is on to its disk.
async fn sync_filesystem(path: PathBuf) -> std::io::Result<()> {
    let sync = move || rustix::fs::syncfs(fs::File::open(path)?).map_err(std::io::Error::from);
    tokio::task::spawn_blocking(sync).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

    use super::{Found, ToolOutput, verdict};

    fn ended(raw: i32, stderr: &str) -> Found {
        let output = ToolOutput {
            status: ExitStatus::from_raw(raw),
            stdout: String::new(),
            stderr: stderr.to_owned(),
            duration: Duration::ZERO,
            command: "pg_verifybackup".to_owned(),
        };
        verdict("every file", &output)
    }

    #[test]
    fn a_backup_fails_by_what_is_said_of_a_file_and_by_nothing_else() {
        assert_eq!(ended(0, ""), Found::pass("every file", "as expected"));
        let of_files = [
            r#"checksum mismatch for file "base/5/1259""#,
            r#""base/5/1259" is present in the manifest but not on disk"#,
            r#""base/5/1259" has size 8192 on disk but size 16384 in the manifest"#,
            "manifest checksum mismatch",
        ];
        for said in of_files {
            let found = ended(1 << 8, &format!("pg_verifybackup: error: {said}\n"));
            assert_eq!(found, Found::fail("every file", said).detail(said));
        }
        let both = "pg_verifybackup: error: out of memory\npg_verifybackup: error: manifest checksum mismatch\n";
        assert_eq!(
            ended(1 << 8, both),
            Found::fail("every file", "manifest checksum mismatch").detail("out of memory\nmanifest checksum mismatch")
        );
    }

    #[test]
    fn a_tool_that_broke_off_or_could_not_look_says_nothing() {
        let unknown = |found: Found, told: &str| assert_eq!(found, Found::unknown("every file", told));
        unknown(
            ended(9, ""),
            "pg_verifybackup looked at a part only: it ended with signal 9",
        );
        unknown(
            ended(137 << 8, ""),
            "pg_verifybackup looked at a part only: it ended with exit code 137",
        );
        let denied = r#"could not open file "base/5/1259": Permission denied"#;
        unknown(
            ended(1 << 8, &format!("pg_verifybackup: error: {denied}\n")),
            &format!("pg_verifybackup could not look: {denied}"),
        );
        unknown(
            ended(1 << 8, "pg_verifybackup: detail: nothing\n"),
            "pg_verifybackup could not look: it does not say why",
        );
    }
}
