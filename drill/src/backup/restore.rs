//! A restore, whatever the backup system: the rules that every restore must keep stand here, once.
//!
//! It goes into a free place and nowhere else. Its files belong to the server's account. The new cluster cannot act on
//! production. Recovery settings come from the drill, not from the backup. It pauses when the files are in place, so that a
//! scenario can damage them before a server has run on them.

use std::fs;

use super::{Backup, BackupError, BackupSystem, Progress, Site, copy, first_start, pause::Pause, target};
use crate::{
    postgres::{Cluster, ClusterOptions, Shutdown, TimelineId, directory_bytes},
    wal::{Instead, RecoveryTarget, commands},
};

/// What to restore, to where, and how far.
pub struct RestoreRequest {
    /// The backup.
    pub backup: Backup,
    /// Name of the new cluster within the drill.
    pub cluster: String,
    /// How far to replay.
    pub target: RecoveryTarget,
    /// The timeline to follow, where it must be named; else the server follows the newest that it sees.
    pub timeline: Option<TimelineId>,
    /// WAL segments of which the first copy must not be used: the copy to use instead, or none.
    pub instead: Instead,
    /// Status and bytes, for those who poll.
    pub progress: Progress,
    /// Passed when the files are in place and the server is not started yet.
    pub pause: Pause,
}

/// Restores into a new cluster, started and isolated from production; out of recovery, or paused at its target.
///
/// # Errors
/// If the target is not free, or the backup or its WAL cannot be brought back.
pub async fn restore(site: &Site, system: &dyn BackupSystem, request: &RestoreRequest) -> Result<Cluster, BackupError> {
    let can = system.capabilities();
    if request.target != RecoveryTarget::End && !can.point_in_time {
        return Err(BackupError::NoPointInTime {
            system: system.name(),
            target: request.target.to_string(),
        });
    }
    if can.physical {
        laid_down(site, system, request).await
    } else {
        loaded(site, system, request).await
    }
}

/// Files first, then a server on them, which replays.
async fn laid_down(site: &Site, system: &dyn BackupSystem, request: &RestoreRequest) -> Result<Cluster, BackupError> {
    let place = target::free(site, &request.cluster)?;
    let data = place.join("data");
    let began = site.recorder.offset();
    site.work.subdirectory(&request.cluster)?;
    system.lay_down(request, &data).await?;
    let tablespaces = place.join(copy::TABLESPACES);
    if tablespaces.exists() {
        site.work.user().chown_recursive(&tablespaces)?;
    }
    site.recorder.external_since("copy the backup", began);
    let mut settings = recovery_settings(site, system, request)?;
    settings.extend(isolated());
    settings.push(("recovery_init_sync_method".to_owned(), "syncfs".to_owned()));
    let options = ClusterOptions {
        name: request.cluster.clone(),
        settings,
        durable: site.durable,
        ..ClusterOptions::default()
    };
    fs::write(data.join("recovery.signal"), "").map_err(|source| BackupError::Io {
        action: "write",
        path: data.clone(),
        source,
    })?;
    let cluster = Cluster::adopt(&site.installation, &site.work, data, &options)?;
    let mut cluster = request.pause.pass(cluster).await.ok_or(BackupError::GivenUp)?;
    request.progress.replaying();
    let began = site.recorder.offset();
    first_start::restored_server(site, &mut cluster).await?;
    site.recorder
        .external_since("start the restored server and replay", began);
    Ok(cluster)
}

/// A server first, which is then loaded.
async fn loaded(site: &Site, system: &dyn BackupSystem, request: &RestoreRequest) -> Result<Cluster, BackupError> {
    target::free(site, &request.cluster)?;
    let options = ClusterOptions {
        name: request.cluster.clone(),
        settings: isolated(),
        durable: site.durable,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::create(&site.installation, &site.work, &options).await?;
    let mut cluster = request.pause.pass(cluster).await.ok_or(BackupError::GivenUp)?;
    let recorder = &site.recorder;
    recorder.external("start the restored server", cluster.start()).await?;
    let loaded = system.load(request, &cluster).await;
    request.progress.add(directory_bytes(cluster.data_directory()));
    if let Err(error) = loaded {
        let _ = cluster.stop(Shutdown::Immediate).await; // the restore's own error is what matters
        return Err(error);
    }
    Ok(cluster)
}

/// How the restored server fetches WAL, and where it stops.
fn recovery_settings(
    site: &Site,
    system: &dyn BackupSystem,
    request: &RestoreRequest,
) -> Result<Vec<(String, String)>, BackupError> {
    let fetch = match system.fetch_wal(&request.backup) {
        Some(own) => own,
        None => site.fetch_wal(&request.instead)?,
    };
    let timeline = request
        .timeline
        .map_or("latest".to_owned(), |timeline| timeline.to_string());
    let (target, is_inclusive) = match &request.target {
        RecoveryTarget::End => (None, true),
        RecoveryTarget::Lsn(lsn) => (Some(("recovery_target_lsn", lsn.to_string())), false),
        RecoveryTarget::Time(time) => (Some(("recovery_target_time", time.to_rfc3339())), true),
        RecoveryTarget::Xid(xid) => (Some(("recovery_target_xid", xid.to_string())), true),
    };
    // The backup may bring settings of an earlier recovery along. All targets are emptied before one is set: the server takes
    // one at most, and reads its command line in order.
    let emptied = [
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
    ];
    let is_other = |name: &&str| target.as_ref().is_none_or(|(target, _)| target != name);
    let emptied = emptied.into_iter().filter(is_other).map(|name| (name, String::new()));
    let settings = emptied.chain(target.clone()).chain([
        ("restore_command", fetch),
        ("recovery_target_timeline", timeline),
        (
            "recovery_target_inclusive",
            if is_inclusive { "on" } else { "off" }.to_owned(),
        ),
        ("recovery_target_action", "promote".to_owned()),
    ]);
    Ok(settings.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Settings that keep a restored cluster from acting on production: it archives nowhere, waits for no standby, and runs none of
/// the commands that an earlier recovery was given.
fn isolated() -> Vec<(String, String)> {
    [
        ("archive_mode", "off"),
        ("archive_command", ""),
        ("synchronous_standby_names", ""),
        ("archive_cleanup_command", ""),
        ("recovery_end_command", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl Site {
    /// The `restore_command` that asks the archive and the stream of the drill. Its script is written here.
    fn fetch_wal(&self, instead: &Instead) -> Result<String, BackupError> {
        let script = self.work.path().join("restore-wal.sh");
        let text = commands::restore_script(&self.wal, instead, &self.archive_service());
        fs::write(&script, text).map_err(|source| BackupError::Io {
            action: "write",
            path: script.clone(),
            source,
        })?;
        self.work.user().chown(&script)?;
        Ok(commands::restore_command(&script))
    }
}
