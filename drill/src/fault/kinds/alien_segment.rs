//! A segment of another cluster in the service's archive, as two clusters leave it that archive into one place. The other
//! cluster is real, and gone when the fault is done.

use std::{fs, os::unix::fs::FileExt as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Deed, Doing, Done, FaultError, Root, World, files::changed, server::failed},
    postgres::{Cluster, ClusterOptions, Tool},
    scenario::{Fault, FaultTarget, Kind, Needs, Scenario},
};

/// Puts a segment of another cluster, of the same name, in place of a WAL segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlienSegment {}

impl Kind for AlienSegment {
    fn name() -> &'static str {
        "alien-segment"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "puts a segment of another cluster, of the same name, in place of {} of {}",
            fault.file_in_words(),
            fault.whose()
        )
    }

    fn suits(&self, fault: &Fault, _: &Scenario) -> Result<(), String> {
        if matches!(fault.target, FaultTarget::Archive | FaultTarget::Stream) {
            return Ok(());
        }
        Err("`alien-segment` acts on archive or stream".to_owned())
    }
}

impl Deed for AlienSegment {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(replace(fault, world))
    }
}

/// Puts a segment of a new cluster, of the same name, in place of each that is meant.
async fn replace(fault: &Fault, world: &mut World<'_>) -> Result<Done, FaultError> {
    let (_, directory) = world.directory(fault)?;
    let (root, files) = (Root::open(&directory)?, world.files(fault)?);
    let service = &*world.cluster;
    let mut touched = Vec::new();
    for (number, entry) in root.select(&files, world.random)?.into_iter().enumerate() {
        let options = ClusterOptions {
            name: format!("alien-{}-{number}", fault.number),
            wal_segment_mb: u32::try_from(entry.bytes >> 20).unwrap_or(1).max(1),
            ..ClusterOptions::default()
        };
        let alien = Cluster::create(service.installation(), service.work(), &options)
            .await
            .map_err(failed("make"))?;
        let name = entry.name.rsplit('/').next().unwrap_or(&entry.name).to_owned();
        let reset = Tool::new(service.installation(), "pg_resetwal")
            .args(["--force", "--next-wal-file", &name, "--pgdata"])
            .arg(alien.data_directory())
            .run()
            .await;
        reset.map_err(FaultError::Command)?;
        let written = alien.data_directory().join("pg_wal").join(&name);
        let content = fs::read(&written).map_err(FaultError::io("read", &written))?;
        root.open_file(&entry)?
            .write_all_at(&content, 0)
            .map_err(FaultError::io("write", &entry.path))?;
        if fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))? != content {
            let what = format!("{} does not have its new content", entry.path.display());
            return Err(FaultError::NotVerified { what });
        }
        let system = alien.recorded_identifier();
        touched.push(format!("{}: replaced by that of system {system}", entry.name));
        alien.remove().map_err(failed("remove"))?;
    }
    changed(AlienSegment::name(), "replaced", touched, "no segment was meant")
}
