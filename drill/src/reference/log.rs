//! The records of a drill in their order, and those around the point that a cluster reached.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_postgres::Client;

use super::Record;
use crate::postgres::{Lsn, SystemIdentifier, TimelineId};

/// Size of a WAL page.
const PAGE: u64 = 8192;
/// Sizes of the headers of a WAL page: of any, and of a segment's first.
const HEADERS: [u64; 2] = [24, 40];

/// How much of a cluster a restore brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it, its configuration included.
    Cluster,
    /// All of it: the original cluster, which still runs in its place.
    Source,
    /// One database and the roles, as a dump does.
    Database(String),
}

/// What a cluster is compared with.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The service's own database, which messages do not name.
    pub home: String,
    /// What of the cluster is compared.
    pub scope: Scope,
    /// The records at or before the recovery point, the newest first.
    pub before: Vec<Arc<Record>>,
    /// The records after it, the earliest first: what differs between the two sides was changed by the service.
    pub after: Vec<Arc<Record>>,
    /// The record of the backup that was restored: what no WAL carries is compared with it.
    pub backup: Option<Arc<Record>>,
}

impl Truth {
    /// The record that decides, where the next one agrees.
    pub fn newest(&self) -> Option<&Arc<Record>> {
        self.before.first()
    }

    /// The record after the point that was reached.
    pub fn next(&self) -> Option<&Arc<Record>> {
        self.after.first()
    }

    /// Whether, on both sides of the point that was reached, the next number of a sequence was in use already.
    pub fn was_behind(&self, database: &str, sequence: &str) -> bool {
        let said = |record: &Arc<Record>| {
            let content = record.content.databases.get(database);
            content.is_some_and(|content| content.sequences.behind.contains(sequence))
        };
        self.newest().is_some_and(said) && self.next().is_none_or(said)
    }

    /// The numbers that a sequence would have given next on both sides of the point that was reached. None for a dump, which
    /// reads sequences outside of its snapshot, before or after the record does.
    pub fn next_numbers(&self, database: &str, sequence: &str) -> Vec<i64> {
        if matches!(self.scope, Scope::Database(_)) {
            return Vec::new();
        }
        let around = self.newest().into_iter().chain(self.next());
        let contents = around.filter_map(|record| record.content.databases.get(database));
        contents
            .filter_map(|content| content.sequences.next.get(sequence).copied())
            .collect()
    }

    /// Which records these are, for people.
    pub fn moments(&self) -> String {
        let named = |record: &Arc<Record>| {
            // A backup's record is named by its id alone.
            let with = if record.moment.contains(' ') { "" } else { "with " };
            format!("{with}{} ({})", record.moment, record.until)
        };
        match (self.newest(), self.next()) {
            (Some(newest), None) => format!("as recorded {}", named(newest)),
            (Some(newest), Some(next)) => {
                format!("as recorded {}, where the record {} agrees", named(newest), named(next))
            }
            (None, _) => "nothing was recorded before the point that was reached".to_owned(),
        }
    }
}

/// The recovery history of a cluster: each timeline that it went through, oldest first, and how far it followed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached(Vec<(TimelineId, Lsn)>);

impl Reached {
    /// Asks a server that is out of recovery: the history of the timeline that it is on, or, where it has none, how far
    /// its own WAL goes.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        const SQL: &str = "SELECT t.id, pg_current_wal_insert_lsn()::text, coalesce(pg_read_file('pg_wal/' || t.id || '.history', 0, 1000000, true), '')
                             FROM (SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS id) AS t";
        let row = client.query_one(SQL, &[]).await?;
        let (id, lsn, history): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let past = Self::parse(&history);
        if !past.0.is_empty() {
            return Ok(past);
        }
        let here = || {
            Some((
                TimelineId(u32::from_str_radix(&id, 16).ok()?),
                end_of_record(lsn.parse().ok()?),
            ))
        };
        Ok(Self(here().into_iter().collect()))
    }

    /// Asks a server that was started again where the recovery of its own WAL ended: the checkpoint that it makes then
    /// begins there.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn by_recovery(client: &Client) -> Result<Self, tokio_postgres::Error> {
        const SQL: &str = "SELECT timeline_id, redo_lsn::text,
                                  coalesce(pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline_id)), 8, '0') || '.history', 0, 1000000, true), '')
                             FROM pg_control_checkpoint()";
        let row = client.query_one(SQL, &[]).await?;
        let (timeline, redo, history): (i32, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let mut reached = Self::parse(&history);
        if let (Ok(timeline), Ok(redo)) = (u32::try_from(timeline), redo.parse()) {
            reached.0.push((TimelineId(timeline), end_of_record(redo)));
        }
        Ok(reached)
    }

    /// Reads a timeline history file: each line a timeline, where it was left, and why.
    pub fn parse(history: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some((TimelineId(words.next()?.parse().ok()?), words.next()?.parse().ok()?))
        };
        Self(history.lines().filter_map(line).collect())
    }

    /// Where replay ended; none if nothing is known.
    pub fn end(&self) -> Option<Lsn> {
        self.0.last().map(|(_, lsn)| *lsn)
    }

    /// Whether all that a record saw is part of this cluster's past.
    fn holds(&self, record: &Record) -> bool {
        let followed = self.0.iter().find(|(timeline, _)| *timeline == record.timeline);
        followed.is_some_and(|(_, until)| record.until <= *until)
    }
}

