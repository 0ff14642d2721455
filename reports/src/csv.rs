//! The four tables: `drills.csv`, `steps.csv`, `checks.csv`, `detection.csv`.
//!
//! RFC 4180: comma, CRLF, a header always, quotes where needed; UTF-8. An empty cell means *not applicable* or *not
//! known*. Columns and their order are fixed, since others' scripts rely on them. `scenario` is the drill's name
//! within the run (the scenario's id, or `<id>@<backup system>`), so that it joins the tables and names the folder.

use std::fmt::Display;

use chrono::{DateTime, Utc};

use crate::evidence::Moment;
use crate::run::NEVER_BEGAN;
use crate::text::utc;
use crate::{DrillEvidence, PlannedDrill, RunEvidence, StepVerdict, Verdict};

/// Columns of `drills.csv`.
pub const DRILLS: &[&str] = &[
    "run_id",
    "scenario",
    "group",
    "backup_system",
    "postgres_version",
    "provider",
    "seed",
    "outcome",
    "expected_outcome",
    "as_expected",
    "verdict",
    "rpo_objective_s",
    "data_loss_window_s",
    "given_up_window_s",
    "lost_share",
    "rpo_met",
    "acknowledged_commits",
    "lost_commits",
    "commits_beyond_target",
    "indeterminate_commits",
    "holes",
    "unexpected_rows",
    "rto_objective_s",
    "recovery_time_s",
    "rto_met",
    "detection_s",
    "decision_s",
    "restore_s",
    "validation_s",
    "cutover_s",
    "workload_started_at_utc",
    "failed_at_utc",
    "alerted_at_utc",
    "restored_at_utc",
    "recovery_point_at_utc",
    "backup_id",
    "backup_taken_at_utc",
    "rejected_candidates",
    "backup_bytes",
    "database_bytes",
    "harness_overhead_s",
    "reason",
];

/// Columns of `steps.csv`.
pub const STEPS: &[&str] = &[
    "run_id",
    "scenario",
    "step",
    "name",
    "started_at_utc",
    "duration_s",
    "budget_s",
    "within_budget",
    "attempt",
    "role",
    "verdict",
    "detail",
];

/// Columns of `checks.csv`.
pub const CHECKS: &[&str] = &[
    "run_id",
    "scenario",
    "check",
    "phase",
    "verdict",
    "expected",
    "actual",
    "duration_s",
    "detail",
];

/// Columns of `detection.csv`.
pub const DETECTION: &[&str] = &["run_id", "scenario", "check", "should_detect", "detected"];

/// Renders `drills.csv`: a row for each drill, those included that were left out (verdict `skipped`), that never began, or
/// whose log cannot be read.
///
/// # Errors
/// None that occur; the writer underneath can fail only where its output can.
pub fn drills(run: &RunEvidence) -> Result<String, ::csv::Error> {
    let unproven = unproven(run).into_iter();
    table(DRILLS, run.drills.iter().map(drill).chain(unproven))
}

/// Rows of drills of which nothing is known but why.
fn unproven(run: &RunEvidence) -> Vec<Vec<Cell>> {
    let row = |name: &str, planned: Option<&PlannedDrill>, reason: &str| {
        let skipped = planned.is_some_and(|planned| planned.skipped.is_some());
        let cell = |column: &&str| match *column {
            "run_id" => text(&run.run_id),
            "scenario" => text(name),
            "group" => text(planned.map_or("", |planned| &planned.group)),
            "backup_system" => text(planned.map_or("", |planned| &planned.backup_system)),
            "expected_outcome" => text(
                planned
                    .map(|planned| planned.expected_outcome.to_string())
                    .unwrap_or_default(),
            ),
            "as_expected" if skipped => text(""),
            "as_expected" => boolean(false),
            "verdict" if skipped => text(StepVerdict::Skipped),
            "verdict" => text(Verdict::Unknown),
            "reason" => text(reason),
            _ => text(""),
        };
        DRILLS.iter().map(cell).collect()
    };
    let unread = run.unreadable.iter().map(|log| row(&log.drill, None, &log.problem));
    let without_result = run.never_began.iter().chain(&run.skipped);
    let without_result = without_result.map(|planned| {
        let why = planned.skipped.as_deref().unwrap_or(NEVER_BEGAN);
        row(&planned.drill, Some(planned), why)
    });
    unread.chain(without_result).collect()
}

/// Renders `steps.csv`: a row for each attempt at a step, fourteen or more for each drill.
///
/// # Errors
/// As [`drills`].
pub fn steps(run: &RunEvidence) -> Result<String, ::csv::Error> {
    table(STEPS, run.drills.iter().flat_map(step_rows))
}

/// Renders `checks.csv`: a row for each result of a check. What it was run on stands at the beginning of `detail`.
///
/// # Errors
/// As [`drills`].
pub fn checks(run: &RunEvidence) -> Result<String, ::csv::Error> {
    table(CHECKS, run.drills.iter().flat_map(check_rows))
}

/// Renders `detection.csv`: for each drill a row for each check there is.
///
/// # Errors
/// As [`drills`].
pub fn detection(run: &RunEvidence) -> Result<String, ::csv::Error> {
    table(DETECTION, run.drills.iter().flat_map(detection_rows))
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> Result<String, ::csv::Error> {
    let mut writer = ::csv::WriterBuilder::new()
        .terminator(::csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(columns)?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| cell.0.as_str()))?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| ::csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The content of one cell. Made by one of the functions below, so that text cannot get in without being made safe.
struct Cell(String);

/// Text. A spreadsheet takes a cell that begins with one of these characters for a formula; an apostrophe prevents it.
fn text(text: impl Display) -> Cell {
    let text = text.to_string();
    Cell(if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text
    })
}

