//! A clone of the service that promoted itself and kept its archive_command: what brings another timeline into the
//! service's archive. It is real, and gone when the fault is done.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use reports::text::counted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Deed, Doing, Done, FaultError, SUPERUSER, World,
        server::{copied, failed, names},
        world::absent,
    },
    postgres::{Cluster, ClusterOptions, Shutdown},
    scenario::{Fault, FaultTarget, Kind, Needs, Scenario, Which},
    wal::commands,
};

/// How long a clone may take to promote itself, and to archive what it wrote.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Restores a backup into a clone, which promotes itself, writes, and archives where the service does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteClone {}

impl Kind for PromoteClone {
    fn name() -> &'static str {
        "promote-clone"
    }

    fn needs() -> Needs {
        Needs::Backup
    }

    fn in_words(&self, fault: &Fault) -> String {
        let whose = fault.whose();
        format!("restores {whose} into a clone, which promotes itself, writes, and archives where the service does")
    }

    fn suits(&self, fault: &Fault, scenario: &Scenario) -> Result<(), String> {
        if fault.target == FaultTarget::Backup(Which::All) {
            return Err(
                "`promote-clone` restores one backup: aim at backup:latest, backup:oldest or backup:N".to_owned(),
            );
        }
        if !scenario.given.archive {
            return Err(
                "a promoted clone does harm in the archive, and `given.archive` is false; keep an archive".to_owned(),
            );
        }
        Ok(())
    }

    fn harm(&self, _: &Fault) -> Option<&'static str> {
        None
    }

    fn wal_in_words(&self, fault: &Fault, _: u32, _: &str) -> Option<String> {
        Some(format!(
            ", and not the timeline of the promoted clone (line {})",
            fault.line
        ))
    }
}

impl Deed for PromoteClone {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move {
            let (backup, directory) = world.directory(fault)?;
            let archive = world.archive.ok_or_else(|| absent(fault))?;
            promote(world.cluster, (&backup, &directory), archive, fault.number).await
        })
    }
}

/// Restores a backup to the end of the archive in a clone that promotes itself, writes and archives; then stops it.
async fn promote(
    service: &Cluster,
    (backup, directory): (&str, &Path),
    archive: &Path,
    fault: u32,
) -> Result<Done, FaultError> {
    let before = names(archive)?;
    let options = ClusterOptions {
        name: format!("clone-{fault}"),
        settings: vec![
            ("restore_command".into(), commands::copy_command(archive)),
            ("archive_mode".into(), "on".into()),
            ("archive_command".into(), commands::archive_command(archive, false)),
            ("synchronous_standby_names".into(), String::new()),
        ],
        durable: false,
        ..ClusterOptions::default()
    };
    let home = service.work().subdirectory(&options.name).map_err(failed("place"))?;
    let data = home.join("data");
    copied(directory.join("data"), data.clone()).await?;
    let signal = data.join("recovery.signal");
    fs::write(&signal, "").map_err(FaultError::io("write", signal))?;
    let mut clone = Cluster::adopt(service.installation(), service.work(), data, &options).map_err(failed("adopt"))?;
    clone.start().await.map_err(failed("start"))?;
    clone.wait_until_writable(PATIENCE).await.map_err(failed("promote"))?;
    let client = clone
        .connect(SUPERUSER, SUPERUSER)
        .await
        .map_err(failed("connect to"))?;
    let ask = async |statement: &'static str| {
        let asked = client.query_one(statement, &[]).await;
        asked.map_err(|source| FaultError::Statement {
            statement: statement.to_owned(),
            source,
        })
    };
    ask("SELECT pg_logical_emit_message(true, 'clone', 'written after the promotion')").await?;
    let switched: String = ask("SELECT pg_walfile_name(pg_switch_wal())").await?.get(0);
    let deadline = Instant::now() + PATIENCE;
    while !archive.join(&switched).exists() {
        if Instant::now() > deadline {
            let what = format!("the clone does not archive {switched}");
            return Err(FaultError::NotVerified { what });
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
    }
    clone.stop(Shutdown::Fast).await.map_err(failed("stop"))?;
    clone.remove().map_err(failed("remove"))?;
    let timeline = &switched[..8];
    let archived: Vec<String> = names(archive)?
        .difference(&before)
        .filter(|name| name.starts_with(timeline))
        .map(|name| format!("{name}: archived by the clone of {backup}"))
        .collect();
    let summary = format!(
        "a clone of {backup} promoted itself to timeline {timeline} and archived {}",
        counted(archived.len(), "file")
    );
    Ok(Done::new(summary, archived))
}