/// The end of the last record. Where a record ends with a page, the server's insert position already lies behind the header of
/// the next page.
pub(super) fn end_of_record(insert: Lsn) -> Lsn {
    if HEADERS.contains(&(insert.0 % PAGE)) {
        Lsn(insert.0 - insert.0 % PAGE)
    } else {
        insert
    }
}

/// The log of references.
#[derive(Debug, Default)]
pub struct Log {
    home: String,
    records: Vec<Arc<Record>>,
    /// Those of WAL that a crash took away, the earliest first.
    lost: Vec<Arc<Record>>,
    dumps: BTreeMap<String, Arc<Record>>,
    ended: bool,
}

/// The log, held by everything that records or compares.
#[derive(Debug, Clone, Default)]
pub struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    /// An empty log of the cluster with a service's database.
    pub fn of(home: &str) -> Self {
        let log = Log {
            home: home.to_owned(),
            ..Log::default()
        };
        Self(Arc::new(Mutex::new(log)))
    }

    /// Calls a function with the log.
    pub fn with<T>(&self, act: impl FnOnce(&mut Log) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log {
    /// Adds a record, if the log has not ended.
    pub fn add(&mut self, record: Record) {
        if !self.ended {
            self.records.push(Arc::new(record));
        }
    }

    /// The newest record.
    pub fn newest(&self) -> Option<Arc<Record>> {
        self.records.last().map(Arc::clone)
    }

    /// Adds what a dump's own snapshot holds.
    pub fn add_dump(&mut self, backup: &str, record: Record) {
        self.dumps.insert(backup.to_owned(), Arc::new(record));
    }

    /// What a dump's own snapshot holds, if it was recorded.
    pub fn dump(&self, backup: &str) -> Option<Arc<Record>> {
        self.dumps.get(backup).map(Arc::clone)
    }

    /// Ends the log: from here on the cluster is damaged, and no record of it is the truth.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Forgets what was recorded of a future that the service has left, as an earlier recovery does.
    pub fn forget_abandoned(&mut self, reached: &Reached) {
        self.records.retain(|record| reached.holds(record));
    }

    /// Sets aside what was recorded after the point that crash recovery reached: it saw commits that were not flushed, and
    /// new WAL takes the place of theirs.
    pub fn drop_lost_to_crash(&mut self, reached: &Reached) {
        let lost = self.records.extract_if(.., |record| !reached.holds(record));
        self.lost.extend(lost);
    }

    /// Records of a cluster whose WAL a crash took away: what they saw may be there, or not.
    fn lost(&self, system: SystemIdentifier) -> impl Iterator<Item = Arc<Record>> {
        self.lost
            .iter()
            .filter(move |record| record.system == system)
            .map(Arc::clone)
    }

    /// The truth at the point that a cluster reached after it was restored from `backup`. Records of other clusters are not
    /// used.
    pub fn at(&self, reached: &Reached, system: SystemIdentifier, backup: &str) -> Truth {
        let ours: Vec<&Arc<Record>> = self.records.iter().filter(|record| record.system == system).collect();
        let held = ours
            .iter()
            .rposition(|record| reached.holds(record))
            .map_or(0, |at| at + 1);
        let (before, after) = ours.split_at(held);
        Truth {
            home: self.home.clone(),
            scope: Scope::Cluster,
            before: before
                .iter()
                .rev()
                .filter(|record| reached.holds(record))
                .map(|record| Arc::clone(record))
                .collect(),
            after: self
                .lost(system)
                .chain(after.iter().map(|record| Arc::clone(record)))
                .collect(),
            backup: ours
                .iter()
                .find(|record| record.moment == backup)
                .map(|record| Arc::clone(record)),
        }
    }

    /// The truth of a dump, if its snapshot was recorded.
    pub fn of_dump(&self, backup: &str, database: &str) -> Truth {
        Truth {
            home: self.home.clone(),
            scope: Scope::Database(database.to_owned()),
            before: self.dumps.get(backup).map(Arc::clone).into_iter().collect(),
            after: Vec::new(),
            backup: None,
        }
    }

    /// The truth by the last record of the service's own cluster.
    pub fn last(&self, system: SystemIdentifier) -> Truth {
        let ours = self.records.iter().rev().filter(|record| record.system == system);
        let before: Vec<_> = ours.map(Arc::clone).collect();
        Truth {
            home: self.home.clone(),
            scope: Scope::Source,
            backup: before.first().map(Arc::clone),
            before,
            after: self.lost(system).collect(),
        }
    }
}

#[cfg(test)]
impl Record {
    /// A record of the first timeline, taken at the location 1, for tests of what it holds.
    pub(crate) fn for_tests(content: super::Content) -> Self {
        Self {
            moment: "b-1".into(),
            system: SystemIdentifier(7),
            timeline: TimelineId::FIRST,
            from: Lsn(1),
            until: Lsn(1),
            snapshot: String::new(),
            slots: Vec::new(),
            marks: std::collections::BTreeMap::new(),
            inventory: super::Inventory::default(),
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, Lsn, Reached, Record, TimelineId, Truth, end_of_record};
    use crate::postgres::SystemIdentifier;

    const OURS: SystemIdentifier = SystemIdentifier(7);

    fn record(moment: &str, timeline: u32, until: u64) -> Record {
        Record {
            moment: moment.to_owned(),
            timeline: TimelineId(timeline),
            from: Lsn(until),
            until: Lsn(until),
            ..Record::for_tests(super::super::Content::default())
        }
    }

    fn log() -> Log {
        let mut log = Log::default();
        for (moment, until) in [("seeding", 100), ("b-1", 200), ("b-2", 300), ("failure", 400)] {
            log.add(record(moment, 1, until));
        }
        log
    }

    fn moments(truth: &Truth) -> (Vec<&str>, Vec<&str>) {
        let names = |records: &'_ [std::sync::Arc<Record>]| -> Vec<&'static str> {
            let known = ["seeding", "b-1", "b-2", "failure", "later"];
            let named = records
                .iter()
                .filter_map(|record| known.into_iter().find(|name| *name == record.moment));
            named.collect()
        };
        (names(&truth.before), names(&truth.after))
    }

    #[test]
    fn the_records_around_the_point_that_was_reached_decide() {
        let at = |history: &str| log().at(&Reached::parse(history), OURS, "b-1");
        let truth = at("1\t0/FA\tno recovery target specified\n");
        assert_eq!(moments(&truth), (vec!["b-1", "seeding"], vec!["b-2", "failure"]));
        assert_eq!(truth.backup.map(|record| record.until), Some(Lsn(200)));
        assert_eq!(
            moments(&at("1\t0/1000\tx\n")),
            (vec!["failure", "b-2", "b-1", "seeding"], vec![])
        );
        assert_eq!(moments(&at("1\t0/12C\tx\n")).0[0], "b-2", "at the point is before it");
        assert_eq!(moments(&at("1\t0/10\tx\n")).0, Vec::<&str>::new());
    }

    #[test]
    fn a_record_of_another_cluster_or_of_another_timeline_is_none() {
        let reached = Reached::parse("1\t0/1000\tx\n");
        assert_eq!(
            moments(&log().at(&reached, SystemIdentifier(8), "b-1")),
            (vec![], vec![])
        );
        let mut log = log();
        log.add(record("later", 2, 500));
        let past = Reached::parse("1\t0/15E\tx\n2\t0/1000\ty\n");
        assert_eq!(
            moments(&log.at(&past, OURS, "b-1")).0,
            ["later", "b-2", "b-1", "seeding"]
        );
        log.forget_abandoned(&Reached::parse("1\t0/FA\tx\n"));
        assert_eq!(
            moments(&log.last(OURS)).0,
            ["b-1", "seeding"],
            "the service went another way from there"
        );
    }

    #[test]
    fn what_a_crash_took_away_was_perhaps_so_and_perhaps_not() {
        let mut log = log();
        log.drop_lost_to_crash(&Reached::parse("1\t0/FA\tx\n"));
        assert_eq!(
            moments(&log.last(OURS)),
            (vec!["b-1", "seeding"], vec!["b-2", "failure"])
        );
        let truth = log.at(&Reached::parse("1\t0/1000\tx\n"), OURS, "b-1");
        assert_eq!(
            moments(&truth),
            (vec!["b-1", "seeding"], vec!["b-2", "failure"]),
            "new WAL goes further than theirs did"
        );
        assert_eq!(moments(&log.last(SystemIdentifier(8))), (vec![], vec![]));
    }

    #[test]
    fn nothing_is_added_behind_the_first_damage() {
        let mut log = log();
        log.end();
        log.add(record("later", 1, 900));
        assert_eq!(moments(&log.last(OURS)).0[0], "failure");
    }

    #[test]
    fn the_header_of_the_next_page_is_behind_the_last_record() {
        assert_eq!(end_of_record(Lsn(8192 + 24)), Lsn(8192));
        assert_eq!(end_of_record(Lsn((1 << 20) + 40)), Lsn(1 << 20));
        assert_eq!(end_of_record(Lsn(8192 + 48)), Lsn(8192 + 48));
    }
}
