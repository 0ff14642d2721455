//! When the harness cannot go on, the cause is often not in its own error: a server that panics only closes connections.
//! This looks at what the servers and the disk say before everything is removed. A drill that ends in order keeps its
//! logs in [`super::Drill::tear_down`].

use std::{fs, path::Path};

use reports::text::bytes;

use crate::{postgres::WorkDir, values};

/// With less than this a server can hardly be started, nor a WAL segment be written.
const SCARCE_BYTES: u64 = 16 << 20;

/// Keeps the servers' logs in `logs` and says what they and the disk add to an error.
pub fn add(why: String, work: &WorkDir, logs: &Path) -> String {
    let mut said = vec![why];
    for cluster in fs::read_dir(work.path()).into_iter().flatten().flatten() {
        let Ok(log) = fs::read(cluster.path().join("server.log")) else {
            continue; // not a cluster's directory
        };
        let log = values::of_log(&String::from_utf8_lossy(&log));
        let name = cluster.file_name().to_string_lossy().into_owned();
        let kept = logs.join(format!("{name}.log"));
        if !kept.exists() {
            let _ = fs::write(kept, &log); // the evidence is the poorer, the drill has failed anyway
        }
        let panic = last_panic(&log);
        said.extend(panic.map(|panic| format!("the server {name} said: {panic}")));
    }
    if let Ok(disk) = work.filesystem()
        && disk.available_bytes < SCARCE_BYTES
    {
        let (free, base) = (bytes(disk.available_bytes), work.path().parent().unwrap_or(work.path()));
        let base = base.display();
        said.push(format!(
            "only {free} are free in {base}: set DRILL_WORK_DIR to a place with more space, or take a smaller --target-size"
        ));
    }
    said.join("; ")
}

fn last_panic(log: &str) -> Option<String> {
    let line = log.lines().rev().find(|line| line.contains("PANIC:"))?;
    Some(line[line.find("PANIC:")?..].trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::last_panic;

    #[test]
    fn only_a_panic_counts() {
        let log =
            "2026 [1] PANIC:  could not write to file\n2026 [2] FATAL:  the database system is in recovery mode\n";
        assert_eq!(last_panic(log).as_deref(), Some("PANIC:  could not write to file"));
        assert_eq!(last_panic("2026 [2] FATAL:  terminating connection\n"), None);
    }
}
