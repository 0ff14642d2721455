//! OPEN THIS FIRST: one drill, from a scenario to its evidence, top to bottom.
//!
//! [`drill`] is the whole story: seed, writers, backups, the failure, the recovery, the evidence. The recovery itself
//! is [`crate::recovery`]; what a run of several drills does around this is in [`crate::cli`].

use std::{path::Path, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use reports::{
    Event, What,
    event::{DrillHeader, Environment, Expected, FORMAT, Kind, Part, PlannedFault, Seeded, SeededTable, Severity},
    text::{counted, lasting, number},
};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    backup::{InUse, Site, note, stream::Stream},
    cutover::Application,
    fault::{
        self,
        service::{
            app::{AppFaults, Misbehaving},
            config_store::{MisbehavingStore, StoreFaults},
        },
    },
    ledger::LedgerHeader,
    monitor::Alerts,
    notify::Inbox,
    operator::{Operator, OperatorMode},
    postgres::{Cluster, ClusterOptions, Installation, Provider, Storage, TimelineId, WorkDir},
    record::Recorder,
    recovery,
    reference::SharedLog,
    scenario::{Fault, Moment, Needs, Scenario, StorageWish, Streaming},
    service::{Credentials, wal_segment_mb},
    state::{
        Drill, DrillError, Objectives, Options, SmallDisk, StorageChoice, Undo, answers, foreign, inject, last_words,
        remember::{self, Tables},
    },
    values,
    verify::content_fingerprint,
    wal::{self, commands},
    workload::{Workload, WorkloadError, WorkloadPlan, nobody_writes},
};

/// How long writers may stand still before the drill gives up.
const WRITERS_PATIENCE: Duration = Duration::from_secs(30);
/// The same once a fault was injected, which may well keep them from writing.
const BROKEN_WRITERS_PATIENCE: Duration = Duration::from_secs(2);
/// How long the application may take to start the first time.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What one drill is about.
pub struct Assignment<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The backup system.
    pub system: &'a str,
    /// Name of the drill within the run: the scenario's id, or `<id>@<system>`.
    pub name: String,
    /// The binaries.
    pub installation: &'a Installation,
    /// Where its clusters live.
    pub storage: Storage,
    /// The command line that carries out the same drill once more.
    pub again: String,
}

/// Carries one drill out and returns its events. They are in `<out>/<name>/events.jsonl` as well, as they happened.
///
/// # Errors
/// Only if not even the log of events can be written. Whatever else goes wrong is in the last event.
pub async fn drill(
    assignment: &Assignment<'_>,
    options: &Options,
    watcher: Option<UnboundedSender<Event>>,
) -> Result<Vec<Event>, DrillError> {
    let options = &options.of_drill(&assignment.scenario.given);
    values::show(options.show_values);
    let work = WorkDir::create(assignment.storage, &options.run_id)?;
    let directory = options.out.join(&assignment.name);
    let evidence = |source| DrillError::Evidence {
        path: directory.clone(),
        source,
    };
    std::fs::create_dir_all(directory.join("logs")).map_err(evidence)?;
    let recorder = Recorder::create(&directory.join("events.jsonl"), watcher).map_err(evidence)?;
    recorder.record(What::DrillStarted(Box::new(header(assignment, options, &work))));
    let held = work.clone(); // so that it is still there when something went wrong
    let (outcome, reason, error) = match Box::pin(carry_out(assignment, options, &recorder, &directory, work)).await {
        Ok(ending) => (Some(ending.outcome), ending.reason, None),
        Err(error) => (
            None,
            String::new(),
            Some(last_words::add(
                crate::errors::chain(&error),
                &held,
                &directory.join("logs"),
            )),
        ),
    };
    drop(held);
    recorder.record(What::DrillFinished { outcome, reason, error });
    recorder.finish().map_err(evidence)
}

