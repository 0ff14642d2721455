//! Step 2: is the database really lost? Unreachable, damaged and healthy are told apart; a server that merely died is
//! started again; damage that a restore does not cure, as its WAL brings it back, is repaired in place; and what is given
//! up is fenced before anything else is done, so that it acknowledges nothing more.

use std::time::{Duration, Instant};

use reports::{CheckId, Outcome, Phase, Step, Verdict, What, event::LedgerComparison};

use super::{
    OpenStep, Stop, ended,
    repair::{repaired, repairs},
    validate::connect,
};
use crate::{
    backup::{catalogue, stream::Stream},
    cutover::fencing,
    record::nanoseconds,
    scenario::Streaming,
    stage::Drill,
    verify::{
        Found, Subject, catalog_inventory, chain, index_integrity, ledger, ledger_prefix, server_start,
        server_start::Diagnosis, smoke, timed,
    },
    workload::{ledger::History, writer::SHARE},
};

/// How long live writers may get nothing through on a database that serves.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// So many answers to writers make an opinion.
const ANSWERS: u64 = 20;

/// What step 2 came to, if there was something to recover from.
pub(super) enum Confirmed {
    /// The database is given up.
    Lost,
    /// It was damaged and has been repaired in place: there is nothing to restore. With what the ledger proves to be lost.
    Repaired(Option<LedgerComparison>),
}

/// What a look at the failed database found.
#[derive(Default)]
struct Look {
    symptoms: Vec<Symptom>,
    passed: Vec<CheckId>,
    ledger: Option<LedgerComparison>,
}

/// Something wrong, and the check that says so, if one does.
struct Symptom {
    check: Option<CheckId>,
    text: String,
}

impl Look {
    fn add(&mut self, check: impl Into<Option<CheckId>>, text: String) {
        let check = check.into();
        self.symptoms.push(Symptom { check, text });
    }

    /// The checks that failed; none if something else is wrong as well.
    fn failed_checks(&self) -> Option<Vec<CheckId>> {
        self.symptoms.iter().map(|symptom| symptom.check).collect()
    }
}

/// Goes on only if there is something to recover from.
pub(super) async fn confirmed_unrecoverable(drill: &mut Drill) -> Result<Confirmed, Stop> {
    let step = OpenStep::begin(drill, Step::Confirm, 1);
    let began = drill.recorder.offset();
    let mut healthy = "the database is healthy: false alarm";
    let mut look = examined(drill).await?;
    if !look.symptoms.is_empty() && !drill.source.is_running() {
        match restarted(drill).await? {
            Ok(()) => {
                healthy = "a restart sufficed: crash recovery brought everything back";
                look = examined(drill).await?;
            }
            Err(reason) => look.add(None, reason),
        }
    }
    let damage = said(&look.symptoms);
    let repaired = repaired_in_place(drill, &look).await?;
    if repaired {
        let before = std::mem::replace(&mut look, examined(drill).await?);
        for check in before.symptoms.iter().filter_map(|symptom| symptom.check) {
            if look.symptoms.is_empty() && !look.passed.contains(&check) {
                look.add(check, format!("{check} could not be verified after the repair"));
            }
        }
    }
    drill.recorder.external_since("investigate the failed database", began);
    if repaired && look.symptoms.is_empty() {
        step.end(
            drill,
            Verdict::Pass,
            format!("repaired in place, nothing to restore: {damage}"),
        );
        return Ok(Confirmed::Repaired(look.ledger));
    }
    if look.symptoms.is_empty() {
        step.end(drill, Verdict::Pass, healthy);
        return Err(ended(Outcome::FalseAlarm, format!("{healthy}; nothing is restored")));
    }
    let detail = said(&look.symptoms);
    let question = format!("{detail}\nGive the database up and restore it?");
    if !drill.operator.decides(&question).await {
        step.end(drill, Verdict::Fail, "the operator did not confirm");
        let reason = "the operator did not confirm that the database is unrecoverable";
        return Err(ended(Outcome::Refused, reason));
    }
    fence(drill).await;
    stop_workload(drill).await?;
    step.end(drill, Verdict::Pass, detail);
    Ok(Confirmed::Lost)
}

fn said(symptoms: &[Symptom]) -> String {
    let texts: Vec<_> = symptoms.iter().map(|symptom| symptom.text.as_str()).collect();
    texts.join("; ")
}

