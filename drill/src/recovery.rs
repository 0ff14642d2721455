//! The fourteen steps of SEQ-RF-002, from the alert to *service restored*, in their order.
//!
//! [`recover`] reads like the runbook. Steps 3 to 8 are gone through again with the next candidate when a backup turns
//! out to be unusable, and once more with the same one when it was not to blame, or did not go as far as promised; what a restore does not cure is repaired
//! in place and looked at again (step 8). Step 9 is the one commit point: it takes only a [`Validated`] cluster, and what comes after it is
//! undone when a later step fails; before step 14 it is proven that what was validated is still there, and that the service
//! takes writes. What the steps do in detail is in `backup`, `verify`, `cutover`, `monitor` and `notify`.

use std::time::{Duration, Instant};

use reports::{
    CheckId, Outcome, Phase, Step, Verdict, What,
    event::{AlertRoute, LedgerComparison, Part},
    text::lasting,
};

use crate::{
    postgres::Cluster,
    record::{
        check::{Found, timed},
        milliseconds,
    },
    reference::Truth,
    scenario::Moment,
    service::{Identity, Served},
    state::{Drill, DrillError, inject},
    verify::{ledger, server_start},
};

mod choose;
mod confirm;
mod cut_over;
mod examine;
mod fenced;
mod first_write;
mod job;
mod kept;
mod prepared;
mod promise;
mod questions;
mod repair;
mod restart;
mod restore;
mod second_look;
mod undo;
mod validate;

use choose::{backup_chosen, backups_listed};
use confirm::{Confirmed, confirmed_unrecoverable};
use cut_over::{afterwards, application_back, connection_updated, declared, declared_restored};
use promise::{Early, Known};
use restore::{data_restored, restore_started, tried_again};
use second_look::{Position, still_sound};
use validate::{Unfit, data_validated};

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    pub reason: String,
}

/// Why the straight line was left.
#[derive(Debug)]
pub enum Stop {
    /// The drill is over: a finding about the service, not about the harness.
    Ended(Ending),
    /// The harness itself cannot go on.
    Harness(DrillError),
}

impl<E: Into<DrillError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Harness(error.into())
    }
}

fn ended(outcome: Outcome, reason: impl Into<String>) -> Stop {
    Stop::Ended(Ending {
        outcome,
        reason: reason.into(),
    })
}

/// A restored cluster that passed validation: the only thing that can be cut over to.
pub struct Validated {
    cluster: Cluster,
    known: Sound,
}

/// What validation came to know of a restored cluster, for whoever looks at it later.
struct Sound {
    identity: Identity,
    /// What the application must serve.
    served: Option<Served>,
    /// What is lost, or given up.
    ledger: Option<LedgerComparison>,
    /// What it is held against.
    truth: Option<Truth>,
    /// How far it was recovered.
    recovery: ledger::Recovery,
    /// The checks that passed, each wherever it was carried out.
    passed: Vec<CheckId>,
    /// Where the server stood when nothing was wrong with it.
    position: Option<Position>,
}

/// Carries the recovery out. Everything it did is in the events; the return value is how it ended.
///
/// # Errors
/// [`Stop::Harness`] if the harness could not go on; every way in which a *recovery* can fail is an [`Ending`].
pub async fn recover(drill: &mut Drill) -> Result<Ending, DrillError> {
    let ended = Box::pin(runbook(drill)).await;
    undo::unwind(drill).await; // of what is declared nothing is left to take back
    let ending = match ended {
        Ok(ending) | Err(Stop::Ended(ending)) => ending,
        Err(Stop::Harness(error)) => return Err(error),
    };
    let phase = if ending.outcome.is_restored() {
        Phase::AfterCutover
    } else {
        Phase::Cutover
    };
    fenced::tried_again(drill, phase, "source, at the end").await;
    Ok(ending)
}

async fn runbook(drill: &mut Drill) -> Result<Ending, Stop> {
    drill.recorder.part(Part::Detection);
    alert_received(drill).await?; // 1
    drill.recorder.part(Part::Decision);
    if let Confirmed::Serves(ledger) = Box::pin(confirmed_unrecoverable(drill)).await? {
        drill.recorder.part(Part::Cutover);
        if let Some(ledger) = &ledger {
            drill.recorder.record(What::LedgerCompared(ledger.clone()));
        }
        return declared(drill, ledger.as_ref()).await; // 14: it serves, there is nothing to restore
    } // 2
    let (mut known, mut early) = (Known::default(), None);
    let (mut attempt, mut looks) = (0, 0);
    let mut validated = loop {
        attempt += 1;
        drill.recorder.part(Part::Decision);
        let backups = backups_listed(drill, attempt).await?; // 3
        let choice = Box::pin(backup_chosen(drill, attempt, backups, &mut known)).await?; // 4
        let restored = if let Some(early) = early.take_if(|early: &mut Early| early.is_of(&choice)) {
            early.into_cluster() // it was restored already, as far as it goes
        } else {
            drill.recorder.part(Part::Restore);
            inject(drill, Moment::Restore, None).await?;
            let job = restore_started(drill, attempt, &choice)?; // 5
            let mut restored = match data_restored(drill, attempt, job).await? {
                Ok(restored) => restored, // 6, 7
                Err(failure) => {
                    if !tried_again(drill, &choice, &failure) {
                        known.reject(&choice, None, failure.reason);
                    }
                    continue;
                }
            };
            inject(drill, Moment::Restored, Some(&mut restored)).await?;
            restored
        };
        drill.recorder.part(Part::Validation);
        match data_validated(drill, &mut looks, restored, &choice).await? {
            Ok(validated) => break validated, // 8
            Err(Unfit::EndedEarly(again)) => early = known.ended_early(drill, &choice, *again, early.take()).await,
            Err(Unfit::Unsound(check, reason)) => known.reject(&choice, Some(check), reason),
        }
    };
    drill.recorder.part(Part::Cutover);
    inject(drill, Moment::Cutover, Some(&mut validated.cluster)).await?;
    let interrupt = drill.options.interrupt.clone();
    drill.undo.begin(interrupt.begin().await);
    let switched = tokio::select! {
        switched = Box::pin(switched_over(drill, &mut validated)) => switched,
        () = interrupt.requested() => Err(DrillError::Interrupted.into()),
    }; // 9 to 13
    if let Err(stop) = switched {
        drill.restored = Some(validated.cluster); // it stays for whoever looks into it
        return Err(stop);
    }
    let (ending, known) = declared_restored(drill, validated).await?; // 14
    Box::pin(afterwards(drill, ending, &known)).await
}

