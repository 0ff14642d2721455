//! Events as lines for people.
//!
//! What is shown elsewhere in full, or only says that something is still going on, is left out: passing checks, the
//! beginnings of steps and parts, external work.

use crate::Verdict;
use crate::event::{AlertRoute, Event, Finding, LedgerComparison, What};
use crate::text::{bytes, counted, duration, number, window};

use super::TimelineRow;
use super::fold::moment;

pub(super) fn rows(events: &[Event]) -> Vec<TimelineRow> {
    let row = |event: &Event| {
        text(&event.what).map(|text| TimelineRow {
            moment: moment(event),
            text,
        })
    };
    events.iter().filter_map(row).collect()
}

fn text(what: &What) -> Option<String> {
    let text = match what {
        What::DrillStarted(_) => "drill started".to_owned(),
        What::ClusterStarted { cluster, timeline, .. } => {
            format!("cluster {cluster} accepts connections, on timeline {timeline}")
        }
        What::Seeded(seeded) => format!("seed loaded: {seeded}"),
        What::WorkloadStarted { writers } => format!("{} at work", counted(*writers, "live writer")),
        What::WorkloadStopped(counts) => format!(
            "writers over: {} acknowledged, {} refused, {} never answered",
            counted(counts.acknowledged, "commit"),
            number(counts.rejected),
            number(counts.indeterminate)
        ),
        What::BackupTaken(backup) => format!(
            "backup {} complete ({}, {})",
            backup.id,
            backup.method,
            bytes(backup.bytes)
        ),
        What::FaultInjected(fault) => format!("fault {} on {}: {}", fault.kind, fault.target, fault.summary),
        What::Failed => "FAILURE: the recovery time counts from here".to_owned(),
        What::AlertReceived {
            via: AlertRoute::Webhook,
            alert,
            severity,
        } => {
            format!("alert {alert} ({severity}) received by webhook")
        }
        What::AlertReceived {
            via: AlertRoute::OperatorProbe,
            ..
        } => "no alert came: the operator's own probe found the failure".to_owned(),
        What::StepFinished {
            step,
            attempt,
            verdict,
            duration_ms,
            detail,
            ..
        } => {
            let attempt = if *attempt > 1 {
                format!(", attempt {attempt}")
            } else {
                String::new()
            };
            let detail = if detail.is_empty() {
                String::new()
            } else {
                format!(": {detail}")
            };
            format!("step {step}{attempt}: {verdict} ({}){detail}", duration(*duration_ms))
        }
        What::CandidateRejected {
            backup_id,
            reason,
            unusable: true,
            ..
        } => {
            format!("backup {backup_id} rejected: {reason}")
        }
        What::CandidateRejected {
            backup_id,
            reason,
            unusable: false,
            ..
        } => {
            format!("backup {backup_id} passed over: {reason}")
        }
        What::PlanChosen(plan) => format!("plan: backup {}, to {}", plan.backup.id, plan.target),
        What::RestoreJob {
            job_id, status, reason, ..
        } => {
            let reason = if reason.is_empty() {
                String::new()
            } else {
                format!(": {reason}")
            };
            format!("restore job {job_id} {status}{reason}")
        }
        What::CheckFinished(result) if result.verdict != Verdict::Pass => {
            let why = if result.verdict == Verdict::Unknown {
                &result.detail
            } else {
                &result.actual
            };
            format!("check {} ({}): {}: {why}", result.check, result.phase, result.verdict)
        }
        What::LedgerCompared(comparison) => compared(comparison),
        What::Repaired {
            action,
            verdict,
            detail,
        } => format!("repair {action}: {verdict}: {detail}"),
        What::Undone { what, verdict, detail } => format!("undone {what}: {verdict}: {detail}"),
        What::Finding(Finding { text, .. }) => format!("finding: {text}"),
        What::Restored => "service declared restored".to_owned(),
        What::DrillFinished { error: Some(error), .. } => format!("drill ended by an error of the harness: {error}"),
        What::Answered {
            number,
            cluster,
            answer,
            problem,
        } => match answer {
            Some(answer) => format!("{cluster} answered statement {number}: {answer}"),
            None => format!("{cluster} did not answer statement {number}: {problem}"),
        },
        What::DrillFinished {
            outcome: Some(outcome),
            error: None,
            ..
        } => format!("drill ended: {outcome}"),
        What::DrillFinished { .. } => "drill ended: it could not be carried out".to_owned(),
        What::PartStarted { .. }
        | What::OutageBegan { .. } // a finding says it
        | What::StepStarted { .. }
        | What::CheckFinished(_)
        | What::ExternalWork { .. }
        | What::PeakDisk { .. } => return None,
    };
    Some(text)
}

fn compared(comparison: &LedgerComparison) -> String {
    format!(
        "ledger compared: {}, a window of {}, {}, {}",
        comparison.loss(),
        window(comparison.data_loss_window_ms()),
        counted(comparison.holes, "hole"),
        counted(comparison.unexpected_rows, "unexpected row")
    )
}
