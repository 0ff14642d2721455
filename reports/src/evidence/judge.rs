//! Judging a drill: did it end as its scenario expects, and may it pass?
//!
//! Expectations and objections are kept apart. A drill that should fail to recover and does is as expected; an undo
//! that failed, a check that could not run or a number that contradicts the outcome keeps any drill from `Pass`.

use std::collections::{BTreeMap, BTreeSet};

use crate::text::{counted, listed, millis, seconds};
use crate::{CheckId, CheckResult, Outcome, Phase, Verdict};

use super::{DrillEvidence, Objection, RejectedCandidate, used, words};

/// Fills in `as_expected`, `mismatches`, `objections` and `verdict`.
///
/// A harness error or a missing end makes the verdict `Unknown` whatever else is there: nothing was proven either
/// way. Otherwise a mismatch is `Fail`, and objections are merged in (`Fail` > `Unknown` > `Pass`).
pub(super) fn judge(evidence: &mut DrillEvidence) {
    evidence.mismatches = mismatches(evidence);
    evidence.as_expected = evidence.mismatches.is_empty();
    evidence.objections = objections(evidence);
    evidence.verdict = if evidence.was_carried_out() {
        let objections = evidence.objections.iter().map(|objection| objection.verdict);
        objections.fold(Verdict::from_holds(evidence.as_expected), Verdict::merge)
    } else {
        Verdict::Unknown
    };
}

/// Distinct ids of backups that were rejected as unusable.
pub(super) fn unusable_backups(rejected: &[RejectedCandidate]) -> BTreeSet<&str> {
    rejected
        .iter()
        .filter(|candidate| candidate.unusable)
        .map(|candidate| candidate.backup_id.as_str())
        .collect()
}

fn mismatches(evidence: &DrillEvidence) -> Vec<String> {
    if let Some(error) = &evidence.error {
        return vec![format!("the harness could not carry the drill out: {error}")];
    }
    let Some(outcome) = evidence.outcome else {
        let reason = Some(evidence.reason.as_str()).filter(|reason| !reason.is_empty());
        return vec![reason.unwrap_or("the drill ended without an outcome").to_owned()];
    };
    let expected = &evidence.header.expected;
    let mut found = Vec::new();
    if outcome != expected.outcome {
        let reason = if evidence.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", evidence.reason)
        };
        found.push(format!(
            "expected the outcome {}, got {}{reason}",
            expected.outcome, outcome
        ));
    }
    for row in evidence
        .detection
        .iter()
        .filter(|row| row.should_detect && !row.detected)
    {
        found.push(format!(
            "{} had to notice the damage and {}",
            row.check,
            instead(evidence, row.check)
        ));
    }
    if expected.detected_by.as_ref().is_some_and(Vec::is_empty) {
        for row in evidence.detection.iter().filter(|row| row.detected) {
            found.push(format!("nothing is damaged, but {} failed", row.check));
        }
    } else if expected.only {
        for row in evidence
            .detection
            .iter()
            .filter(|row| row.detected && !row.should_detect)
        {
            found.push(format!(
                "{} failed, and nothing that it looks at was damaged",
                row.check
            ));
        }
    }
    if let Some(rejected) = expected
        .rejected
        .filter(|&rejected| rejected != evidence.rejected_unusable)
    {
        let ids = unusable_backups(&evidence.rejected);
        let which = if ids.is_empty() {
            String::new()
        } else {
            format!(": {}", listed(ids))
        };
        let expected = counted(rejected.into(), "backup");
        found.push(format!(
            "expected {expected} rejected as unusable, got {}{which}",
            evidence.rejected_unusable
        ));
    }
    found.extend(words::mismatches(evidence));
    found
}

/// What a check did instead of failing.
fn instead(evidence: &DrillEvidence, check: CheckId) -> String {
    let mut results = evidence
        .checks
        .iter()
        .map(|row| &row.result)
        .filter(|result| result.check == check)
        .peekable();
    if results.peek().is_none() {
        return "did not run".to_owned();
    }
    match results.find(|result| result.verdict == Verdict::Unknown) {
        Some(unknown) => format!("could not tell: {}", unknown.detail),
        None => "passed".to_owned(),
    }
}

