//! The first commit of the service that runs again: one script, created through the application. Reading tells nothing of
//! writing; a service that cannot be written to is not restored.

use reports::{CheckId, Outcome, Phase, Verdict};
use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Stop, Validated, ended, second_look::Position};
use crate::{
    cutover::application::{ApplicationError, Reply},
    errors::chain,
    ledger::{Answer, Answered, History, Intent, Ledger, OperationKind, RESUMED},
    record::check::{Found, timed},
    state::Drill,
    verify::smoke,
};

const ADDRESS: &str = "/api/v1/transformations";
const CONTENT: &str = "-- written through the application once it was back\n";

/// After the second look: one POST must be taken. It is journalled as a writer's operations are, and is one of the
/// commits that every later look must find.
pub(super) async fn taken(drill: &Drill, validated: &mut Validated) -> Result<(), Stop> {
    let history = History::read_or_unusable(&drill.ledger, &drill.ledger_header)?;
    let began = drill.recorder.offset();
    let mut created = None;
    let check = timed(CheckId::Smoke, Phase::Cutover, "application, a write", async {
        let expected = "201 Created and a new script";
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let ledger = Ledger::reopen(&drill.ledger, &history, drill.recorder.started())?;
        let answer = written(drill, &ledger).await;
        ledger.close()?;
        Ok::<_, std::io::Error>(match answer {
            None => Found::unknown(expected, "it could not be journalled, so it was not sent"),
            Some(Ok(script)) => {
                created = Some(script);
                Found::pass(expected, format!("201 Created and script {script}"))
            }
            Some(Err(reason)) => Found::fail(expected, reason),
        })
    })
    .await;
    drill.recorder.external_since("write through the application", began);
    let (verdict, actual) = (check.verdict, check.actual.clone());
    drill.check(check);
    if verdict == Verdict::Fail {
        let reason = format!("a write through the application was not taken: {actual}");
        return Err(ended(Outcome::NotRecovered, reason));
    }
    if let (Some(script), Some(served)) = (created, &mut validated.known.served) {
        served.total += 1;
        if served.first_page.len() < smoke::PAGE {
            served.first_page.push((script, 1)); // ids only grow
        }
    }
    validated.known.position = Position::of(drill, &validated.cluster).await;
    Ok(())
}

/// The script that was created, or why there is none. `None` if it was not sent.
async fn written(drill: &Drill, ledger: &Ledger) -> Option<Result<i64, String>> {
    let operation = ledger.invoked(Intent {
        writer: RESUMED,
        kind: OperationKind::CreateScript,
        script: None,
        version: 1,
        sha256: Some(hex::encode(Sha256::digest(CONTENT))),
        rows_at: None, // the application chooses it, and signs as itself
        name: None,
        description: None,
        facts: None,
        size_bytes: None,
    })?;
    let body = json!({
        "name": format!("after-recovery-{operation}"),
        "description": "written through the application",
        "content": CONTENT,
        "operationId": operation,
    });
    let reply = drill.application.post(ADDRESS, &drill.admin_token, &body).await;
    let (answered, script, outcome) = judged(reply);
    let answer = Answer {
        script,
        reason: outcome.as_ref().err().cloned(),
        ..Answer::default()
    };
    ledger.answered(operation, answered, answer);
    Some(outcome)
}

/// What an answer, or none, says of the commit.
fn judged(reply: Result<Reply, ApplicationError>) -> (Answered, Option<i64>, Result<i64, String>) {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return (Answered::Indeterminate, None, Err(chain(&error))),
    };
    match (reply.status, reply.body["id"].as_i64()) {
        (StatusCode::CREATED, Some(script)) => (Answered::Acknowledged, Some(script), Ok(script)),
        (status, _) if status.is_client_error() => (Answered::Rejected, None, Err(reply.said())),
        _ => (Answered::Indeterminate, None, Err(reply.said())),
    }
}
