//! The moments of a drill at which things break, and the end, when services are mended again.
//!
//! [`inject`] is called once for each moment, from [`crate::drill`] before and at the failure and from
//! [`crate::recovery`] after it. Each fault of a scenario happens once, however often its moment comes round: what is
//! tried a second time, as a restore of the next backup, is not broken again.

use std::time::{Duration, Instant};

use chrono::Utc;
use reports::{Verdict, What};

use super::{
    Drill, DrillError,
    remember::{self, Change, Tables},
};
use crate::{
    backup::{Backup, note},
    errors::chain,
    fault,
    postgres::{Cluster, Lsn, TimelineId},
    reference::{Log, Reached},
    scenario::{Fault, FaultTarget, Moment, Needs, SegmentPlace, Target, Which},
    wal,
};

/// Injects the scenario's faults of one moment. `restored` is the cluster that recovery is at work on, if there is one.
///
/// # Errors
/// If a fault cannot be injected or changes nothing: a drill without its damage proves nothing.
pub async fn inject(drill: &mut Drill, moment: Moment, mut restored: Option<&mut Cluster>) -> Result<(), DrillError> {
    if drill.scenario.recovery.target == Target::Moment(moment) && drill.target_time.is_none() {
        drill.target_time = Some(drill.source_time().await);
    }
    // What is restored exists only while a restore waits for it or is done; at `restore` everything else comes first.
    let has_restored = restored.is_some();
    let due = |fault: &Fault| {
        fault.at == moment && (moment != Moment::Restore || (fault.target == FaultTarget::Restored) == has_restored)
    };
    let faults: Vec<Fault> = drill
        .scenario
        .faults
        .iter()
        .filter(|fault| due(fault))
        .cloned()
        .collect();
    if faults.iter().all(|fault| drill.injected.contains(&fault.number)) {
        return Ok(());
    }
    drill.look_at_repository_before_a_fault().await;
    locate_relations(drill, restored.as_deref()).await;
    for fault in faults {
        if drill.injected.insert(fault.number) {
            one(drill, &fault, restored.as_deref_mut()).await?;
        }
    }
    if drill.untouched.is_some() {
        drill.note_repository()?;
    }
    Ok(())
}

