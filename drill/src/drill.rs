//! OPEN THIS FIRST: one drill, from a scenario to its evidence, top to bottom.
//!
//! [`drill`] is the whole story: seed, writers, backups, the failure, the recovery, the evidence. The recovery itself
//! is [`crate::recovery`], what a drill holds meanwhile [`crate::state`]; many drills are [`crate::run`].

use std::{path::Path, sync::Arc, time::Duration};

use reports::{
    Event, What,
    event::{Part, Severity},
    text::{counted, lasting, number},
};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    backup::note,
    errors::chain,
    postgres::{Storage, WorkDir},
    record::Recorder,
    recovery,
    scenario::{Moment, Scenario, StorageWish},
    state::{
        Assignment, Drill, DrillError, Options, StorageChoice, answers, foreign, header, inject, last_words,
        remember::{self, Tables},
        set_up,
    },
    values,
    workload::{Workload, WorkloadError, WorkloadPlan, nobody_writes},
};

/// How long writers may stand still before the drill gives up.
const WRITERS_PATIENCE: Duration = Duration::from_secs(30);
/// The same once a fault was injected, which may well keep them from writing.
const BROKEN_WRITERS_PATIENCE: Duration = Duration::from_secs(2);
/// How long the application may take to start the first time.
const START_PATIENCE: Duration = Duration::from_secs(30);

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
        Err(error) => {
            let error = last_words::add(chain(&error), &held, &directory.join("logs"));
            (None, String::new(), Some(error))
        }
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
        .external(
            "start the application",
            drill.estate.application.control.start(START_PATIENCE),
        )
        .await?;
    recorder
        .external("wait for readiness", drill.estate.application.ready(START_PATIENCE))
        .await?;
    let start = options.parts.monitors.named(&options.monitor)?.what;
    let monitor = start(drill.estate.probe(), drill.estate.alerts.url());
    drill.estate.alert_promise = monitor.promise();
    drill.estate.monitor = Some(monitor);

    recorder.part(Part::WorkloadAndBackups);
    workload_and_backups(&mut drill, scenario, assignment.system).await?;

    recorder.part(Part::Failure);
    let _ = remember::record(&drill, "right before the failure", Tables::All, false).await;
    drill.incident.failure_lsn = drill.estate.source_lsn().await;
    archiving_worked(&drill).await?;
    inject(&mut drill, Moment::Failure, None).await?;
    drill.failed();
    drill.note_outage();
    let ending = Box::pin(recovery::recover(&mut drill)).await;
    if let Ok(ending) = &ending {
        answers::ask(&drill, ending.outcome).await;
    }

    recorder.part(Part::Teardown);
    drill.estate.look_at_repository_at_the_end().await;
    drill.injector.mend(&drill.desk).await;
    drill.tear_down(directory).await;
    ending
}

/// Writers write; backups are taken while they do. On return the commits asked for are acknowledged and the writers
/// are at full speed. Where none are asked for, nobody writes.
async fn workload_and_backups(drill: &mut Drill, scenario: &Scenario, system: &str) -> Result<(), DrillError> {
    let given = &scenario.given;
    let commits = drill.desk.commits();
    let _ = remember::record(drill, "at seeding", Tables::All, true).await;
    begin_workload(drill)?;
    inject(drill, Moment::BeforeBackups, None).await?;
    // Commits are spread over the backups, so that each is taken with writers at work and the failure comes after
    // the number asked for, not after however many a fast machine makes meanwhile.
    let slice = commits / u64::from(given.backups + 1);
    for number in 1..=given.backups {
        let began = drill.desk.recorder.offset();
        written(drill, slice, slice * u64::from(number) - slice / 2).await?;
        drill.desk.recorder.external_since("live writers", began);
        let method = drill.estate.backup_system(given.method(system, number))?;
        let id = format!("{}-{number}", method.name());
        let (backup, recorded) = tokio::join!(
            method.take(&drill.estate.source, &id),
            remember::record(drill, &id, Tables::All, false)
        );
        let mut backup = backup?;
        if backup.recorded.is_none() {
            backup.recorded = recorded; // a dump has its own, of its snapshot
        }
        note::write(&backup)?;
        drill.estate.taken.push(backup.clone());
        drill.desk.recorder.record(What::BackupTaken(backup.info));
        if number < given.backups {
            inject(drill, Moment::BetweenBackups, None).await?;
        }
    }
    if given.foreign_backup {
        let backup = foreign::backup(drill, given.method(system, given.backups)).await?;
        note::write(&backup)?;
        drill.estate.taken.push(backup.clone());
        drill.desk.recorder.record(What::BackupTaken(backup.info));
    }
    inject(drill, Moment::AfterBackups, None).await?;
    drill.estate.note_repository()?;
    let began = drill.desk.recorder.offset();
    written(drill, commits - slice * u64::from(given.backups), commits).await?;
    drill.desk.recorder.external_since("live writers", began);
    drill.stream_kept_up().await?;
    let Some(workload) = &drill.estate.workload else {
        return Ok(());
    };
    if workload.counts().acknowledged == 0 {
        return Err(DrillError::NoCommits { wanted: commits });
    }
    workload.allow_all();
    Ok(())
}

/// What is lost because the drill's own archiving did not work would be blamed on the backups.
async fn archiving_worked(drill: &Drill) -> Result<(), DrillError> {
    let is_ours = !drill
        .desk
        .scenario
        .given
        .settings
        .keys()
        .any(|name| name.starts_with("archive_"));
    if drill.estate.site.wal.archive.is_none() || !drill.injector.injected.is_empty() || !is_ours {
        return Ok(());
    }
    let Ok(client) = drill.estate.source.connect("postgres", "postgres").await else {
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
    let writers = drill.desk.writers();
    let started = drill.desk.recorder.started();
    let service = Arc::clone(&drill.estate.site.service);
    let Some(writes) = service.writes().filter(|_| writers > 0) else {
        nobody_writes(&drill.desk.ledger, &drill.desk.ledger_header, started)?;
        let text = if writers == 0 {
            "No commits were asked for: nobody wrote, and the ledger is empty."
        } else {
            "Nobody knows how the service is written to: nobody wrote, and no ledger tells what is lost."
        };
        drill.desk.recorder.finding_of(Severity::Info, text);
        return Ok(());
    };
    let plan = WorkloadPlan {
        writers,
        seed: drill.desk.options.seed,
        database: drill.estate.as_application(),
    };
    let started = Workload::start(&plan, writes, &drill.desk.ledger, &drill.desk.ledger_header, started)?;
    drill.estate.workload = Some(started);
    drill.desk.recorder.record(What::WorkloadStarted { writers });
    Ok(())
}

/// Allows `more` operations and waits for so many acknowledged commits in all. Writers that a fault keeps from writing are
/// not waited for.
async fn written(drill: &mut Drill, more: u64, commits: u64) -> Result<(), DrillError> {
    drill.stream_kept_up().await?; // where it is synchronous, nothing is acknowledged without it
    let Some(workload) = &mut drill.estate.workload else {
        return Ok(());
    };
    workload.allow(more);
    let broken = !drill.injector.injected.is_empty();
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
            drill.desk.recorder.finding(format!(
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
