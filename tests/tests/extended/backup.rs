//! A backup system: pg_basebackup in tar format, unpacked by `tar`.

use std::{fs, path::Path, process::Stdio};

use drill::{
    backup::{Backup, BackupError, BackupSystem, Capabilities, Known, Listing, RestoreRequest, Site},
    postgres::{Cluster, directory_bytes},
    record::check::{Found, timed},
    service::Role,
};
use futures_util::future::BoxFuture;
use reports::{CheckId, CheckResult, Phase, event::BackupInfo};
use tokio::process::Command;

pub(crate) const NAME: &str = "tarball";
pub(crate) const KNOWN: Known = Known {
    capabilities: CAPABILITIES,
    open: |site| std::sync::Arc::new(Tarball { site }),
};
const CAPABILITIES: Capabilities = Capabilities {
    point_in_time: true,
    physical: true,
    as_any_role: false,
};
const BASE: &str = "base.tar";
const MANIFEST: &str = "backup_manifest";

struct Tarball {
    site: Site,
}

impl Tarball {
    async fn take_into(&self, source: &Cluster, id: &str) -> Result<Backup, BackupError> {
        let directory = self.site.new_backup_directory(id)?;
        let environment = self.site.environment(source, Role::RecoveryOperator, "postgres");
        let tool = self.site.tool("pg_basebackup").envs(environment).served_by(source);
        let tool = tool.args(["--format=tar", "--wal-method=stream", "--checkpoint=fast", "--pgdata"]);
        tool.arg(&directory).run().await?;
        Self::described(id, &directory)
    }

    /// The manifest beside the archives tells what a server needs to be consistent.
    fn described(id: &str, directory: &Path) -> Result<Backup, BackupError> {
        let path = directory.join(MANIFEST);
        let io = |source| BackupError::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        let manifest = fs::read(&path).map_err(io)?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).map_err(|error| io(error.into()))?;
        let range = &manifest["WAL-Ranges"][0];
        Ok(Backup {
            info: BackupInfo {
                id: id.to_owned(),
                method: NAME.to_owned(),
                taken_at_utc: fs::metadata(&path).and_then(|file| file.modified()).map_err(io)?.into(),
                bytes: directory_bytes(directory),
                start_lsn: range["Start-LSN"].as_str().map(str::to_owned),
                stop_lsn: range["End-LSN"].as_str().map(str::to_owned),
                timeline: range["Timeline"].as_u64().and_then(|timeline| timeline.try_into().ok()),
                system_identifier: String::new(), // an archive does not tell
            },
            directory: directory.to_owned(),
            recorded: None,
        })
    }
}

impl BackupSystem for Tarball {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn take<'a>(&'a self, source: &'a Cluster, id: &'a str) -> BoxFuture<'a, Result<Backup, BackupError>> {
        Box::pin(self.take_into(source, id))
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, BackupError>> {
        Box::pin(async {
            let mut listing = Listing::default();
            let entries = fs::read_dir(&self.site.repository).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| self.made(&entry.path())) {
                let id = entry.file_name().to_string_lossy().into_owned();
                listing.backups.push(Self::described(&id, &entry.path())?);
            }
            Ok(listing)
        })
    }

    fn made(&self, directory: &Path) -> bool {
        directory.join(BASE).exists()
    }

    fn verify<'a>(&'a self, backup: &'a Backup) -> BoxFuture<'a, Vec<CheckResult>> {
        Box::pin(async move {
            let check = timed(CheckId::ArtifactReadable, Phase::Backup, &backup.info.id, async {
                let mut tar = Command::new("tar");
                tar.arg("--list").arg("--file").arg(backup.directory.join(BASE));
                let read = tar.stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
                Ok::<_, std::io::Error>(Found::judge(
                    read.success(),
                    "tar reads it to its end",
                    read.to_string(),
                ))
            });
            vec![check.await]
        })
    }

    fn lay_down<'a>(&'a self, request: &'a RestoreRequest, data: &'a Path) -> BoxFuture<'a, Result<(), BackupError>> {
        Box::pin(async move {
            for (archive, to) in [(BASE, data.to_owned()), ("pg_wal.tar", data.join("pg_wal"))] {
                let io = |source| BackupError::Io {
                    action: "unpack",
                    path: request.backup.directory.join(archive),
                    source,
                };
                fs::create_dir_all(&to).map_err(io)?;
                let mut tar = Command::new("tar");
                tar.arg("--extract")
                    .arg("--file")
                    .arg(request.backup.directory.join(archive));
                let status = tar.arg("--directory").arg(&to).status().await.map_err(io)?;
                if !status.success() {
                    return Err(io(std::io::Error::other(status.to_string())));
                }
            }
            request.progress.add(directory_bytes(data));
            Ok(())
        })
    }
}