async fn one(drill: &mut Drill, fault: &Fault, restored: Option<&mut Cluster>) -> Result<(), DrillError> {
    let backups: Vec<Backup> = drill.backups_left().cloned().collect();
    let fault = &with_segment(fault, &backups, drill.site.wal.segment_bytes);
    archived(drill, fault).await; // the service still works meanwhile
    if fault.target == FaultTarget::Cluster
        && let Some(lsn) = drill.source_lsn().await
    {
        drill.last_lsn = Some(lsn);
    }
    let change = remember::change(fault, &drill.scenario.recovery.target, drill.fault_lsn.is_some());
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
        drill.site.references.with(Log::end);
        if drill.fault_lsn.is_none() {
            drill.fault_lsn = drill.last_lsn; // a server that was stopped for it wrote nothing since
        }
    }
    if fault.at == Moment::Failure && drill.failed.is_none() {
        // The recovery time counts from the moment at which things begin to break.
        drill.alerts.forget();
        drill.failed = Some((drill.recorder.offset(), Utc::now()));
        drill.recorder.record(What::Failed);
    }
    // What its server sent last is still on the way into the stream: a file that grows again was not damaged.
    if fault.target == FaultTarget::Stream
        && !drill.source.is_running()
        && let Some(stream) = drill.stream.take()
    {
        stream.stop().await;
    }
    let server_before = drill.source.pid();
    let archive_service = drill.site.archive_service();
    let mut world = fault::World {
        cluster: &mut drill.source,
        restored,
        archive: drill.site.wal.archive.as_deref(),
        stream: drill.site.wal.stream.as_deref(),
        work: drill.site.work.path(),
        backups: backups
            .iter()
            .flat_map(|backup| {
                let system = drill.systems.named(&backup.info.method);
                let artefacts = system.map_or_else(Vec::new, |system| system.artefacts(backup));
                artefacts.into_iter().map(|artefact| (backup.info.id.clone(), artefact))
            })
            .collect(),
        random: &mut drill.random,
        relations: &drill.relations,
        database: drill.site.service.database(),
        credentials: &drill.site.credentials,
        repository: &drill.site.repository,
        disk: drill.disk.as_ref().map(super::disk::SmallDisk::path),
        services: fault::Services {
            application: &drill.application,
            app_faults: &drill.app_faults,
            store: drill.store.as_ref(),
            store_faults: &drill.store_faults,
            inbox: &mut drill.inbox,
            alerts: &mut drill.alerts,
            prober: &mut drill.prober,
            archive_service: &archive_service,
        },
    };
    let report = drill
        .recorder
        .external("inject the fault", fault::inject(fault, &mut world))
        .await?;
    let touched = report.touched.clone();
    drill.recorder.record(What::FaultInjected(report));
    if fault.action.starts_another_timeline() {
        drill.timeline = TimelineId(drill.cluster_started("source", &drill.source).await?);
        if let Ok(client) = drill.source.connect("postgres", "postgres").await
            && let Ok(reached) = Reached::read(&client).await
        {
            drill.site.references.with(|log| log.branch(&reached));
        }
    }
    if fault.at <= Moment::Failure && drill.source.pid() != server_before && drill.source.is_running() {
        remember::crashed(drill).await;
        drill.stream_again().await?; // it ended with the server that was there before
    }
    if change == Change::History {
        remember::history(drill, fault, &touched).await?;
    }
    if fault.action.needs() == Needs::Service && !drill.broken.contains(&fault.target) {
        drill.broken.push(fault.target);
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
    let (Some((segment, place)), Some(archive)) = (named, &drill.site.wal.archive) else {
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
    while fault.target == FaultTarget::Archive && drill.source.is_running() && !is_there() {
        if began.elapsed() > PATIENCE {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
    }
}

/// Mends every service that a fault broke, and records that.
pub async fn mend(drill: &mut Drill) {
    for target in std::mem::take(&mut drill.broken) {
        let archive_service = drill.site.archive_service();
        let mut services = fault::Services {
            application: &drill.application,
            app_faults: &drill.app_faults,
            store: drill.store.as_ref(),
            store_faults: &drill.store_faults,
            inbox: &mut drill.inbox,
            alerts: &mut drill.alerts,
            prober: &mut drill.prober,
            archive_service: &archive_service,
        };
        let (verdict, detail) = match fault::mend(target, &mut services).await {
            Ok(detail) => (Verdict::Pass, detail.to_owned()),
            Err(error) => (Verdict::Fail, chain(&error)),
        };
        drill.recorder.record(What::Undone {
            what: format!("fault of service {target}"),
            verdict,
            detail,
        });
    }
}

/// Asks the servers that run where the relations are that faults name; what cannot be asked now was asked before.
async fn locate_relations(drill: &mut Drill, restored: Option<&Cluster>) {
    const SQL: &str = "SELECT pg_relation_filepath(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                       WHERE c.relname = $1 ORDER BY n.nspname = 'public' DESC LIMIT 1";
    let files = drill.scenario.faults.iter().filter_map(|fault| fault.files.as_ref());
    let names: Vec<String> = files.filter_map(|files| files.relation.clone()).collect();
    for cluster in [Some(&drill.source), restored].into_iter().flatten() {
        let Ok(client) = cluster.connect("postgres", drill.site.service.database()).await else {
            continue;
        };
        for name in &names {
            let Ok(Some(row)) = client.query_opt(SQL, &[name]).await else {
                continue;
            };
            drill
                .relations
                .extend(row.get::<_, Option<String>>(0).map(|path| (name.clone(), path)));
        }
    }
}
