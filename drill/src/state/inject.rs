//! The moments of a drill at which things break, and the end, when services are mended again.
//!
//! [`inject`] is called once for each moment, from [`crate::drill`] before and at the failure and from
//! [`crate::recovery`] after it. Each fault of a scenario happens once, however often its moment comes round: what is
//! tried a second time, as a restore of the next backup, is not broken again.

use std::time::{Duration, Instant};

use reports::What;

use super::{
    Drill, DrillError,
    remember::{self, Change, Tables},
};
use crate::{
    backup::{Backup, note},
    fault,
    postgres::{Cluster, Lsn, TimelineId},
    reference::{Log, Reached},
    scenario::{Fault, FaultTarget, Moment, SegmentPlace, Target, Which},
    wal,
};

/// Injects the scenario's faults of one moment. `restored` is the cluster that recovery is at work on, if there is one.
///
/// # Errors
/// If a fault cannot be injected or changes nothing: a drill without its damage proves nothing.
pub async fn inject(drill: &mut Drill, moment: Moment, mut restored: Option<&mut Cluster>) -> Result<(), DrillError> {
    if drill.desk.scenario.recovery.target == Target::Moment(moment) && drill.incident.target_time.is_none() {
        drill.incident.target_time = Some(drill.estate.source_time().await);
    }
    // What is restored exists only while a restore waits for it or is done; at `restore` everything else comes first.
    let has_restored = restored.is_some();
    let due = |fault: &Fault| {
        fault.at == moment && (moment != Moment::Restore || (fault.target == FaultTarget::Restored) == has_restored)
    };
    let faults: Vec<Fault> = drill
        .desk
        .scenario
        .faults
        .iter()
        .filter(|fault| due(fault))
        .cloned()
        .collect();
    if faults
        .iter()
        .all(|fault| drill.injector.injected.contains(&fault.number))
    {
        return Ok(());
    }
    drill.estate.look_at_repository_before_a_fault().await;
    locate_relations(drill, restored.as_deref()).await;
    for fault in faults {
        if drill.injector.injected.insert(fault.number) {
            one(drill, &fault, restored.as_deref_mut()).await?;
        }
    }
    if drill.estate.untouched.is_some() {
        drill.estate.note_repository()?;
    }
    Ok(())
}

async fn one(drill: &mut Drill, fault: &Fault, restored: Option<&mut Cluster>) -> Result<(), DrillError> {
    let backups: Vec<Backup> = drill.estate.backups_left().cloned().collect();
    let fault = &with_segment(fault, &backups, drill.estate.site.wal.segment_bytes);
    archived(drill, fault).await; // the service still works meanwhile
    if fault.target == FaultTarget::Cluster
        && let Some(lsn) = drill.estate.source_lsn().await
    {
        drill.incident.last_lsn = Some(lsn);
    }
    let change = remember::change(
        fault,
        &drill.desk.scenario.recovery.target,
        drill.incident.fault_lsn.is_some(),
    );
    if change == Change::Damage {
        if fault.at < Moment::Failure {
            let moment = format!(
                "right before the {} {} (line {})",
                fault.action.kind(),
                fault.at,
                fault.line
            );
            remember::record(drill, &moment, Tables::All, false).await;
        }
        drill.estate.site.references.with(Log::end);
        if drill.incident.fault_lsn.is_none() {
            drill.incident.fault_lsn = drill.incident.last_lsn; // a server that was stopped for it wrote nothing since
        }
    }
    if fault.at == Moment::Failure {
        drill.failed(); // the recovery time counts from the moment at which things begin to break
    }
    // What its server sent last is still on the way into the stream: a file that grows again was not damaged.
    if fault.target == FaultTarget::Stream
        && !drill.estate.source.is_running()
        && let Some(stream) = drill.estate.stream.take()
    {
        stream.stop().await;
    }
    let server_before = drill.estate.source.pid();
    let archive_service = drill.estate.site.archive_service();
    let mut world = fault::World {
        cluster: &mut drill.estate.source,
        restored,
        archive: drill.estate.site.wal.archive.as_deref(),
        stream: drill.estate.site.wal.stream.as_deref(),
        work: drill.estate.site.work.path(),
        backups: backups
            .iter()
            .flat_map(|backup| {
                let system = drill.estate.systems.named(&backup.info.method);
                let artefacts = system.map_or_else(Vec::new, |system| system.artefacts(backup));
                artefacts.into_iter().map(|artefact| (backup.info.id.clone(), artefact))
            })
            .collect(),
        random: &mut drill.injector.random,
        relations: &drill.injector.relations,
        database: drill.estate.site.service.database(),
        credentials: &drill.estate.site.credentials,
        repository: &drill.estate.site.repository,
        disk: drill.estate.disk.as_ref().map(super::disk::SmallDisk::path),
        services: fault::Services {
            application: &drill.estate.application,
            app_faults: &drill.injector.app_faults,
            store: drill.estate.store.as_ref(),
            store_faults: &drill.injector.store_faults,
            notifications: drill.estate.inbox.port(),
            alerts: drill.estate.alerts.port(),
            monitor: &mut drill.estate.monitor,
            archive_service: &archive_service,
        },
    };
    let injected = fault::inject(fault, &mut world);
    let injected = drill.desk.recorder.external("inject the fault", injected).await?;
    let touched = injected.report.touched.clone();
    drill.desk.recorder.record(What::FaultInjected(injected.report));
    let mending = injected.mending.map(|mending| (fault.target, mending));
    drill.injector.mending.extend(mending);
    if fault.action.starts_another_timeline() {
        drill.estate.timeline = TimelineId(drill.estate.cluster_started("source", &drill.estate.source).await?);
        if let Ok(client) = drill.estate.source.connect("postgres", "postgres").await
            && let Ok(reached) = Reached::read(&client).await
        {
            drill.estate.site.references.with(|log| log.forget_abandoned(&reached));
        }
    }
    if fault.at <= Moment::Failure && drill.estate.source.pid() != server_before && drill.estate.source.is_running() {
        remember::crashed(drill).await;
        drill.stream_again().await?; // it ended with the server that was there before
    }
    if change == Change::History {
        remember::history(drill, fault, &touched).await?;
    }
    Ok(())
}

