//! What a scenario expects beside outcome, detection and rejected backups: findings, tries, commits, the step at which it
//! ends, answers of the cluster in service; and that every fault happens that it plans.

use crate::event::{ExpectedAnswer, PlannedFault};
use crate::text::{counted, number};

use super::{DrillEvidence, judge::Told};

/// What is told of each of them that is not met. Of a drill that was carried out.
pub(super) fn mismatches(evidence: &DrillEvidence) -> Vec<Told> {
    let mut found = Vec::new();
    found.extend(faults_that_did_not_happen(evidence));
    found.extend(at_step(evidence));
    found.extend(tries(evidence));
    found.extend(least_commits(evidence));
    found.extend(findings(evidence));
    found.extend(answers(evidence));
    found
}

/// A drill without its damage proves nothing of it.
fn faults_that_did_not_happen(evidence: &DrillEvidence) -> impl Iterator<Item = Told> {
    let happened = |planned: &PlannedFault| evidence.faults.iter().any(|fault| fault.number == planned.number);
    let planned = evidence.header.faults.iter();
    planned.filter(move |planned| !happened(planned)).map(|planned| {
        let short = format!("fault {} ({}) did not happen", planned.number, planned.kind);
        Told::new(short, format!("{planned} did not happen: its moment never came"))
    })
}

fn at_step(evidence: &DrillEvidence) -> Option<Told> {
    let expected = evidence.header.expected.at_step?;
    let told = match evidence.last_step {
        Some(last) if last == expected => return None,
        Some(last) => format!("it ended at step {last}"),
        None => "it ended before its first step".to_owned(),
    };
    Some(Told::from(format!("expected an end at step {expected}, but {told}")))
}

fn tries(evidence: &DrillEvidence) -> Option<Told> {
    let expected = evidence.header.expected.tries?;
    let (told, tries) = (counted(expected, "restore"), evidence.tries);
    (tries != expected).then(|| Told::from(format!("expected {told} to be begun, got {tries}")))
}

fn least_commits(evidence: &DrillEvidence) -> Option<Told> {
    let least = evidence.header.expected.least_commits?;
    let told = match evidence.acknowledged_commits() {
        Some(commits) if commits >= least => return None,
        Some(commits) => format!("there were {}", number(commits)),
        None => "how many there were is not known".to_owned(),
    };
    Some(Told::from(format!(
        "expected at least {}, but {told}",
        counted(least, "acknowledged commit")
    )))
}

fn findings(evidence: &DrillEvidence) -> impl Iterator<Item = Told> {
    let occurs = |text: &str| {
        evidence
            .findings
            .iter()
            .any(|finding| finding.to_string().contains(text))
    };
    let expected = evidence.header.expected.findings.iter();
    expected.filter(move |text| !occurs(text)).map(|text| {
        let told = format!("expected a finding with {text:?}, and there is none");
        Told::new("a finding that was expected is not there", told)
    })
}

/// Each statement must have been answered once, and by the value that is expected: an error, no row and NULL are none.
fn answers(evidence: &DrillEvidence) -> impl Iterator<Item = Told> {
    let expected = (1..).zip(&evidence.header.expected.answers);
    expected.filter_map(|(number, expected): (u32, _)| {
        let ExpectedAnswer { sql, is, .. } = expected;
        let told = match evidence.answers.iter().rfind(|row| row.number == number) {
            None => "it was not asked: no cluster was in service at the end".to_owned(),
            Some(row) => match &row.answer {
                Some(answer) if answer == is => return None,
                Some(answer) => format!("{} answered {answer:?}", row.cluster),
                None => format!("{} did not: {}", row.cluster, row.problem),
            },
        };
        Some(Told::new(
            format!("the answer to statement {number} is not the one that was expected"),
            format!("expected the answer {is:?} to {sql:?}, but {told}"),
        ))
    })
}