/// The story.
async fn carry_out(
    assignment: &Assignment<'_>,
    options: &Options,
    recorder: &Recorder,
    directory: &Path,
    work: WorkDir,
) -> Result<recovery::Ending, DrillError> {
    recorder.part(Part::Setup);
    let scenario = assignment.scenario;
    let mut drill = set_up(assignment, options, recorder, directory, work).await?;

    recorder.part(Part::Services);
    recorder
        .external("start the application", drill.application.control.start(START_PATIENCE))
        .await?;
    recorder
        .external("wait for readiness", drill.application.ready(START_PATIENCE))
        .await?;
    let start = options.parts.monitors.named(&options.monitor)?.what;
    let monitor = start(drill.probe(), drill.alerts.url());
    drill.alert_promise = monitor.promise();
    drill.prober = Some(monitor);

    recorder.part(Part::WorkloadAndBackups);
    workload_and_backups(&mut drill, scenario, assignment.system).await?;

    recorder.part(Part::Failure);
    let _ = remember::record(&drill, "right before the failure", Tables::All, false).await;
    drill.failure_lsn = drill.source_lsn().await;
    archiving_worked(&drill).await?;
    inject(&mut drill, Moment::Failure, None).await?;
    drill.failed();
    drill.note_outage();
    let ending = Box::pin(recovery::recover(&mut drill)).await;
    if let Ok(ending) = &ending {
        answers::ask(&drill, ending.outcome).await;
    }

    recorder.part(Part::Teardown);
    drill.look_at_repository_at_the_end().await;
    inject::mend(&mut drill).await;
    drill.tear_down(directory).await;
    ending
}

