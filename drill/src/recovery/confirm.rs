//! Step 2: is the database really lost? Unreachable, damaged and healthy are told apart; a server that merely died is
//! started again; and what is given up is fenced before anything else is done, so that it acknowledges nothing more.

use std::time::{Duration, Instant};

use reports::{CheckId, Outcome, Phase, Step, Verdict, What};

use super::{OpenStep, Stop, ended, validate::connect};
use crate::{
    backup::{catalogue, stream::Stream},
    cutover::fencing,
    record::nanoseconds,
    scenario::Streaming,
    stage::Drill,
    verify::{
        Found, catalog_inventory, chain, ledger, ledger_prefix, server_start, server_start::Diagnosis, smoke, timed,
    },
    workload::{ledger::History, writer::SHARE},
};

/// How long live writers may get nothing through on a database that serves.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// So many answers to writers make an opinion.
const ANSWERS: u64 = 20;

/// Goes on only if there is something to recover from.
pub(super) async fn confirmed_unrecoverable(drill: &mut Drill) -> Result<(), Stop> {
    let step = OpenStep::begin(drill, Step::Confirm, 1);
    let began = drill.recorder.offset();
    let mut healthy = "the database is healthy: false alarm";
    let mut symptoms = examined(drill).await?;
    if !symptoms.is_empty()
        && let Err(refusal) = drill.source.authorise_destruction()
    {
        // Nothing is started, fenced or replaced that this run did not make.
        let reason = format!("the wrong environment: {}", chain(&refusal));
        step.end(drill, Verdict::Fail, reason.clone());
        return Err(ended(Outcome::Refused, reason));
    }
    if !symptoms.is_empty() && !drill.source.is_running() {
        match restarted(drill).await? {
            Ok(()) => {
                healthy = "a restart sufficed: crash recovery brought everything back";
                symptoms = examined(drill).await?;
            }
            Err(reason) => symptoms.push(reason),
        }
    }
    drill.recorder.external_since("investigate the failed database", began);
    if symptoms.is_empty() {
        step.end(drill, Verdict::Pass, healthy);
        return Err(ended(Outcome::FalseAlarm, format!("{healthy}; nothing is restored")));
    }
    let detail = symptoms.join("; ");
    let question = format!("{detail}\nGive the database up and restore it?");
    if !drill.operator.decides(&question).await {
        step.end(drill, Verdict::Fail, "the operator did not confirm");
        let reason = "the operator did not confirm that the database is unrecoverable";
        return Err(ended(Outcome::Refused, reason));
    }
    fence(drill).await;
    stop_workload(drill).await?;
    step.end(drill, Verdict::Pass, detail);
    Ok(())
}

/// Looks at the database and at the application. No symptom: it serves, and what it serves is right.
async fn examined(drill: &mut Drill) -> Result<Vec<String>, Stop> {
    let (check, diagnosis) = server_start::check(&drill.as_application(), Phase::Source, "source").await;
    drill.check(check);
    let mut symptoms = Vec::new();
    if diagnosis != Diagnosis::Healthy {
        symptoms.push(diagnosis.to_string());
    }
    if !matches!(diagnosis, Diagnosis::Unreachable(_)) {
        let recorded = catalogue::list(&drill.site.repository)
            .ok()
            .and_then(|listing| listing.backups.last().cloned());
        let inventory = recorded.as_ref().and_then(|backup| backup.inventory.as_ref());
        let inventory = catalog_inventory::check(&drill.source, inventory, Phase::Source, "source").await;
        for check in [Some(inventory), promises_kept(drill).await?].into_iter().flatten() {
            if check.verdict == Verdict::Fail {
                symptoms.push(format!("{}: {}; {}", check.check, check.actual, check.detail));
            }
            drill.check(check);
        }
    }
    let (check, _) = smoke::smoke(&drill.application, &drill.admin_token, None, Phase::Source).await;
    if check.verdict == Verdict::Fail {
        symptoms.push(format!("the application: {}", check.actual));
    }
    drill.check(check);
    if symptoms.is_empty() {
        symptoms.extend(writers_stand_still(drill).await);
    }
    Ok(symptoms)
}

