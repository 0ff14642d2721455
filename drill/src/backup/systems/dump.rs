//! pg_dump in custom format and pg_dumpall for the globals: a logical backup of the state that its snapshot saw.
//!
//! What a dump leaves out (roles, passwords, database settings) is in the globals file. Neither has the sequence numbers that
//! were given out and not used, nor statistics. It cannot replay WAL, so everything after the snapshot is lost.

mod header;

use std::{fs, path::Path};

use chrono::Utc;
use futures_util::future::BoxFuture;
use reports::{CheckId, Phase, event::BackupInfo};

use super::{
    super::{Backup, RestoreRequest, copy, note},
    BackupError, BackupSystem, Capabilities, Listing, Site, directories,
};
use crate::{
    postgres::{Cluster, ToolOutput, directory_bytes},
    record::check::{Found, timed},
    reference::{Reading, Record},
};

/// Its name on the command line.
pub const NAME: &str = "dump";
/// What it can do.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    point_in_time: false,
    physical: false,
    as_any_role: true,
};
const DUMP: &str = "transformations.dump";
const GLOBALS: &str = "globals.sql";
/// A dump gives up on a table that stays locked.
const LOCK_LIMIT: &str = "--lock-wait-timeout=60s";

/// The system.
pub struct Dump {
    site: Site,
}

impl Dump {
    /// With the service's site.
    pub fn new(site: Site) -> Self {
        Self { site }
    }

    async fn take_into(&self, source: &Cluster, id: &str) -> Result<Backup, BackupError> {
        let query = |what| move |source| BackupError::Query { what, source };
        let directory = self.site.new_backup_directory(id)?;
        // The snapshot is exported by a transaction that stays open, so that its LSN belongs to what is dumped.
        let client = source.connect("postgres", self.site.service.database()).await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(query("cannot open the dump's snapshot"))?;
        let row = client
            .query_one(
                "SELECT pg_export_snapshot(), pg_current_wal_insert_lsn()::text, clock_timestamp()",
                &[],
            )
            .await
            .map_err(query("cannot export the dump's snapshot"))?;
        let (snapshot, lsn): (String, String) = (row.get(0), row.get(1));
        let taken_at_utc: chrono::DateTime<Utc> = row.get(2);
        let dump = self
            .site
            .tool("pg_dump")
            .envs(match self.site.backup_role {
                Some(role) => self.site.environment(source, role, self.site.service.database()),
                None => source.client_environment("postgres", self.site.service.database(), None),
            })
            .served_by(source)
            .args(["--format=custom", "--no-password", "--compress=1", LOCK_LIMIT])
            .args(&self.site.backup_options)
            .arg("--snapshot")
            .arg(&snapshot)
            .arg("--file")
            .arg(directory.join(DUMP));
        let globals = self
            .site
            .tool("pg_dumpall")
            .envs(source.client_environment("postgres", "postgres", None))
            .served_by(source)
            .args(["--globals-only", "--no-password", LOCK_LIMIT, "--file"])
            .arg(directory.join(GLOBALS));
        let both = async { tokio::try_join!(dump.run(), globals.run()) };
        self.site.recorder.external("pg_dump", both).await?;
        let reading = Reading {
            database: Some(self.site.service.database().to_owned()),
            snapshot: Some(snapshot),
            large_objects: self.site.service.large_objects().copied(),
            ..Reading::default()
        };
        let record = Record::take(source, id, &reading, None);
        let record = self
            .site
            .recorder
            .external("record what the snapshot holds", record)
            .await?;
        let summary = record.summary();
        self.site.references.with(|log| log.add_dump(id, record));
        client
            .batch_execute("COMMIT")
            .await
            .map_err(query("cannot close the dump's snapshot"))?;
        let backup = Backup {
            info: BackupInfo {
                id: id.to_owned(),
                method: NAME.to_owned(),
                taken_at_utc,
                bytes: directory_bytes(&directory),
                start_lsn: None,
                stop_lsn: Some(lsn),
                timeline: None,
                system_identifier: source.recorded_identifier().to_string(),
            },
            directory,
            recorded: Some(summary),
        };
        Ok(backup)
    }