fn whole(number: impl Into<Option<u64>>) -> Cell {
    Cell(number.into().map(|number| number.to_string()).unwrap_or_default())
}

/// Milliseconds as seconds, to the microsecond: many a check takes less than one of the former.
fn measured(ms: Option<f64>) -> Cell {
    Cell(ms.map(|ms| format!("{:.6}", ms / 1e3)).unwrap_or_default())
}

/// A share from 0 to 1.
fn share(share: Option<f64>) -> Cell {
    Cell(share.map(|share| format!("{share:.6}")).unwrap_or_default())
}

/// Whole milliseconds as seconds, exactly.
fn seconds(ms: Option<u64>) -> Cell {
    Cell(
        ms.map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000))
            .unwrap_or_default(),
    )
}

/// A number that was set and not measured: as it was set.
fn objective(number: Option<f64>) -> Cell {
    Cell(number.map(|number| number.to_string()).unwrap_or_default())
}

fn boolean(value: impl Into<Option<bool>>) -> Cell {
    Cell(value.into().map(|value| value.to_string()).unwrap_or_default())
}

fn time(at: Option<DateTime<Utc>>) -> Cell {
    Cell(at.map(utc).unwrap_or_default())
}

fn at(moment: Option<Moment>) -> Cell {
    time(moment.map(|moment| moment.at_utc))
}

fn drill(drill: &DrillEvidence) -> Vec<Cell> {
    let header = &drill.header;
    let ledger = drill.ledger.as_ref().map(|ledger| &ledger.comparison);
    let recovery = drill.recovery_time;
    let backup = drill.chosen_backup();
    vec![
        text(&header.run_id),
        text(&header.drill),
        text(&header.group),
        text(&header.backup_system),
        text(&header.postgres_version),
        text(&header.provider),
        whole(header.seed),
        text(drill.outcome_id()),
        text(header.expected.outcome),
        boolean(drill.as_expected),
        text(drill.verdict),
        objective(Some(header.objectives.rpo_s)),
        seconds(ledger.map(super::event::LedgerComparison::data_loss_window_ms)),
        seconds(ledger.map(super::event::LedgerComparison::given_up_window_ms)),
        share(ledger.and_then(super::event::LedgerComparison::lost_share)),
        boolean(drill.rpo_met),
        whole(drill.acknowledged_commits()),
        whole(ledger.map(|ledger| ledger.lost_commits)),
        whole(ledger.map(|ledger| ledger.commits_beyond_target)),
        whole(drill.indeterminate_commits()),
        whole(ledger.map(|ledger| ledger.holes)),
        whole(ledger.map(|ledger| ledger.unexpected_rows)),
        objective(Some(header.objectives.rto_s)),
        seconds(recovery.map(|time| time.total_ms)),
        boolean(drill.rto_met),
        seconds(recovery.map(|time| time.detection_ms)),
        seconds(recovery.map(|time| time.decision_ms)),
        seconds(recovery.map(|time| time.restore_ms)),
        seconds(recovery.map(|time| time.validation_ms)),
        seconds(recovery.map(|time| time.cutover_ms)),
        at(drill.times.workload_started),
        at(drill.times.failed),
        at(drill.times.alerted),
        at(drill.times.restored),
        time(ledger.and_then(|ledger| ledger.recovery_point_at_utc)),
        text(backup.map(|backup| backup.id.as_str()).unwrap_or_default()),
        time(backup.map(|backup| backup.taken_at_utc)),
        whole(u64::from(drill.rejected_unusable)),
        whole(drill.cost.backup_bytes),
        whole(drill.cost.database_bytes),
        seconds(Some(drill.cost.harness_overhead_ms)),
        text(reason(drill)),
    ]
}

/// Everything that explains the row, each once: the reason of the outcome, then mismatches, then objections.
fn reason(drill: &DrillEvidence) -> String {
    let mut reasons: Vec<String> = Vec::new();
    let held = drill.held_against().into_iter().map(|one| one.text);
    for reason in [drill.reason.clone()].into_iter().chain(held) {
        if !reason.is_empty() && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons.join("; ")
}

fn step_rows(drill: &DrillEvidence) -> impl Iterator<Item = Vec<Cell>> {
    drill.steps.iter().map(|row| {
        vec![
            text(&drill.header.run_id),
            text(&drill.header.drill),
            whole(u64::from(row.step.number())),
            text(row.step.name()),
            at(row.started),
            measured(row.duration_ms),
            objective(row.budget_ms.map(|ms| ms / 1e3)),
            boolean(row.within_budget),
            whole(Some(u64::from(row.attempt)).filter(|&attempt| attempt > 0)),
            text(row.role.map(|role| role.to_string()).unwrap_or_default()),
            text(row.verdict),
            text(&row.detail),
        ]
    })
}

fn check_rows(drill: &DrillEvidence) -> impl Iterator<Item = Vec<Cell>> {
    drill.checks.iter().map(|row| {
        let result = &row.result;
        let detail = match (result.subject.as_str(), result.detail.as_str()) {
            ("", detail) => detail.to_owned(),
            (subject, "") => subject.to_owned(),
            (subject, detail) => format!("{subject}: {detail}"),
        };
        vec![
            text(&drill.header.run_id),
            text(&drill.header.drill),
            text(result.check),
            text(result.phase),
            text(result.verdict),
            text(&result.expected),
            text(&result.actual),
            measured(Some(result.duration_ms)),
            text(detail),
        ]
    })
}

fn detection_rows(drill: &DrillEvidence) -> impl Iterator<Item = Vec<Cell>> {
    drill.detection.iter().map(|row| {
        vec![
            text(&drill.header.run_id),
            text(&drill.header.drill),
            text(row.check),
            boolean(row.should_detect),
            boolean(row.detected),
        ]
    })
}
