//! The service as it is on a good day: its cluster with the seed in it, the application's configuration, and what stands
//! around them. Nothing runs yet but the server and the WAL stream.

use std::{path::Path, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use reports::{
    What,
    event::{Part, Seeded, SeededTable},
};
use serde_json::json;

use super::{Assignment, Desk, Drill, DrillError, Estate, Incident, Injector, Objectives, Options, SmallDisk};
use crate::{
    backup::{InUse, Site, stream::Stream},
    cutover::Application,
    fault::{
        self,
        clock::SteppedClock,
        service::{app::Misbehaving, config_store::MisbehavingStore},
    },
    ledger::LedgerHeader,
    monitor::Alerts,
    notify::Inbox,
    operator::Operator,
    postgres::{Cluster, ClusterOptions, Provider, Storage, TimelineId, WorkDir},
    record::Recorder,
    reference::SharedLog,
    scenario::{Fault, Needs, Scenario, Streaming},
    service::{Credentials, Service, wal_segment_mb},
    verify::content_fingerprint,
    wal::{WalSource, commands},
};

/// Sets a drill up in `work`, with its evidence in `directory`.
///
/// # Errors
/// If a server does not start, the seed cannot be loaded, or a program or a port is missing.
pub async fn set_up(
    assignment: &Assignment<'_>,
    options: &Options,
    recorder: &Recorder,
    directory: &Path,
    work: WorkDir,
) -> Result<Drill, DrillError> {
    if assignment.installation.provider != Provider::Container {
        commands::find_programs()?;
    }
    let mut random = StdRng::seed_from_u64(options.seed);
    let desk = desk(assignment, options, recorder, directory);
    let service = (options.parts.services.named(&options.service)?.what)(options.sizing, options.seed);
    let credentials = Arc::new(Credentials::generate(&mut random));
    let cluster = cluster(assignment, recorder, &work, service, credentials).await?;
    let injector = Injector::new(random, cluster.clock);
    let (mut source, site) = (cluster.source, cluster.site);
    let given = &assignment.scenario.given;
    let systems = InUse::open(&options.parts.systems, given.systems(assignment.system), &site)?;
    for (name, value) in systems.iter().flat_map(|system| system.prepare()) {
        source.set(&name, &value);
    }
    recorder.external("start the source server", source.start()).await?;
    let began = recorder.offset();
    site.service.create(&source, &site.credentials).await?;
    recorder.external_since("create the schema", began);

    recorder.part(Part::Seed);
    let began = recorder.offset();
    let tables = site
        .service
        .seed(&source, &|progress| options.progress(progress))
        .await?;
    recorder.external_since("COPY the seed", began);
    let as_superuser = source.config("postgres", site.service.database());
    let fingerprint = content_fingerprint::of_seed(&as_superuser, site.service.as_ref());
    let fingerprint = recorder.external("fingerprint the seed", fingerprint).await?;
    let tables = tables.into_iter().map(|(table, rows)| SeededTable { table, rows });
    recorder.record(What::Seeded(Seeded {
        tables: tables.collect(),
        database_bytes: database_bytes(&source, site.service.database()).await?,
    }));

    let parts = &options.parts;
    let settings = work.path().join("appsettings.json");
    let store = (parts.config_stores.named(&options.config_store)?.what)(settings.clone());
    let log = directory.join("logs/application.log");
    let control = (parts.app_controls.named(&options.app_control)?.what)(settings, log);
    let listen = |source| DrillError::Listen { source };
    let inbox = Inbox::start().await.map_err(listen)?;
    let mut estate = Estate {
        source,
        restored: None,
        timeline: TimelineId::FIRST,
        fingerprint,
        store: Box::new(MisbehavingStore::around(store, injector.store_faults.clone())),
        application: Application::new(Box::new(Misbehaving::around(control, injector.app_faults.clone()))),
        admin_token: token(),
        fence: (parts.fences.first()?.what)(),
        untold: None,
        monitor: None,
        alert_promise: Duration::ZERO,
        alerts: Alerts::start().await.map_err(listen)?,
        channel: (parts.channels.first()?.what)(inbox.url()),
        inbox,
        workload: None,
        stream: None,
        disk: cluster.disk,
        target_disk: None,
        systems,
        taken: Vec::new(),
        untouched: None,
        site,
    };
    estate.timeline = TimelineId(estate.cluster_started("source", &estate.source).await?);
    let connection = estate.connection_string(&estate.source).to_npgsql();
    let settings = json!({
        "ConnectionStrings": { "DefaultConnection": connection },
        "Urls": "http://127.0.0.1:0",
        "Authentication": { "AdminToken": estate.admin_token, "ReaderToken": token() },
    });
    estate.store.prepare(&settings).await?;
    if let Some(stream) = &estate.site.wal.stream {
        let synchronous = given.streaming == Streaming::Synchronous;
        let log = directory.join("logs/pg_receivewal.log");
        let started = Stream::start(&estate.site, &estate.source, stream, &log, synchronous);
        estate.stream = Some(recorder.external("start pg_receivewal", started).await?);
    }
    Ok(Drill {
        desk,
        estate,
        incident: Incident::default(),
        injector,
    })
}

fn desk(assignment: &Assignment<'_>, options: &Options, recorder: &Recorder, directory: &Path) -> Desk {
    let scenario = assignment.scenario;
    let operator = match &scenario.roles {
        Some(roles) => Operator::with_roles(options.operator.clone(), roles.iter().copied()),
        None => Operator::new(options.operator.clone()),
    };
    Desk {
        options: options.clone(),
        scenario: scenario.clone(),
        objectives: Objectives::of(scenario, options),
        operator: operator.in_drill(&assignment.name),
        recorder: recorder.clone(),
        ledger: directory.join("ledger.jsonl"),
        ledger_header: LedgerHeader {
            run_id: options.run_id.clone(),
            drill: assignment.name.clone(),
            seed: options.seed,
        },
    }
}

/// The source before its server is started for the first time.
struct SourceCluster {
    source: Cluster,
    site: Site,
    disk: Option<SmallDisk>,
    clock: Option<SteppedClock>,
}

async fn cluster(
    assignment: &Assignment<'_>,
    recorder: &Recorder,
    work: &WorkDir,
    service: Arc<dyn Service>,
    credentials: Arc<Credentials>,
) -> Result<SourceCluster, DrillError> {
    let scenario = assignment.scenario;
    let given = &scenario.given;
    let archive = given.archive.then(|| work.subdirectory("archive")).transpose()?;
    let stream = (given.streaming != Streaming::Off)
        .then(|| work.subdirectory("stream"))
        .transpose()?;
    let repository = work.subdirectory("repository")?;
    let durable = assignment.storage == Storage::Disk;
    let options = ClusterOptions {
        name: "source".into(),
        settings: settings(scenario, archive.as_deref(), durable),
        durable,
        wal_segment_mb: wal_segment_mb(service.seed_bytes()),
    };
    let disk = given
        .storage_bytes
        .map(|bytes| SmallDisk::of_cluster(work, &options.name, bytes))
        .transpose()?;
    let created = Cluster::create(assignment.installation, work, &options);
    let mut source = recorder.external("create the source cluster", created).await?;
    let is_stepped = |fault: &Fault| fault.action.needs() == Needs::OwnClock;
    let clock = if scenario.faults.iter().any(is_stepped) {
        Some(fault::clock::prepare(&mut source).await?)
    } else {
        None
    };
    let site = Site {
        installation: source.installation().clone(),
        work: work.clone(),
        repository,
        wal: WalSource {
            archive,
            stream,
            segment_bytes: u64::from(options.wal_segment_mb) << 20,
        },
        references: SharedLog::of(service.database()),
        service,
        credentials,
        backup_options: given.backup_options.clone(),
        backup_role: given.backup_role,
        durable,
        wal_in_backup: given.wal_in_backup,
        recorder: recorder.clone(),
    };
    Ok(SourceCluster {
        source,
        site,
        disk,
        clock,
    })
}

/// Settings of the source beyond the defaults of a disposable cluster: archiving, and what the scenario says.
fn settings(scenario: &Scenario, archive: Option<&Path>, durable: bool) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    if let Some(archive) = archive {
        let command = commands::archive_command(archive, durable);
        settings.push(("archive_mode".to_owned(), "on".to_owned()));
        settings.push(("archive_command".to_owned(), command));
    }
    let theirs = scenario.given.settings.iter();
    settings.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
    settings
}

async fn database_bytes(source: &Cluster, database: &str) -> Result<u64, DrillError> {
    let client = source.connect("postgres", database).await?;
    let row = client
        .query_one("SELECT pg_database_size(current_database())", &[])
        .await;
    let bytes = row.and_then(|row| row.try_get::<_, i64>(0));
    bytes.map(i64::unsigned_abs).map_err(|source| DrillError::Query {
        what: "cannot read the database's size",
        source,
    })
}

/// A token that nobody can guess.
fn token() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
