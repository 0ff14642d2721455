//! `drill run`: chooses scenarios, finds PostgreSQL, carries the drills out, writes the reports, says how it went.

use std::{io::IsTerminal as _, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use rand::RngExt as _;
use reports::{DrillEvidence, PlannedDrill, RunEvidence, RunPlan, Verdict, run::UnreadableLog};

use super::{Failure, Outcome, Output, progress::Show};
use crate::{
    backup,
    operator::OperatorMode,
    postgres::{self, ContainerError, ContainerOptions, Installation, Limits, Request, Storage},
    run::{self, Assignment},
    scenario::{self, Circumstances, Scenario},
    stage::{LEFT_RUNNING, Options, Sizing, StorageChoice},
};

mod args;

pub(super) use args::RunArgs;
use args::{OperatorArg, StorageArg};

const DEFAULT_SCENARIO: &str = "data-directory-lost";

pub(super) async fn run(args: RunArgs, output: &Output) -> Outcome {
    let scenarios = chosen(&args)?;
    let planned = planned(&args, &scenarios)?;
    if args.dry_run {
        print_plan(&args, &planned);
        return Ok(reports::exit::AS_EXPECTED);
    }
    if args.operator == OperatorArg::Ask && !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "--operator ask needs somebody at a terminal, and standard input is none: start it in a terminal, or leave \
             the decisions to drill with --operator auto",
        ));
    }
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000_000));
    let run_id = format!(
        "{}-{:04x}",
        chrono::Utc::now().format("%Y%m%dT%H%M%SZ"),
        rand::random::<u16>()
    );
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("drill-runs").join(&run_id));
    let drills = planned.len();
    let jobs = args
        .jobs
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get)
        .clamp(1, drills.max(1));
    let show = Arc::new(Show::new(output, drills));
    refuse_existing(&out)?; // before anything is fetched or started

    clean_up_after_the_dead(&show);
    let request = Request {
        provider: args.provider,
        major: args.postgres,
        bindir: args.bindir.clone(),
        containers: ContainerOptions {
            image: args.image.clone(),
            limits: Limits {
                memory_bytes: args.container_memory.map(|size| size.as_u64()),
                millicpus: args.container_cpus,
            },
        },
    };
    let teller = Arc::clone(&show);
    let telling = move |message: &str| teller.line(message);
    let installation = postgres::locate(&request, &telling).await.map_err(locate_failure)?;
    create_evidence_directory(&out)?;
    plan(&run_id, &planned).write(&out).map_err(|error| {
        Failure::execution(format!(
            "cannot write the plan of the run into {} ({error})",
            out.display()
        ))
    })?;
    show.line(&format!("run {run_id}, seed {seed}, evidence in {}", out.display()));

    let seeding = Arc::clone(&show);
    let options = Options {
        run_id,
        out: out.clone(),
        seed,
        seed_is_chosen: args.seed.is_some(),
        sizing: sizing(&args),
        commits: args.commits,
        writers: args.writers,
        rpo: args.rpo,
        rto: args.rto,
        operator: if args.operator == OperatorArg::Ask {
            OperatorMode::Ask
        } else {
            OperatorMode::Auto
        },
        keep: args.keep,
        alert_patience: Duration::from_secs(5),
        seeding: Some(Arc::new(move |progress| seeding.seeding(&progress))),
    };
    let carried_out = carry_out(&planned, &installation, &args, &options, &show, jobs).await;
    let evidence = carried_out.inspect_err(|_| withdraw(&out))?;
    let written = reports::write(&out, &evidence, reports::Format::ALL);
    show.finish().await;
    for drill in evidence.worst_first() {
        say!("{}", summary(drill, drills));
        let findings = drill.findings.iter().map(|finding| &finding.text);
        let kept = findings.filter(|text| text.starts_with(LEFT_RUNNING));
        kept.for_each(|how| say!("{how}"));
    }
    for broken in &evidence.unreadable {
        say!("UNVERIFIED    {:<28} {}", broken.drill, broken.problem);
    }
    say!("Report: {}", out.join("report.md").display());
    if let Some(error) = written.errors.into_iter().next() {
        return Err(Failure::execution(error));
    }
    Ok(evidence.exit_code())
}

