//! A ledger read back: what was sent, when, and how it ended.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{Answer, Answered, Entry, Intent, LedgerHeader, Line, OperationKind, PgTime, RESUMED, facts::digest};

/// An operation as the checker needs it. 80 bytes, so that ten million fit in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// When it was journalled as about to be sent; nanoseconds on the drill's clock.
    pub invoked_ns: u64,
    /// When its answer was journalled; `u64::MAX` if none was.
    pub answered_ns: u64,
    /// The commit record is not before this; 0 if unknown.
    pub lsn_before: u64,
    /// The commit record does not end after this; 0 if unknown.
    pub lsn_after: u64,
    /// First 16 bytes of the SHA-256 of what it wrote; 0 if it wrote no content.
    pub content: u128,
    /// [`digest`] of the rest that it wrote, by its kind: name and description of a new key, size of an attachment,
    /// the key's "UpdatedAt" of every other one; 0 if unknown.
    pub facts: u64,
    /// The time that its rows carry.
    pub rows_at: PgTime,
    /// The key; 0 if it never became known.
    pub key: i64,
    /// The key's version afterwards.
    pub version: i32,
    /// The writer, who is the author of its rows.
    pub writer: u16,
    /// What it did.
    pub kind: OperationKind,
    /// How it ended.
    pub answered: Answered,
}

/// A ledger read back: operation `n` stands at index `n - 1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The operations in the order of their numbers.
    pub operations: Vec<Operation>,
    /// What was wrong with the file, if anything: a torn last line, lines that cannot be read.
    pub damage: Vec<String>,
    /// A wall-clock moment and the drill's clock at that moment: turns the one into the other.
    pub epoch: Option<(DateTime<Utc>, u64)>,
    /// When the first operation was sent to the service that runs again, if one was: those from here on are no part of what
    /// a restore had to bring back.
    pub resumed_ns: Option<u64>,
    /// Why it is of no use for this drill, if that is so.
    pub unusable: Option<String>,
}

