//! Says a scenario in plain words, for `drill show`.

use std::fmt::Write as _;

use reports::{
    Outcome,
    text::{bytes, counted, lasting},
};

use super::{Destination, Given, Scenario, Streaming, Target};

/// What it breaks, why, what must notice, and how it must end.
pub fn show(scenario: &Scenario) -> String {
    let mut lines = vec![scenario.title.clone(), String::new()];
    lines.push(match scenario.group.as_str() {
        "" => format!("Scenario  {} ({})", scenario.id, scenario.path.display()),
        group => format!("Scenario  {} (group {group})", scenario.id),
    });
    lines.push(format!("Why       {}", scenario.why));
    lines.push(format!("Source    {}", scenario.source));

    lines.extend([String::new(), "Before the failure".to_owned()]);
    lines.extend(given(&scenario.given).into_iter().map(|line| indented(&line)));

    lines.extend([String::new(), "What breaks".to_owned()]);
    if scenario.faults.is_empty() {
        lines.push(indented("nothing: the alert alone starts the drill"));
    }
    lines.extend(scenario.faults.iter().map(|fault| indented(&fault.in_words())));

    lines.extend([String::new(), "What the operator aims for".to_owned()]);
    lines.push(indented(&target(&scenario.recovery.target)));
    if scenario.recovery.into == Destination::FailedCluster {
        lines.push(indented("into the directory of the cluster that failed"));
    }
    if let Some(roles) = &scenario.roles {
        let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
        lines.push(indented(&match names.as_slice() {
            [] => "the operator holds no role".to_owned(),
            _ => format!("the operator holds only the role {}", names.join(", ")),
        }));
    }
    let objectives = scenario.objectives;
    for (name, objective) in [("RPO", objectives.rpo), ("RTO", objectives.rto)] {
        if let Some(objective) = objective {
            lines.push(indented(&format!("{name} {}, set by the scenario", lasting(objective))));
        }
    }

    lines.extend([String::new(), "What must notice".to_owned()]);
    lines.extend(detection(scenario).into_iter().map(|line| indented(&line)));

    lines.extend([String::new(), "How it must end".to_owned()]);
    lines.push(indented(&format!(
        "{}: {}",
        scenario.expect.outcome,
        outcome(scenario.expect.outcome)
    )));
    lines.extend(on_the_way(scenario).iter().map(|line| indented(line)));

    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// What is expected beside the outcome and the checks.
pub(super) fn on_the_way(scenario: &Scenario) -> Vec<String> {
    let expect = &scenario.expect;
    let mut lines = Vec::new();
    lines.extend(expect.at_step.map(|step| format!("it ends at step {step}")));
    lines.extend(expect.rejected.map(|rejected| {
        format!(
            "{} rejected as unusable on the way",
            plural(u64::from(rejected), "backup")
        )
    }));
    lines.extend(
        expect
            .tries
            .map(|tries| format!("{} begun", plural(u64::from(tries), "restore"))),
    );
    lines.extend(
        expect
            .least_commits
            .map(|least| format!("at least {} made", plural(least, "acknowledged commit"))),
    );
    lines.extend(expect.findings.iter().map(|text| format!("a finding says {text:?}")));
    lines.extend(expect.answers.iter().map(|answer| {
        let (sql, is) = (&answer.sql, &answer.is);
        let whose = match answer.database.as_str() {
            "" => "the application's database".to_owned(),
            database => format!("database {database}"),
        };
        format!("the cluster in service answers {is:?} to {sql} in {whose}")
    }));
    lines
}

fn indented(line: &str) -> String {
    format!("  {line}")
}

/// How many there are, in words where there is none.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    match count {
        0 => format!("no {noun}"),
        _ => counted(count, noun),
    }
}

