//! A full filesystem: only ever the small one that this run made for the cluster.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use reports::text::{bytes, counted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Deed, Doing, Done, FaultError, World, world::absent},
    scenario::{Fault, Kind, Needs, Scenario},
};

/// The file that takes the room.
const BALLAST: &str = "ballast";

/// Fills the small filesystem that the cluster was given (`given.storage_size`), down to the last byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FillDisk {}

impl Kind for FillDisk {
    fn name() -> &'static str {
        "fill-disk"
    }

    fn needs() -> Needs {
        Needs::OwnFilesystem
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!("fills the filesystem of {}", fault.whose())
    }

    fn suits(&self, _: &Fault, scenario: &Scenario) -> Result<(), String> {
        if scenario.given.storage_bytes.is_some() {
            return Ok(());
        }
        Err("`fill-disk` fills only a small filesystem of the cluster's own; set `given.storage_size`".to_owned())
    }
}

impl Deed for FillDisk {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move {
            world.cluster(fault)?;
            fill(world.disk.ok_or_else(|| absent(fault))?)
        })
    }
}

/// Writes until not one byte more fits.
pub(in crate::fault) fn fill(disk: &Path) -> Result<Done, FaultError> {
    let device = |path: &Path| {
        fs::metadata(path)
            .map(|metadata| metadata.dev())
            .map_err(FaultError::io("examine", path))
    };
    let above = disk.parent().unwrap_or(disk);
    if device(disk)? == device(above)? {
        return Err(FaultError::NotItsOwn { path: disk.to_owned() });
    }
    let path = disk.join(BALLAST);
    let mut file = File::create(&path).map_err(FaultError::io("create", &path))?;
    let zeros = vec![0_u8; 1 << 20];
    let (mut written, mut chunk) = (0_u64, zeros.len());
    while chunk > 0 {
        match file.write(&zeros[..chunk]) {
            Ok(0) => break,
            Ok(more) => written += more as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => chunk /= 2,
            Err(error) => return Err(FaultError::io("fill", &path)(error)),
        }
    }
    let stat = rustix::fs::statvfs(disk).map_err(|errno| FaultError::io("examine", disk)(errno.into()))?;
    if stat.f_bavail > 0 || written == 0 {
        let what = format!("{} free, {} written", counted(stat.f_bavail, "block"), bytes(written));
        return Err(FaultError::NotVerified { what });
    }
    let total = stat.f_blocks * stat.f_frsize;
    let line = format!(
        "{} written to a filesystem of {}: nothing is left",
        bytes(written),
        bytes(total)
    );
    Ok(Done::new(line.clone(), [line]))
}