/// A drill that is going to be carried out.
struct Planned {
    scenario: Scenario,
    system: String,
    name: String,
}

fn chosen(args: &RunArgs) -> Result<Vec<Scenario>, Failure> {
    if args.all {
        return scenario::all().map_err(Failure::usage);
    }
    let default = [DEFAULT_SCENARIO.to_owned()];
    scenario::resolve(if args.scenarios.is_empty() {
        &default
    } else {
        &args.scenarios
    })
    .map_err(Failure::usage)
}

/// Each scenario once, or once for each backup system that it names.
fn planned(args: &RunArgs, scenarios: &[Scenario]) -> Result<Vec<Planned>, Failure> {
    let mut planned = Vec::new();
    for scenario in scenarios {
        let given = &scenario.given;
        let systems = match (&args.backup, given.mixed(), given.backup.as_slice()) {
            (Some(system), ..) => vec![system.clone()],
            (None, Some(mixed), _) => vec![mixed],
            (None, None, []) => vec![backup::basebackup::NAME.to_owned()],
            (None, None, named) => named.to_vec(),
        };
        for system in systems.iter().flat_map(|mixed| mixed.split('+')) {
            if !backup::SYSTEMS.iter().any(|(name, _)| *name == system) {
                let names: Vec<_> = backup::SYSTEMS.iter().map(|(name, _)| *name).collect();
                let place = scenario.path.display();
                return Err(Failure::usage(format!(
                    "{place}: there is no backup system {system:?}; there are {}",
                    names.join(", ")
                )));
            }
        }
        for system in &systems {
            let name = if systems.len() == 1 {
                scenario.id.clone()
            } else {
                format!("{}@{system}", scenario.id)
            };
            planned.push(Planned {
                scenario: scenario.clone(),
                system: system.clone(),
                name,
            });
        }
    }
    Ok(planned)
}

/// What the run will carry out, as it is written before anything is begun.
fn plan(run_id: &str, planned: &[Planned]) -> RunPlan {
    let drills = planned.iter().map(|drill| PlannedDrill {
        drill: drill.name.clone(),
        scenario: drill.scenario.id.clone(),
        group: drill.scenario.group.clone(),
        backup_system: drill.system.clone(),
        expected_outcome: drill.scenario.expect.outcome,
    });
    RunPlan::new(run_id, drills.collect())
}

/// Removes the directory of a run in which no drill left any evidence.
fn withdraw(out: &Path) {
    let names = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name());
    let is_empty = std::fs::read_dir(out)
        .and_then(|entries| entries.map(names).collect::<Result<Vec<_>, _>>())
        .is_ok_and(|names| names == [reports::plan::FILE_NAME]);
    if is_empty {
        let _ = std::fs::remove_dir_all(out); // the error that is reported says more
    }
}

fn print_plan(args: &RunArgs, planned: &[Planned]) {
    let sizing = sizing(args);
    for drill in planned {
        let given = &drill.scenario.given;
        let sizing = sizing.with(given);
        let seed = args.seed.or(given.seed);
        let objectives = &drill.scenario.objectives;
        let storage = match run::storage(storage_choice(args), &drill.scenario, planned.len()) {
            Storage::Disk => "on disk, with fsync",
            Storage::Memory => "in memory, without fsync",
        };
        let circumstances = Circumstances {
            system: &drill.system,
            seed: sizing.plan(seed.unwrap_or_default()),
            seed_given: seed.is_some(),
            segment_mb: sizing.wal_segment_mb(),
            commits: args.commits,
            writers: args.writers,
            rpo: objectives.rpo.unwrap_or(args.rpo),
            rto: objectives.rto.unwrap_or(args.rto),
            storage,
        };
        say!("{}", scenario::plan(&drill.scenario, &circumstances));
    }
    let drills = match planned.len() {
        1 => "1 drill".to_owned(),
        several => format!("{several} drills"),
    };
    say!(
        "{drills} would be run, with PostgreSQL {} ({}).",
        args.postgres,
        args.provider
    );
    say!("Nothing was touched.");
}

