//! Says a scenario in plain words, for `drill show`.

use std::fmt::Write as _;

use reports::Outcome;

use super::{
    Action, Fault, FaultTarget, Given, Keep, Moment, Named, Pick, Process, Replacement, Scenario, Selection, Streaming,
    Target, Which,
};

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
    lines.extend(scenario.faults.iter().map(|fault| indented(&fault_in_words(fault))));

    lines.extend([String::new(), "What the operator aims for".to_owned()]);
    lines.push(indented(&target(&scenario.recovery.target)));
    let objectives = scenario.objectives;
    for (name, objective) in [("RPO", objectives.rpo), ("RTO", objectives.rto)] {
        if let Some(objective) = objective {
            lines.push(indented(&format!(
                "{name} {}, set by the scenario",
                humantime::format_duration(objective)
            )));
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
    if let Some(rejected) = scenario.expect.rejected {
        lines.push(indented(&format!(
            "{} rejected as unusable on the way",
            plural(u64::from(rejected), "backup")
        )));
    }

    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn indented(line: &str) -> String {
    format!("  {line}")
}

fn plural(count: u64, noun: &str) -> String {
    match count {
        0 => format!("no {noun}"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

fn given(given: &Given) -> Vec<String> {
    let mut first = plural(u64::from(given.backups), "backup");
    if !given.backup.is_empty() {
        let _ = write!(first, " by {}", given.backup.join(", then again by "));
    }
    let mut lines = vec![first];
    lines.push(if given.archive {
        "WAL is archived".to_owned()
    } else {
        "WAL is not archived".to_owned()
    });
    match given.streaming {
        Streaming::Off => {}
        Streaming::Asynchronous => lines.push("WAL is also streamed to a second place, which may lag".to_owned()),
        Streaming::Synchronous => {
            lines.push("WAL is also streamed to a second place before a commit is acknowledged".to_owned());
        }
    }
    let commits = given.commits.map(|commits| plural(commits, "acknowledged commit"));
    let writers = given.writers.map(|writers| plural(u64::from(writers), "writer"));
    match (commits, writers) {
        (Some(commits), Some(writers)) => lines.push(format!("{commits} from {writers}")),
        (Some(one), None) | (None, Some(one)) => lines.push(one),
        (None, None) => {}
    }
    lines.extend(given.storage.map(|storage| format!("clusters live in {storage}")));
    lines.extend(
        given
            .settings
            .iter()
            .map(|(name, value)| format!("setting {name} = {value}")),
    );
    lines
}

fn fault_in_words(fault: &Fault) -> String {
    let when = match fault.at {
        Moment::BeforeBackups => "before the backups",
        Moment::BetweenBackups => "between two backups",
        Moment::AfterBackups => "after the backups",
        Moment::Failure => "the failure",
        Moment::Restore => "during the restore",
        Moment::Restored => "after the restore, before validation",
        Moment::Cutover => "during the cutover",
        Moment::AfterCutover => "after the cutover",
    };
    let whose = match fault.target {
        FaultTarget::Cluster => "the service's cluster".to_owned(),
        FaultTarget::Archive => "the WAL archive".to_owned(),
        FaultTarget::Stream => "the streamed WAL".to_owned(),
        FaultTarget::Backup(Which::Latest) => "the newest backup".to_owned(),
        FaultTarget::Backup(Which::Oldest) => "the oldest backup".to_owned(),
        FaultTarget::Backup(Which::Number(number)) => format!("backup {number}, counted from the oldest"),
        FaultTarget::Backup(Which::All) => "every backup".to_owned(),
        FaultTarget::Restored => "the restored cluster".to_owned(),
        FaultTarget::App => "the application".to_owned(),
        FaultTarget::ConfigStore => "the configuration store".to_owned(),
        FaultTarget::Notifier => "the receiver of notifications".to_owned(),
        FaultTarget::Monitor => "monitoring".to_owned(),
    };
    format!("{when}: {} (line {})", action(&fault.action, &whose), fault.line)
}

fn action(action: &Action, whose: &str) -> String {
    match action {
        Action::Sql { database, statements } => {
            format!(
                "in database {database} of {whose}, as superuser: {}",
                statements.join("; ")
            )
        }
        Action::RemoveFiles { files } => format!("removes {} of {whose}", matches(files, Pick::All)),
        Action::TruncateFile { files, keep } => {
            let keep = match keep {
                Keep::Bytes(bytes) => plural(*bytes, "byte"),
                Keep::Percent(percent) => format!("{percent} %"),
            };
            format!("cuts {} of {whose} down to {keep}", one(files))
        }
        Action::FlipBytes { files, bytes, offset } => {
            let place = offset.map_or("at random places".to_owned(), |offset| {
                format!("from offset {offset} on")
            });
            format!(
                "changes {} {place} in {} of {whose}",
                plural(*bytes, "byte"),
                one(files)
            )
        }
        Action::ZeroBytes { files, offset, bytes } => {
            format!(
                "overwrites {} from offset {offset} on with zeros in {} of {whose}",
                plural(*bytes, "byte"),
                one(files)
            )
        }
        Action::WriteBytes { files, offset, content } => {
            let content = plural(content.len() as u64, "byte");
            format!(
                "overwrites {content} from offset {offset} on in {} of {whose}",
                one(files)
            )
        }
        Action::AppendBytes { files, content } => {
            format!(
                "appends {} to {} of {whose}",
                plural(content.len() as u64, "byte"),
                one(files)
            )
        }
        Action::ReplaceFile { files, with } => {
            let with = match with {
                Replacement::File(path) => format!("that of {path}"),
                Replacement::Text(text) => plural(text.len() as u64, "byte") + " of text",
            };
            format!("replaces the content of {} of {whose} by {with}", one(files))
        }
        Action::Chmod { files, mode } => format!("sets the permissions of {} of {whose} to {mode:04o}", one(files)),
        Action::Signal {
            process: Process::All,
            signal,
        } => format!("sends {signal} to every process of {whose}"),
        Action::Signal { process, signal } => format!("sends {signal} to the {} of {whose}", process.name()),
    }
}

fn one(files: &Selection) -> String {
    matches(files, Pick::Largest)
}

fn matches(files: &Selection, otherwise: Pick) -> String {
    let path = files.path.as_str();
    match files.pick.unwrap_or(otherwise) {
        _ if !path.contains(['*', '?', '[']) => path.to_owned(),
        Pick::All if path == "**" => "every file".to_owned(),
        Pick::All => format!("every file that matches {path}"),
        Pick::Random => format!("a random file that matches {path}"),
        pick => format!("the {pick} file that matches {path}"),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::End => "the end of the WAL that survived".to_owned(),
        Target::BeforeFailure => "the moment before the failure".to_owned(),
        Target::BeforeFault => "the moment before the first fault; good commits after it are given up".to_owned(),
        Target::Lsn(lsn) => format!("LSN {lsn}"),
        Target::Time(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    }
}

fn detection(scenario: &Scenario) -> Vec<String> {
    match scenario.expect.detected_by.as_deref() {
        None => vec!["the scenario does not say".to_owned()],
        Some([]) => vec!["no check may notice anything".to_owned()],
        Some(checks) => checks
            .iter()
            .map(|check| format!("{}: {}", check.id(), check.about()))
            .collect(),
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recovered => "the service is restored within both objectives",
        Outcome::RecoveredRpoMissed => "the service is restored, but more was lost than the RPO allows",
        Outcome::RecoveredRtoMissed => "the service is restored, but later than the RTO allows",
        Outcome::RecoveredBothMissed => "the service is restored, but both objectives are missed",
        Outcome::NotRecovered => "the service is not restored, and the report says why",
        Outcome::Refused => "the recovery must not proceed, and does not",
        Outcome::FalseAlarm => "the database is healthy, or a restart suffices: nothing is restored",
    }
}
