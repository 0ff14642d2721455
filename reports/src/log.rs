//! Writing a drill's event log: one JSON object a line, appended as things happen.
//!
//! The log has no clock; whoever appends says when. Each event is one write of one line, so that a harness that is
//! killed leaves at most one broken line at the end (see [`mod@crate::read`]).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{Event, What};

/// Name of the log within a drill's folder.
pub const FILE_NAME: &str = "events.jsonl";

/// An event log that is being written.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    sequence: u64,
    offset_ns: u64,
}

impl EventLog {
    /// Creates the log. The folder must be there; the file must not.
    ///
    /// # Errors
    /// If the file exists or cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok(Self {
            file,
            sequence: 0,
            offset_ns: 0,
        })
    }

    /// Numbers, stamps and appends an event, and returns it. `offset` is the time since the drill started on the
    /// monotonic clock; one that lies before the last event's (two threads, one lock) is moved up to it, so that
    /// the order of the log is the order of its offsets. The end of the drill is synced to disk.
    ///
    /// # Errors
    /// If the line cannot be written, or could not be read back (a number that is infinite or not a number).
    /// The event then has no number and the log is as before, but for a broken last line if the disk is full.
    pub fn append(&mut self, at_utc: DateTime<Utc>, offset: Duration, what: What) -> io::Result<Event> {
        let offset_ns = u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX).max(self.offset_ns);
        let event = Event {
            sequence: self.sequence + 1,
            at_utc,
            offset_ns,
            what,
        };
        let mut line = serde_json::to_vec(&event)?;
        serde_json::from_slice::<Event>(&line)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        if matches!(event.what, What::DrillFinished { .. }) {
            self.file.sync_all()?;
        }
        self.sequence = event.sequence;
        self.offset_ns = offset_ns;
        Ok(event)
    }
}