/// The fault with the name of the WAL segment that it means, if it means one by a backup.
fn with_segment(fault: &Fault, backups: &[Backup], segment_bytes: u64) -> Fault {
    let mut fault = fault.clone();
    let Some(files) = &mut fault.files else {
        return fault;
    };
    let Some(segment) = files.segment else { return fault };
    let backup = match segment.backup {
        Which::Oldest => backups.first(),
        Which::Number(number) => {
            let is_it = |backup: &&Backup| note::number(&backup.info.id) == Some(number);
            backups.iter().find(is_it)
        }
        Which::Latest | Which::All => backups.last(),
    };
    let number = |lsn: Lsn| lsn.0.saturating_sub(1) / segment_bytes; // a backup that ends with a segment ends in it
    let number = backup.and_then(|backup| match segment.place {
        SegmentPlace::Start => Some(backup.start_lsn()?.0 / segment_bytes),
        SegmentPlace::End => backup.stop_lsn().map(number),
        SegmentPlace::After => Some(number(backup.stop_lsn()?) + 1),
    });
    if let (Some(timeline), Some(number)) = (backup.and_then(|backup| backup.info.timeline), number) {
        let name = wal::name(wal::SegmentNumber { timeline, number }, segment_bytes);
        files.path = glob::Pattern::new(&name).unwrap_or_default();
    }
    fault
}

/// Waits until the segment is archived that a fault means by a backup, and for one after it where it shall not be the
/// last: the archiver comes to it in its own time. Whether it is there in the end is the fault's own to see.
async fn archived(drill: &mut Drill, fault: &Fault) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let named = fault
        .files
        .as_ref()
        .and_then(|files| Some((files.path.as_str(), files.segment?.place)));
    let (Some((segment, place)), Some(archive)) = (named, &drill.estate.site.wal.archive) else {
        return;
    };
    let is_there = || {
        let names = archive.read_dir().into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        match place {
            SegmentPlace::After => names.any(|name| wal::is_segment(&name) && name.as_str() > segment),
            SegmentPlace::Start | SegmentPlace::End => names.any(|name| name == segment),
        }
    };
    let began = Instant::now();
    while fault.target == FaultTarget::Archive && drill.estate.source.is_running() && !is_there() {
        if began.elapsed() > PATIENCE {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
    }
}

/// Asks the servers that run where the relations are that faults name; what cannot be asked now was asked before.
async fn locate_relations(drill: &mut Drill, restored: Option<&Cluster>) {
    const SQL: &str = "SELECT pg_relation_filepath(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                       WHERE c.relname = $1 ORDER BY n.nspname = 'public' DESC LIMIT 1";
    let files = drill
        .desk
        .scenario
        .faults
        .iter()
        .filter_map(|fault| fault.files.as_ref());
    let names: Vec<String> = files.filter_map(|files| files.relation.clone()).collect();
    for cluster in [Some(&drill.estate.source), restored].into_iter().flatten() {
        let Ok(client) = cluster.connect("postgres", drill.estate.site.service.database()).await else {
            continue;
        };
        for name in &names {
            let Ok(Some(row)) = client.query_opt(SQL, &[name]).await else {
                continue;
            };
            drill
                .injector
                .relations
                .extend(row.get::<_, Option<String>>(0).map(|path| (name.clone(), path)));
        }
    }
}
