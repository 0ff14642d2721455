//! Which drills a run carries out: what was chosen, once for each backup system, and what this machine lacks for some.

use std::path::{Component, Path};

use reports::{PlannedDrill, RunPlan, text::counted};

use super::{
    Failure,
    args::{RunArgs, StorageArg},
};
use crate::{
    drill,
    postgres::{Storage, shell_quoted},
    scenario::{self, Circumstances, Scenario, Vocabulary},
    service::{Sizing, wal_segment_mb},
    state::{self, Parts, StorageChoice},
};

const DEFAULT_SCENARIO: &str = "data-directory-lost";

/// A drill of the run.
pub(super) struct Planned {
    pub(super) scenario: Scenario,
    pub(super) system: String,
    pub(super) name: String,
    /// Where its clusters live.
    pub(super) storage: Storage,
    /// Why it is left out, if it is.
    pub(super) skipped: Option<String>,
}

/// The drills of a run, in their order.
///
/// One that this machine cannot carry out is left out with its reason where there are others; `--require-all`, or naming it
/// alone, has it tried, and fail.
///
/// # Errors
/// If there is no such scenario or backup system, or nothing is left to be carried out.
pub(super) fn planned(args: &RunArgs, parts: &Parts) -> Result<Vec<Planned>, Failure> {
    let mut planned = Vec::new();
    for scenario in chosen(args, &parts.vocabulary())? {
        let systems = systems(args, &scenario, parts)?;
        for system in &systems {
            let name = match systems.len() {
                1 => scenario.id.clone(),
                _ => format!("{}@{system}", scenario.id),
            };
            planned.push(Planned {
                scenario: scenario.clone(),
                system: system.clone(),
                name,
                storage: Storage::Disk, // until it is known how many drills there are
                skipped: None,
            });
        }
    }
    let drills = planned.len();
    for drill in &mut planned {
        drill.storage = drill::storage(storage_choice(args), &drill.scenario, drills);
        if drills > 1 && !args.require_all {
            drill.skipped = state::lacking(&drill.scenario);
        }
    }
    match planned.iter().find_map(|drill| drill.skipped.as_ref()) {
        Some(why) if planned.iter().all(|drill| drill.skipped.is_some()) => Err(Failure::execution(format!(
            "this machine can carry out none of the {drills} drills: {why}"
        ))),
        _ => Ok(planned),
    }
}

fn chosen(args: &RunArgs, words: &Vocabulary<'_>) -> Result<Vec<Scenario>, Failure> {
    if args.all && args.scenarios.is_empty() {
        return scenario::all(words).map_err(Failure::usage);
    }
    let default = [DEFAULT_SCENARIO.to_owned()];
    let named = if args.scenarios.is_empty() {
        &default
    } else {
        args.scenarios.as_slice()
    };
    scenario::resolve(named, words).map_err(Failure::usage)
}

/// The backup systems that a scenario is carried out with, once for each.
fn systems(args: &RunArgs, scenario: &Scenario, parts: &Parts) -> Result<Vec<String>, Failure> {
    let given = &scenario.given;
    if let Some(system) = &args.backup {
        parts.systems.named(system).map_err(Failure::usage)?;
        return Ok(vec![system.clone()]);
    }
    Ok(match (given.mixed(), given.backup.as_slice()) {
        (Some(mixed), _) => vec![mixed],
        (None, []) => parts.systems.names().into_iter().take(1).map(str::to_owned).collect(),
        (None, named) => named.to_vec(),
    })
}

/// What the run will carry out, as it is written before anything is begun.
pub(super) fn plan(run_id: &str, planned: &[Planned]) -> RunPlan {
    let drills = planned.iter().map(|drill| PlannedDrill {
        drill: drill.name.clone(),
        scenario: drill.scenario.id.clone(),
        group: drill.scenario.group.clone(),
        backup_system: drill.system.clone(),
        expected_outcome: drill.scenario.expect.outcome,
        skipped: drill.skipped.clone(),
    });
    RunPlan::new(run_id, drills.collect())
}

