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
    evidence.mismatches = mismatches(evidence).into_iter().map(|told| told.text).collect();
    evidence.as_expected = evidence.mismatches.is_empty();
    let objections = objections(evidence).into_iter();
    evidence.objections = objections
        .map(|(verdict, told)| Objection {
            verdict,
            text: told.text,
        })
        .collect();
    evidence.verdict = if evidence.was_carried_out() {
        let objections = evidence.objections.iter().map(|objection| objection.verdict);
        objections.fold(Verdict::from_holds(evidence.as_expected), Verdict::merge)
    } else {
        Verdict::Unknown
    };
}

/// What is held against a drill: in a clause that a headline has room for, and in full.
pub(super) struct Told {
    pub(super) short: String,
    /// One sentence without its full stop; begins with what it comes to, reasons come behind a colon.
    pub(super) text: String,
    /// The check that it is about, if it is about one.
    pub(super) check: Option<CheckId>,
    /// Whether the clause leaves nothing out.
    pub(super) is_whole: bool,
}

impl Told {
    pub(super) fn new(short: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            short: short.into(),
            text: text.into(),
            check: None,
            is_whole: false,
        }
    }

    /// What a check did, and why.
    fn of_check(check: CheckId, what: &str, why: &str) -> Self {
        let short = format!("{check} {what}");
        let text = if why.is_empty() {
            short.clone()
        } else {
            format!("{short}: {why}")
        };
        Self {
            check: Some(check),
            is_whole: why.is_empty(),
            ..Self::new(short, text)
        }
    }
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self {
            is_whole: true,
            ..Self::new(text.clone(), text)
        }
    }
}