fn sizing(args: &RunArgs) -> Sizing {
    match args.target_size {
        Some(size) => Sizing::Target(size.as_u64()),
        None => Sizing::Numbers {
            scripts: args.scripts,
            versions: args.versions,
            content_bytes: args.content_bytes,
        },
    }
}

/// What an earlier run left when it was killed outright.
fn clean_up_after_the_dead(show: &Show) {
    for left in postgres::sweep_stale() {
        show.line(&format!("removed what a killed run had left: {}", left.path.display()));
    }
}

/// Wrong versions and directories are the user's to mend (2); what this machine cannot do is not (3).
fn locate_failure(error: postgres::LocateError) -> Failure {
    use postgres::LocateError::{Conflict, Container, ImageConflict, Incomplete, WrongMajor};
    match error {
        Container { source, .. } if matches!(*source, ContainerError::WrongMajor { .. }) => Failure::usage(*source),
        Incomplete { .. } | WrongMajor { .. } | Conflict(_) | ImageConflict(_) => Failure::usage(error),
        _ => Failure::execution(error),
    }
}

/// Evidence is never overwritten.
fn refuse_existing(out: &Path) -> Result<(), Failure> {
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    let out = out.display();
    Err(Failure::usage(format!(
        "{out} exists; evidence is never overwritten: name another --out"
    )))
}

fn create_evidence_directory(out: &Path) -> Result<(), Failure> {
    let parent = out.parent().map_or(Ok(()), std::fs::create_dir_all);
    parent.and_then(|()| std::fs::create_dir(out)).map_err(|error| {
        let out = out.display();
        Failure::execution(format!(
            "cannot create the directory {out} for the evidence ({error}): name an --out that can be written"
        ))
    })
}

fn storage_choice(args: &RunArgs) -> StorageChoice {
    match args.storage {
        StorageArg::Auto => StorageChoice::Auto,
        StorageArg::Memory => StorageChoice::Memory,
        StorageArg::Disk => StorageChoice::Disk,
    }
}

/// Drills side by side; one that breaks does not stop the others.
async fn carry_out(
    planned: &[Planned],
    installation: &Installation,
    args: &RunArgs,
    options: &Options,
    show: &Arc<Show>,
    jobs: usize,
) -> Result<RunEvidence, Failure> {
    let choice = storage_choice(args);
    let drills = stream::iter(planned.iter().enumerate()).map(|(index, drill)| async move {
        let assignment = Assignment {
            scenario: &drill.scenario,
            system: &drill.system,
            name: drill.name.clone(),
            installation,
            storage: run::storage(choice, &drill.scenario, planned.len()),
        };
        let watcher = show.watch(&drill.name);
        let events = Box::pin(run::drill(&assignment, options, Some(watcher))).await;
        (index, drill, events.map(|events| reports::fold(&events))) // the events are on disk
    });
    let mut finished: Vec<_> = drills.buffer_unordered(jobs).collect().await;
    finished.sort_by_key(|(index, ..)| *index);
    let (mut evidence, mut unreadable) = (Vec::new(), Vec::new());
    let mut broken = None;
    for (_, drill, folded) in finished {
        let problem = match folded {
            Ok(Ok(folded)) => {
                evidence.push(folded);
                continue;
            }
            Ok(Err(error)) => crate::verify::chain(&error),
            Err(error) => {
                let problem = crate::verify::chain(&error);
                broken.get_or_insert(error);
                problem
            }
        };
        unreadable.push(UnreadableLog {
            drill: drill.name.clone(),
            problem,
        });
    }
    match broken {
        Some(error) if evidence.is_empty() => Err(Failure::execution(error)),
        _ => Ok(RunEvidence::with_unreadable(evidence, unreadable).of_plan(plan(&options.run_id, planned))),
    }
}

/// One drill in a line or two on stdout.
fn summary(drill: &DrillEvidence, drills: usize) -> String {
    let headline = drill.headline();
    if drills == 1 {
        return headline;
    }
    let mark = match drill.verdict {
        Verdict::Pass => "as expected ",
        Verdict::Fail => "NOT EXPECTED",
        Verdict::Unknown => "UNVERIFIED  ",
    };
    format!("{mark}  {:<28} {headline}", drill.header.drill)
}