/// Prints what would be done.
pub(super) fn print(args: &RunArgs, planned: &[Planned], parts: &Parts) -> Result<(), Failure> {
    let words = parts.vocabulary();
    let service = parts.services.named(&args.service).map_err(Failure::usage)?.what;
    let sizing = sizing(args);
    let skipped = |drill: &&Planned| drill.skipped.is_some();
    for drill in planned.iter().filter(|drill| !skipped(drill)) {
        let given = &drill.scenario.given;
        let sizing = sizing.with(given);
        let seed = args.seed.or(given.seed);
        let service = service(sizing, seed.unwrap_or_default());
        let objectives = &drill.scenario.objectives;
        let circumstances = Circumstances {
            system: &drill.system,
            words: &words,
            seed_data: service.seed_in_words(),
            seed,
            segment_mb: wal_segment_mb(service.seed_bytes()),
            commits: args.commits,
            writers: args.writers,
            rpo: objectives.rpo.unwrap_or(args.rpo),
            rto: objectives.rto.unwrap_or(args.rto),
            storage: match drill.storage {
                Storage::Disk => "on disk, with fsync",
                Storage::Memory => "in memory, without fsync",
            },
        };
        say!("{}", scenario::plan(&drill.scenario, &circumstances));
    }
    for drill in planned.iter().filter(skipped) {
        let why = drill.skipped.as_deref().unwrap_or_default();
        say!("{} would be left out: {why}", drill.name);
    }
    let drills = counted(planned.iter().filter(|drill| !skipped(drill)).count(), "drill");
    say!(
        "{drills} would be run, with PostgreSQL {} ({}).",
        args.postgres,
        args.provider
    );
    say!("Nothing was touched.");
    Ok(())
}

/// The command line that repeats this drill alone, with the same options.
pub(super) fn repeat_command(args: &RunArgs, drill: &Planned, seed: u64) -> String {
    let scenario = &drill.scenario;
    let name = if scenario.group.is_empty() {
        // A user's own file: `mine.toml` alone would do, too, but not a name that begins with a dash.
        match scenario.path.components().next() {
            Some(Component::Normal(_)) => Path::new(".").join(&scenario.path).display().to_string(),
            _ => scenario.path.display().to_string(),
        }
    } else {
        scenario.id.clone()
    };
    let mut words = vec!["drill".to_owned(), "run".to_owned(), name];
    if drill.name != scenario.id || args.backup.is_some() {
        words.extend(["--backup".to_owned(), drill.system.clone()]);
    }
    let is_storage = |(option, _): &&(String, Vec<String>)| option == "storage";
    for (option, values) in args.differing.iter().filter(|one| !is_storage(one)) {
        words.push(format!("--{option}"));
        words.extend(values.iter().cloned());
    }
    // Given as it was decided: the default depends on how many drills there are.
    if args.differing.iter().any(|one| is_storage(&one))
        || drill::storage(StorageChoice::Auto, scenario, 1) != drill.storage
    {
        let storage = match drill.storage {
            Storage::Memory => "memory",
            Storage::Disk => "disk",
        };
        words.extend(["--storage".to_owned(), storage.to_owned()]);
    }
    words.extend(["--seed".to_owned(), seed.to_string()]);
    let quoted: Vec<String> = words.iter().map(|word| shell_quoted(word)).collect();
    quoted.join(" ")
}

pub(super) fn sizing(args: &RunArgs) -> Sizing {
    match args.target_size {
        Some(size) => Sizing::Target(size.as_u64()),
        None => Sizing::Numbers {
            scripts: args.scripts,
            versions: args.versions,
            content_bytes: args.content_bytes,
        },
    }
}

fn storage_choice(args: &RunArgs) -> StorageChoice {
    match args.storage {
        StorageArg::Auto => StorageChoice::Auto,
        StorageArg::Memory => StorageChoice::Memory,
        StorageArg::Disk => StorageChoice::Disk,
    }
}
