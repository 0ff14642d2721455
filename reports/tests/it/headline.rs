//! A headline is one sentence; what it has no room for is a list, in which nothing stands twice; the worst comes first.

use reports::event::Objectives;
use reports::{CheckId, DrillEvidence, Outcome, Phase, RunEvidence, Verdict, What, csv, markdown};

use crate::drills;
use crate::script::{Script, header, ledger};

/// Recovered, with so much lost under this RPO; expected is what comes of it.
fn losing(lost: u64, window_ms: u64, rpo_s: f64) -> DrillEvidence {
    let missed = window_ms as f64 > rpo_s * 1e3;
    let outcome = Outcome::restored(!missed, true);
    let mut header = header("losing", outcome, None);
    header.objectives = Objectives {
        rpo_s,
        rto_s: 14_400.0,
        from_scenario: false,
    };
    let script = Script::begin(header).prepared().alerted(250).decided();
    let script = script.restored_in(500, ledger(lost, window_ms)).cut_over();
    script.end(outcome, "").fold()
}

/// What stands in the report between the headline and the table of facts.
fn list(drill: &DrillEvidence) -> String {
    let page = markdown::render(&RunEvidence::new(vec![drill.clone()]));
    let (head, _) = page.split_once("| Fact").unwrap();
    let (_, list) = head.split_once(&*drill.headline()).unwrap_or(("", ""));
    list.trim().to_owned()
}

#[test]
fn every_headline_is_one_sentence() {
    let all = drills::each_way_to_end();
    for drill in all.iter().map(Script::fold).chain([losing(500, 900, 0.5)]) {
        let headline = drill.headline();
        assert!(headline.ends_with('.') && !headline.contains(". "), "{headline}");
        assert!(headline.starts_with(char::is_uppercase), "{headline}");
    }
}

#[test]
fn what_is_lost_comes_with_its_share() {
    let said = |lost, all: &str| {
        let headline = losing(lost, u64::from(lost > 0), 1.0).headline();
        assert!(headline.contains(all), "{headline}");
    };
    said(0, "; 0 of 500 acknowledged commits lost;");
    said(1, "; 1 of 500 acknowledged commits lost (under 1 %);");
    said(270, "; 270 of 500 acknowledged commits lost (54 %);");
    said(500, "; all 500 acknowledged commits lost;");
}

#[test]
fn an_rpo_beyond_the_run_is_not_called_met() {
    let drill = losing(270, 2_400, 3_600.0);
    let told = "RPO 1 h could not be missed in a run of 2.5 s";
    assert!(drill.headline().contains(told), "{}", drill.headline());
    assert_eq!(drill.rpo_met, Some(true), "what is measured stays as it is");
    let page = markdown::render(&RunEvidence::new(vec![drill.clone()]));
    assert!(!page.contains("RPO met"), "{page}");
    assert!(page.contains("Whether an RPO of 1 h is kept"), "{page}");
    let several = markdown::render(&RunEvidence::new(vec![drill.clone(), drill]));
    assert!(several.contains("| beyond reach |"), "{several}");

    let could_be = losing(0, 0, 2.0).headline();
    assert!(could_be.contains("RPO 2 s and RTO 4 h met"), "{could_be}");
    let was = losing(270, 2_400, 2.0).headline();
    assert!(was.contains("RPO 2 s missed (loss of 2.4 s), RTO 4 h met"), "{was}");
}

#[test]
fn a_reason_is_told_once_and_its_particulars_are_a_list() {
    let reason = "no backup can be used: base-1: its checksum is another; base-2: its end is missing";
    let mut script = drills::not_recovered();
    if let Some(What::DrillFinished { reason: told, .. }) = script.events.last_mut().map(|event| &mut event.what) {
        reason.clone_into(told);
    }
    let drill = script.fold();
    assert_eq!(
        drill.headline(),
        "Service not restored: no backup can be used; not as expected: expected the outcome recovered, got not-recovered."
    );
    assert_eq!(
        list(&drill),
        "- base-1: its checksum is another\n- base-2: its end is missing"
    );
    let drills = csv::drills(&RunEvidence::new(vec![drill])).unwrap();
    for once in ["no backup can be used", "base-1: its checksum", "base-2: its end"] {
        assert_eq!(drills.matches(once).count(), 1, "{once} in {drills}");
    }
    assert!(drills.contains("expected the outcome recovered, got not-recovered"));
}

#[test]
fn what_two_rules_say_of_a_check_is_told_once() {
    let mut header = header("healthy", Outcome::Recovered, Some(&[]));
    header.expected.only = true;
    let script = Script::begin(header).prepared().alerted(10).then(What::Restored);
    let script = script
        .check(CheckId::ContentHash, Phase::Restored, Verdict::Fail)
        .check(CheckId::Sequences, Phase::Restored, Verdict::Unknown);
    let drill = script
        .then(What::LedgerCompared(ledger(0, 0)))
        .end(Outcome::Recovered, "")
        .fold();
    assert_eq!(drill.objections.len(), 2, "both stay in the evidence");
    let headline = drill.headline();
    let told = "; not as expected: nothing is damaged, but content-hash failed (and 1 more).";
    assert!(headline.ends_with(told), "{headline}");
    let list = list(&drill);
    assert_eq!(list.matches("content-hash").count(), 1, "{list}");
    assert!(list.contains("content-hash failed: something else"), "{list}");
    assert!(list.contains("sequences could not be verified in phase restored: it could not run"));
}

#[test]
fn total_loss_is_on_top_then_what_was_not_expected() {
    let named = |mut drill: DrillEvidence, name: &str| {
        name.clone_into(&mut drill.header.drill);
        drill
    };
    let run = RunEvidence::new(vec![
        named(losing(0, 0, 1.0), "nothing lost"),
        named(drills::recovered().without_last().fold(), "not verified"),
        named(losing(270, 900, 1.0), "half lost"),
        named(drills::not_recovered().fold(), "not expected"),
        named(losing(500, 900, 1.0), "all lost"),
        named(losing(10, 1_500, 1.0), "missed"),
    ]);
    let order: Vec<&str> = run.worst_first().iter().map(|drill| &*drill.header.drill).collect();
    assert_eq!(
        order,
        [
            "all lost",
            "not expected",
            "not verified",
            "missed",
            "half lost",
            "nothing lost"
        ]
    );
}
