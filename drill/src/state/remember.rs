//! Adds to the log of references what is true of the service's cluster, and tells what a fault is to it: history, which
//! the recovery must bring back, or damage, which it must undo.

use reports::Verdict;

use super::{Drill, DrillError, promises};
use crate::{
    errors::chain,
    reference::{LARGE_TABLE_BYTES, MAINTENANCE, Reached, Reading, Record, Summary},
    scenario::{Changes, Fault, FaultTarget, Moment, Target},
    verify::content_fingerprint,
};

/// What a fault is to what a recovery must bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The service, or those who run it, wanted it so: it is part of what is true from then on.
    History,
    /// It must be undone: what the cluster says from then on is no truth.
    Damage,
    /// It changes no data, or none of the cluster.
    None,
}

/// What `fault` is, in a scenario with that recovery target. `named` tells whether the fault before which recovery shall
/// stop has happened already.
pub fn change(fault: &Fault, target: &Target, named: bool) -> Change {
    if fault.target != FaultTarget::Cluster {
        return Change::None;
    }
    match fault.action.changes() {
        Changes::Nothing => Change::None,
        Changes::Settings | Changes::Contents => {
            let aimed_before = match target {
                Target::BeforeFault => !named,
                Target::Moment(moment) => fault.at >= *moment, // its time is noted before the faults of that moment
                _ => false,
            };
            if fault.at >= Moment::Failure || aimed_before {
                Change::Damage
            } else {
                Change::History
            }
        }
        Changes::Damage => Change::Damage,
    }
}

/// Which tables are read for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Each, however large.
    All,
    /// Those that are read quickly.
    Small,
}

/// Records what is true now, and hands it out in hashes. What cannot be recorded is left out; the records before it stand.
pub async fn record(drill: &Drill, moment: &str, tables: Tables, system_rows: bool) -> Option<Summary> {
    if drill.estate.site.references.with(|log| log.has_ended()) {
        return None;
    }
    let reading = Reading {
        system_rows,
        largest_bytes: (tables == Tables::Small).then_some(LARGE_TABLE_BYTES),
        answered_elsewhere: drill.estate.answered_by_the_ledger(),
        large_objects: drill.estate.site.service.large_objects().copied(),
        ..Reading::default()
    };
    // What people do is read in full; between that, only writers are at work.
    let last = drill
        .estate
        .site
        .references
        .with(|log| log.newest())
        .filter(|_| !system_rows);
    let record = Record::take(&drill.estate.source, moment, &reading, last.as_deref());
    match drill.desk.recorder.external("record what is true", record).await {
        Ok(record) => {
            let summary = record.summary();
            drill.estate.site.references.with(|log| log.add(record));
            Some(summary)
        }
        Err(error) => {
            drill.desk.recorder.finding(format!(
                "What was true {moment} could not be recorded: {}. What was recorded before is compared with instead.",
                chain(&error)
            ));
            None
        }
    }
}

/// After the server was started again: what was recorded of WAL that crash recovery did not find again is no longer true.
/// A server that does not answer is found out by whoever looks at it next.
pub async fn crashed(drill: &Drill) {
    if let Ok(client) = drill.estate.source.connect("postgres", MAINTENANCE).await
        && let Ok(reached) = Reached::by_recovery(&client).await
    {
        drill
            .estate
            .site
            .references
            .with(|log| log.drop_lost_to_crash(&reached));
    }
}

/// After a fault that is history: records what it made, and makes sure that it left alone what the ledger answers for.
///
/// # Errors
/// If it changed rows of the seed or of the ledger: then nothing tells any more which rows there should be.
pub async fn history(drill: &mut Drill, fault: &Fault, touched: &[String]) -> Result<(), DrillError> {
    if drill.estate.site.references.with(|log| log.has_ended()) {
        return Ok(()); // the rows are not what they should be anyway
    }
    let moment = format!("after the {} {} (line {})", fault.action.kind(), fault.at, fault.line);
    record(drill, &moment, Tables::Small, true).await;
    if fault.action.changes() == Changes::Settings || !drill.estate.source.is_running() {
        return Ok(());
    }
    let truth = drill.estate.last_truth();
    let subject = drill
        .estate
        .subject(&drill.estate.source, reports::Phase::Source, truth.as_ref());
    let theirs = promises::theirs(drill);
    let against = content_fingerprint::Against::Serving {
        reference: &drill.estate.fingerprint,
        theirs: &theirs,
    };
    let seed = content_fingerprint::check(&subject, against).await;
    let ledger = promises::kept(drill).await?.map(|(check, _)| check);
    let broken = [Some(seed), ledger]
        .into_iter()
        .flatten()
        .find(|check| check.verdict == Verdict::Fail);
    match broken {
        None => Ok(()),
        Some(check) => Err(DrillError::HistoryChangesRows {
            what: touched.join("; "),
            line: fault.line,
            said: format!("{}: {}; {}", check.check, check.actual, check.detail),
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use super::{Change, change};
    use crate::{
        scenario::{Target, parse},
        state::Parts,
    };

    fn changes(at: &str, target: &str, kinds: &[&str]) -> Vec<Change> {
        let faults = kinds.iter().fold(String::new(), |faults, kind| {
            faults + &format!("[[fault]]\nat = \"{at}\"\ntarget = \"cluster\"\n{kind}\n")
        });
        let text = format!(
            "id = \"x\"\ntitle = \"x\"\nwhy = \"x\"\nsource = \"x\"\n[given]\nbackup = \"basebackup\"\n{faults}\
             [recovery]\ntarget = {target}\n[expect]\noutcome = \"recovered\"\n"
        );
        let scenario = parse(&text, Path::new("x.toml"), "", &Parts::default().vocabulary()).unwrap();
        let mut named = false;
        let mut all = Vec::new();
        for fault in &scenario.faults {
            let what = change(fault, &scenario.recovery.target, named);
            named |= what != Change::None;
            all.push(what);
        }
        all
    }

    const SQL: &str = "kind = \"sql\"\nstatements = \"SELECT 1\"";
    const SETTING: &str = "kind = \"setting\"\nname = \"work_mem\"\nvalue = \"1MB\"";
    const COMMAND: &str = "kind = \"command\"\nargv = [\"true\"]";
    const FILES: &str = "kind = \"remove-files\"\npath = \"**\"";
    const SERVER: &str = "kind = \"server\"\ndoes = \"start\"";

    #[test]
    fn what_people_do_before_the_failure_is_history_unless_recovery_aims_before_it() {
        use Change::{Damage, History, None};
        let all = [SERVER, SQL, SETTING, COMMAND, FILES];
        assert_eq!(
            changes("after-backups", r#""end""#, &all),
            [None, History, History, History, Damage]
        );
        assert_eq!(
            changes("failure", r#""end""#, &all),
            [None, Damage, Damage, Damage, Damage]
        );
        assert_eq!(
            changes("after-backups", r#""before-fault""#, &[SERVER, SQL, SETTING]),
            [None, Damage, History],
            "only the fault that recovery stops before"
        );
        let time = "{ moment = \"between-backups\" }";
        assert_eq!(changes("before-backups", time, &[SQL]), [History]);
        assert_eq!(changes("between-backups", time, &[SQL]), [Damage]);
        assert_eq!(changes("after-backups", time, &[SQL, SETTING]), [Damage, Damage]);
        assert_eq!(Target::default(), Target::End);
    }
}
