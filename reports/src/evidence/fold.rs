//! Folding events into evidence.
//!
//! Each part of the evidence is one pass over the events by a small pure function; the longer ones have a file of
//! their own beside this one. The judgement (see `judge`) comes last, as it looks at all the others.

use crate::event::{Event, LedgerComparison, What};
use crate::{Outcome, Phase, Step, Verdict};

use super::{
    ActionRow, AlertRow, AnswerRow, ClusterRow, Cost, DrillEvidence, LedgerResult, Moment, RejectedCandidate,
    RestoreJobRow, Times, checks, cost, judge, recovery_time, steps, timeline,
};

/// Why events cannot be folded: they are not the whole, ordered log of one drill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// There are no events.
    #[error("there are no events")]
    Empty,
    /// The first event is another than `drill-started`.
    #[error("the first event is not drill-started")]
    NoDrillStarted,
    /// An event is missing, doubled, or out of order.
    #[error("event {expected} is missing: number {found} stands in its place")]
    Gap {
        /// The number that should stand there.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// The drill starts a second time.
    #[error("event {sequence} starts the drill a second time")]
    StartedTwice {
        /// Number of the event.
        sequence: u64,
    },
    /// Something follows the end of the drill.
    #[error("event {sequence} comes after the drill has finished")]
    AfterTheEnd {
        /// Number of the event.
        sequence: u64,
    },
    /// The monotonic clock runs backwards.
    #[error("at event {sequence} the monotonic clock runs backwards")]
    ClockBackwards {
        /// Number of the event.
        sequence: u64,
    },
}

/// What stands as the reason of a drill whose last event is missing.
pub const NOT_FINISHED: &str = "the drill did not finish";

/// Computes the evidence of one drill from all of its events.
///
/// # Errors
/// If the events are not one drill's from its start on, in order and without a gap. A missing end is no error: the
/// evidence then says `finished: false`, without an outcome, with verdict `Unknown` and [`NOT_FINISHED`].
pub fn fold(events: &[Event]) -> Result<DrillEvidence, FoldError> {
    check_order(events)?;
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err(FoldError::Empty);
    };
    let What::DrillStarted(header) = &first.what else {
        return Err(FoldError::NoDrillStarted);
    };

    let (finished, outcome, reason, error) = match &last.what {
        What::DrillFinished { outcome, reason, error } => {
            // Logs of earlier versions name an outcome beside the error; there is none.
            let outcome = outcome.filter(|_| error.is_none());
            (true, outcome, reason.clone(), error.clone())
        }
        _ => (false, None, NOT_FINISHED.to_owned(), None),
    };
    let times = times(events, first, last);
    let recovery_time = recovery_time::measure(events);
    let ledger = ledger(events);
    // A service that was declared restored and is not is not judged: nothing was met.
    let serves = |outcome: Outcome| outcome.is_restored() || outcome == Outcome::FalseAlarm;
    let in_service = finished && error.is_none() && outcome.is_some_and(serves);
    let rto_met = recovery_time
        .filter(|_| outcome.is_none_or(serves))
        .map(|time| time.total_ms as f64 <= header.objectives.rto_s * 1e3);
    let rpo_met = ledger
        .as_ref()
        .filter(|_| in_service)
        .map(|ledger| ledger.comparison.meets_rpo(header.objectives.rpo_s));

    let mut evidence = DrillEvidence {
        header: (**header).clone(),
        finished,
        outcome,
        reason,
        error,
        as_expected: false,
        mismatches: Vec::new(),
        verdict: Verdict::Unknown,
        objections: Vec::new(),
        times,
        recovery_time,
        rto_met,
        ledger,
        rpo_met,
        writers: None,
        workload: None,
        seeded: None,
        clusters: Vec::new(),
        steps: steps::rows(events, header.objectives.rto_s, finished),
        attempts: attempts(events),
        tries: begun(events).filter(|step| *step == Step::RestoreData).count() as u32,
        last_step: begun(events).last(),
        answers: Vec::new(),
        checks: checks::rows(events),
        detection: checks::detection(events, header.expected.detected_by.as_deref().unwrap_or_default()),
        alerts: Vec::new(),
        backups: Vec::new(),
        plans: Vec::new(),
        rejected: Vec::new(),
        rejected_unusable: 0,
        faults: Vec::new(),
        repairs: Vec::new(),
        undos: Vec::new(),
        findings: Vec::new(),
        restore_jobs: Vec::new(),
        cost: Cost::default(),
        timeline: timeline::rows(events),
        log_notes: Vec::new(),
    };
    collect(events, &mut evidence);
    evidence.rejected_unusable = judge::unusable_backups(&evidence.rejected).len() as u32;
    evidence.cost = cost::of(events, &evidence);
    judge::judge(&mut evidence);
    Ok(evidence)
}

pub(super) fn moment(event: &Event) -> Moment {
    Moment {
        at_utc: event.at_utc,
        offset_ns: event.offset_ns,
    }
}

fn check_order(events: &[Event]) -> Result<(), FoldError> {
    let mut offset_ns = 0;
    let mut over = false;
    for (expected, event) in (1..).zip(events) {
        let sequence = event.sequence;
        if sequence != expected {
            return Err(FoldError::Gap {
                expected,
                found: sequence,
            });
        }
        match event.what {
            _ if over => return Err(FoldError::AfterTheEnd { sequence }),
            What::DrillStarted(_) if sequence > 1 => return Err(FoldError::StartedTwice { sequence }),
            What::DrillFinished { .. } => over = true,
            _ => {}
        }
        if event.offset_ns < offset_ns {
            return Err(FoldError::ClockBackwards { sequence });
        }
        offset_ns = event.offset_ns;
    }
    Ok(())
}

