//! The fourteen steps of SEQ-RF-002, from the alert to *service restored*, in their order.
//!
//! [`recover`] reads like the runbook. Steps 3 to 8 are gone through again with the next candidate when a backup turns
//! out to be unusable, and once more with the same one when it was not to blame, or did not go as far as promised; what a restore does not cure is repaired
//! in place and looked at again (step 8). Step 9 is the one commit point: it takes only a [`Validated`] cluster, and what comes after it is
//! undone when a later step fails; before step 14 it is proven that what was validated is still there, and that the service
//! takes writes. What the steps do in detail is in `backup`, `verify`, `cutover`, `monitor` and `notify`.

use reports::{
    CheckId, Outcome, Phase, What,
    event::{LedgerComparison, Part},
};

use crate::{
    postgres::Cluster,
    reference::Truth,
    scenario::Moment,
    service::{Identity, Served},
    state::{Drill, DrillError, Undo, inject},
    verify::{isolation::Production, ledger},
};

mod alert;
mod attempts;
mod choose;
mod confirm;
mod cut_over;
mod examine;
mod fenced;
mod first_write;
mod job;
mod prepared;
mod questions;
mod remaining_wal;
mod repair;
mod restart;
mod restore;
mod second_look;
mod step;
mod undo;
mod validate;

use alert::alert_received;
use attempts::Attempts;
use choose::{backup_chosen, backups_listed};
use confirm::{Confirmed, confirmed_unrecoverable};
use cut_over::{afterwards, application_back, connection_updated, declared, declared_restored};
use restore::{data_restored, restore_started, tried_again};
use second_look::{Position, still_sound};
use step::OpenStep;
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

/// A restored cluster.
struct Restored {
    cluster: Cluster,
    /// What production's archive held before it ran; none where there is none, or it could not be listed.
    production: Option<Production>,
}

/// A restored cluster that passed validation: the only thing that can be cut over to.
pub struct Validated {
    restored: Restored,
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
/// If the harness could not go on; every way in which a *recovery* can fail is an [`Ending`].
pub async fn recover(drill: &mut Drill) -> Result<Ending, DrillError> {
    let mut undo = Undo::default();
    let ended = Box::pin(runbook(drill, &mut undo)).await;
    undo::unwind(drill, undo).await; // of what is declared nothing is left to take back
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

async fn runbook(drill: &mut Drill, undo: &mut Undo) -> Result<Ending, Stop> {
    drill.desk.recorder.part(Part::Detection);
    alert_received(drill).await?; // 1
    drill.desk.recorder.part(Part::Decision);
    if let Confirmed::Serves(ledger) = Box::pin(confirmed_unrecoverable(drill)).await? {
        drill.desk.recorder.part(Part::Cutover);
        if let Some(ledger) = &ledger {
            drill.desk.recorder.record(What::LedgerCompared(ledger.clone()));
        }
        return declared(drill, ledger.as_ref()).await; // 14: it serves, there is nothing to restore
    } // 2
    let mut attempts = Attempts::default();
    let mut validated = loop {
        let attempt = attempts.next();
        drill.desk.recorder.part(Part::Decision);
        let backups = backups_listed(drill, attempt).await?; // 3
        let choice = Box::pin(backup_chosen(drill, &mut attempts, backups)).await?; // 4
        let restored = if let Some(restored) = attempts.restored_already(&choice) {
            restored // as far as it goes
        } else {
            drill.desk.recorder.part(Part::Restore);
            inject(drill, Moment::Restore, None).await?;
            let job = restore_started(drill, attempt, &choice)?; // 5
            let mut restored = match data_restored(drill, attempt, job).await? {
                Ok(restored) => restored, // 6, 7
                Err(failure) => {
                    if !tried_again(drill, &mut attempts, &choice, &failure) {
                        attempts.reject(&choice, None, failure.reason);
                    }
                    continue;
                }
            };
            inject(drill, Moment::Restored, Some(&mut restored.cluster)).await?;
            restored
        };
        drill.desk.recorder.part(Part::Validation);
        match data_validated(drill, &mut attempts, restored, &choice).await? {
            Ok(validated) => break validated, // 8
            Err(Unfit::EndedEarly(early)) => attempts.ended_early(drill, &choice, *early).await,
            Err(Unfit::Unsound(check, reason)) => attempts.reject(&choice, Some(check), reason),
        }
    };
    drill.desk.recorder.part(Part::Cutover);
    inject(drill, Moment::Cutover, Some(&mut validated.restored.cluster)).await?;
    let interrupt = drill.desk.options.interrupt.clone();
    undo.begin(interrupt.begin().await);
    let switched = tokio::select! {
        switched = Box::pin(switched_over(drill, undo, &mut validated)) => switched,
        () = interrupt.requested() => Err(DrillError::Interrupted.into()),
    }; // 9 to 13
    if let Err(stop) = switched {
        drill.estate.restored = Some(validated.restored.cluster); // it stays for whoever looks into it
        return Err(stop);
    }
    let (ending, known) = declared_restored(drill, undo, validated).await?; // 14
    Box::pin(afterwards(drill, ending, &known)).await
}

/// Steps 9 to 13, and the proof that nothing happened unobserved until it is declared.
async fn switched_over(drill: &mut Drill, undo: &mut Undo, validated: &mut Validated) -> Result<(), Stop> {
    connection_updated(drill, undo, validated).await?; // 9
    inject(drill, Moment::Switched, Some(&mut validated.restored.cluster)).await?;
    application_back(drill, validated).await?; // 10 to 13
    Box::pin(still_sound(drill, validated)).await?;
    first_write::taken(drill, validated).await
}
