//! Whether a server answers yet: asked by connecting, never assumed after a pause. A server that exits instead explains itself
//! in its log, and the error carries that explanation.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio_postgres::{NoTls, error::SqlState};

use super::{Cause, UserError, files::last_lines, process::Server};
use crate::values;

const LOG_LINES: usize = 12;
/// Enough for the last lines, however long the log.
const LOG_TAIL_BYTES: u64 = 64 * 1024;

/// What a started server lets its clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepting {
    /// Reading and writing.
    ReadWrite,
    /// Reading, while it replays.
    ReadOnly,
    /// It answers, but not the superuser (for example because the role or its database is gone).
    Refusing,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be run.
    #[error("cannot run {} for cluster {name}: check that it is there and may be run", program.display())]
    Spawn {
        /// The cluster.
        name: String,
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its container could not be started.
    #[error("cannot start a container for cluster {name}: {complaint}")]
    Container {
        /// The cluster.
        name: String,
        /// What Docker said.
        complaint: String,
    },
    /// It ended instead of answering.
    #[error("the server of cluster {name} ended instead of accepting connections: {reason} (log: {})", log.display())]
    Exited {
        /// The cluster.
        name: String,
        /// Its last words: a FATAL or PANIC message, what it said before it could log, else how it ended.
        reason: String,
        /// The last lines of its log since this start.
        log_tail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// It does not answer.
    #[error(
        "the server of cluster {name} does not accept connections, and made no progress for {} s: {reason} (log: {})",
        limit.as_secs(), log.display()
    )]
    TimedOut {
        /// The cluster.
        name: String,
        /// How long it made no progress.
        limit: Duration,
        /// What the last attempt to connect was answered.
        reason: String,
        /// The last lines of its log since this start.
        log_tail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// It runs already.
    #[error("cluster {name} is running already: stop it first")]
    Running {
        /// The cluster.
        name: String,
    },
    /// It has not been started.
    #[error("cluster {name} does not run: start it first")]
    NotRunning {
        /// The cluster.
        name: String,
    },
    /// The socket's path is too long for the system.
    #[error(
        "the socket {} has a path of {} bytes, and the system allows 107: set DRILL_WORK_DIR to a shorter place",
        path.display(), path.as_os_str().len()
    )]
    SocketPath {
        /// The socket.
        path: PathBuf,
    },
    /// There is no account to run it under.
    #[error("no account to run the server of cluster {name} under")]
    User {
        /// The cluster.
        name: String,
        /// Why.
        source: UserError,
    },
}

impl StartError {
    /// What the server died of, or waits for.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Exited { reason, .. } | Self::TimedOut { reason, .. } => Cause::from_messages(reason),
            _ => Cause::Other,
        }
    }

    /// The last lines of the server's log; empty when it never ran.
    pub fn log_tail(&self) -> &str {
        match self {
            Self::Exited { log_tail, .. } | Self::TimedOut { log_tail, .. } => log_tail,
            _ => "",
        }
    }
}

/// A start that is being watched.
pub(super) struct Watch<'a> {
    pub(super) name: &'a str,
    pub(super) log: &'a Path,
    /// Length of the log before this start.
    pub(super) log_offset: u64,
    pub(super) config: tokio_postgres::Config,
    /// How long it may make no progress: its log tells.
    pub(super) limit: Duration,
}