impl From<&str> for Told {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// Distinct ids of backups that were rejected as unusable.
pub(super) fn unusable_backups(rejected: &[RejectedCandidate]) -> BTreeSet<&str> {
    rejected
        .iter()
        .filter(|candidate| candidate.unusable)
        .map(|candidate| candidate.backup_id.as_str())
        .collect()
}

/// One for each expectation that was not met.
pub(super) fn mismatches(evidence: &DrillEvidence) -> Vec<Told> {
    if let Some(error) = &evidence.error {
        return vec![format!("the harness could not carry the drill out: {error}").into()];
    }
    let Some(outcome) = evidence.outcome else {
        let reason = Some(evidence.reason.as_str()).filter(|reason| !reason.is_empty());
        return vec![reason.unwrap_or("the drill ended without an outcome").into()];
    };
    let expected = &evidence.header.expected;
    let mut found = Vec::new();
    if outcome != expected.outcome {
        let told = format!("expected the outcome {}, got {outcome}", expected.outcome);
        found.push(told.into());
    }
    let detection = evidence.detection.iter();
    for row in detection.filter(|row| row.should_detect && !row.detected) {
        let (what, why) = instead(evidence, row.check);
        found.push(Told::of_check(
            row.check,
            &format!("had to notice the damage and {what}"),
            why,
        ));
    }
    let detected = evidence.detection.iter().filter(|row| row.detected);
    if expected.detected_by.as_ref().is_some_and(Vec::is_empty) {
        for row in detected {
            let told = Told::of_check(row.check, "failed", failure(evidence, row.check));
            found.push(Told {
                short: format!("nothing is damaged, but {}", told.short),
                text: format!("nothing is damaged, but {}", told.text),
                ..told
            });
        }
    } else if expected.only {
        for row in detected.filter(|row| !row.should_detect) {
            let what = "failed, and nothing that it looks at was damaged";
            found.push(Told::of_check(row.check, what, failure(evidence, row.check)));
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
        let expected = counted(rejected, "backup");
        let got = evidence.rejected_unusable;
        let told = format!("expected {expected} rejected as unusable, got {got}");
        found.push(Told::new(told.clone(), told + &which));
    }
    found.extend(words::mismatches(evidence));
    found
}

/// What a check did instead of failing, and why.
fn instead(evidence: &DrillEvidence, check: CheckId) -> (&'static str, &str) {
    let mut results = results(evidence, check).peekable();
    if results.peek().is_none() {
        return ("did not run", "");
    }
    match results.find(|result| result.verdict == Verdict::Unknown) {
        Some(unknown) => ("could not tell", &unknown.detail),
        None => ("passed", ""),
    }
}

/// What a check found when it first failed.
fn failure(evidence: &DrillEvidence, check: CheckId) -> &str {
    let failed = results(evidence, check).find(|result| result.verdict == Verdict::Fail);
    failed.map_or("", |result| &result.actual)
}

fn results(evidence: &DrillEvidence, check: CheckId) -> impl Iterator<Item = &CheckResult> {
    let all = evidence.checks.iter().map(|row| &row.result);
    all.filter(move |result| result.check == check)
}

/// What apart from expectations keeps the verdict from `Pass`, and what each turns it into.
pub(super) fn objections(evidence: &DrillEvidence) -> Vec<(Verdict, Told)> {
    let mut found = Vec::new();
    let mut object = |verdict, told: Told| found.push((verdict, told));
    for undo in evidence.undos.iter().filter(|undo| undo.verdict != Verdict::Pass) {
        let short = format!("undoing {} did not work", undo.what);
        let text = format!("{short}: {}", undo.detail);
        object(undo.verdict, Told::new(short, text));
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
fn unverified_source(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, Told)) {
    let source = evidence.checks.iter().map(|row| &row.result);
    let last: BTreeMap<CheckId, &CheckResult> = source
        .filter(|result| result.phase == Phase::Source)
        .map(|result| (result.check, result))
        .collect();
    for result in last.values().filter(|result| result.verdict == Verdict::Unknown) {
        let told = Told::of_check(result.check, "could not be verified", &result.detail);
        let not_proven = "that there was nothing to restore is not proven";
        object(
            Verdict::Unknown,
            Told {
                short: format!("{not_proven}, since {}", told.short),
                text: format!("{not_proven}: {}", told.text),
                ..told
            },
        );
    }
}

/// A restored service has to hold up against every check of its last attempt, but for those that are meant to fail.
fn failed_checks(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, Told)) {
    let meant_to_fail = evidence.header.expected.detected_by.as_deref().unwrap_or_default();
    let deciding = evidence.checks.iter().filter(|row| row.deciding).map(|row| &row.result);
    for result in deciding.filter(|result| result.verdict == Verdict::Fail && !meant_to_fail.contains(&result.check)) {
        let what = format!("failed in phase {}", result.phase);
        object(Verdict::Fail, Told::of_check(result.check, &what, &result.actual));
    }
}

/// A recovery that wrote where production or its backups are did harm, whatever became of that attempt and of the drill.
fn trespassed(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, Told)) {
    let expected = evidence.header.expected.detected_by.as_deref().unwrap_or_default();
    let decides = |deciding: bool| deciding && evidence.outcome.is_some_and(Outcome::is_restored);
    let failed = evidence
        .checks
        .iter()
        .filter(|row| !decides(row.deciding))
        .map(|row| &row.result);
    let failed = failed.filter(|result| result.check == CheckId::Isolation && result.verdict == Verdict::Fail);
    for result in failed.filter(|_| !expected.contains(&CheckId::Isolation)) {
        let what = format!("failed in phase {}", result.phase);
        object(Verdict::Fail, Told::of_check(result.check, &what, &result.actual));
    }
}

/// What is not known of anything that was used, nobody can vouch for.
fn unverified(evidence: &DrillEvidence, object: &mut impl FnMut(Verdict, Told)) {
    for result in used::relied_upon(evidence) {
        if result.verdict == Verdict::Unknown {
            let what = format!("could not be verified in phase {}", result.phase);
            object(Verdict::Unknown, Told::of_check(result.check, &what, &result.detail));
        }
    }
}

/// The outcome must not say more than was measured.
fn contradictions(evidence: &DrillEvidence, outcome: Outcome, object: &mut impl FnMut(Verdict, Told)) {
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
            format!("the outcome is {outcome}, but the RPO is {rpo}: {gone}").into(),
        );
    }
    match (evidence.times.failed, evidence.recovery_time, evidence.rto_met) {
        (Some(_), Some(time), Some(met)) if met == rto_missed => {
            let (time, rto) = (millis(time.total_ms), seconds(evidence.header.objectives.rto_s));
            let text = format!("the outcome is {outcome}, but the recovery took {time} and the RTO is {rto}");
            object(Verdict::Fail, text.into());
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