/// Reading says nothing about writing: on a full disk every query is answered, and what finds room in a page that
/// exists is even committed. The writers never rest, so they tell at once whether most of what they do gets through.
async fn writers_stand_still(drill: &Drill) -> Option<String> {
    let workload = drill.workload.as_ref()?;
    let (before, began) = (workload.counts(), Instant::now());
    loop {
        let now = workload.counts();
        let (done, refused) = (now.acknowledged - before.acknowledged, now.rejected - before.rejected);
        let over = began.elapsed() >= WRITE_PATIENCE;
        if done >= refused && (done >= ANSWERS || over && done > 0) {
            return None;
        }
        if over || refused >= ANSWERS {
            let within = began.elapsed();
            return Some(format!(
                "writing: {done} commits were acknowledged and {refused} refused within {within:.1?}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // the answers come by themselves; this only looks
    }
}

/// `ledger-prefix` on a database that is still written to: what was promised before it was looked at must be there,
/// what is promised meanwhile may be there or not. `None` if it cannot be read as the validator.
async fn promises_kept(drill: &Drill) -> Result<Option<reports::CheckResult>, Stop> {
    let login = drill.login(&drill.source, fixtures::Role::DrillValidator);
    let Ok(mut validator) = connect(&login).await else {
        return Ok(None);
    };
    let looked_at_ns = nanoseconds(drill.recorder.offset());
    let writers = drill.scenario.given.writers.unwrap_or(drill.options.writers).max(1);
    let theirs = (1..=drill.seed_facts().max_script_id)
        .take(SHARE * writers as usize)
        .collect();
    let read = ledger_prefix::read(&mut validator, theirs, &drill.seed_facts(), &drill.seeded).await;
    let history = History::read_or_unusable(&drill.ledger, &drill.ledger_header)?.as_of(looked_at_ns);
    let mut check = timed(CheckId::LedgerPrefix, Phase::Source, "source", async {
        let expected = "every commit acknowledged so far, and nothing that nobody wrote";
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let recovered = match read {
            Ok((recovered, _)) => recovered,
            Err(error) => return Ok::<_, ledger::Unverifiable>(Found::unknown(expected, chain(&error))),
        };
        let facts = drill.seed_facts();
        let found = ledger::compare(&history, Some(&recovered), &facts, ledger::Target::End, looked_at_ns)?;
        let examples = found.summary.examples.join("; ");
        Ok(match found.verdict() {
            Verdict::Unknown => Found::unknown(expected, examples),
            verdict => Found::judge(verdict == Verdict::Pass, expected, found.describe()).detail(examples),
        })
    })
    .await;
    check.duration_ms += crate::record::milliseconds(drill.recorder.offset()) - looked_at_ns as f64 / 1e6;
    Ok(Some(check))
}

/// Starts a server again that merely died. A data directory that is lost is not tried.
async fn restarted(drill: &mut Drill) -> Result<Result<(), String>, Stop> {
    if let Err(error) = drill.source.system_identifier() {
        return Ok(Err(format!("a restart is out of the question: {}", chain(&error))));
    }
    let action = "restart of the server that failed".to_owned();
    if let Err(error) = drill.source.start().await {
        let reason = chain(&error);
        drill.recorder.record(What::Repaired {
            action,
            verdict: Verdict::Fail,
            detail: reason.clone(),
        });
        return Ok(Err(format!("a restart failed: {reason}")));
    }
    let detail = "it came out of crash recovery".to_owned();
    drill.recorder.record(What::Repaired {
        action,
        verdict: Verdict::Pass,
        detail,
    });
    // The stream ended with the server; without it no commit would be acknowledged where it is synchronous.
    if let (Some(stream), Some(directory)) = (drill.stream.take(), drill.site.wal.stream.clone()) {
        stream.stop().await;
        let log = drill.ledger.with_file_name("logs").join("pg_receivewal-restarted.log");
        let synchronous = drill.scenario.given.streaming == Streaming::Synchronous;
        drill.stream = Some(Stream::start(&drill.site, &drill.source, &directory, &log, synchronous).await?);
    }
    Ok(Ok(()))
}

/// Kills what is left of the failed primary and proves it.
pub(super) async fn fence(drill: &mut Drill) {
    let as_application = drill.as_application();
    let began = drill.recorder.offset();
    let check = timed(CheckId::OldPrimaryFenced, Phase::Cutover, "source", async {
        let expected = "no connection with the connection string that applications had";
        Ok::<_, std::convert::Infallible>(match fencing::fence(&mut drill.source, &as_application).await {
            Ok(reason) => Found::pass(expected, reason),
            Err(reason) => Found::fail(expected, reason),
        })
    })
    .await;
    drill.recorder.external_since("fence the failed primary", began);
    drill.check(check);
}

/// The writers' connections are dead; what they were promised is complete from here on. The WAL stream ends as well.
async fn stop_workload(drill: &mut Drill) -> Result<(), Stop> {
    let began = drill.recorder.offset();
    if let Some(workload) = drill.workload.take() {
        let counts = workload.stop().await?;
        drill.recorder.record(What::WorkloadStopped(counts));
    }
    if let Some(stream) = drill.stream.take() {
        stream.stop().await;
    }
    drill
        .recorder
        .external_since("wait for writers and WAL stream to end", began);
    Ok(())
}
