//! The tables, read back as a script would.

use reports::csv::{CHECKS, DETECTION, DRILLS, STEPS};
use reports::event::LedgerComparison;
use reports::{CheckId, Outcome, RunEvidence, What, csv};

use crate::drills;
use crate::script::{Script, header, ledger};

fn read(text: &str) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

fn cell(table: &[Vec<String>], row: usize, column: &str) -> String {
    let index = table[0].iter().position(|title| title == column).unwrap();
    table[row][index].clone()
}

fn run(scripts: &[Script]) -> RunEvidence {
    RunEvidence::new(scripts.iter().map(Script::fold).collect())
}

#[test]
fn headers_are_always_there() {
    let none = run(&[]);
    assert_eq!(read(&csv::drills(&none).unwrap()), [DRILLS]);
    assert_eq!(read(&csv::steps(&none).unwrap()), [STEPS]);
    assert_eq!(read(&csv::checks(&none).unwrap()), [CHECKS]);
    assert_eq!(read(&csv::detection(&none).unwrap()), [DETECTION]);
}

#[test]
fn columns_are_those_of_the_interface() {
    assert_eq!(
        DRILLS.join(","),
        "run_id,scenario,group,backup_system,postgres_version,provider,seed,outcome,expected_outcome,\
         as_expected,verdict,rpo_objective_s,data_loss_window_s,given_up_window_s,lost_share,rpo_met,\
         acknowledged_commits,lost_commits,commits_beyond_target,indeterminate_commits,holes,\
         unexpected_rows,rto_objective_s,recovery_time_s,rto_met,detection_s,decision_s,restore_s,\
         validation_s,cutover_s,workload_started_at_utc,failed_at_utc,alerted_at_utc,restored_at_utc,\
         recovery_point_at_utc,backup_id,backup_taken_at_utc,rejected_candidates,backup_bytes,\
         database_bytes,harness_overhead_s,reason"
    );
    assert_eq!(
        STEPS.join(","),
        "run_id,scenario,step,name,started_at_utc,duration_s,budget_s,within_budget,attempt,role,verdict,detail"
    );
    assert_eq!(
        CHECKS.join(","),
        "run_id,scenario,check,phase,verdict,expected,actual,duration_s,detail"
    );
    assert_eq!(DETECTION.join(","), "run_id,scenario,check,should_detect,detected");
}

#[test]
fn a_drill_that_recovered() {
    let table = read(&csv::drills(&run(&[drills::recovered()])).unwrap());
    let expected = [
        ("scenario", "data-directory-lost"),
        ("outcome", "recovered"),
        ("as_expected", "true"),
        ("verdict", "pass"),
        ("rpo_objective_s", "3600"),
        ("data_loss_window_s", "0.000"),
        ("given_up_window_s", "0.000"),
        ("lost_share", "0.000000"),
        ("rpo_met", "true"),
        ("acknowledged_commits", "500"),
        ("recovery_time_s", "2.103"),
        ("detection_s", "0.250"),
        ("decision_s", "0.210"),
        ("restore_s", "1.125"),
        ("validation_s", "0.120"),
        ("cutover_s", "0.398"),
        ("failed_at_utc", "2026-03-02T04:00:04.000Z"),
        ("backup_id", "base-1"),
        ("rejected_candidates", "0"),
        ("database_bytes", "25165824"),
        ("harness_overhead_s", "3.314"),
        ("reason", ""),
    ];
    for (column, value) in expected {
        assert_eq!(cell(&table, 1, column), value, "{column}");
    }
}

#[test]
fn what_is_not_applicable_is_empty() {
    let table = read(&csv::drills(&run(&[drills::refused()])).unwrap());
    for column in [
        "data_loss_window_s",
        "given_up_window_s",
        "lost_share",
        "rpo_met",
        "lost_commits",
        "recovery_time_s",
        "rto_met",
        "restore_s",
        "backup_id",
    ] {
        assert_eq!(cell(&table, 1, column), "", "{column}");
    }
}

#[test]
fn steps_have_a_row_for_each_attempt_and_for_what_was_not_reached() {
    let table = read(&csv::steps(&run(&[drills::not_recovered()])).unwrap());
    assert_eq!(table.len(), 1 + 15);
    assert_eq!(cell(&table, 4, "attempt"), "1");
    assert_eq!(cell(&table, 5, "attempt"), "2");
    assert_eq!(cell(&table, 15, "verdict"), "skipped");
    assert_eq!(cell(&table, 15, "attempt"), "");
    assert_eq!(cell(&table, 3, "budget_s"), "10");
}

#[test]
fn a_loss_is_never_rounded_down() {
    let lost = |window_ns| {
        let ledger = LedgerComparison {
            data_loss_window_ns: window_ns,
            ..ledger(1, 0)
        };
        let script = Script::begin(header("x", Outcome::Recovered, None))
            .then(What::LedgerCompared(ledger))
            .end(Outcome::Recovered, "");
        cell(&read(&csv::drills(&run(&[script])).unwrap()), 1, "data_loss_window_s")
    };
    assert_eq!(lost(1), "0.001");
    assert_eq!(lost(1_001_000_000), "1.001");
    assert_eq!(lost(1_001_000_001), "1.002");
}

#[test]
fn the_detection_matrix_is_complete() {
    let table = read(&csv::detection(&run(&[drills::recovered(), drills::false_alarm()])).unwrap());
    assert_eq!(table.len(), 1 + 2 * CheckId::ALL.len());
    assert_eq!(table[1][2..], ["server-start", "true", "true"]);
}

#[test]
fn cells_cannot_become_formulas_or_break_the_table() {
    let nasty = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "a\"b,c\r\nd",
        "ünï",
        "a=b",
    ];
    for text in nasty {
        let script = Script::begin(header("x", Outcome::Refused, None)).end(Outcome::Refused, text);
        let csv = csv::drills(&run(&[script])).unwrap();
        assert!(csv.ends_with("\r\n"));
        let table = read(&csv);
        assert_eq!(table.len(), 2, "{text:?}");
        let reason = cell(&table, 1, "reason");
        assert_eq!(reason.trim_start_matches('\''), text);
        assert_eq!(
            reason.starts_with('\''),
            text.starts_with(['=', '+', '-', '@', '\t', '\r']),
            "{text:?}"
        );
    }
}
