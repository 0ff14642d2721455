//! Says what a drill would do, for `drill run --dry-run`: everything that can be known without touching anything.

use std::{fmt::Write as _, time::Duration};

use reports::{
    Step,
    text::{bytes, counted, lasting, millis},
};

use super::{
    Fault, FaultTarget, Given, Moment, Needs, Scenario, SegmentPlace, Streaming, Vocabulary, Which,
    show::{detection, on_the_way, outcome, target},
};

/// What the command line and the machine add to a scenario.
#[derive(Clone)]
pub struct Circumstances<'a> {
    /// The backup system, or several as `basebackup+dump`.
    pub system: &'a str,
    /// What backup systems can do.
    pub words: &'a Vocabulary<'a>,
    /// The seed data, in words.
    pub seed_data: String,
    /// The seed of every random choice; drawn later where none was given.
    pub seed: Option<u64>,
    /// Size of a WAL segment in MiB.
    pub segment_mb: u32,
    /// Acknowledged commits before the failure, unless the scenario says.
    pub commits: u64,
    /// Live writers, unless the scenario says.
    pub writers: u32,
    /// The recovery point objective that holds.
    pub rpo: Duration,
    /// The recovery time objective that holds.
    pub rto: Duration,
    /// Where clusters live: `on disk, with fsync`.
    pub storage: &'a str,
}

impl Circumstances<'_> {
    /// Whether WAL is replayed from the backup of that number.
    fn replays(&self, given: &Given, number: u32) -> bool {
        let can = self.words.system(given.method(self.system, number));
        can.is_none_or(|can| can.point_in_time)
    }
}

/// The plan of one drill.
pub fn plan(scenario: &Scenario, with: &Circumstances<'_>) -> String {
    let mut lines = vec![
        format!("{}: {}", scenario.id, scenario.title),
        String::new(),
        format!("Why     {}", scenario.why),
        format!("Source  {}", scenario.source),
    ];
    let mut section = |title: &str, body: Vec<String>| {
        lines.extend([String::new(), title.to_owned()]);
        lines.extend(body.iter().map(|line| format!("  {line}").trim_end().to_owned()));
    };
    section("The world before", world(scenario, with));
    section("What breaks, and when", breaks(scenario));
    section("What step 4 will have to choose from", candidates(scenario, with));
    section("The fourteen steps", steps(with));
    section("What must notice the damage", detection(scenario));
    let mut ending = vec![format!(
        "{}: {}",
        scenario.expect.outcome,
        outcome(scenario.expect.outcome)
    )];
    ending.extend(on_the_way(scenario));
    section("How it must end", ending);
    lines.push(String::new());
    lines.join("\n")
}

fn world(scenario: &Scenario, with: &Circumstances<'_>) -> Vec<String> {
    let given = &scenario.given;
    let draws = match with.seed {
        Some(seed) => format!("every random choice by seed {seed}"),
        None => "the seed of every random choice is drawn at the start, printed and recorded".to_owned(),
    };
    let mut rows = vec![
        ("clusters", with.storage.to_owned()),
        ("seed data", format!("{}; {draws}", with.seed_data)),
    ];
    let commits = given.commits.unwrap_or(with.commits);
    let writers = u64::from(given.writers.unwrap_or(with.writers));
    rows.push((
        "workload",
        if commits == 0 {
            "none: nobody writes".to_owned()
        } else {
            format!(
                "{} that never rest; {} before the failure",
                counted(writers, "writer"),
                counted(commits, "acknowledged commit")
            )
        },
    ));
    let slice = commits / u64::from(given.backups + 1);
    for number in 1..=given.backups {
        let after = slice * u64::from(number) - slice / 2;
        let wal = match given.wal_in_backup {
            _ if !with.replays(given, number) => "",
            true => ", with the WAL that it needs",
            false => ", without any WAL",
        };
        let id = id(scenario, with, number);
        rows.push((
            "backup",
            if commits == 0 {
                format!("{id}, taken while nobody writes{wal}")
            } else {
                format!("{id}, taken under load after some {}{wal}", counted(after, "commit"))
            },
        ));
    }
    rows.push((
        "archive",
        if given.archive {
            format!(
                "each finished WAL segment of {} MiB, by archive_command",
                with.segment_mb
            )
        } else {
            "none".to_owned()
        },
    ));
    rows.push((
        "streaming",
        match given.streaming {
            Streaming::Off => "none: a segment that is not finished is lost with the server",
            Streaming::Asynchronous => "pg_receivewal, which may lag behind",
            Streaming::Synchronous => "pg_receivewal as a synchronous standby: no commit is acknowledged without it",
        }
        .to_owned(),
    ));
    rows.extend(given.storage_bytes.map(|size| {
        let size = bytes(size);
        ("filesystem", format!("of its own, {size} in memory"))
    }));
    if !given.backup_options.is_empty() {
        rows.push(("backups by", given.backup_options.join(" ")));
    }
    rows.extend(given.backup_role.map(|role| ("dumps as", role.name().to_owned())));
    let settings = given.settings.iter();
    rows.extend(settings.map(|(name, value)| ("setting", format!("{name} = {value}"))));
    let whose = |own: bool| if own { "the scenario's own" } else { "the service's" };
    let own = &scenario.objectives;
    rows.push((
        "objectives",
        format!(
            "RPO {} ({}), RTO {} ({})",
            lasting(with.rpo),
            whose(own.rpo.is_some()),
            lasting(with.rto),
            whose(own.rto.is_some())
        ),
    ));
    if let Some(roles) = &scenario.roles {
        let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
        rows.push(("operator", format!("holds the roles: {}", names.join(", "))));
    }
    rows.into_iter()
        .map(|(name, value)| format!("{name:<11} {value}"))
        .collect()
}