    async fn load_into(&self, request: &RestoreRequest, cluster: &Cluster) -> Result<(), BackupError> {
        let recorder = &self.site.recorder;
        let globals = self.globals(&request.backup.directory, &request.cluster)?;
        let load_globals = self
            .site
            .tool("psql")
            .envs(cluster.client_environment("postgres", "postgres", None))
            .served_by(cluster)
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--no-password",
                "--file",
            ])
            .arg(&globals);
        recorder.external("psql (globals)", load_globals.run()).await?;
        let restore = self
            .site
            .tool("pg_restore")
            .envs(cluster.client_environment("postgres", "postgres", None))
            .served_by(cluster)
            // Without --verbose it does not say what an error is about.
            .args([
                "--create",
                "--no-password",
                "--verbose",
                "--jobs=2",
                "--dbname=postgres",
            ])
            .arg(request.backup.directory.join(DUMP));
        let restored = recorder.external("pg_restore", restore.output()).await?;
        if went_to_its_end(&restored) {
            // Whether what is there will do is for the checks to say, not for an exit code.
            return keep_log(cluster, &restored.stderr);
        }
        Err(restored.failed().into())
    }

    /// The globals without the statement that creates the superuser, which every cluster has already.
    fn globals(&self, backup: &Path, cluster: &str) -> Result<std::path::PathBuf, BackupError> {
        let from = backup.join(GLOBALS);
        let to = self.site.work.path().join(format!("{cluster}-{GLOBALS}"));
        let text = globals_of(backup).map_err(|source| BackupError::Io {
            action: "read",
            path: from,
            source,
        })?;
        let kept: String = text
            .lines()
            .filter(|line| *line != "CREATE ROLE postgres;")
            .flat_map(|line| [line, "\n"])
            .collect();
        fs::write(&to, kept).map_err(|source| BackupError::Io {
            action: "write",
            path: to.clone(),
            source,
        })?;
        self.site.work.user().chown(&to)?;
        Ok(to)
    }
}

impl BackupSystem for Dump {
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
            let result = timed(CheckId::ArtifactReadable, Phase::Backup, &backup.info.id, async {
                let expected = "pg_restore reads the dump to its end; the globals are complete";
                if let Some(strange) = copy::no_file(&backup.directory) {
                    return Ok(Found::fail(expected, strange)); // nobody opens that
                }
                // Only writing the whole script out reads every block; listing reads the table of contents alone.
                let read = self
                    .site
                    .tool("pg_restore")
                    .args(["--file=/dev/null"])
                    .arg(backup.directory.join(DUMP))
                    .output();
                let output = self.site.recorder.external("pg_restore (full read)", read).await?;
                let globals = globals_of(&backup.directory).unwrap_or_default();
                let said = output.stderr.lines().last().unwrap_or("pg_restore failed");
                let said = said.trim_start_matches("pg_restore: error: ");
                Ok::<_, crate::postgres::ToolError>(if let Some(reason) = output.broke_off() {
                    Found::unknown(expected, format!("pg_restore read a part only: {reason}"))
                } else if ["out of memory", "Permission denied"]
                    .iter()
                    .any(|own| said.contains(own))
                {
                    Found::unknown(expected, format!("pg_restore could not look: {said}"))
                } else if !output.status.success() {
                    Found::fail(expected, said)
                } else if !globals.contains("PostgreSQL database cluster dump complete") {
                    Found::fail(expected, "the globals file is cut off or missing")
                } else {
                    Found::pass(expected, "as expected")
                })
            });
            let recorded = self.site.references.with(|log| log.dump(&backup.info.id));
            vec![result.await, roles(backup, recorded.as_deref()).await]
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, BackupError>> {
        Box::pin(async { listing(&self.site.repository) })
    }

