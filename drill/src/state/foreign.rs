//! Another cluster that uses the same repository: what a shared bucket or a copied configuration leads to.

use super::{Drill, DrillError};
use crate::{
    backup::Backup,
    postgres::{Cluster, ClusterOptions, Shutdown},
    service::wal_segment_mb,
};

/// A backup of another cluster in the same repository, newer than all others. The cluster is made for it and stopped again.
///
/// # Errors
/// If it cannot be made, or the backup not be taken.
pub async fn backup(drill: &Drill, system: &str) -> Result<Backup, DrillError> {
    let began = drill.desk.recorder.offset();
    let site = &drill.estate.site;
    let system = drill.estate.backup_system(system)?;
    let options = ClusterOptions {
        name: "stranger".into(),
        durable: site.durable,
        wal_segment_mb: wal_segment_mb(site.service.seed_bytes()),
        ..ClusterOptions::default()
    };
    let mut stranger = Cluster::create(&site.installation, &site.work, &options).await?;
    stranger.start().await?;
    site.service.create(&stranger, &site.credentials).await?;
    drill.estate.cluster_started("stranger", &stranger).await?;
    drill.desk.recorder.external_since("create another cluster", began);
    let backup = system
        .take(&stranger, &format!("{}-of-another-cluster", system.name()))
        .await?;
    let _ = stranger.stop(Shutdown::Immediate).await; // dropping it kills what is left
    Ok(backup)
}