fn id(scenario: &Scenario, with: &Circumstances<'_>, number: u32) -> String {
    format!("{}-{number}", scenario.given.method(with.system, number))
}

/// The faults in the order in which they will happen.
fn breaks(scenario: &Scenario) -> Vec<String> {
    let mut faults: Vec<&Fault> = scenario.faults.iter().collect();
    faults.sort_by_key(|fault| fault.at); // stable: within one moment the file's order
    let mut lines: Vec<String> = faults.iter().map(|fault| fault.in_words()).collect();
    if faults.is_empty() {
        lines.push("nothing: the alert alone starts the drill".to_owned());
    }
    let clock = if faults.iter().any(|fault| fault.at == Moment::Failure) {
        "the first fault of the failure"
    } else {
        "the moment of the failure, at which nothing more breaks"
    };
    lines.push(format!("The recovery time counts from {clock}."));
    lines
}

/// What is known beforehand of each backup: what harms it, and where its WAL is expected to end.
fn candidates(scenario: &Scenario, with: &Circumstances<'_>) -> Vec<String> {
    let given = &scenario.given;
    let ids: Vec<String> = (1..=given.backups).map(|number| id(scenario, with, number)).collect();
    let width = ids.iter().map(String::len).max().unwrap_or(0);
    let mut lines: Vec<String> = Vec::new();
    for (number, id) in (1..).zip(&ids) {
        let expected = match harmed(scenario, number) {
            Some(harm) => harm,
            None if !with.replays(given, number) => "reaches its own snapshot: it replays nothing".to_owned(),
            None => reach(scenario, number),
        };
        lines.push(format!("{id:<width$}  {expected}"));
    }
    if given.foreign_backup {
        lines.push("and a backup of another cluster, which must not be used: its system identifier tells".to_owned());
    }
    if ids.is_empty() {
        lines.push("no backup: nothing can be restored".to_owned());
    }
    lines.push(format!("Recovery target: {}.", target(&scenario.recovery.target)));
    lines.push(
        "How far each can be proven to reach is read from the WAL with pg_waldump, on the service's own timeline."
            .to_owned(),
    );
    lines.push(
        "The usable one that reaches furthest is restored, whatever its method; of equals the newest, which has the"
            .to_owned(),
    );
    lines.push("least to replay. If it fails verification, restore or validation, the next one is taken.".to_owned());
    lines
}

/// The numbers of the backups that a fault is aimed at, without those that have expired by then.
fn meant(scenario: &Scenario, fault: &Fault, which: Which) -> Vec<u32> {
    let pick = |there: &[u32], which: Which| match which {
        Which::Latest => there.last().copied().into_iter().collect(),
        Which::Oldest => there.first().copied().into_iter().collect(),
        Which::Number(number) => there.iter().copied().filter(|it| *it == number).collect(),
        Which::All => there.to_vec(),
    };
    let mut there: Vec<u32> = (1..=scenario.given.backups).collect();
    let mut before: Vec<&Fault> = scenario.faults.iter().collect();
    before.sort_by_key(|fault| (fault.at, fault.number));
    for earlier in before.into_iter().take_while(|earlier| earlier.number != fault.number) {
        if let FaultTarget::Backup(which) = earlier.target
            && earlier.action.expires_backups()
        {
            let expired: Vec<u32> = pick(&there, which);
            there.retain(|number| !expired.contains(number));
        }
    }
    pick(&there, which)
}

