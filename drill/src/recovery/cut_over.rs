//! Steps 9 to 14: the connection string, the application, the smoke test and the declaration.
//!
//! Step 9 is the commit point; what comes after it pushes its undo, and `undo.rs` takes it back when a later step fails.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reports::{
    Outcome, Phase, Role, Step, Verdict, What,
    event::LedgerComparison,
    text::{counted, lasting},
};

use crate::{
    backup::stream::STANDBY_NAME,
    cutover::{ConfigStoreError, set_connection},
    errors::chain,
    reference::{Scope, Truth},
    scenario::Moment,
    service::Role as AccountRole,
    state::{Change, Drill, Undo, inject},
    verify::smoke,
};

use super::{
    Ending, OpenStep, Sound, Stop, Validated, ended,
    fenced::{self, fence},
    questions,
    second_look::{Position, looked_at, still_promised},
};

/// Step 9, as AppAdmin: the commit point.
pub(super) async fn connection_updated(drill: &mut Drill, undo: &mut Undo, validated: &Validated) -> Result<(), Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::UpdateConnection, 1);
    if let Err(reason) = drill.desk.operator.authorise(Role::AppAdmin) {
        return Err(step.fail(Outcome::Refused, reason));
    }
    let question = questions::switch(drill, validated.known.ledger.as_ref());
    if !drill.desk.operator.decides(question).await {
        let (told, reason) = (
            "the operator did not confirm",
            "the operator did not confirm the cutover",
        );
        return Err(step.fail_with(Outcome::Refused, told, reason));
    }
    fence(drill, "source, before the switch").await; // proven again right before the commit point
    let connection = drill.estate.connection_string(&validated.restored.cluster);
    match switched(drill, undo, &connection.to_npgsql()).await {
        Ok(()) => {
            step.end(
                Verdict::Pass,
                "ConnectionStrings:DefaultConnection points to the restored cluster",
            );
            Ok(())
        }
        Err(error) => {
            let reason = format!("the connection string could not be updated: {}", chain(&error));
            Err(step.fail(Outcome::NotRecovered, reason))
        }
    }
}

/// Changes the connection string; how that is taken back is noted before.
async fn switched(drill: &Drill, undo: &mut Undo, connection: &str) -> Result<(), ConfigStoreError> {
    let before = match drill.estate.store.connection().await {
        Ok(before) => before,
        Err(_) => drill.estate.connection_string(&drill.estate.source).to_npgsql(), // as it was written
    };
    undo.push(Change::ConnectionString { before });
    undo.push(Change::Application);
    set_connection(drill.estate.store.as_ref(), connection).await.map(drop)
}

/// Steps 10 to 13. An application that is still connected to another database is
/// restarted once more; if that does not help either, the service must not be declared restored.
pub(super) async fn application_back(drill: &mut Drill, validated: &Validated) -> Result<(), Stop> {
    restarted(drill, 1).await?;
    let Some(elsewhere) = connected_elsewhere(drill, validated, 1).await? else {
        return smoke_tested(drill, validated).await;
    };
    drill.desk.recorder.finding(format!(
        "After its restart the application was connected to another database ({elsewhere}); it was restarted once more."
    ));
    if let Some(untold) = &drill.estate.untold {
        untold.tried_again().await; // who else is let in?
    }
    fence(drill, "source, after the switch").await; // what it is connected to may be the failed primary
    restarted(drill, 2).await?;
    let Some(elsewhere) = connected_elsewhere(drill, validated, 2).await? else {
        return smoke_tested(drill, validated).await;
    };
    let _ = smoke_tested(drill, validated).await; // whatever it says: it is what users would have got
    Err(ended(
        Outcome::Refused,
        format!("the application is connected to another database than the one that was validated: {elsewhere}"),
    ))
}

/// Step 10, as AppAdmin.
async fn restarted(drill: &mut Drill, attempt: u32) -> Result<(), Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::RestartApplication, attempt);
    if let Err(reason) = drill.desk.operator.authorise(Role::AppAdmin) {
        return Err(step.fail(Outcome::Refused, reason));
    }
    let patience = Duration::from_millis(Step::RestartApplication.budget_ms().unwrap_or(60_000));
    let began = drill.desk.recorder.offset();
    let mut started = drill.estate.application.control.restart(patience).await;
    let mut tries = "at the first try";
    if let Err(error) = &started {
        drill.desk.recorder.finding(format!(
            "The application did not start at the first try ({}); tried again.",
            chain(error)
        ));
        started = drill.estate.application.control.restart(patience).await;
        tries = "at the second try";
    }
    drill.desk.recorder.external_since("restart the application", began);
    if let Err(error) = started {
        let reason = format!(
            "the application does not start, manual intervention is needed: {}",
            chain(&error)
        );
        return Err(step.fail(Outcome::NotRecovered, reason));
    }
    let who = drill
        .estate
        .application
        .pid()
        .map_or_else(|| "it".to_owned(), |pid| format!("process {pid}"));
    step.end(Verdict::Pass, format!("{who} listens, {tries}"));
    Ok(())
}