impl Watch<'_> {
    /// Returns once the server answers, or says why it does not. An answer from a server that still replays counts only
    /// where `replaying_counts`.
    pub(super) async fn until_accepting(
        self,
        server: &mut Server,
        replaying_counts: bool,
    ) -> Result<Accepting, StartError> {
        let (mut moved, mut said) = (Instant::now(), self.said());
        loop {
            let reason = match ask(&self.config).await {
                Ok(Accepting::ReadOnly) if !replaying_counts => "it still replays".to_owned(),
                Ok(accepting) => return Ok(accepting),
                Err(reason) => reason,
            };
            if let Some(status) = server.exit_status() {
                let log_tail = self.log_tail();
                let reason = last_words(&log_tail).unwrap_or_else(|| status.to_string());
                return Err(StartError::Exited {
                    name: self.name.to_owned(),
                    reason,
                    log_tail,
                    log: self.log.to_owned(),
                });
            }
            let now = if moved.elapsed() < self.limit {
                said
            } else {
                self.said()
            };
            if now != said {
                (moved, said) = (Instant::now(), now);
            } else if moved.elapsed() >= self.limit {
                return Err(StartError::TimedOut {
                    name: self.name.to_owned(),
                    limit: self.limit,
                    reason,
                    log_tail: self.log_tail(),
                    log: self.log.to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many lines of its log are progress: not the answers to clients that connect too early, nor that it still waits for
    /// WAL.
    fn said(&self) -> usize {
        let log = fs::read(self.log).unwrap_or_default();
        let new = log
            .get(usize::try_from(self.log_offset).unwrap_or(0)..)
            .unwrap_or_default();
        said(&String::from_utf8_lossy(new))
    }

    fn log_tail(&self) -> String {
        read_from(self.log, self.log_offset)
            .map(|text| values::of_log(&last_lines(&text, LOG_LINES)))
            .unwrap_or_default()
    }
}

fn said(log: &str) -> usize {
    let waits = ["the database system is ", "waiting for WAL to become available"];
    log.lines()
        .filter(|line| !waits.iter().any(|text| line.contains(text)))
        .count()
}

/// Asks the server whether it answers. Any answer counts but "cannot connect now"; the error is why there was none.
async fn ask(config: &tokio_postgres::Config) -> Result<Accepting, String> {
    let attempt = async {
        let (client, connection) = config.connect(NoTls).await?;
        let task = tokio::spawn(connection);
        let answer = client.query_one("SELECT pg_is_in_recovery()", &[]).await;
        task.abort();
        answer.map(|row| {
            if row.get(0) {
                Accepting::ReadOnly
            } else {
                Accepting::ReadWrite
            }
        })
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), attempt).await;
    let error = match answer {
        Ok(Ok(accepting)) => return Ok(accepting),
        Ok(Err(error)) => error,
        Err(_) => return Err("no answer within 2 s".to_owned()),
    };
    let starting = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
    ];
    match error.as_db_error() {
        Some(said) if starting.contains(said.code()) => Err(said.message().to_owned()),
        Some(_) => Ok(Accepting::Refusing),
        None => Err(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)),
    }
}

/// The message of the last line that the server calls FATAL or PANIC, else of the last with which the program gave up
/// before it could log. What it tells clients that it turns away meanwhile ("the database system is starting up") is not
/// what it died of.
fn last_words(log: &str) -> Option<String> {
    let message = |line: &str| {
        let (level, at) = ["FATAL:", "PANIC:"]
            .into_iter()
            .find_map(|level| Some((level, line.find(level)?)))
            .filter(|(level, at)| {
                !line[at + level.len()..]
                    .trim_start()
                    .starts_with("the database system is ")
            })?;
        Some(format!("{level} {}", line[at + level.len()..].trim()))
    };
    let before_logging = |line: &str| line.strip_prefix("postgres: ").map(ToOwned::to_owned);
    log.lines()
        .rev()
        .find_map(message)
        .or_else(|| log.lines().rev().find_map(before_logging))
}

/// The text of a file from an offset on, but not more than its last part.
fn read_from(path: &Path, offset: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_says_of_its_own_accord_is_progress() {
        let waits = "[2] FATAL:  the database system is starting up\n[3] LOG:  waiting for WAL to become available at 0/3000010\n";
        assert_eq!(said(waits), 0);
        assert_eq!(
            said(&format!("{waits}[4] LOG:  redo in progress, elapsed time: 10.00 s\n")),
            1
        );
    }

    #[test]
    fn the_last_fatal_message_is_the_reason() {
        let log = "2026 [1] LOG:  starting\n2026 [2] PANIC:  could not locate a valid checkpoint record\n2026 [1] LOG:  shut down\n";
        assert_eq!(
            last_words(log).as_deref(),
            Some("PANIC: could not locate a valid checkpoint record")
        );
        let unlogged = "postgres: could not find the database system\nExpected to find it in /x\n";
        assert_eq!(
            last_words(unlogged).as_deref(),
            Some("could not find the database system")
        );
        assert_eq!(last_words("LOG:  all is well"), None);
        let turned_away = "[1] FATAL:  could not restore file\n[2] postgres@postgres FATAL:  the database system is in recovery mode\n";
        assert_eq!(
            last_words(turned_away).as_deref(),
            Some("FATAL: could not restore file")
        );
    }
}
