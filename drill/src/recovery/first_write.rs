//! The first commit of the service that runs again: one key, created through the application. Reading tells nothing of
//! writing; a service that cannot be written to is not restored.

use reports::{CheckId, Outcome, Phase, Verdict};
use reqwest::StatusCode;

use super::{Stop, Validated, ended, second_look::Position};
use crate::{
    cutover::{ApplicationError, application::Reply},
    errors::chain,
    ledger::{Answer, Answered, History, Ledger},
    record::check::{Found, timed},
    service::Serves,
    state::Drill,
};

/// After the second look: one POST must be taken. It is journalled as a writer's operations are, and is one of the
/// commits that every later look must find. Where nobody knows how the service is written to, nothing is sent.
pub(super) async fn taken(drill: &Drill, validated: &mut Validated) -> Result<(), Stop> {
    let Some(serves) = drill.estate.site.service.serves() else {
        return Ok(());
    };
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?;
    let began = drill.desk.recorder.offset();
    let mut created = None;
    let check = timed(CheckId::Smoke, Phase::Cutover, "application, a write", async {
        let called = drill
            .estate
            .site
            .service
            .writes()
            .map_or("key", |writes| writes.seed().called.key);
        let expected = format!("201 Created and a new {called}");
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let ledger = Ledger::reopen(&drill.desk.ledger, &history, drill.desk.recorder.started())?;
        let answer = written(drill, serves, &ledger).await;
        ledger.close()?;
        Ok::<_, std::io::Error>(match answer {
            None => Found::unknown(expected, "it could not be journalled, so it was not sent"),
            Some(Ok(key)) => {
                created = Some(key);
                Found::pass(expected, format!("201 Created and {called} {key}"))
            }
            Some(Err(reason)) => Found::fail(expected, reason),
        })
    })
    .await;
    drill
        .desk
        .recorder
        .external_since("write through the application", began);
    let (verdict, actual) = (check.verdict, check.actual.clone());
    drill.desk.check(check);
    if verdict == Verdict::Fail {
        let reason = format!("a write through the application was not taken: {actual}");
        return Err(ended(Outcome::NotRecovered, reason));
    }
    if let (Some(key), Some(served)) = (created, &mut validated.known.served) {
        served.total += 1;
        if served.first_page.len() < serves.page() {
            served.first_page.push((key, 1)); // ids only grow
        }
    }
    validated.known.position = Position::of(drill, &validated.restored.cluster).await;
    Ok(())
}

/// The key that was created, or why there is none. `None` if it was not sent.
async fn written(drill: &Drill, serves: &dyn Serves, ledger: &Ledger) -> Option<Result<i64, String>> {
    let (intent, post) = serves.first_write();
    let operation = ledger.invoked(intent)?;
    let post = post(operation);
    let reply = drill
        .estate
        .application
        .post(post.path, &drill.estate.admin_token, &post.body)
        .await;
    let (answered, key, outcome) = judged(serves, reply);
    let answer = Answer {
        key,
        reason: outcome.as_ref().err().cloned(),
        ..Answer::default()
    };
    ledger.answered(operation, answered, answer);
    Some(outcome)
}

/// What an answer, or none, says of the commit.
fn judged(serves: &dyn Serves, reply: Result<Reply, ApplicationError>) -> (Answered, Option<i64>, Result<i64, String>) {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return (Answered::Indeterminate, None, Err(chain(&error))),
    };
    match (reply.status, serves.created(&reply.body)) {
        (StatusCode::CREATED, Some(key)) => (Answered::Acknowledged, Some(key), Ok(key)),
        (status, _) if status.is_client_error() => (Answered::Rejected, None, Err(reply.said())),
        _ => (Answered::Indeterminate, None, Err(reply.said())),
    }
}
