//! What the first event of a drill says: what is drilled, on what, and what is expected of it.

use reports::event::{DrillHeader, Environment, Expected, FORMAT, Kind, PlannedFault};

use super::{Assignment, Objectives, Options};
use crate::{
    operator::OperatorMode,
    postgres::{Storage, WorkDir},
    scenario::Fault,
};

/// The header of a drill.
pub fn header(assignment: &Assignment<'_>, options: &Options, work: &WorkDir) -> DrillHeader {
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