    fn made(&self, directory: &Path) -> bool {
        directory.join(DUMP).exists() || directory.join(GLOBALS).exists()
    }

    fn load<'a>(&'a self, request: &'a RestoreRequest, cluster: &'a Cluster) -> BoxFuture<'a, Result<(), BackupError>> {
        Box::pin(self.load_into(request, cluster))
    }
}

/// Lists the dumps of a repository. A dump's header says when it was begun; the WAL position of its snapshot is only in the
/// note that was written when it was taken.
fn listing(repository: &Path) -> Result<Listing, BackupError> {
    let mut listing = Listing::default();
    for (name, directory) in directories(repository)? {
        let (dump, globals) = (directory.join(DUMP), directory.join(GLOBALS));
        match (dump.exists(), globals.exists()) {
            (false, false) => {}
            (true, true) => match note::read(&directory) {
                Ok(noted) => listing.backups.push(noted),
                Err(problem) => {
                    listing.backups.push(without_note(&name, &directory)?);
                    listing.less_known.push((name, problem));
                }
            },
            (true, false) => listing.unfinished.push((name, format!("it has no {GLOBALS}"))),
            (false, true) => listing.unfinished.push((name, format!("it has no {DUMP}"))),
        }
    }
    Ok(listing)
}

/// A dump as far as its own files describe it.
fn without_note(id: &str, directory: &Path) -> Result<Backup, BackupError> {
    let dump = directory.join(DUMP);
    let written = fs::metadata(&dump).and_then(|file| file.modified());
    let written = written.map_err(|source| BackupError::Io {
        action: "look at",
        path: dump.clone(),
        source,
    })?;
    Ok(Backup {
        info: BackupInfo {
            id: id.to_owned(),
            method: NAME.to_owned(),
            taken_at_utc: header::begun_or_written(&dump, written.into()),
            bytes: directory_bytes(directory),
            start_lsn: None,
            stop_lsn: None,
            timeline: None,
            system_identifier: String::new(),
        },
        directory: directory.to_owned(),
        recorded: None,
    })
}

fn globals_of(backup: &Path) -> std::io::Result<String> {
    let text = copy::read(&backup.join(GLOBALS))?;
    String::from_utf8(text).map_err(std::io::Error::other)
}

/// Whether pg_restore came to its end, errors or not; it exits with 1 as well where it gave up.
fn went_to_its_end(output: &ToolOutput) -> bool {
    const IGNORED: &str = "pg_restore: warning: errors ignored on restore: ";
    let ignored = output.stderr.lines().any(|line| line.starts_with(IGNORED));
    output.status.success() || (output.broke_off().is_none() && ignored)
}

/// Keeps what pg_restore said while it loaded a cluster, for the check `restore-log`.
fn keep_log(cluster: &Cluster, said: &str) -> Result<(), BackupError> {
    let path = cluster.load_log_path();
    fs::write(&path, said).map_err(|source| BackupError::Io {
        action: "write",
        path,
        source,
    })
}

/// `privileges` of a backup: its globals must create every role of the record. Without a role pg_restore fails at the first
/// object that the role owns.
async fn roles(backup: &Backup, recorded: Option<&Record>) -> reports::CheckResult {
    timed(CheckId::Privileges, Phase::Backup, &backup.info.id, async {
        let expected = "the globals create every role that there was";
        let Some(recorded) = recorded else {
            return Ok(Found::unknown(expected, "no roles were recorded with this backup"));
        };
        let globals = globals_of(&backup.directory)?;
        let missing = recorded.inventory.roles_missing(&globals);
        let actual = if missing.is_empty() {
            "as expected".to_owned()
        } else {
            format!("without {}", missing.join(", "))
        };
        Ok::<_, std::io::Error>(Found::judge(missing.is_empty(), expected, actual))
    })
    .await
}