/// The service as it is on a good day: database, seed, application's configuration, receivers.
async fn set_up(
    assignment: &Assignment<'_>,
    options: &Options,
    recorder: &Recorder,
    directory: &Path,
    work: WorkDir,
) -> Result<Drill, DrillError> {
    let scenario = assignment.scenario;
    if assignment.installation.provider != Provider::Container {
        commands::find_programs()?;
    }
    let given = &scenario.given;
    let mut random = StdRng::seed_from_u64(options.seed);
    let service = (options.parts.services.named(&options.service)?.what)(options.sizing, options.seed);
    let archive = given.archive.then(|| work.subdirectory("archive")).transpose()?;
    let stream = (given.streaming != Streaming::Off)
        .then(|| work.subdirectory("stream"))
        .transpose()?;
    let repository = work.subdirectory("repository")?;
    let durable = assignment.storage == Storage::Disk;
    let cluster_options = ClusterOptions {
        name: "source".into(),
        settings: source_settings(scenario, archive.as_deref(), durable),
        durable,
        wal_segment_mb: wal_segment_mb(service.seed_bytes()),
    };
    let segment_bytes = u64::from(cluster_options.wal_segment_mb) << 20;
    let disk = given
        .storage_bytes
        .map(|bytes| SmallDisk::of_cluster(&work, &cluster_options.name, bytes))
        .transpose()?;
    let mut source = recorder
        .external(
            "create the source cluster",
            Cluster::create(assignment.installation, &work, &cluster_options),
        )
        .await?;
    let is_stepped = |fault: &Fault| fault.action.needs() == Needs::OwnClock;
    let clock = if scenario.faults.iter().any(is_stepped) {
        Some(fault::clock::prepare(&mut source).await?)
    } else {
        None
    };
    let credentials = Arc::new(Credentials::generate(&mut random));
    let site = Site {
        installation: source.installation().clone(),
        work: work.clone(),
        repository,
        wal: wal::WalSource {
            archive,
            stream,
            segment_bytes,
        },
        service: Arc::clone(&service),
        credentials,
        backup_options: given.backup_options.clone(),
        backup_role: given.backup_role,
        durable,
        wal_in_backup: given.wal_in_backup,
        references: SharedLog::of(service.database()),
        recorder: recorder.clone(),
    };
    let systems = InUse::open(&options.parts.systems, given.systems(assignment.system), &site)?;
    for (name, value) in systems.iter().flat_map(|system| system.prepare()) {
        source.set(&name, &value);
    }
    recorder.external("start the source server", source.start()).await?;
    let began = recorder.offset();
    service.create(&source, &site.credentials).await?;
    recorder.external_since("create the schema", began);

    recorder.part(Part::Seed);
    let began = recorder.offset();
    let tables = service.seed(&source, &|progress| options.progress(progress)).await?;
    recorder.external_since("COPY the seed", began);
    let as_superuser = source.config("postgres", service.database());
    let fingerprint = recorder
        .external(
            "fingerprint the seed",
            content_fingerprint::of_seed(&as_superuser, service.as_ref()),
        )
        .await?;
    let size = source
        .connect("postgres", service.database())
        .await?
        .query_one("SELECT pg_database_size(current_database())", &[])
        .await;
    let size: i64 = size
        .map_err(|source| DrillError::Query {
            what: "cannot read the database's size",
            source,
        })?
        .get(0);
    let settings = work.path().join("appsettings.json");
    let admin_token: String = hex::encode(rand::random::<[u8; 16]>());
    let parts = &options.parts;
    let (app_faults, store_faults) = (AppFaults::default(), StoreFaults::default());
    let inbox = Inbox::start().await.map_err(|source| DrillError::Listen { source })?;
    let mut drill = Drill {
        options: options.clone(),
        objectives: Objectives::of(scenario, options),
        recorder: recorder.clone(),
        scenario: scenario.clone(),
        operator: match &scenario.roles {
            Some(roles) => Operator::with_roles(options.operator.clone(), roles.iter().copied()),
            None => Operator::new(options.operator.clone()),
        }
        .in_drill(&assignment.name),
        source,
        timeline: TimelineId::FIRST,
        restored: None,
        fingerprint,
        store: Box::new(MisbehavingStore::around(
            (parts.config_stores.named(&options.config_store)?.what)(settings.clone()),
            store_faults.clone(),
        )),
        store_faults,
        application: Application::new(Box::new(Misbehaving::around(
            (parts.app_controls.named(&options.app_control)?.what)(settings, directory.join("logs/application.log")),
            app_faults.clone(),
        ))),
        app_faults,
        undo: Undo::default(),
        fence: (parts.fences.first()?.what)(),
        admin_token,
        alerts: Alerts::start().await.map_err(|source| DrillError::Listen { source })?,
        channel: (parts.channels.first()?.what)(inbox.url()),
        inbox,
        prober: None,
        alert_promise: Duration::ZERO,
        pinned: None,
        workload: None,
        stream: None,
        ledger: directory.join("ledger.jsonl"),
        ledger_header: LedgerHeader {
            run_id: options.run_id.clone(),
            drill: assignment.name.clone(),
            seed: options.seed,
        },
        random,
        failed: None,
        failure_lsn: None,
        last_lsn: None,
        fault_lsn: None,
        outage: None,
        target_time: None,
        injected: std::collections::BTreeSet::new(),
        relations: std::collections::BTreeMap::new(),
        broken: Vec::new(),
        disk,
        target_disk: None,
        target_out_of_reach: false,
        restored_again: std::collections::BTreeSet::new(),
        production: None,
        clock,
        untouched: None,
        rejected: std::collections::BTreeSet::new(),
        systems,
        taken: Vec::new(),
        site,
    };
    let tables = tables.into_iter().map(|(table, rows)| SeededTable { table, rows });
    recorder.record(What::Seeded(Seeded {
        tables: tables.collect(),
        database_bytes: size as u64,
    }));
    drill.timeline = TimelineId(drill.cluster_started("source", &drill.source).await?);
    let connection = drill.connection_string(&drill.source).to_npgsql();
    let settings = json!({
        "ConnectionStrings": { "DefaultConnection": connection },
        "Urls": "http://127.0.0.1:0",
        "Authentication": { "AdminToken": drill.admin_token, "ReaderToken": hex::encode(rand::random::<[u8; 16]>()) },
    });
    drill.store.prepare(&settings).await?;
    if let Some(stream) = &drill.site.wal.stream {
        let synchronous = given.streaming == Streaming::Synchronous;
        let log = directory.join("logs/pg_receivewal.log");
        let started = Stream::start(&drill.site, &drill.source, stream, &log, synchronous);
        drill.stream = Some(recorder.external("start pg_receivewal", started).await?);
    }
    Ok(drill)
}

/// Settings of the source beyond the defaults of a disposable cluster: archiving, and what the scenario says.
fn source_settings(scenario: &Scenario, archive: Option<&Path>, durable: bool) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    if let Some(archive) = archive {
        settings.push(("archive_mode".to_owned(), "on".to_owned()));
        settings.push((
            "archive_command".to_owned(),
            commands::archive_command(archive, durable),
        ));
    }
    settings.extend(
        scenario
            .given
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    settings
}

