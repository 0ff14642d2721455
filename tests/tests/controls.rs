//! Every check has a negative control: something in the catalogue in which it must fail.
//!
//! That the controls still trip their checks is shown by running them: `scenarios.rs` runs every scenario and fails
//! where a check named in `detected_by` did not notice.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use drill::scenario;
use reports::{CheckId, Outcome};

#[test]
fn every_check_has_a_negative_control() {
    let mut controls: BTreeMap<CheckId, Vec<String>> = BTreeMap::new();
    for scenario in scenario::all(&drill::state::Parts::default().vocabulary()).expect("the catalogue can be read") {
        for check in scenario.expect.detected_by.unwrap_or_default() {
            controls.entry(check).or_default().push(scenario.id.clone());
        }
    }
    let without: Vec<&str> = CheckId::ALL
        .iter()
        .filter(|check| !controls.contains_key(check))
        .map(|check| check.id())
        .collect();
    assert!(
        without.is_empty(),
        "checks that nothing in the catalogue makes fail: {without:?}"
    );
}

#[test]
fn something_healthy_must_not_trip_anything_else() {
    let scenarios = scenario::all(&drill::state::Parts::default().vocabulary()).expect("the catalogue can be read");
    let healthy = scenarios
        .iter()
        .find(|scenario| scenario.id == "healthy")
        .expect("there is a healthy scenario");
    assert_eq!(healthy.expect.outcome, Outcome::Recovered);
    assert!(healthy.expect.only, "healthy names all that may notice anything");
}

#[test]
fn an_ending_that_is_no_recovery_says_at_which_step() {
    let scenarios = scenario::all(&drill::state::Parts::default().vocabulary()).expect("the catalogue can be read");
    let endings = scenarios
        .iter()
        .filter(|scenario| !scenario.expect.outcome.is_restored());
    let without: Vec<&str> = endings
        .filter(|scenario| scenario.expect.at_step.is_none())
        .map(|scenario| scenario.id.as_str())
        .collect();
    assert!(
        without.is_empty(),
        "scenarios that would accept their ending for any reason (write `at_step`): {without:?}"
    );
}
