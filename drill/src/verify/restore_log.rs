//! `restore-log`: pg_restore left nothing of the dump out.
//!
//! pg_restore goes on after an error, to its end, and exits with 1 for a comment as for a table. It names what it could not
//! restore, and that is what is reported: the object, never the message, which may quote a row. An error counts as harmless
//! only where a short list says so. What the check cannot see: what was not in the dump.

use std::fs;

use reports::{CheckId, CheckResult, Phase};

use crate::{
    postgres::Cluster,
    record::check::{Found, first_few, timed},
};

/// What pg_restore says where nothing is lost: the object is there already, or the setting is one that only pg_dump sets, for
/// its own session.
const HARMLESS: &[&str] = &[
    "schema \"public\" already exists",
    "language \"plpgsql\" already exists",
    "extension \"plpgsql\" already exists",
    "must be owner of extension plpgsql",
    "unrecognized configuration parameter \"transaction_timeout\"",
];
const ENTRY: &str = "pg_restore: from TOC entry ";
const ERROR: &str = "pg_restore: error: ";
const IGNORED: &str = "pg_restore: warning: errors ignored on restore: ";

/// The check. `None` for a cluster that was not loaded from a dump.
pub async fn check(cluster: &Cluster) -> Option<CheckResult> {
    let path = cluster.load_log_path();
    if !path.exists() {
        return None;
    }
    let check = timed(CheckId::RestoreLog, Phase::Restored, cluster.name(), async {
        let lost = lost(&fs::read_to_string(path)?);
        let actual = if lost.is_empty() {
            "as expected".to_owned()
        } else {
            format!("it could not restore {}", first_few(&lost))
        };
        let found = Found::judge(lost.is_empty(), "pg_restore restored every object", actual);
        Ok::<_, std::io::Error>(found.detail(if lost.len() > 5 { lost.join("; ") } else { String::new() }))
    });
    Some(check.await)
}

/// What was not restored, by type and name. How many errors it counts says less: those of a parallel restore count twice.
fn lost(stderr: &str) -> Vec<String> {
    let nameless = || "something that it does not name".to_owned();
    let (mut lost, mut entry, mut errors, mut ignored) = (Vec::new(), None, 0, false);
    for line in stderr.lines() {
        if let Some(text) = line.strip_prefix(ENTRY) {
            entry = Some(object(text));
        } else if let Some(error) = line.strip_prefix(ERROR) {
            errors += 1;
            if !HARMLESS.iter().any(|text| error.contains(text)) {
                lost.push(entry.clone().unwrap_or_else(nameless));
            }
        }
        ignored |= line.starts_with(IGNORED);
    }
    if ignored && errors == 0 {
        lost.push(nameless());
    }
    lost.dedup();
    lost
}

/// `226; 1259 16406 MATERIALIZED VIEW DATA mv postgres`, without the numbers and the owner.
fn object(entry: &str) -> String {
    let (_, text) = entry.split_once("; ").unwrap_or(("", entry));
    let named = text.splitn(3, ' ').nth(2).unwrap_or(text);
    named.rsplit_once(' ').map_or(named, |(named, _)| named).to_owned()
}

#[cfg(test)]
mod tests {
    use super::lost;

    const SAID: &str = r#"pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3; 2615 2200 SCHEMA public postgres
pg_restore: error: could not execute query: ERROR:  schema "public" already exists
Command was: CREATE SCHEMA public;

pg_restore: from TOC entry 217; 1259 16406 TABLE orders postgres
pg_restore: error: could not execute query: ERROR:  function count_of() does not exist
pg_restore: from TOC entry 3420; 0 16406 TABLE DATA orders postgres
pg_restore: error: COPY failed for table "orders": ERROR:  invalid input syntax for type integer: "hunter2"
CONTEXT:  COPY orders, line 1, column i: "hunter2"
"#;

    #[test]
    fn what_is_lost_is_named_without_its_values_and_what_is_harmless_is_not() {
        let log = format!("{SAID}pg_restore: warning: errors ignored on restore: 3\n");
        assert_eq!(lost(&log), ["TABLE orders", "TABLE DATA orders"]);
        assert!(!lost(&log).concat().contains("hunter2"));
        assert!(lost("").is_empty());
    }

    #[test]
    fn an_error_without_a_name_is_one_as_well() {
        let nameless = "pg_restore: error: could not execute query: ERROR:  out of shared memory\n";
        assert_eq!(lost(nameless), ["something that it does not name"]);
        assert_eq!(lost("pg_restore: warning: errors ignored on restore: 1\n").len(), 1);
        let twice = format!("{SAID}pg_restore: warning: errors ignored on restore: 6\n");
        assert_eq!(lost(&twice).len(), 2, "a parallel restore counts each error twice");
    }
}