/// Writers write; backups are taken while they do. On return the commits asked for are acknowledged and the writers
/// are at full speed. Where none are asked for, nobody writes.
async fn workload_and_backups(drill: &mut Drill, scenario: &Scenario, system: &str) -> Result<(), DrillError> {
    let given = &scenario.given;
    let commits = given.commits.unwrap_or(drill.options.commits);
    let _ = remember::record(drill, "at seeding", Tables::All, true).await;
    begin_workload(drill)?;
    inject(drill, Moment::BeforeBackups, None).await?;
    // Commits are spread over the backups, so that each is taken with writers at work and the failure comes after
    // the number asked for, not after however many a fast machine makes meanwhile.
    let slice = commits / u64::from(given.backups + 1);
    for number in 1..=given.backups {
        let began = drill.recorder.offset();
        written(drill, slice, slice * u64::from(number) - slice / 2).await?;
        drill.recorder.external_since("live writers", began);
        let method = drill.backup_system(given.method(system, number))?;
        let id = format!("{}-{number}", method.name());
        let (backup, recorded) = tokio::join!(
            method.take(&drill.source, &id),
            remember::record(drill, &id, Tables::All, false)
        );
        let mut backup = backup?;
        if backup.recorded.is_none() {
            backup.recorded = recorded; // a dump has its own, of its snapshot
        }
        note::write(&backup)?;
        drill.taken.push(backup.clone());
        drill.recorder.record(What::BackupTaken(backup.info));
        if number < given.backups {
            inject(drill, Moment::BetweenBackups, None).await?;
        }
    }
    if given.foreign_backup {
        let backup = foreign::backup(drill, given.method(system, given.backups)).await?;
        note::write(&backup)?;
        drill.taken.push(backup.clone());
        drill.recorder.record(What::BackupTaken(backup.info));
    }
    inject(drill, Moment::AfterBackups, None).await?;
    drill.note_repository()?;
    let began = drill.recorder.offset();
    written(drill, commits - slice * u64::from(given.backups), commits).await?;
    drill.recorder.external_since("live writers", began);
    drill.stream_kept_up().await?;
    let Some(workload) = &drill.workload else { return Ok(()) };
    if workload.counts().acknowledged == 0 {
        return Err(DrillError::NoCommits { wanted: commits });
    }
    workload.allow_all();
    Ok(())
}

/// What is lost because the drill's own archiving did not work would be blamed on the backups.
async fn archiving_worked(drill: &Drill) -> Result<(), DrillError> {
    let is_ours = !drill
        .scenario
        .given
        .settings
        .keys()
        .any(|name| name.starts_with("archive_"));
    if drill.site.wal.archive.is_none() || !drill.injected.is_empty() || !is_ours {
        return Ok(());
    }
    let Ok(client) = drill.source.connect("postgres", "postgres").await else {
        return Ok(()); // it is not for this to say what is wrong with the server
    };
    let sql = "SELECT failed_count, coalesce(last_failed_wal, '') FROM pg_stat_archiver";
    let failed = client.query_one(sql, &[]).await;
    let failed = failed.and_then(|row| Ok((row.try_get::<_, i64>(0)?, row.try_get(1)?)));
    match failed {
        Ok((failures, segment)) if failures > 0 => Err(DrillError::Archiving {
            failures: failures.unsigned_abs(),
            segment,
        }),
        _ => Ok(()),
    }
}

/// Starts the writers, who wait to be allowed to write.
fn begin_workload(drill: &mut Drill) -> Result<(), DrillError> {
    let writers = drill.writers();
    let started = drill.recorder.started();
    let service = Arc::clone(&drill.site.service);
    let Some(writes) = service.writes().filter(|_| writers > 0) else {
        nobody_writes(&drill.ledger, &drill.ledger_header, started)?;
        let text = if writers == 0 {
            "No commits were asked for: nobody wrote, and the ledger is empty."
        } else {
            "Nobody knows how the service is written to: nobody wrote, and no ledger tells what is lost."
        };
        drill.recorder.finding_of(Severity::Info, text);
        return Ok(());
    };
    let plan = WorkloadPlan {
        writers,
        seed: drill.options.seed,
        database: drill.as_application(),
    };
    let started = Workload::start(&plan, writes, &drill.ledger, &drill.ledger_header, started)?;
    drill.workload = Some(started);
    drill.recorder.record(What::WorkloadStarted { writers });
    Ok(())
}

/// Allows `more` operations and waits for so many acknowledged commits in all. Writers that a fault keeps from writing are
/// not waited for.
async fn written(drill: &mut Drill, more: u64, commits: u64) -> Result<(), DrillError> {
    drill.stream_kept_up().await?; // where it is synchronous, nothing is acknowledged without it
    let Some(workload) = &mut drill.workload else {
        return Ok(());
    };
    workload.allow(more);
    let broken = !drill.injected.is_empty();
    let patience = if broken {
        BROKEN_WRITERS_PATIENCE
    } else {
        WRITERS_PATIENCE
    };
    match workload.reached(commits, patience).await {
        Err(WorkloadError::Stalled {
            acknowledged,
            wanted,
            waited,
        }) if broken => {
            drill.recorder.finding(format!(
                "After a fault the writers stood still for {} at {} of {}; the drill went on without them.",
                lasting(waited),
                number(acknowledged),
                counted(wanted, "commit")
            ));
            Ok(())
        }
        reached => Ok(reached?),
    }
}

