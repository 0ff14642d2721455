//! The image postgres:16, the project's own or the official one: what the latter documents holds.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use tests::Place;

use super::docker;

/// A container that is removed when the trial ends.
struct Removed(String);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.0])
            .output();
    }
}

/// What the official image documents holds for whichever is there as postgres:16.
pub(super) fn behaves() {
    let place = Place::new();
    place.write("once.sql", "CREATE TABLE made_at_first_start (n int);");
    let scripts = format!("{}:/docker-entrypoint-initdb.d:ro", place.path().display());
    let arguments = [
        "run",
        "--detach",
        "--env",
        "POSTGRES_USER=auditor",
        "--env",
        "POSTGRES_PASSWORD=open sesame",
        "--env",
        "POSTGRES_DB=ledger",
        "--env",
        "POSTGRES_INITDB_ARGS=--data-checksums --wal-segsize=1",
        "--volume",
        &scripts,
        "postgres:16",
        "-c",
        "max_connections=37",
    ];
    let container = Removed(docker(&arguments));
    let query = |host: &[&str], sql: &str| {
        let psql = [
            "exec",
            "--env",
            "PGPASSWORD=open sesame",
            &container.0,
            "psql",
            "-U",
            "auditor",
            "-AtX",
        ];
        let output = Command::new("docker")
            .args(psql)
            .args(host)
            .args(["-c", sql, "ledger"])
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    // Through TCP: the server that initialises answers on its socket only.
    while !query(&["-h", "127.0.0.1"], "SELECT 1").0 {
        assert!(Instant::now() < deadline, "{}", docker(&["logs", &container.0]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let settings = "SELECT current_setting('max_connections'), current_setting('data_checksums'), \
                    current_setting('wal_segment_size'), to_regclass('made_at_first_start')";
    assert_eq!(query(&[], settings).1, "37|on|1MB|made_at_first_start");
    let refused = Command::new("docker")
        .args([
            "exec",
            "--env",
            "PGPASSWORD=wrong",
            &container.0,
            "psql",
            "-U",
            "auditor",
            "-h",
        ])
        .args([
            &docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &container.0]),
            "-c",
            "SELECT 1",
            "ledger",
        ])
        .output()
        .unwrap();
    assert!(!refused.status.success(), "a wrong password was taken");
    let logs = Command::new("docker").args(["logs", &container.0]).output().unwrap();
    for (name, stream) in [("stdout", logs.stdout), ("stderr", logs.stderr)] {
        let said = String::from_utf8_lossy(&stream).into_owned();
        let times = said.matches("database system is ready to accept connections").count();
        assert_eq!(times, 1, "{name} says it so often:\n{said}");
    }
    let without = Command::new("docker")
        .args(["run", "--rm", "postgres:16"])
        .output()
        .unwrap();
    assert!(!without.status.success() && String::from_utf8_lossy(&without.stderr).contains("POSTGRES_PASSWORD"));
}
