//! An earlier recovery of the service, which left it on a timeline of its own.

use std::{fmt::Write as _, fs, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::promote_clone::PATIENCE;
use crate::{
    fault::{
        Deed, Doing, Done, FaultError, World,
        server::{copied, failed, names},
    },
    postgres::{Cluster, Shutdown, conf_quoted},
    scenario::{Changes, Fault, FaultTarget, Kind, Moment, Needs, OneBackup, Scenario},
    wal::commands,
};

/// Restores the service's cluster from a backup to the end of its WAL, as an earlier recovery would have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreCluster {
    /// The backup that it is restored from.
    pub from: OneBackup,
}

impl Kind for RestoreCluster {
    fn name() -> &'static str {
        "restore-cluster"
    }

    fn needs() -> Needs {
        Needs::Server
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "an earlier recovery: restores {} from {} to the end of its WAL, onto a new timeline",
            fault.whose(),
            FaultTarget::Backup(self.from.0).in_words()
        )
    }

    fn suits(&self, fault: &Fault, scenario: &Scenario) -> Result<(), String> {
        let then = Moment::BetweenBackups..=Moment::Failure;
        if fault.target == FaultTarget::Cluster && then.contains(&fault.at) && scenario.given.archive {
            return Ok(());
        }
        Err(
            "`restore-cluster` is an earlier recovery of the service: aim it at cluster, between the backups or \
             after them, and keep an archive"
                .to_owned(),
        )
    }

    fn changes(&self) -> Changes {
        Changes::Nothing
    }

    fn starts_another_timeline(&self) -> bool {
        true
    }

    fn wal_in_words(&self, fault: &Fault, number: u32, _: &str) -> Option<String> {
        let branches = fault.at > Moment::BetweenBackups || number == 1;
        branches.then(|| format!(", across the branch to the new timeline (line {})", fault.line))
    }
}

impl Deed for RestoreCluster {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move {
            let OneBackup(from) = self.from;
            let (Some((backup, directory)), Some(archive)) = (world.backup(from), world.archive) else {
                return Err(FaultError::NoSuchTarget {
                    target: FaultTarget::Backup(from),
                    at: fault.at,
                });
            };
            restore(world.cluster(fault)?, &backup, &directory, archive).await
        })
    }
}

/// Restores the service's cluster from a backup by the book (PostgreSQL manual, 26.3.5): its own pg_wal is saved, so that
/// it comes back with everything, on a timeline of its own. It was stopped in order, so nothing is lost.
async fn restore(service: &mut Cluster, backup: &str, directory: &Path, archive: &Path) -> Result<Done, FaultError> {
    let before = names(archive)?;
    let stopped = service.stop(Shutdown::Fast).await.map_err(failed("stop"))?;
    if stopped != Shutdown::Fast {
        let what = format!("the server had to be stopped by {stopped:?}");
        return Err(FaultError::NotVerified { what });
    }
    let data = service.data_directory().to_owned();
    let lost = data.with_file_name("data.before");
    fs::rename(&data, &lost).map_err(FaultError::io("move away", &data))?;
    copied(directory.join("data"), data.clone()).await?;
    let wal = data.join("pg_wal");
    fs::remove_dir_all(&wal).map_err(FaultError::io("remove", &wal))?;
    fs::rename(lost.join("pg_wal"), &wal).map_err(FaultError::io("put back", &wal))?;
    fs::remove_dir_all(&lost).map_err(FaultError::io("remove", &lost))?;
    let conf = data.join("postgresql.auto.conf");
    let mut settings = fs::read_to_string(&conf).map_err(FaultError::io("read", &conf))?;
    let restore_command = conf_quoted(&commands::copy_command(archive));
    let _ = writeln!(settings, "restore_command = {restore_command}");
    fs::write(&conf, settings).map_err(FaultError::io("write", &conf))?;
    let signal = data.join("recovery.signal");
    fs::write(&signal, "").map_err(FaultError::io("write", &signal))?;
    let user = service.work().user();
    user.chown_recursive(&data).map_err(failed("hand over the files of"))?;
    service.start().await.map_err(failed("start"))?;
    service.wait_until_writable(PATIENCE).await.map_err(failed("promote"))?;
    let archived: Vec<String> = names(archive)?.difference(&before).cloned().collect();
    let archived = archived.into_iter().map(|name| format!("{name}: archived meanwhile"));
    let summary = format!("the service was restored from {backup} to the end of its WAL, and serves again");
    Ok(Done::new(summary, archived))
}
