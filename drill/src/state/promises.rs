//! What was promised to writers of a database that is still written to.

use reports::{CheckId, CheckResult, Phase, Verdict};

use super::{Drill, DrillError};
use crate::{
    errors::chain,
    ledger::History,
    record::{
        check::{Found, timed},
        nanoseconds,
    },
    service::Role,
    verify::{
        self,
        ledger::{self, Comparison},
        replay::Replayed,
    },
};

/// `ledger-prefix` on a database that is still written to: what was promised before it was looked at must be there,
/// what is promised meanwhile may be there or not. `None` if it cannot be read as the validator.
///
/// # Errors
/// If the ledger's file cannot be read.
pub async fn kept(drill: &Drill) -> Result<Option<(CheckResult, Option<Comparison>)>, DrillError> {
    let Some(writes) = drill.estate.site.service.writes() else {
        return Ok(None);
    };
    let login = drill.estate.login(&drill.estate.source, Role::DrillValidator);
    let Ok(mut validator) = verify::connect(&login).await else {
        return Ok(None);
    };
    // What crash recovery replayed must be there; a server that began without one replayed nothing.
    let reached = match drill.estate.source.connect("postgres", "postgres").await {
        Ok(superuser) => Replayed::of(&superuser, None, drill.estate.timeline.0).await.ok(),
        Err(_) => None, // then what is missing is lost, as far as anybody can tell
    };
    let reached = reached.and_then(|replayed| replayed.along(drill.estate.timeline));
    let looked_at_ns = nanoseconds(drill.desk.recorder.offset());
    let read = writes.read(&mut validator, theirs(drill)).await;
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?.as_of(looked_at_ns);
    let mut comparison = None;
    let mut check = timed(CheckId::LedgerPrefix, Phase::Source, "source", async {
        let expected = "every commit acknowledged so far, and nothing that nobody wrote";
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let recovered = match read {
            Ok(read) => read.recovered,
            Err(error) => return Ok::<_, ledger::Unverifiable>(Found::unknown(expected, chain(&error))),
        };
        let recovery = ledger::Recovery {
            target: ledger::Target::End,
            reached,
            backup: None,
            failed_ns: nanoseconds(drill.incident.failed_offset()),
        };
        let found = ledger::compare(&history, Some(&recovered), &writes.seed(), recovery)?;
        let examples = found.summary.examples.join("; ");
        let (verdict, told) = (found.verdict(), found.describe());
        let complete = verdict == Verdict::Pass && found.lost.count == 0;
        comparison = Some(found);
        Ok(match verdict {
            Verdict::Unknown => Found::unknown(expected, examples),
            _ => Found::judge(complete, expected, told).detail(examples),
        })
    })
    .await;
    check.duration_ms += crate::record::milliseconds(drill.desk.recorder.offset()) - looked_at_ns as f64 / 1e6;
    Ok(Some((check, comparison)))
}

/// Seeded keys that the writers may change at any moment, ascending.
pub fn theirs(drill: &Drill) -> Vec<i64> {
    let writes = drill.estate.site.service.writes();
    writes.map_or_else(Vec::new, |writes| writes.theirs(drill.desk.writers()))
}
