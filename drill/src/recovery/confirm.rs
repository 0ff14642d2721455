//! Step 2: is the database really lost? Unreachable, damaged and healthy are told apart; a server that merely died is
//! started again; damage that a restore does not cure, as its WAL brings it back, is repaired in place; and what is given
//! up is fenced before anything else is done, so that it acknowledges nothing more.

use std::time::Duration;

use futures_util::future::OptionFuture;
use reports::{CheckId, Outcome, Phase, Step, Verdict, What, event::LedgerComparison};

use super::{
    OpenStep, Stop, ended,
    examine::{Look, examined},
    fenced::fence,
    prepared, questions,
    remaining_wal::RemainingWal,
    repair::{repaired, repairs},
};
use crate::{
    errors::chain,
    ledger::History,
    state::{Drill, remember},
    verify::ledger::Comparison,
    workload::Workload,
};

/// What is said where a restart was all that it took.
const RESTARTED: &str = "a restart sufficed: crash recovery brought everything back";

/// How long the operation that a writer is in may take to end once the server is dead.
const HOLD_PATIENCE: Duration = Duration::from_secs(5);

/// What step 2 came to, if there was something to recover from.
pub(super) enum Confirmed {
    /// The database is given up.
    Lost,
    /// It serves again, restarted, repaired in place or with a loss that no restore makes good: there is nothing to restore.
    /// With what the ledger proves to be lost.
    Serves(Option<LedgerComparison>),
}

/// Goes on only if there is something to recover from.
pub(super) async fn confirmed_unrecoverable(drill: &mut Drill) -> Result<Confirmed, Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::Confirm, 1);
    let began = drill.desk.recorder.offset();
    let unblocked = prepared::cleared(drill, &drill.estate.source, Step::Confirm).await;
    let mut look = examined(drill, None).await?;
    if !look.is_clean()
        && let Err(refusal) = drill.estate.source.authorise_destruction()
    {
        // Nothing is started, fenced or replaced that this run did not make.
        let reason = format!("the wrong environment: {}", chain(&refusal));
        return Err(step.fail(Outcome::Refused, reason));
    }
    let mut kept = None;
    if !look.is_clean() && !drill.estate.source.is_running() {
        // Until it is known what crash recovery brought back, nothing may be written that hides what it did not.
        let hold = drill.estate.workload.as_ref().map(Workload::hold);
        let held = tokio::time::timeout(HOLD_PATIENCE, OptionFuture::from(hold)).await;
        let there = RemainingWal::look(drill).await;
        match restarted(drill).await? {
            Ok(()) => {
                kept = Some(there);
                look = examined(drill, held.ok().flatten()).await?;
            }
            Err(reason) => look.add(None, reason),
        }
    }
    let damage = look.said();
    let repaired = repaired_in_place(drill, &look).await?;
    if repaired {
        let before = std::mem::replace(&mut look, examined(drill, None).await?);
        look.must_have_passed(&before);
    }
    drill
        .desk
        .recorder
        .external_since("investigate the failed database", began);
    if look.is_clean() && (repaired || unblocked) {
        let damage = if repaired {
            damage.as_str()
        } else {
            "a prepared transaction kept writers out"
        };
        let detail = format!("repaired in place, nothing to restore: {damage}");
        step.end(Verdict::Pass, detail);
        return Ok(Confirmed::Serves(look.promises.map(|promises| promises.summary)));
    }
    if look.is_clean() && kept.is_some() {
        // It was down, and is not any more: a recovery, though nothing had to be restored.
        step.end(Verdict::Pass, RESTARTED);
        return Ok(Confirmed::Serves(look.promises.map(|promises| promises.summary)));
    }
    if look.is_clean() {
        let healthy = "the database is healthy: false alarm";
        step.end(Verdict::Pass, healthy);
        return Err(ended(Outcome::FalseAlarm, format!("{healthy}; nothing is restored")));
    }
    if let Some(told) = look.tail().map(Comparison::describe) {
        let where_to = kept
            .as_ref()
            .map_or_else(String::new, |kept| format!("; {}", kept.told()));
        let nothing_to_gain = look.symptoms.is_empty() && kept.is_some_and(|kept| !kept.more_elsewhere());
        if nothing_to_gain
            && drill
                .desk
                .operator
                .decides(questions::accept_loss(&told, &where_to))
                .await
        {
            let detail = format!("a restart brought back what there is: {told}{where_to}");
            step.end(Verdict::Pass, detail.clone());
            drill
                .desk
                .recorder
                .finding(format!("Nothing was restored, because {detail}."));
            return Ok(Confirmed::Serves(look.promises.map(|promises| promises.summary)));
        }
        look.add(
            CheckId::LedgerPrefix,
            format!("{}: {told}{where_to}", CheckId::LedgerPrefix),
        );
    }
    let detail = look.said();
    if !drill.desk.operator.decides(questions::give_up(drill, &look)).await {
        let reason = "the operator did not confirm that the database is unrecoverable";
        return Err(step.fail_with(Outcome::Refused, "the operator did not confirm", reason));
    }
    fence(drill, "source").await;
    stop_workload(drill).await?;
    step.end(Verdict::Pass, detail);
    Ok(Confirmed::Lost)
}

/// Whether everything that is wrong could be repaired where it is. Whatever a restore to the end of the WAL would bring
/// back as well is better repaired: nothing is given up, and it takes no time.
async fn repaired_in_place(drill: &Drill, look: &Look) -> Result<bool, Stop> {
    let Some(repairs) = look.failed_checks().and_then(|failed| repairs(&failed)) else {
        return Ok(false);
    };
    if !drill.desk.operator.decides(questions::repair(look, &repairs)).await {
        return Ok(false);
    }
    let truth = drill.estate.last_truth();
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?;
    let subject = drill
        .estate
        .subject(&drill.estate.source, Phase::Source, truth.as_ref());
    Ok(repaired(drill, &subject, &repairs, history.largest_created()).await)
}

/// Starts a server again that merely died. A data directory that is lost is not tried.
async fn restarted(drill: &mut Drill) -> Result<Result<(), String>, Stop> {
    if let Err(error) = drill.estate.source.system_identifier() {
        return Ok(Err(format!("a restart is out of the question: {}", chain(&error))));
    }
    let action = "restart of the server that failed".to_owned();
    if let Err(error) = drill.estate.source.start().await {
        let reason = chain(&error);
        drill.desk.recorder.record(What::Repaired {
            action,
            verdict: Verdict::Fail,
            detail: reason.clone(),
        });
        return Ok(Err(format!("a restart failed: {reason}")));
    }
    let detail = "it came out of crash recovery".to_owned();
    drill.desk.recorder.record(What::Repaired {
        action,
        verdict: Verdict::Pass,
        detail,
    });
    remember::crashed(drill).await;
    if drill.estate.stream.is_some() {
        drill.stream_again().await?;
    }
    Ok(Ok(()))
}

/// The writers' connections are dead; what they were promised is complete from here on. The WAL stream ends as well.
async fn stop_workload(drill: &mut Drill) -> Result<(), Stop> {
    let began = drill.desk.recorder.offset();
    if let Some(workload) = drill.estate.workload.take() {
        let counts = workload.stop().await?;
        drill.desk.recorder.record(What::WorkloadStopped(counts));
    }
    if let Some(stream) = drill.estate.stream.take() {
        stream.stop().await;
    }
    drill
        .desk
        .recorder
        .external_since("wait for writers and WAL stream to end", began);
    Ok(())
}