/// What becomes of a backup before it is needed, if a fault harms it.
fn harmed(scenario: &Scenario, number: u32) -> Option<String> {
    let harms = |fault: &&Fault| {
        let at_it =
            matches!(fault.target, FaultTarget::Backup(which) if meant(scenario, fault, which).contains(&number));
        at_it && fault.at < Moment::Restore
    };
    let faults: Vec<&Fault> = scenario.faults.iter().filter(harms).collect();
    if let Some(expiry) = faults.iter().find(|fault| fault.action.expires_backups()) {
        let line = expiry.line;
        return Some(format!(
            "removed by retention (line {line}): the catalogue does not know it any more"
        ));
    }
    let harm = |fault: &&Fault| Some(format!("{} (line {})", fault.action.harm(fault)?, fault.line));
    let harms: Vec<String> = faults.iter().filter_map(harm).collect();
    (!harms.is_empty()).then(|| {
        format!(
            "{}; expected to be found unusable when it is verified",
            harms.join(", ")
        )
    })
}

/// Where the WAL of a base backup is expected to end.
fn reach(scenario: &Scenario, number: u32) -> String {
    let given = &scenario.given;
    let (mut text, source) = match (given.archive, given.streaming != Streaming::Off) {
        (false, false) => return "reaches its own end: no WAL is kept".to_owned(),
        (true, false) => ("replays the archive".to_owned(), "archive"),
        (false, true) => ("replays the stream, its unfinished tail included".to_owned(), "stream"),
        (true, true) => ("replays the archive, then the tail of the stream".to_owned(), "archive"),
    };
    for fault in scenario.faults.iter().filter(|fault| fault.at < Moment::Restore) {
        let line = fault.line;
        let segment = fault.files.as_ref().and_then(|files| files.segment);
        match (fault.target, segment) {
            (FaultTarget::Archive | FaultTarget::Stream, Some(segment)) => {
                let of = meant(scenario, fault, segment.backup).pop().unwrap_or(given.backups);
                let own = of == number && segment.place != SegmentPlace::After;
                let _ = match () {
                    () if of < number => Ok(()),
                    () if own && given.wal_in_backup => {
                        write!(text, ", over a gap that its own WAL fills (line {line})")
                    }
                    () if own => {
                        return format!("cannot become consistent: the archive lacks what it needs (line {line})");
                    }
                    () => write!(text, " to the gap at backup {of} and no further (line {line})"),
                };
            }
            (target, _) => match fault.action.wal_in_words(fault, number, source) {
                Some(words) => text += &words,
                None if matches!(target, FaultTarget::Archive | FaultTarget::Stream)
                    && fault.action.needs() != Needs::Service =>
                {
                    let _ = write!(text, ", as far as the damage to the {target} allows (line {line})");
                }
                None => {}
            },
        }
    }
    text
}

fn steps(with: &Circumstances<'_>) -> Vec<String> {
    let row =
        |number: &str, name: &str, role: &str, budget: &str| format!("{number:>2}  {name:<26} {role:<17} {budget}");
    let mut lines = vec![row("#", "step", "role", "budget")];
    lines.extend(Step::ALL.into_iter().map(|step| {
        let role = step.role().map_or_else(String::new, |role| role.to_string());
        let budget = match (step, step.budget_ms()) {
            (Step::Alert, Some(ms)) => format!("{} from the failure", millis(ms)),
            (Step::Notify, Some(ms)) => format!("{} from completion", millis(ms)),
            (Step::Validate, Some(ms)) => format!("{} for each count", millis(ms)),
            (Step::Declare, _) => format!("RTO {} from the failure", lasting(with.rto)),
            (_, Some(ms)) => millis(ms),
            (_, None) => "measured".to_owned(),
        };
        row(&step.number().to_string(), step.name(), &role, &budget)
    }));
    lines
}
