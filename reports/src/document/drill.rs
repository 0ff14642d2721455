//! The sections of one drill.

use crate::event::SeededTable;
use crate::evidence::{CheckRow, DrillEvidence, Moment, StepRow};
use crate::text::{bytes, capital, counted, duration, millis, number, seconds, utc, window};
use crate::{StepVerdict, Verdict};

use super::{Page, Spans, cell, code, in_words, limits, measures, plain, post_mortem, strong, tables, verdict};

/// Everything, as a page of its own.
pub(super) fn in_full(page: &mut Page, drill: &DrillEvidence) {
    page.heading(1, format!("Recovery drill: {}", drill.header.title));
    page.paragraph([
        strong(format!("{}.", in_words(drill.verdict))),
        plain(" "),
        plain(drill.headline()),
    ]);
    verdict_reasons(page, drill);
    facts(page, drill);
    page.heading(2, "Timeline");
    timeline(page, drill);
    page.heading(2, "Steps against their budgets");
    tables::steps(page, drill);
    page.heading(2, "What was measured");
    measures::measured(page, 3, drill);
    page.heading(2, "Checks");
    tables::checks(page, drill);
    page.heading(2, "Backups and the plan");
    tables::backups(page, drill);
    page.heading(2, "What was damaged");
    tables::faults(page, drill);
    if !(drill.findings.is_empty() && drill.repairs.is_empty() && drill.undos.is_empty()) {
        page.heading(2, "Findings, repairs, roll-back");
        tables::findings(page, drill);
    }
    page.heading(2, "Where the wall time went");
    measures::wall_time(page, drill);
    page.heading(2, "Detection");
    tables::detection(page, drill);
    page.heading(2, "Environment");
    environment(page, drill);
    if drill.needs_post_mortem() {
        post_mortem::section(page, 2, drill);
    }
    page.heading(2, "What this does not show");
    page.list(limits::of_one(drill).into_iter().map(cell).collect());
}

/// What a reader of several drills needs of each: how it went, where it was slow, what failed.
pub(super) fn in_short(page: &mut Page, drill: &DrillEvidence) {
    page.heading(2, &drill.header.drill);
    page.paragraph([
        strong(format!("{}.", in_words(drill.verdict))),
        plain(" "),
        plain(drill.headline()),
    ]);
    verdict_reasons(page, drill);
    facts(page, drill);
    tables::faults(page, drill);
    let telling = |row: &&StepRow| row.verdict != StepVerdict::Skipped;
    let rows: Vec<&StepRow> = drill.steps.iter().filter(telling).collect();
    tables::step_table(page, drill, &rows);
    let skipped = drill.steps.len() - rows.len();
    if skipped > 0 {
        page.say(format!(
            "{} not reached or not needed.",
            capital(&counted(skipped, "step"))
        ));
    }
    if let Some(time) = drill.recovery_time {
        measures::split(page, time);
    }
    let mut rows: Vec<&CheckRow> = drill
        .checks
        .iter()
        .filter(|row| row.result.verdict != Verdict::Pass)
        .collect();
    rows.sort_by_key(|row| tables::severity(drill, &row.result));
    tables::check_table(page, drill, &rows);
    let passed = drill.checks.len() - rows.len();
    if !drill.checks.is_empty() {
        page.say(format!(
            "{} passed, {} did not.",
            counted(passed, "check result"),
            number(rows.len() as u64)
        ));
    }
    tables::rejected(page, drill);
    tables::findings(page, drill);
    if drill.needs_post_mortem() {
        post_mortem::section(page, 3, drill);
    }
    page.paragraph([plain("To run it again: "), code(again(drill)), plain(".")]);
}

/// The command that runs the same drill again.
pub(super) fn again(drill: &DrillEvidence) -> String {
    let header = &drill.header;
    if !header.again.is_empty() {
        return header.again.clone();
    }
    let mut command = format!("drill run {}", header.scenario);
    if header.drill != header.scenario {
        command = format!("{command} --backup {}", header.backup_system);
    }
    format!("{command} --seed {}", header.seed)
}

/// What the headline only hints at, and what is to be said of the log.
fn verdict_reasons(page: &mut Page, drill: &DrillEvidence) {
    let particulars = drill.particulars().into_iter().map(|one| match one.verdict {
        Some(weight) => vec![verdict(weight), plain(format!(" {}", one.text))],
        None => cell(one.text),
    });
    let notes = drill
        .log_notes
        .iter()
        .map(|text| vec![verdict(Verdict::Unknown), plain(format!(" {text}"))]);
    page.list(particulars.chain(notes).collect());
}