/// Steps 9 to 13, and the proof that nothing happened unobserved until it is declared.
async fn switched_over(drill: &mut Drill, validated: &mut Validated) -> Result<(), Stop> {
    connection_updated(drill, validated).await?; // 9
    inject(drill, Moment::Switched, Some(&mut validated.cluster)).await?;
    application_back(drill, validated).await?; // 10 to 13
    Box::pin(still_sound(drill, validated)).await?;
    first_write::taken(drill, validated).await
}

/// A step that has begun. It is over when it passes or fails.
struct OpenStep {
    step: Step,
    attempt: u32,
    began: Instant,
}

impl OpenStep {
    fn begin(drill: &Drill, step: Step, attempt: u32) -> Self {
        drill.recorder.record(What::StepStarted { step, attempt });
        Self {
            step,
            attempt,
            began: Instant::now(),
        }
    }

    fn end(self, drill: &Drill, verdict: Verdict, detail: impl Into<String>) {
        let took = self.began.elapsed();
        self.end_after(drill, verdict, detail, took, None);
    }

    fn end_after(
        self,
        drill: &Drill,
        verdict: Verdict,
        detail: impl Into<String>,
        took: Duration,
        against_budget: Option<Duration>,
    ) {
        let measured = match self.step {
            Step::Validate => against_budget, // its budget is one count's
            _ => Some(against_budget.unwrap_or(took)),
        };
        if let (Some(budget), Some(measured)) = (self.step.budget_ms().map(Duration::from_millis), measured)
            && measured > budget
        {
            let (step, attempt) = (self.step, self.attempt);
            drill.recorder.finding(format!(
                "Step {step} took {} of its {} (attempt {attempt}).",
                lasting(measured),
                lasting(budget)
            ));
        }
        drill.recorder.record(What::StepFinished {
            step: self.step,
            attempt: self.attempt,
            role: self.step.role(),
            verdict,
            duration_ms: milliseconds(took),
            against_budget_ms: against_budget.map(milliseconds),
            detail: detail.into(),
        });
    }
}

/// Step 1. An alert that never comes is a finding; then the operator's own probe starts the recovery.
async fn alert_received(drill: &mut Drill) -> Result<(), Stop> {
    let step = OpenStep::begin(drill, Step::Alert, 1);
    let budget = Duration::from_millis(Step::Alert.budget_ms().unwrap_or(60_000)).min(drill.alert_promise);
    let began = drill.recorder.offset();
    let alert = tokio::time::timeout(budget, drill.alerts.next()).await.ok().flatten();
    drill.recorder.external_since("wait for the alert", began);
    let arrived = alert.is_some();
    let check = timed(CheckId::AlertDelivered, Phase::Source, "", async {
        let actual = match &alert {
            Some(alert) => format!("{} ({}): {}", alert.name, alert.severity, alert.summary),
            None => format!("no alert within {}", lasting(budget)),
        };
        Ok::<_, std::convert::Infallible>(Found::judge(arrived, "a firing DB_UNAVAILABLE by webhook", actual))
    });
    drill.check(check.await);
    let via = if arrived {
        AlertRoute::Webhook
    } else {
        AlertRoute::OperatorProbe
    };
    let (name, severity, detail) = if let Some(alert) = alert {
        (alert.name, alert.severity, alert.summary)
    } else {
        let diagnosis = server_start::diagnose(&drill.probe()).await;
        drill
            .recorder
            .finding("No alert arrived: the operator's own probe started the recovery.");
        (
            String::new(),
            String::new(),
            format!("no alert; the operator's probe: {diagnosis}"),
        )
    };
    drill.recorder.record(What::AlertReceived {
        via,
        alert: name,
        severity,
    });
    let since = drill.recorder.offset().saturating_sub(drill.outage_began().0);
    step.end_after(drill, Verdict::from_holds(arrived), detail, since, None);
    Ok(())
}
