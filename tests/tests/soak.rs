//! False alarms: a crash, a restore, and nothing damaged, many times with random seeds. Nothing but the dead server may be
//! noticed, ever. `DRILL_SOAK=100 cargo test -p tests --test soak` runs it a hundred times.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::ExitCode;

use tests::{Need, Place, row, rows, trial};

fn main() -> ExitCode {
    tests::run(vec![trial(
        "healthy-with-random-seeds",
        &[Need::Postgres, Need::Asked("DRILL_SOAK")],
        soak,
    )])
}

fn soak() {
    let times: u32 = std::env::var("DRILL_SOAK").unwrap().parse().unwrap();
    for time in 1..=times {
        let place = Place::new();
        let ran = place.run(&["healthy", "--backup", "basebackup"]);
        let drill = row(&place.out(), "drills.csv");
        let seen = format!(
            "run {time} of {times}, seed {}: {drill:#?}\n{}",
            drill["seed"], ran.stderr
        );
        assert_eq!(ran.code, Some(0), "{seen}");
        let alarms: Vec<_> = rows(&place.out(), "detection.csv")
            .into_iter()
            .filter(|row| row["detected"] == "true" && row["should_detect"] != "true")
            .collect();
        assert!(alarms.is_empty(), "{alarms:?}\n{seen}");
        assert_eq!(drill["holes"], "0", "{seen}");
        place.nothing_left(ran.pid);
    }
}