/// Steps 11 and 12. The database that the application is connected to, if it is not the validated one.
async fn connected_elsewhere(drill: &mut Drill, validated: &Validated, attempt: u32) -> Result<Option<String>, Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::Connect, attempt);
    let connections = match connections_of_the_application(drill, validated).await {
        Ok(connections) => connections,
        Err(reason) => {
            let reason = format!("the restored cluster cannot be asked who is connected: {reason}");
            return Err(step.fail(Outcome::NotRecovered, reason));
        }
    };
    if connections == 0 {
        let reason = "the application has no connection to the restored database";
        step.end(Verdict::Fail, reason);
        // One that answers all the same is connected elsewhere, and says where.
        let patience = Duration::from_millis(Step::Connect.budget_ms().unwrap_or(1_000));
        return match drill.estate.application.ready(patience).await {
            Ok(ready) => {
                let check = smoke::identity(&ready.connected_to, &validated.known.identity).await;
                let elsewhere = (check.verdict == Verdict::Fail).then(|| check.actual.clone());
                drill.desk.check(check);
                elsewhere.map_or_else(|| Err(ended(Outcome::NotRecovered, reason)), |actual| Ok(Some(actual)))
            }
            Err(error) => Err(ended(Outcome::NotRecovered, format!("{reason}: {}", chain(&error)))),
        };
    }
    // Step 11 is timed by what the application tells of its own connection, and it tells when it is ready. Where it does not
    // become ready, the wait for that is step 12's alone.
    let seen_after = step.took();
    let readiness = OpenStep::begin(&drill.desk.recorder, Step::Readiness, attempt);
    let began = drill.desk.recorder.offset();
    let ready = drill
        .estate
        .application
        .ready(Duration::from_millis(Step::Readiness.budget_ms().unwrap_or(5_000)))
        .await;
    drill.desk.recorder.external_since("wait for readiness", began);
    let told = format!(
        "{} of {} on the restored cluster",
        counted(connections, "connection"),
        AccountRole::TransformationApp
    );
    let ready = match ready {
        Ok(ready) => {
            let detail = format!("{told}; the last one opened took {}", lasting(ready.connected_within()));
            step.end_after(Verdict::Pass, detail, ready.connected_within(), None);
            ready.connected_to
        }
        Err(error) => {
            let detail = format!("{told}; how long one took to open is not known");
            step.end_after(Verdict::Pass, detail, seen_after, None);
            let reason = format!("the application does not become ready: {}", chain(&error));
            return Err(readiness.fail(Outcome::NotRecovered, reason));
        }
    };
    let check = smoke::identity(&ready, &validated.known.identity).await;
    let (verdict, actual) = (check.verdict, check.actual.clone());
    drill.desk.check(check);
    readiness.end(verdict, format!("ready, connected to {actual}"));
    Ok((verdict == Verdict::Fail).then_some(actual))
}

async fn connections_of_the_application(drill: &Drill, validated: &Validated) -> Result<i64, String> {
    let superuser = validated.restored.cluster.verifying("postgres", "postgres").await;
    let superuser = superuser.map_err(|error| chain(&error))?;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND datname = $2";
    let role = AccountRole::TransformationApp.name();
    let row = superuser
        .query_one(sql, &[&role, &drill.estate.site.service.database()])
        .await;
    row.and_then(|row| row.try_get(0)).map_err(|error| chain(&error))
}

/// Step 13.
async fn smoke_tested(drill: &mut Drill, validated: &Validated) -> Result<(), Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::SmokeTest, 1);
    let began = drill.desk.recorder.offset();
    let smoked = drill
        .estate
        .smoke(validated.known.served.as_ref(), Phase::Cutover)
        .await;
    drill.desk.recorder.external_since("smoke test", began);
    let Some((check, took)) = smoked else {
        step.end(Verdict::Pass, "not planned: nobody knows what the service serves");
        return Ok(());
    };
    let (verdict, actual) = (check.verdict, check.actual.clone());
    drill.desk.check(check);
    step.end_after(verdict, actual.clone(), took, None);
    if verdict != Verdict::Fail {
        return Ok(());
    }
    Err(ended(Outcome::NotRecovered, format!("the smoke test failed: {actual}")))
}

/// Step 14, on the cluster that was cut over to; the failed primary is tried once more before.
pub(super) async fn declared_restored(
    drill: &mut Drill,
    undo: &mut Undo,
    validated: Validated,
) -> Result<(Ending, Sound), Stop> {
    let Validated { restored, known } = validated;
    if let Some(production) = &restored.production {
        // What a restored cluster archives, it archives after a while.
        drill.desk.check(
            production
                .look_again(Phase::Cutover, "archive, at the declaration")
                .await,
        );
    }
    drill.estate.restored = Some(restored.cluster);
    slots_left_behind(drill, &known);
    databases_left_behind(drill, &known);
    fenced::tried_again(drill, Phase::Cutover, "source, at the declaration").await;
    undo.end(); // it serves, whatever it is declared
    let ending = declared(drill, known.ledger.as_ref()).await?;
    Ok((ending, known))
}