fn times(events: &[Event], first: &Event, last: &Event) -> Times {
    let find = |is: fn(&What) -> bool| events.iter().find(|event| is(&event.what)).map(moment);
    let failed = find(|what| matches!(what, What::Failed));
    let alerts = events
        .iter()
        .filter(|event| matches!(event.what, What::AlertReceived { .. }))
        .map(moment);
    Times {
        started: moment(first),
        workload_started: find(|what| matches!(what, What::WorkloadStarted { .. })),
        failed,
        alerted: alerts
            .into_iter()
            .find(|alert| failed.is_none_or(|failed| alert.offset_ns >= failed.offset_ns)),
        restored: find(|what| matches!(what, What::Restored)),
        ended: moment(last),
    }
}

/// The last comparison, unless a later attempt has since begun to restore another cluster.
fn ledger(events: &[Event]) -> Option<LedgerResult> {
    let mut phase = Phase::Source;
    let mut last: Option<(Phase, &LedgerComparison)> = None;
    for event in events {
        match &event.what {
            What::StepStarted { step, .. } => {
                phase = match step {
                    Step::Alert | Step::Confirm => Phase::Source,
                    Step::ListBackups | Step::ChooseBackup | Step::StartRestore => Phase::Backup,
                    Step::RestoreData | Step::Notify | Step::Validate => Phase::Restored,
                    _ => Phase::Cutover,
                };
                if *step == Step::RestoreData {
                    last = None;
                }
            }
            What::Restored => phase = Phase::AfterCutover,
            What::LedgerCompared(comparison) => last = Some((phase, comparison)),
            _ => {}
        }
    }
    last.map(|(phase, comparison)| LedgerResult {
        phase,
        comparison: comparison.clone(),
    })
}

/// The steps that were begun, in order.
fn begun(events: &[Event]) -> impl Iterator<Item = Step> {
    events.iter().filter_map(|event| match event.what {
        What::StepStarted { step, .. } => Some(step),
        _ => None,
    })
}

fn attempts(events: &[Event]) -> u32 {
    let attempts = events.iter().filter_map(|event| match event.what {
        What::StepStarted {
            step: Step::ChooseBackup | Step::StartRestore | Step::RestoreData,
            attempt,
        } => Some(attempt),
        _ => None,
    });
    attempts.max().unwrap_or(0)
}

/// Everything that is merely listed.
fn collect(events: &[Event], to: &mut DrillEvidence) {
    for event in events {
        match &event.what {
            What::WorkloadStarted { writers } => to.writers = Some(*writers),
            What::WorkloadStopped(counts) => to.workload = Some(*counts),
            What::Seeded(seeded) => to.seeded = Some(seeded.clone()),
            What::ClusterStarted {
                cluster,
                system_identifier,
                timeline,
            } => to.clusters.push(ClusterRow {
                cluster: cluster.clone(),
                system_identifier: system_identifier.clone(),
                timeline: *timeline,
            }),
            What::AlertReceived { via, alert, severity } => to.alerts.push(AlertRow {
                received: moment(event),
                via: *via,
                alert: alert.clone(),
                severity: severity.clone(),
            }),
            What::BackupTaken(backup) => to.backups.push(backup.clone()),
            What::PlanChosen(plan) => to.plans.push(plan.clone()),
            What::CandidateRejected {
                backup_id,
                check,
                reason,
                unusable,
            } => to.rejected.push(RejectedCandidate {
                backup_id: backup_id.clone(),
                check: *check,
                reason: reason.clone(),
                unusable: *unusable,
            }),
            What::FaultInjected(fault) => to.faults.push(fault.clone()),
            What::Repaired {
                action: what,
                verdict,
                detail,
            } => {
                to.repairs.push(ActionRow {
                    what: what.clone(),
                    verdict: *verdict,
                    detail: detail.clone(),
                });
            }
            What::Undone { what, verdict, detail } => {
                to.undos.push(ActionRow {
                    what: what.clone(),
                    verdict: *verdict,
                    detail: detail.clone(),
                });
            }
            What::Finding(finding) => to.findings.push(finding.clone()),
            What::Answered {
                number,
                cluster,
                answer,
                problem,
            } => to.answers.push(AnswerRow {
                number: *number,
                cluster: cluster.clone(),
                answer: answer.clone(),
                problem: problem.clone(),
            }),
            What::RestoreJob { .. } => restore_job(event, &mut to.restore_jobs),
            _ => {}
        }
    }
}

fn restore_job(event: &Event, jobs: &mut Vec<RestoreJobRow>) {
    let What::RestoreJob {
        job_id,
        status,
        reason,
        restored_bytes,
    } = &event.what
    else {
        return;
    };
    let now = moment(event);
    let row = RestoreJobRow {
        job_id: job_id.clone(),
        accepted: now,
        updated: now,
        status: *status,
        reason: reason.clone(),
        restored_bytes: *restored_bytes,
    };
    match jobs.iter_mut().find(|job| job.job_id == *job_id) {
        Some(job) => {
            *job = RestoreJobRow {
                accepted: job.accepted,
                ..row
            }
        }
        None => jobs.push(row),
    }
}
