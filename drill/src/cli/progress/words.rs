//! The wording of events while people wait.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use reports::{
    Event, Outcome, Step, Verdict, What,
    event::Part,
    text::{bytes, counted},
};

/// The frames of the spinner.
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME: Duration = Duration::from_millis(100);

/// The spinner's frame for this moment.
pub(super) fn spinner() -> char {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let frames = BEGAN.get_or_init(Instant::now).elapsed().as_millis() / FRAME.as_millis();
    FRAMES[frames as usize % FRAMES.len()]
}

/// How a drill ended: its outcome in a word, or an error.
pub(super) fn end(outcome: Option<Outcome>, error: Option<&str>) -> String {
    let outcome = || outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
    error.map_or_else(outcome, str::to_owned)
}

/// The remark at a step that is repeated.
pub(super) fn attempt(number: u32) -> String {
    match number {
        0 | 1 => String::new(),
        _ => format!(" (attempt {number})"),
    }
}

pub(super) fn part_name(part: Part) -> &'static str {
    match part {
        Part::Setup => "setting up a disposable cluster",
        Part::Seed => "loading the seed data",
        Part::Services => "starting application and monitoring",
        Part::WorkloadAndBackups => "live writers and backups",
        Part::Failure => "breaking it",
        Part::Detection => "waiting for the alert",
        Part::Decision => "deciding",
        Part::Restore => "restoring",
        Part::Validation => "validating",
        Part::Cutover => "cutting over",
        Part::Teardown => "removing everything",
    }
}

/// One line for an event that people want to see while they wait.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match &event.what {
        What::Seeded(seeded) => format!("seeded: {seeded}"),
        What::WorkloadStarted { writers } => counted(*writers, "live writer"),
        What::BackupTaken(backup) => format!("backup {}, {}", backup.id, bytes(backup.bytes)),
        What::FaultInjected(fault) => format!("fault: {}", fault.summary),
        What::Failed => "the service has failed".to_owned(),
        What::CandidateRejected { backup_id, reason, .. } => format!("not {backup_id}: {reason}"),
        What::StepFinished {
            step,
            verdict,
            duration_ms,
            attempt,
            detail,
            ..
        } => {
            let mark = match verdict {
                Verdict::Pass => "✓",
                Verdict::Unknown => "?",
                Verdict::Fail => "✗",
            };
            let budget = match (step, step.budget_ms()) {
                (Step::Declare | Step::Validate, _) | (_, None) => String::new(), // step 8's is for one count
                (_, Some(budget)) => format!(" of {:.1} s", budget as f64 / 1e3),
            };
            let first = detail.lines().next().unwrap_or_default();
            let again = match attempt {
                0 | 1 => String::new(),
                _ => format!("attempt {attempt}: "),
            };
            format!(
                "{mark} {:>2} {:<26} {:>8.3} s{budget:<10} {again}{first}",
                step.number(),
                step.name(),
                duration_ms / 1e3
            )
        }
        What::Undone { what, detail, .. } => format!("undone: {what}: {detail}"),
        What::Finding(finding) => format!("finding: {}", finding.text),
        What::DrillFinished { error: Some(error), .. } => format!("could not be carried out: {error}"),
        _ => return None,
    })
}