/// No restore brings replication slots back: whoever followed the service by one must begin anew.
fn slots_left_behind(drill: &Drill, known: &Sound) {
    let record = known.truth.as_ref().and_then(Truth::newest);
    let slots = record.map_or(&[][..], |record| &record.slots);
    let theirs: Vec<_> = slots
        .iter()
        .map(String::as_str)
        .filter(|slot| *slot != STANDBY_NAME)
        .collect();
    if !theirs.is_empty() {
        drill.desk.recorder.finding(format!(
            "Replication slots that the failed primary had are not restored: {}. Whoever follows the service by them begins anew.",
            theirs.join(", ")
        ));
    }
}

/// A dump brings one database. What the cluster held beside it is gone, and nothing in the restored one says so.
fn databases_left_behind(drill: &Drill, known: &Sound) {
    let Some(Scope::Database(restored)) = known.truth.as_ref().map(|truth| &truth.scope) else {
        return;
    };
    let Some(record) = drill.estate.last_truth().and_then(|truth| truth.newest().cloned()) else {
        return;
    };
    let databases = record.content.databases.iter();
    let gone: Vec<_> = databases
        .filter(|(name, held)| *name != restored && !held.tables.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    if !gone.is_empty() {
        drill.desk.recorder.finding(format!(
            "Databases that the failed primary had are not in the backup that was restored: {}.",
            gone.join(", ")
        ));
    }
}

/// Step 14: the service is declared restored, with what the ledger says is lost or given up.
pub(super) async fn declared(drill: &mut Drill, ledger: Option<&LedgerComparison>) -> Result<Ending, Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::Declare, 1);
    if !drill.desk.operator.decides(questions::declare(drill, ledger)).await {
        let reason = "the operator did not declare the service restored";
        return Err(step.fail(Outcome::NotRecovered, reason));
    }
    let restored = drill.desk.recorder.record(What::Restored);
    let (began, began_utc) = drill.incident.outage_began();
    let recovery = restored.saturating_sub(began);
    // As the evidence has it, which is rounded to milliseconds: an outcome must not contradict it.
    let rounded = Duration::from_millis(recovery.saturating_add(Duration::from_micros(500)).as_millis() as u64);
    let rto_met = rounded <= drill.desk.objectives.rto;
    // Where the ledger proves nothing, `ledger-prefix` is unknown and with it the drill; a miss is not proven either.
    let rpo_met = ledger.is_none_or(|ledger| ledger.meets_rpo(drill.desk.objectives.rpo.as_secs_f64()));
    let restored_at: DateTime<Utc> = Utc::now();
    let met = if rto_met { "met" } else { "missed" };
    let detail = format!(
        "from {} to {}: RTO of {} {met}",
        began_utc.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        restored_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        lasting(drill.desk.objectives.rto),
    );
    step.end_after(Verdict::Pass, detail, recovery, None);
    Ok(Ending {
        outcome: Outcome::restored(rpo_met, rto_met),
        reason: String::new(),
    })
}

/// What may still happen to a service that is restored: the new database fails, or is destroyed. What the application
/// serves is compared at the end of every drill, and so is the ledger, with the first commit of the service that runs again in
/// it; content and inventory are, too, where anything else was written since.
pub(super) async fn afterwards(drill: &mut Drill, ending: Ending, known: &Sound) -> Result<Ending, Stop> {
    let mut restored = drill.estate.restored.take();
    let faults = &drill.desk.scenario.faults;
    let broken = faults.iter().any(|fault| fault.at == Moment::AfterCutover);
    let injected = inject(drill, Moment::AfterCutover, restored.as_mut()).await;
    drill.estate.restored = restored;
    injected?;
    let served = known.served.as_ref();
    let mut wrong = Vec::new();
    if let Some((check, _)) = drill.estate.smoke(served, Phase::AfterCutover).await {
        if check.verdict == Verdict::Fail {
            wrong.push(format!("{}: {}", check.check, check.actual));
        }
        drill.desk.check(check);
    }
    if let Some(cluster) = &drill.estate.restored {
        let now = Position::of(drill, cluster).await;
        let silent = known
            .position
            .zip(now)
            .is_some_and(|(before, now)| now.proves_silence_since(before));
        wrong.extend(if broken || !silent {
            Box::pin(looked_at(drill, cluster, known, Phase::AfterCutover)).await?
        } else {
            still_promised(drill, cluster, known).await?
        });
    }
    if wrong.is_empty() {
        return Ok(ending);
    }
    Ok(Ending {
        outcome: Outcome::NotRecovered,
        reason: format!("after the cutover the service failed again: {}", wrong.join("; ")),
    })
}