impl History {
    /// As [`History::read`]; a ledger of another drill gives an empty history with [`History::unusable`] set.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read_or_unusable(path: &Path, expected: &LedgerHeader) -> Result<Self, LedgerError> {
        match Self::read(path, expected) {
            Err(error @ (LedgerError::Foreign { .. } | LedgerError::Header { .. })) => {
                let reason = error.to_string();
                Ok(Self {
                    damage: vec![reason.clone()],
                    unusable: Some(reason),
                    ..Self::default()
                })
            }
            read => read,
        }
    }

    /// Reads a ledger. What can be read is used; what cannot is named in [`History::damage`], and then the history is incomplete.
    ///
    /// # Errors
    /// If the file cannot be opened or read, or has no readable header of the expected drill.
    pub fn read(path: &Path, expected: &LedgerHeader) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Read {
            path: path.to_owned(),
            source,
        };
        let mut lines = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let mut buffer = Vec::new();
        lines.read_until(b'\n', &mut buffer).map_err(failed)?;
        let header: LedgerHeader = serde_json::from_slice(&buffer).map_err(|source| LedgerError::Header {
            path: path.to_owned(),
            source,
        })?;
        if header != *expected {
            return Err(LedgerError::Foreign {
                path: path.to_owned(),
                found: format!("{}/{}", header.run_id, header.drill),
                expected: format!("{}/{}", expected.run_id, expected.drill),
            });
        }
        let mut history = Self::default();
        let mut number = 1;
        loop {
            buffer.clear();
            if lines.read_until(b'\n', &mut buffer).map_err(failed)? == 0 {
                return Ok(history);
            }
            number += 1;
            match serde_json::from_slice::<Line>(&buffer) {
                Ok(line) if buffer.ends_with(b"\n") => history.add(line, number),
                Ok(_) => history
                    .damage
                    .push(format!("line {number} is cut off: the harness died while it wrote it")),
                Err(_) if !buffer.ends_with(b"\n") => {
                    history
                        .damage
                        .push(format!("line {number} is cut off: the harness died while it wrote it"));
                }
                Err(error) => history.damage.push(format!("line {number} cannot be read: {error}")),
            }
        }
    }

    /// What was known at a moment: an operation that was answered later may have happened by then or not.
    #[must_use]
    pub fn as_of(mut self, t_ns: u64) -> Self {
        for operation in self
            .operations
            .iter_mut()
            .filter(|operation| operation.answered_ns > t_ns)
        {
            operation.answered = Answered::Indeterminate;
        }
        self
    }

    /// Whether an operation was sent to the service that runs again.
    pub fn is_resumed(&self, operation: &Operation) -> bool {
        operation.invoked_ns != u64::MAX && self.resumed_ns.is_some_and(|resumed| operation.invoked_ns >= resumed)
    }

    /// The largest id of a key whose creation was acknowledged to anybody.
    pub fn largest_created(&self) -> Option<i64> {
        let created = self.operations.iter().filter(|operation| {
            operation.kind == OperationKind::Create && operation.answered == Answered::Acknowledged
        });
        created.map(|operation| operation.key).max()
    }

    /// Wall time of a moment on the drill's clock.
    pub fn utc(&self, t_ns: u64) -> Option<DateTime<Utc>> {
        let (utc, at_ns) = self.epoch?;
        let delta = i128::from(t_ns) - i128::from(at_ns);
        Some(utc + chrono::Duration::nanoseconds(i64::try_from(delta).ok()?))
    }

    fn add(&mut self, line: Line, number: usize) {
        self.epoch.get_or_insert((line.at_utc, line.t_ns));
        let index = usize::try_from(line.op).unwrap_or(usize::MAX).wrapping_sub(1);
        let (op, t_ns) = (line.op, line.t_ns);
        let Some(entry) = line.into_entry() else {
            return self
                .damage
                .push(format!("line {number} does not say what operation {op} does"));
        };
        let (answered, answer) = match entry {
            Entry::Answered(answered, answer) => (answered, answer),
            Entry::Invoked(intent) => {
                // Writers take numbers before they journal, so lines may be a little out of order.
                if index > self.operations.len() + 4096 {
                    return self
                        .damage
                        .push(format!("line {number} has operation {op} out of turn"));
                }
                if intent.writer == RESUMED {
                    self.resumed_ns.get_or_insert(t_ns);
                }
                while self.operations.len() <= index {
                    self.operations.push(Operation::UNKNOWN);
                }
                self.operations[index] = Operation {
                    invoked_ns: t_ns,
                    key: intent.key.unwrap_or(0),
                    version: intent.version,
                    content: intent.sha256.as_deref().map_or(0, content_prefix),
                    facts: facts_of_intent(&intent),
                    rows_at: intent.rows_at.unwrap_or_default(),
                    writer: u16::try_from(intent.writer).unwrap_or(u16::MAX),
                    kind: intent.kind,
                    ..Operation::UNKNOWN
                };
                return;
            }
        };
        let Some(operation) = self
            .operations
            .get_mut(index)
            .filter(|operation| operation.invoked_ns != u64::MAX)
        else {
            return self
                .damage
                .push(format!("line {number} answers operation {op}, which was never invoked"));
        };
        operation.answered_ns = t_ns;
        operation.answered = answered;
        operation.key = answer.key.unwrap_or(operation.key);
        operation.lsn_before = answer.lsn_before.map_or(0, |lsn| lsn.0);
        operation.lsn_after = answer.lsn_after.map_or(0, |lsn| lsn.0);
        if let Answer {
            updated_at: Some(at), ..
        } = answer
        {
            operation.facts = at.digest();
        }
    }
}

/// What is known before the answer; the rest is 0.
fn facts_of_intent(intent: &Intent) -> u64 {
    match (intent.kind, intent.facts, intent.size_bytes) {
        (OperationKind::Create, Some(facts), _) => facts,
        (OperationKind::Attach, _, Some(size)) => digest([Some(size.to_string().as_str())]),
        _ => 0,
    }
}

impl Operation {
    /// An operation of which nothing is known yet.
    pub const UNKNOWN: Self = Self {
        invoked_ns: u64::MAX,
        answered_ns: u64::MAX,
        lsn_before: 0,
        lsn_after: 0,
        content: 0,
        facts: 0,
        rows_at: PgTime(0),
        key: 0,
        version: 0,
        writer: u16::MAX,
        kind: OperationKind::Create,
        answered: Answered::Indeterminate,
    };
}

