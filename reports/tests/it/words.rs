//! What a scenario expects of the way: each word is met, and told where it is not.

use reports::event::{ExpectedAnswer, PlannedFault};
use reports::{DrillEvidence, Event, Outcome, Step, Verdict, What};

use crate::drills;
use crate::script::{Script, header};

/// A recovered drill with an answer of the restored cluster, and a header of which something is expected.
fn recovered(expect: impl FnOnce(&mut reports::event::DrillHeader), answered: Option<What>) -> DrillEvidence {
    let mut header = header("data-directory-lost", Outcome::Recovered, None);
    expect(&mut header);
    let mut script = drills::recovered_as(header);
    if let Some(what) = answered {
        let end = script.events.pop().unwrap().what;
        script = script.then(what).then(end);
    }
    script.fold()
}

/// A drill that ends as it must, of which something more is expected.
fn expecting(script: Script, expect: impl FnOnce(&mut reports::event::DrillHeader)) -> DrillEvidence {
    let mut events = script.events;
    let ending = fold(&events).outcome;
    if let What::DrillStarted(header) = &mut events[0].what {
        header.expected.outcome = ending.unwrap();
        expect(header);
    }
    fold(&events)
}

fn fails_with(evidence: &DrillEvidence, mismatch: &str) {
    assert_eq!(evidence.mismatches, [mismatch]);
    assert_eq!((evidence.as_expected, evidence.verdict), (false, Verdict::Fail));
}

fn passes(evidence: &DrillEvidence) {
    assert_eq!(evidence.mismatches, Vec::<String>::new());
    assert_eq!(evidence.verdict, Verdict::Pass, "{:?}", evidence.objections);
}

fn planned(number: u32, line: u64, at: &str) -> PlannedFault {
    PlannedFault {
        number,
        line,
        at: at.into(),
        kind: "remove-files".into(),
        target: "cluster".into(),
    }
}

#[test]
fn a_fault_that_did_not_happen_fails_every_ending() {
    passes(&recovered(
        |header| header.faults = vec![planned(1, 14, "failure")],
        None,
    ));
    let evidence = recovered(
        |header| header.faults = vec![planned(1, 14, "failure"), planned(2, 14, "cutover")],
        None,
    );
    let told = "fault 2 (remove-files on cluster at cutover, line 14) did not happen: its moment never came";
    fails_with(&evidence, told);

    for script in [drills::not_recovered(), drills::false_alarm(), drills::refused()] {
        let script = || script.clone();
        passes(&expecting(script(), |_| ()));
        let evidence = expecting(script(), |header| header.faults = vec![planned(9, 40, "cutover")]);
        let told = "fault 9 (remove-files on cluster at cutover, line 40) did not happen: its moment never came";
        fails_with(&evidence, told);
    }
}

#[test]
fn a_drill_that_was_not_carried_out_is_not_judged_by_its_faults() {
    let mut events = drills::harness_error().events;
    if let What::DrillStarted(header) = &mut events[0].what {
        header.faults = vec![planned(2, 40, "cutover")];
    }
    let evidence = fold(&events);
    assert_eq!((evidence.outcome, evidence.verdict), (None, Verdict::Unknown));
    assert_eq!(evidence.mismatches.len(), 1);
    assert!(evidence.mismatches[0].starts_with("the harness could not"));
}

#[test]
fn an_error_leaves_no_outcome_whatever_the_log_says() {
    let events = drills::harness_error().without_last().then(What::DrillFinished {
        outcome: Some(Outcome::Recovered),
        reason: String::new(),
        error: Some("no room".into()),
    });
    assert_eq!(events.fold().outcome, None);
    let none = drills::recovered().without_last().then(What::DrillFinished {
        outcome: None,
        reason: String::new(),
        error: None,
    });
    let none = none.fold();
    assert_eq!((none.outcome, none.verdict), (None, Verdict::Unknown));
}

#[test]
fn the_number_of_restores() {
    passes(&recovered(|header| header.expected.tries = Some(1), None));
    let evidence = recovered(|header| header.expected.tries = Some(2), None);
    fails_with(&evidence, "expected 2 restores to be begun, got 1");
}

#[test]
fn the_least_number_of_commits() {
    passes(&recovered(|header| header.expected.least_commits = Some(500), None));
    let evidence = recovered(|header| header.expected.least_commits = Some(501), None);
    fails_with(
        &evidence,
        "expected at least 501 acknowledged commits, but there were 500",
    );
}

#[test]
fn the_step_at_which_it_ends() {
    let ends = |script, step| expecting(script, |header| header.expected.at_step = Some(step));
    passes(&ends(drills::false_alarm(), Step::Confirm));
    passes(&ends(drills::refused(), Step::ListBackups));
    let evidence = ends(drills::not_recovered(), Step::Validate);
    fails_with(
        &evidence,
        "expected an end at step 8 data validated, but it ended at step 4 backup chosen",
    );
}

#[test]
fn findings_by_text_and_severity() {
    let finds = |text: &str| {
        expecting(drills::not_recovered(), |header| {
            header.expected.findings = vec![text.to_owned()];
        })
    };
    passes(&finds("out of 2 are damaged"));
    passes(&finds("critical: 2 backups"));
    let told = "expected a finding with \"warning: 2 backups\", and there is none";
    fails_with(&finds("warning: 2 backups"), told);
}

#[test]
fn an_answer_is_one_value_and_that_one() {
    let expect = |header: &mut reports::event::DrillHeader| {
        header.expected.answers = vec![ExpectedAnswer {
            sql: "SELECT 1".into(),
            database: "postgres".into(),
            is: "1".into(),
        }];
    };
    let answered = |number: u32, answer: Option<&str>| What::Answered {
        number,
        cluster: "restored-1".into(),
        answer: answer.map(str::to_owned),
        problem: answer.map_or("it answered NULL", |_| "").to_owned(),
    };
    passes(&recovered(expect, Some(answered(1, Some("1")))));
    let begin = "expected the answer \"1\" to \"SELECT 1\", but ";
    for (what, told) in [
        (Some(answered(1, Some("2"))), "restored-1 answered \"2\""),
        (Some(answered(1, None)), "restored-1 did not: it answered NULL"),
        (None, "it was not asked: no cluster was in service at the end"),
        (
            Some(answered(2, Some("1"))),
            "it was not asked: no cluster was in service at the end",
        ),
    ] {
        fails_with(&recovered(expect, what), &format!("{begin}{told}"));
    }
}

#[test]
fn logs_of_earlier_versions_are_read() {
    let finding = r#"{"sequence":1,"at_utc":"2026-03-02T04:00:00Z","offset_ns":1,"event":"finding","text":"so"}"#;
    let event: Event = serde_json::from_str(finding).unwrap();
    let What::Finding(finding) = event.what else {
        unreachable!("it is another event");
    };
    assert_eq!(finding.to_string(), "warning: so");
}

fn fold(events: &[Event]) -> DrillEvidence {
    reports::fold(events).unwrap()
}
