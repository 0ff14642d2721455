//! Why a program did not do its work: with its last words, without its secrets.

use std::{io, process::ExitStatus, time::Duration};

use reports::text::lasting;

use super::super::{Cause, UserError};
use crate::values;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot start {command}: check that the program is there and may be run")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no account to run it under.
    #[error("no account to run {command} under")]
    User {
        /// The command line.
        command: String,
        /// Why.
        source: UserError,
    },
    /// It ended with an error.
    #[error("{command} failed with {}: {}", status_text(*status), said(stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it said.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("{command} was killed after {} without an end: {}", lasting(*limit), said(stderr))]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it had.
        limit: Duration,
        /// The last lines of what it said until then.
        stderr: String,
    },
    /// It stood still and was killed.
    #[error("{command} was killed: it made no progress for {}: {}", lasting(*patience), said(stderr))]
    Stalled {
        /// The command line.
        command: String,
        /// How long it made no progress.
        patience: Duration,
        /// The last lines of what it said until then.
        stderr: String,
    },
    /// The system could not tell how it ended.
    #[error("cannot wait for {command}")]
    Wait {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ToolError {
    /// What the program died of.
    pub fn cause(&self) -> Cause {
        use std::os::unix::process::ExitStatusExt as _;
        match self {
            Self::Failed { status, .. } if status.signal().is_some() || status.code() == Some(137) => Cause::Killed,
            _ => Cause::from_messages(self.stderr()),
        }
    }

    /// The last lines of what the program said on stderr; empty when it never ran.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } | Self::TimedOut { stderr, .. } | Self::Stalled { stderr, .. } => stderr,
            Self::Start { .. } | Self::User { .. } | Self::Wait { .. } => "",
        }
    }

    /// The same error with other words in place of what the program said.
    #[must_use]
    pub fn with_stderr(mut self, words: impl FnOnce(&str) -> String) -> Self {
        if let Self::Failed { stderr, .. } | Self::TimedOut { stderr, .. } | Self::Stalled { stderr, .. } = &mut self {
            *stderr = words(stderr);
        }
        self
    }

    /// The exit code; none when it did not run, or died of a signal.
    pub fn exit_code(&self) -> Option<i32> {
        if let Self::Failed { status, .. } = self {
            status.code()
        } else {
            None
        }
    }
}

/// What the program said, without values of rows.
fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        "it said nothing on stderr".to_owned()
    } else {
        values::of_tool(stderr)
    }
}

pub(super) fn status_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
