//! Every check has a negative control: something in the catalogue, or a test named here, in which it must fail.
//!
//! That the controls still trip their checks is shown by running them: `scenarios.rs` runs every scenario and fails
//! where a check named in `detected_by` did not notice.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use drill::scenario;
use reports::{CheckId, Outcome};

/// Checks whose control needs no cluster, and the test that damages what they look at.
const CONTROLLED_BY_A_TEST: &[(CheckId, &str, &str)] = &[(
    CheckId::AppIdentity,
    "drill/src/verify/smoke.rs",
    "an_application_on_another_cluster_is_told_apart",
)];

#[test]
fn every_check_has_a_negative_control() {
    let mut controls: BTreeMap<CheckId, Vec<String>> = BTreeMap::new();
    for scenario in scenario::all().expect("the catalogue can be read") {
        for check in scenario.expect.detected_by.unwrap_or_default() {
            controls.entry(check).or_default().push(scenario.id.clone());
        }
    }
    for (check, file, test) in CONTROLLED_BY_A_TEST {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            source.contains(&format!("fn {test}(")),
            "{file} has no test {test}, the control of {check}"
        );
        controls.entry(*check).or_default().push((*test).to_owned());
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
    let scenarios = scenario::all().expect("the catalogue can be read");
    let healthy = scenarios
        .iter()
        .find(|scenario| scenario.id == "healthy")
        .expect("there is a healthy scenario");
    assert_eq!(healthy.expect.outcome, Outcome::Recovered);
    assert!(healthy.expect.only, "healthy names all that may notice anything");
}