fn given(given: &Given) -> Vec<String> {
    let mut first = plural(u64::from(given.backups), "backup");
    if !given.methods.is_empty() {
        let _ = write!(first, ", oldest first: {}", given.methods.join(", "));
    }
    if !given.backup.is_empty() {
        let _ = write!(first, " by {}", given.backup.join(", then again by "));
    }
    let mut lines = vec![first];
    if !given.backup_options.is_empty() {
        lines.push(format!("taken with {}", given.backup_options.join(" ")));
    }
    lines.extend(given.backup_role.map(|role| format!("taken by the role {role}")));
    if given.foreign_backup {
        lines.push("then a backup of another cluster gets into the repository".to_owned());
    }
    lines.push(if given.archive {
        "WAL is archived".to_owned()
    } else {
        "WAL is not archived".to_owned()
    });
    if !given.wal_in_backup {
        lines.push("base backups hold no WAL of their own: what they need is in the archive only".to_owned());
    }
    match given.streaming {
        Streaming::Off => {}
        Streaming::Asynchronous => lines.push("WAL is also streamed to a second place, which may lag".to_owned()),
        Streaming::Synchronous => {
            lines.push("WAL is also streamed to a second place before a commit is acknowledged".to_owned());
        }
    }
    let seed = [
        given.scripts.map(|scripts| plural(scripts, "script")),
        given
            .versions
            .map(|versions| format!("{} each", plural(u64::from(versions), "version"))),
        given
            .content_bytes
            .map(|bytes| format!("{} a version", plural(u64::from(bytes), "byte"))),
    ];
    let seed: Vec<String> = seed.into_iter().flatten().collect();
    if !seed.is_empty() {
        lines.push(format!("seeded with {}", seed.join(", ")));
    }
    lines.extend(given.seed.map(|seed| format!("every random choice by seed {seed}")));
    let commits = given.commits.map(|commits| plural(commits, "acknowledged commit"));
    let writers = given.writers.map(|writers| plural(u64::from(writers), "writer"));
    match (commits, writers) {
        _ if given.commits == Some(0) => lines.push("nobody writes".to_owned()),
        (Some(commits), Some(writers)) => lines.push(format!("{commits} from {writers}")),
        (Some(one), None) | (None, Some(one)) => lines.push(one),
        (None, None) => {}
    }
    lines.extend(given.storage.map(|storage| format!("clusters live in {storage}")));
    lines.extend(given.storage_bytes.map(|size| {
        let size = bytes(size);
        format!("the cluster has a filesystem of its own, of {size} in memory")
    }));
    lines.extend(given.restore_bytes.map(|size| {
        let size = bytes(size);
        format!("the first restore goes to a filesystem of its own, of {size} in memory")
    }));
    lines.extend(
        given
            .settings
            .iter()
            .map(|(name, value)| format!("setting {name} = {value}")),
    );
    lines
}

pub(super) fn target(target: &Target) -> String {
    match target {
        Target::End => "the end of the WAL that survived".to_owned(),
        Target::BeforeFailure => "the moment before the failure".to_owned(),
        Target::BeforeFault => "the moment before the first fault; good commits after it are given up".to_owned(),
        Target::Lsn(lsn) => format!("LSN {lsn}"),
        Target::Time(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        Target::Moment(moment) => format!("the time at which it is {moment}; commits after it are given up"),
    }
}

pub(super) fn detection(scenario: &Scenario) -> Vec<String> {
    match scenario.expect.detected_by.as_deref() {
        None => vec!["the scenario does not say".to_owned()],
        Some([]) => vec!["no check may notice anything".to_owned()],
        Some(checks) => {
            let rest = scenario.expect.only.then(|| "and no other check".to_owned());
            let named = checks.iter().map(|check| format!("{}: {}", check.id(), check.about()));
            named.chain(rest).collect()
        }
    }
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recovered => "the service is restored within both objectives",
        Outcome::RecoveredRpoMissed => "the service is restored, but more was lost than the RPO allows",
        Outcome::RecoveredRtoMissed => "the service is restored, but later than the RTO allows",
        Outcome::RecoveredBothMissed => "the service is restored, but both objectives are missed",
        Outcome::NotRecovered => "the service is not restored, and the report says why",
        Outcome::Refused => "the recovery must not proceed, and does not",
        Outcome::FalseAlarm => "the database is healthy: nothing is restored",
    }
}