/// First 16 bytes of a SHA-256 given in hex; enough to tell contents apart, and half as large.
pub fn content_prefix(sha256: &str) -> u128 {
    sha256
        .get(..32)
        .and_then(|prefix| u128::from_str_radix(prefix, 16).ok())
        .unwrap_or(0)
}

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be read.
    #[error("cannot read the ledger {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its first line is not a ledger's header.
    #[error("{} does not begin with a ledger's header", path.display())]
    Header {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It belongs to another drill.
    #[error("the ledger {} belongs to {found}, not to {expected}", path.display())]
    Foreign {
        /// Its path.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::{fs, path::PathBuf, time::Instant};

    use super::{Answered, History, LedgerError, LedgerHeader, OperationKind, PgTime};
    use crate::{
        ledger::{Answer, Intent, Ledger, RESUMED},
        postgres::Lsn,
    };

    fn header() -> LedgerHeader {
        LedgerHeader {
            run_id: "run".into(),
            drill: "drill".into(),
            seed: 7,
        }
    }

    fn intent() -> Intent {
        Intent {
            writer: 1,
            kind: OperationKind::AddVersion,
            key: Some(5),
            version: 3,
            sha256: Some("00ff".repeat(16)),
            rows_at: Some(PgTime(1_000_001)),
            facts: None,
            size_bytes: None,
        }
    }

    /// A ledger with one acknowledged operation and one that was never answered.
    fn written(directory: &tempfile::TempDir) -> PathBuf {
        let path = directory.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path, &header(), Instant::now()).unwrap();
        let op = ledger.invoked(intent()).unwrap();
        let answer = Answer {
            key: Some(5),
            lsn_after: Some(Lsn(16)),
            updated_at: Some(PgTime(2_000_002)),
            ..Answer::default()
        };
        ledger.answered(op, Answered::Acknowledged, answer);
        ledger.invoked(intent()).unwrap();
        ledger.close().unwrap();
        path
    }

    #[test]
    fn what_was_journalled_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::read(&written(&directory), &header()).unwrap();
        assert_eq!(history.damage, Vec::<String>::new());
        let [first, second] = history.operations.as_slice() else {
            panic!("two operations")
        };
        assert_eq!(
            (first.answered, first.key, first.version, first.lsn_after),
            (Answered::Acknowledged, 5, 3, 16)
        );
        assert_eq!(
            (first.rows_at, first.facts, first.writer),
            (PgTime(1_000_001), PgTime(2_000_002).digest(), 1)
        );
        assert_eq!(second.answered, Answered::Indeterminate, "never answered");
        assert!(first.answered_ns >= first.invoked_ns && second.answered_ns == u64::MAX);
    }

    #[test]
    fn a_ledger_that_knows_less_is_still_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(&directory);
        let text = fs::read_to_string(&path).unwrap();
        let old = text
            .replace(",\"rows_at\":\"2000-01-01T00:00:01.000001Z\"", "")
            .replace(",\"updated_at\":\"2000-01-01T00:00:02.000002Z\"", "");
        assert_ne!(old, text);
        fs::write(&path, old).unwrap();
        let history = History::read(&path, &header()).unwrap();
        assert_eq!(history.damage, Vec::<String>::new());
        let first = history.operations[0];
        assert_eq!((first.rows_at, first.facts, first.key), (PgTime(0), 0, 5));
    }

    #[test]
    fn a_ledger_that_is_opened_again_goes_on_counting_and_says_when_the_service_ran_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(&directory);
        let before = History::read(&path, &header()).unwrap();
        assert_eq!(before.resumed_ns, None);
        let ledger = Ledger::reopen(&path, &before, Instant::now()).unwrap();
        let resumed = Intent {
            writer: RESUMED,
            ..intent()
        };
        assert_eq!(ledger.invoked(resumed), Some(3));
        ledger.close().unwrap();
        let history = History::read(&path, &header()).unwrap();
        assert_eq!((history.operations.len(), history.damage.len()), (3, 0));
        assert_eq!(history.resumed_ns, Some(history.operations[2].invoked_ns));
    }

    #[test]
    fn a_line_cut_off_at_the_end_is_said_and_the_rest_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(&directory);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 20]).unwrap();
        let history = History::read(&path, &header()).unwrap();
        assert_eq!(history.operations.len(), 1);
        assert!(history.damage[0].contains("line 4 is cut off"), "{:?}", history.damage);
    }

    #[test]
    fn unknown_keys_and_answers_to_nothing_are_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(&directory);
        let text = fs::read_to_string(&path).unwrap();
        let odd = text.replacen("\"phase\":\"invoked\"", "\"phase\":\"invoked\",\"extra\":1", 1);
        fs::write(&path, odd).unwrap();
        let history = History::read(&path, &header()).unwrap();
        assert!(
            history.damage[0].contains("line 2") && history.damage[0].contains("extra"),
            "{:?}",
            history.damage
        );
        assert!(history.damage[1].contains("never invoked"), "{:?}", history.damage);
    }

    #[test]
    fn the_ledger_of_another_drill_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let other = LedgerHeader {
            drill: "another".into(),
            ..header()
        };
        let path = written(&directory);
        let unusable = History::read_or_unusable(&path, &other).unwrap();
        assert!(unusable.operations.is_empty() && unusable.unusable.is_some_and(|why| why.contains("run/another")));
        let error = History::read(&path, &other).unwrap_err();
        assert!(matches!(error, LedgerError::Foreign { .. }), "{error}");
        assert!(
            error.to_string().contains("run/drill") && error.to_string().contains("run/another"),
            "{error}"
        );
        let path = directory.path().join("nothing.jsonl");
        fs::write(&path, "not a ledger\n").unwrap();
        assert!(matches!(
            History::read(&path, &header()).unwrap_err(),
            LedgerError::Header { .. }
        ));
    }
}