/// Looks at the database and at the application. No symptom: it serves, and what it serves is right.
async fn examined(drill: &mut Drill) -> Result<Look, Stop> {
    let (check, diagnosis) = server_start::check(&drill.as_application(), Phase::Source, "source").await;
    drill.check(check);
    let mut look = Look::default();
    if diagnosis != Diagnosis::Healthy {
        look.add(None, diagnosis.to_string());
    }
    if !matches!(diagnosis, Diagnosis::Unreachable(_)) {
        let recorded = newest_inventory(drill);
        let inventory = catalog_inventory::check(&drill.source, recorded.as_ref(), Phase::Source, "source").await;
        let promises = promises_kept(drill).await?;
        let (promises, ledger) = promises.map_or((None, None), |(check, ledger)| (Some(check), ledger));
        look.ledger = ledger;
        for check in [Some(inventory), promises].into_iter().flatten() {
            noted(drill, &mut look, check);
        }
    }
    let (check, _) = smoke::smoke(&drill.application, &drill.admin_token, None, Phase::Source).await;
    if check.verdict == Verdict::Fail {
        look.add(None, format!("the application: {}", check.actual));
    }
    drill.check(check);
    if look.symptoms.is_empty()
        && let Some(text) = writers_stand_still(drill).await
    {
        look.add(None, text);
    }
    if look.symptoms.is_empty() {
        // It answers every question, and yet there was an alarm: an index that misses rows hides them from whoever uses
        // it, and from nobody else. This reads everything, so it comes last.
        let check = index_integrity::check(&subject(drill, None)).await;
        noted(drill, &mut look, check);
    }
    Ok(look)
}

fn noted(drill: &Drill, look: &mut Look, check: reports::CheckResult) {
    if check.verdict == Verdict::Fail {
        look.add(
            check.check,
            format!("{}: {}; {}", check.check, check.actual, check.detail),
        );
    }
    if check.verdict == Verdict::Pass {
        look.passed.push(check.check);
    }
    drill.check(check);
}

fn subject<'a>(drill: &'a Drill, inventory: Option<&'a catalog_inventory::Inventory>) -> Subject<'a> {
    Subject {
        cluster: &drill.source,
        name: drill.source.name(),
        phase: Phase::Source,
        credentials: &drill.site.credentials,
        inventory,
    }
}

/// The inventory recorded with the newest backup.
fn newest_inventory(drill: &Drill) -> Option<catalog_inventory::Inventory> {
    let listing = catalogue::list(&drill.site.repository).ok()?;
    listing.backups.last()?.inventory.clone()
}

/// Whether everything that is wrong could be repaired where it is. Whatever a restore to the end of the WAL would bring
/// back as well is better repaired: nothing is given up, and it takes no time.
async fn repaired_in_place(drill: &Drill, look: &Look) -> Result<bool, Stop> {
    let Some(repairs) = look.failed_checks().and_then(|failed| repairs(&failed)) else {
        return Ok(false);
    };
    let question = format!("{}\nRepair it where it is?", said(&look.symptoms));
    if !drill.operator.decides(&question).await {
        return Ok(false);
    }
    let recorded = newest_inventory(drill);
    let history = History::read(&drill.ledger, &drill.ledger_header)?;
    let subject = subject(drill, recorded.as_ref());
    Ok(repaired(drill, &subject, &repairs, history.largest_created()).await)
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
async fn promises_kept(drill: &Drill) -> Result<Option<(reports::CheckResult, Option<LedgerComparison>)>, Stop> {
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
    let history = History::read(&drill.ledger, &drill.ledger_header)?.as_of(looked_at_ns);
    let mut ledger = None;
    let mut check = timed(CheckId::LedgerPrefix, Phase::Source, "source", async {
        let expected = "every commit acknowledged so far, and nothing that nobody wrote";
        let recovered = match read {
            Ok((recovered, _)) => recovered,
            Err(error) => return Ok::<_, ledger::Unverifiable>(Found::unknown(expected, chain(&error))),
        };
        let facts = drill.seed_facts();
        let found = ledger::compare(&history, Some(&recovered), &facts, ledger::Target::End, looked_at_ns)?;
        let examples = found.summary.examples.join("; ");
        ledger = Some(found.summary.clone());
        Ok(match found.verdict() {
            Verdict::Unknown => Found::unknown(expected, examples),
            verdict => Found::judge(verdict == Verdict::Pass, expected, found.describe()).detail(examples),
        })
    })
    .await;
    check.duration_ms += crate::record::milliseconds(drill.recorder.offset()) - looked_at_ns as f64 / 1e6;
    Ok(Some((check, ledger)))
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
