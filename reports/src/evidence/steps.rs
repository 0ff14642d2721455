//! The fourteen steps as rows: every attempt that was made, and a `skipped` row for each step that was not.

use crate::Step;
use crate::event::{Event, What};

use super::fold::moment;
use super::{StepRow, StepVerdict};

/// Rows by step, then attempt. `rto_s` is the budget of step 14; `finished` whether the drill's last event is there.
pub(super) fn rows(events: &[Event], rto_s: f64, finished: bool) -> Vec<StepRow> {
    let budget = |step: Step| match step {
        Step::Declare => Some(rto_s * 1e3),
        _ => step.budget_ms().map(|ms| ms as f64),
    };
    let mut rows: Vec<StepRow> = Vec::new();
    let mut last_step = None;
    for event in events {
        match &event.what {
            What::StepStarted { step, attempt } => {
                last_step = Some(*step);
                let row = StepRow {
                    started: Some(moment(event)),
                    verdict: StepVerdict::Unknown,
                    detail: "the step began and never ended".to_owned(),
                    ..blank(*step, *attempt, budget(*step))
                };
                match find(&mut rows, *step, *attempt) {
                    Some(known) => *known = row,
                    None => rows.push(row),
                }
            }
            What::StepFinished {
                step,
                attempt,
                role,
                verdict,
                duration_ms,
                against_budget_ms,
                detail,
            } => {
                let row = StepRow {
                    duration_ms: Some(*duration_ms),
                    against_budget_ms: *against_budget_ms,
                    within_budget: budget(*step)
                        .zip(against_budget(*step, *duration_ms, *against_budget_ms))
                        .map(|(budget, took)| took <= budget),
                    role: *role,
                    verdict: (*verdict).into(),
                    detail: detail.clone(),
                    ..blank(*step, *attempt, budget(*step))
                };
                match find(&mut rows, *step, *attempt) {
                    Some(known) => {
                        *known = StepRow {
                            started: known.started,
                            ..row
                        }
                    }
                    None => rows.push(row),
                }
            }
            _ => {}
        }
    }
    for step in Step::ALL {
        if !rows.iter().any(|row| row.step == step) {
            let detail = why_skipped(step, last_step, finished);
            rows.push(StepRow {
                role: step.role(),
                detail,
                ..blank(step, 0, budget(step))
            });
        }
    }
    rows.sort_by_key(|row| (row.step, row.attempt));
    rows
}

/// What a step's budget is compared with. That of step 8 is for one count: where none was taken there is nothing to compare.
fn against_budget(step: Step, duration_ms: f64, against_budget_ms: Option<f64>) -> Option<f64> {
    match step {
        Step::Validate => against_budget_ms,
        _ => Some(against_budget_ms.unwrap_or(duration_ms)),
    }
}

fn find(rows: &mut [StepRow], step: Step, attempt: u32) -> Option<&mut StepRow> {
    rows.iter_mut().find(|row| row.step == step && row.attempt == attempt)
}

fn blank(step: Step, attempt: u32, budget_ms: Option<f64>) -> StepRow {
    StepRow {
        step,
        attempt,
        started: None,
        duration_ms: None,
        against_budget_ms: None,
        budget_ms,
        within_budget: None,
        role: None,
        verdict: StepVerdict::Skipped,
        detail: String::new(),
    }
}

fn why_skipped(step: Step, last: Option<Step>, finished: bool) -> String {
    match last {
        _ if !finished => format!("not reached: {}", super::fold::NOT_FINISHED),
        None => "not reached: the drill ended before its first step".to_owned(),
        Some(last) if step < last => format!("not needed: the drill went on to step {last} without it"),
        Some(last) => format!("not reached: the drill ended at step {last}"),
    }
}