fn header(assignment: &Assignment<'_>, options: &Options, work: &WorkDir) -> DrillHeader {
    let scenario = assignment.scenario;
    let given = &scenario.given;
    let mut described = vec![
        ("backups".to_owned(), given.backups.to_string()),
        ("archive".to_owned(), given.archive.to_string()),
        ("streaming".to_owned(), given.streaming.to_string()),
        (
            "commits".to_owned(),
            given.commits.unwrap_or(options.commits).to_string(),
        ),
        (
            "writers".to_owned(),
            match given.commits.unwrap_or(options.commits) {
                0 => "0".to_owned(),
                _ => given.writers.unwrap_or(options.writers).to_string(),
            },
        ),
    ];
    if !given.wal_in_backup {
        described.push(("wal_in_backup".to_owned(), "false".to_owned()));
    }
    if matches!(options.operator, OperatorMode::Ask(_)) {
        described.push(("operator".to_owned(), "ask".to_owned()));
    }
    if !given.backup_options.is_empty() {
        described.push(("backup options".to_owned(), given.backup_options.join(" ")));
    }
    described.extend(
        given
            .backup_role
            .map(|role| ("backup role".to_owned(), role.to_string())),
    );
    described.extend(given.settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    DrillHeader {
        format: FORMAT,
        kind: Kind::Drill,
        run_id: options.run_id.clone(),
        drill: assignment.name.clone(),
        scenario: scenario.id.clone(),
        group: scenario.group.clone(),
        title: scenario.title.clone(),
        why: scenario.why.clone(),
        source: scenario.source.clone(),
        backup_system: assignment.system.to_owned(),
        postgres_version: assignment.installation.version.clone(),
        provider: assignment.installation.provider.to_string(),
        seed: options.seed,
        again: assignment.again.clone(),
        drill_version: env!("CARGO_PKG_VERSION").to_owned(),
        objectives: Objectives::of(scenario, options).for_evidence(scenario),
        expected: Expected {
            outcome: scenario.expect.outcome,
            detected_by: scenario.expect.detected_by.clone(),
            only: scenario.expect.only,
            rejected: scenario.expect.rejected,
            findings: scenario.expect.findings.clone(),
            tries: scenario.expect.tries,
            least_commits: scenario.expect.least_commits,
            at_step: scenario.expect.at_step,
            answers: scenario.expect.answers.clone(),
        },
        environment: environment(assignment, work),
        given: described,
        faults: scenario.faults.iter().map(planned).collect(),
    }
}

fn planned(fault: &Fault) -> PlannedFault {
    PlannedFault {
        number: fault.number,
        line: fault.line as u64,
        at: fault.at.to_string(),
        kind: fault.action.kind().to_owned(),
        target: fault.target.to_string(),
    }
}

/// Where and on what a drill runs.
fn environment(assignment: &Assignment<'_>, work: &WorkDir) -> Environment {
    Environment {
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        storage: if assignment.storage == Storage::Disk {
            "disk"
        } else {
            "memory"
        }
        .to_owned(),
        filesystem: work
            .filesystem()
            .map_or_else(|_| "unknown".to_owned(), |filesystem| filesystem.kind),
        fsync: assignment.storage == Storage::Disk,
        notes: assignment.installation.notes.clone(),
    }
}

/// Where a drill's clusters live: what was asked for, else what the scenario wishes, else what suits the occasion.
pub fn storage(choice: StorageChoice, scenario: &Scenario, drills: usize) -> Storage {
    match (choice, scenario.given.storage) {
        (StorageChoice::Memory, _) | (StorageChoice::Auto, Some(StorageWish::Memory)) => Storage::Memory,
        (StorageChoice::Disk, _) | (StorageChoice::Auto, Some(StorageWish::Disk)) => Storage::Disk,
        (StorageChoice::Auto, None) => {
            if drills == 1 {
                Storage::Disk
            } else {
                Storage::Memory
            }
        }
    }
}