fn objections(evidence: &DrillEvidence) -> Vec<Objection> {
    let mut found = Vec::new();
    let mut object = |verdict, text| found.push(Objection { verdict, text });
    for undo in evidence.undos.iter().filter(|undo| undo.verdict != Verdict::Pass) {
        object(
            undo.verdict,
            format!("undoing {} did not work: {}", undo.what, undo.detail),
        );
    }
    match evidence.outcome {
        Some(outcome) if outcome.is_restored() => {
            failed_checks(evidence, &mut object);
            unverified(evidence, &mut object);
            contradictions(evidence, outcome, &mut object);
        }
        Some(Outcome::FalseAlarm) => unverified_source(evidence, &mut object),
        _ => {}
    }
    if evidence.outcome.is_some() {
        trespassed(evidence, &mut object);
    }
    found
}

/// A database that was not restored counts as healthy only where every look at it could be taken, the last time it was tried.
fn unverified_source(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, String)) {
    let source = evidence.checks.iter().map(|row| &row.result);
    let last: BTreeMap<CheckId, &CheckResult> = source
        .filter(|result| result.phase == Phase::Source)
        .map(|result| (result.check, result))
        .collect();
    for result in last.values().filter(|result| result.verdict == Verdict::Unknown) {
        let text = format!(
            "that there was nothing to restore is not proven: {} could not be verified: {}",
            result.check, result.detail
        );
        object(Verdict::Unknown, text);
    }
}

/// A restored service has to hold up against every check of its last attempt, but for those that are meant to fail.
fn failed_checks(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, String)) {
    let meant_to_fail = evidence.header.expected.detected_by.as_deref().unwrap_or_default();
    let deciding = evidence.checks.iter().filter(|row| row.deciding).map(|row| &row.result);
    for result in deciding.filter(|result| result.verdict == Verdict::Fail && !meant_to_fail.contains(&result.check)) {
        let text = format!("{} failed in phase {}: {}", result.check, result.phase, result.actual);
        object(Verdict::Fail, text);
    }
}

/// A recovery that wrote where production or its backups are did harm, whatever became of that attempt and of the drill.
fn trespassed(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, String)) {
    let expected = evidence.header.expected.detected_by.as_deref().unwrap_or_default();
    let decides = |deciding: bool| deciding && evidence.outcome.is_some_and(Outcome::is_restored);
    let failed = evidence
        .checks
        .iter()
        .filter(|row| !decides(row.deciding))
        .map(|row| &row.result);
    let failed = failed.filter(|result| result.check == CheckId::Isolation && result.verdict == Verdict::Fail);
    for result in failed.filter(|_| !expected.contains(&CheckId::Isolation)) {
        let text = format!("{} failed in phase {}: {}", result.check, result.phase, result.actual);
        object(Verdict::Fail, text);
    }
}

/// What is not known of anything that was used, nobody can vouch for.
fn unverified(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, String)) {
    for result in used::relied_upon(evidence) {
        if result.verdict == Verdict::Unknown {
            let text = format!(
                "{} could not be verified in phase {}: {}",
                result.check, result.phase, result.detail
            );
            object(Verdict::Unknown, text);
        }
    }
}

/// The outcome must not say more than was measured.
fn contradictions(evidence: &DrillEvidence, outcome: Outcome, object: &mut impl FnMut(Verdict, String)) {
    let (rpo_missed, rto_missed) = match outcome {
        Outcome::RecoveredRpoMissed => (true, false),
        Outcome::RecoveredRtoMissed => (false, true),
        Outcome::RecoveredBothMissed => (true, true),
        _ => (false, false),
    };
    if evidence.times.workload_started.is_some() && evidence.ledger.is_none() {
        object(
            Verdict::Unknown,
            "the ledger was not compared with the restored rows: what was lost is not known".into(),
        );
    }
    if let (Some(met), Some(ledger)) = (evidence.rpo_met, &evidence.ledger)
        && met == rpo_missed
    {
        let gone = ledger.comparison.gone();
        let rpo = seconds(evidence.header.objectives.rpo_s);
        object(
            Verdict::Fail,
            format!("the outcome is {outcome}, but the RPO is {rpo}: {gone}"),
        );
    }
    match (evidence.times.failed, evidence.recovery_time, evidence.rto_met) {
        (Some(_), Some(time), Some(met)) if met == rto_missed => {
            let (time, rto) = (millis(time.total_ms), seconds(evidence.header.objectives.rto_s));
            let text = format!("the outcome is {outcome}, but the recovery took {time} and the RTO is {rto}");
            object(Verdict::Fail, text);
        }
        (Some(_), None, _) => {
            object(
                Verdict::Unknown,
                "the service was never declared restored: its recovery time is not known".into(),
            );
        }
        _ => {}
    }
}
