//! What a scenario breaks: when, where and how.
//!
//! The damage itself is done by [`crate::fault`]. A new kind of fault is one variant of [`Action`] here, one entry of
//! [`KINDS`](super::KINDS) that reads it, and one function there that does it.

use super::{FaultTarget, Moment, Selection, named::named};

/// One `[[fault]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Moment,
    /// Where.
    pub target: FaultTarget,
    /// How.
    pub action: Action,
    /// Line of the file on which it begins.
    pub line: usize,
}

/// How something is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs statements as superuser, one after the other in one session.
    Sql {
        /// In which database.
        database: String,
        /// The statements.
        statements: Vec<String>,
    },
    /// Removes files, directories and links.
    RemoveFiles {
        /// Which; all matches unless it says otherwise.
        files: Selection,
    },
    /// Cuts a file short.
    TruncateFile {
        /// Which.
        files: Selection,
        /// How much stays.
        keep: Keep,
    },
    /// Changes bytes at random offsets, or from an offset on.
    FlipBytes {
        /// Which file.
        files: Selection,
        /// How many bytes; each becomes another one.
        bytes: u64,
        /// Where they begin; absent: spread over the file at random.
        offset: Option<u64>,
    },
    /// Overwrites a part of a file with zeros.
    ZeroBytes {
        /// Which file.
        files: Selection,
        /// Where.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Overwrites a part of a file.
    WriteBytes {
        /// Which file.
        files: Selection,
        /// Where.
        offset: u64,
        /// With what.
        content: Vec<u8>,
    },
    /// Lengthens a file.
    AppendBytes {
        /// Which file.
        files: Selection,
        /// By what.
        content: Vec<u8>,
    },
    /// Gives a file another content; owner and mode stay.
    ReplaceFile {
        /// Which file.
        files: Selection,
        /// Its new content.
        with: Replacement,
    },
    /// Sets the permissions of a file or directory.
    Chmod {
        /// Which.
        files: Selection,
        /// The permission bits.
        mode: u32,
    },
    /// Sends a signal to processes of the server.
    Signal {
        /// To which.
        process: Process,
        /// Which signal.
        signal: SignalName,
    },
}

impl Action {
    /// The fault's kind as a file names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sql { .. } => "sql",
            Self::RemoveFiles { .. } => "remove-files",
            Self::TruncateFile { .. } => "truncate-file",
            Self::FlipBytes { .. } => "flip-bytes",
            Self::ZeroBytes { .. } => "zero-bytes",
            Self::WriteBytes { .. } => "write-bytes",
            Self::AppendBytes { .. } => "append-bytes",
            Self::ReplaceFile { .. } => "replace-file",
            Self::Chmod { .. } => "chmod",
            Self::Signal { .. } => "signal",
        }
    }
}

/// How much of a file stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of its size.
    Percent(u64),
}

/// A file's new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// That of another file of the same target: the first match.
    File(glob::Pattern),
    /// A text.
    Text(String),
}

named! {
    /// Processes of a PostgreSQL server.
    pub enum Process {
        /// The one that starts all others.
        Postmaster = "postmaster",
        /// The postmaster and every child.
        All = "all",
        /// Writes dirty pages at checkpoints.
        Checkpointer = "checkpointer",
        /// Writes dirty pages between checkpoints.
        BackgroundWriter = "background-writer",
        /// Writes WAL.
        Walwriter = "walwriter",
        /// Runs `archive_command`.
        Archiver = "archiver",
        /// Starts autovacuum workers.
        AutovacuumLauncher = "autovacuum-launcher",
        /// Replays WAL during recovery.
        Startup = "startup",
        /// Streams WAL to a receiver.
        Walsender = "walsender",
    }
}

named! {
    /// Signals that a fault can send.
    pub enum SignalName {
        /// Ends the process at once.
        Kill = "KILL",
        /// To the postmaster: fast shutdown.
        Int = "INT",
        /// To the postmaster: immediate shutdown.
        Quit = "QUIT",
        /// To the postmaster: smart shutdown.
        Term = "TERM",
        /// Stops the process where it stands.
        Stop = "STOP",
    }
}