fn facts(page: &mut Page, drill: &DrillEvidence) {
    let header = &drill.header;
    let objectives = &header.objectives;
    let mut rows: Vec<Vec<Spans>> = Vec::new();
    let mut fact = |name: &str, value: Spans| rows.push(vec![cell(name), value]);
    let group = if header.group.is_empty() {
        String::new()
    } else {
        format!(" (group {})", header.group)
    };
    fact("Scenario", vec![code(&header.scenario), plain(group)]);
    fact("Why it is drilled", cell(&header.why));
    fact(
        "Run",
        vec![
            code(&header.run_id),
            plain(format!(", begun {}", utc(drill.times.started.at_utc))),
        ],
    );
    fact(
        "Outcome",
        vec![
            drill.outcome.map_or_else(
                || plain("none, it was not carried out"),
                |outcome| code(outcome.to_string()),
            ),
            plain(", expected "),
            code(header.expected.outcome.to_string()),
        ],
    );
    let own = if objectives.from_scenario {
        " (the scenario's own)"
    } else {
        ""
    };
    fact(
        "Objectives",
        cell(format!(
            "RPO {}, RTO {}{own}",
            seconds(objectives.rpo_s),
            seconds(objectives.rto_s)
        )),
    );
    if let Some(ledger) = &drill.ledger {
        let found = &ledger.comparison;
        let given_up = match found.given_up_window_ms() {
            0 => String::new(),
            ms => format!(", and {} of work given up for the recovery target", window(ms)),
        };
        fact(
            "Data loss window",
            cell(format!(
                "{}{given_up} ({})",
                window(found.data_loss_window_ms()),
                rpo(drill)
            )),
        );
    }
    if let Some(time) = drill.recovery_time {
        fact(
            "Recovery time",
            cell(format!("{}{}", millis(time.total_ms), met(drill.rto_met, "RTO"))),
        );
    }
    if let Some(backup) = drill.chosen_backup() {
        let taken = format!(", taken {}, {}", utc(backup.taken_at_utc), bytes(backup.bytes));
        fact("Chosen backup", vec![code(&backup.id), plain(taken)]);
    }
    fact(
        "Database",
        cell(format!(
            "PostgreSQL {} ({}), backups by {}",
            header.postgres_version, header.provider, header.backup_system
        )),
    );
    page.table(&["Fact", "Value"], rows);
}

/// How the RPO was met, if it was.
pub(super) fn rpo(drill: &DrillEvidence) -> String {
    let judged = match drill.rpo_met {
        Some(true) => "RPO met",
        Some(false) => "RPO missed",
        None => "RPO not judged: the service was not restored",
    };
    drill.beyond_reach().unwrap_or_else(|| judged.to_owned())
}

fn met(met: Option<bool>, what: &str) -> String {
    match met {
        Some(true) => format!(" ({what} met)"),
        Some(false) => format!(" ({what} missed)"),
        None => String::new(),
    }
}

fn timeline(page: &mut Page, drill: &DrillEvidence) {
    let failed = drill.times.failed;
    let rows = drill.timeline.iter().map(|row| {
        vec![
            cell(utc(row.moment.at_utc)),
            cell(since(failed, row.moment)),
            cell(&row.text),
        ]
    });
    page.table(&["UTC", "#Since the failure", "What happened"], rows.collect());
}

/// `+2.1 s`, `−350 ms`; nothing if there was no failure.
fn since(failed: Option<Moment>, moment: Moment) -> String {
    let Some(failed) = failed else { return String::new() };
    let ms = moment.ms_since(failed);
    if ms < 0.0 {
        format!("−{}", duration(-ms))
    } else {
        format!("+{}", duration(ms))
    }
}

fn environment(page: &mut Page, drill: &DrillEvidence) {
    let header = &drill.header;
    let environment = &header.environment;
    let mut rows = vec![
        vec![cell("drill"), cell(&header.drill_version)],
        vec![
            cell("PostgreSQL"),
            cell(format!("{} ({})", header.postgres_version, header.provider)),
        ],
        vec![cell("Backup system"), cell(&header.backup_system)],
        vec![
            cell("Platform"),
            cell(format!(
                "{}, {}",
                environment.platform,
                counted(environment.processors, "processor")
            )),
        ],
        vec![
            cell("Storage"),
            cell(format!("{} ({})", environment.storage, environment.filesystem)),
        ],
        vec![cell("fsync"), cell(if environment.fsync { "on" } else { "off" })],
        vec![cell("Source of the scenario"), cell(&header.source)],
        vec![cell("Seed of random choices"), cell(header.seed.to_string())],
    ];
    if let Some(seeded) = &drill.seeded {
        rows.push(vec![cell("Seed data"), cell(seeded.to_string())]);
        let table = |table: &SeededTable| {
            vec![
                cell(format!("Seed data: {}", table.table)),
                cell(counted(table.rows, "row")),
            ]
        };
        rows.extend(seeded.tables.iter().map(table));
    }
    if let Some(writers) = drill.writers {
        rows.push(vec![cell("Live writers"), cell(number(writers.into()))]);
    }
    for cluster in &drill.clusters {
        let text = format!(
            "system identifier {}, timeline {}",
            cluster.system_identifier, cluster.timeline
        );
        rows.push(vec![cell(format!("Cluster {}", cluster.cluster)), cell(text)]);
    }
    rows.extend(
        header
            .given
            .iter()
            .map(|(name, value)| vec![vec![code(name)], vec![code(value)]]),
    );
    page.table(&["What", "Value"], rows);
    page.paragraph([plain("To run it again: "), code(again(drill)), plain(".")]);
}
