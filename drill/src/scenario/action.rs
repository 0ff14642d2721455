//! What a scenario breaks: when, where and how.
//!
//! The damage itself is done by [`crate::fault`]. A new kind of fault is one variant of [`Action`] here, one entry of
//! [`KINDS`](super::KINDS) that reads it, and one function there that does it.

use super::{Behaviour, FaultTarget, Moment, Selection, Which, named::named};

/// One `[[fault]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Moment,
    /// Where.
    pub target: FaultTarget,
    /// How.
    pub action: Action,
    /// Its number in the file, from 1: what tells it from every other, several on one line included.
    pub number: u32,
    /// Line of the file on which it begins.
    pub line: usize,
}

/// How something is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs statements, one after the other in one session.
    Sql {
        /// In which database.
        database: String,
        /// The statements.
        statements: Vec<String>,
        /// As which role, instead of the superuser.
        role: Option<fixtures::Role>,
        /// The server must refuse every one of them for want of permission.
        refused: bool,
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
    /// Gives a file the content that it had when a backup was taken; owner and mode stay.
    SwapFile {
        /// Which file.
        files: Selection,
        /// Where the older copy comes from.
        from: Which,
        /// Whether what the file has gained since then stays behind the older content.
        keep_tail: bool,
    },
    /// Changes bytes of one page of a relation.
    CorruptPage {
        /// The relation's file.
        files: Selection,
        /// Which page, from 0.
        block: u32,
        /// Where in the page, and with what it is overwritten; none to damage the checksum alone.
        content: Option<(u64, Vec<u8>)>,
        /// What becomes of the page's checksum.
        checksum: PageChecksum,
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
    /// Stops or starts a server in order, and waits until it has.
    Server {
        /// Which.
        does: ServerDeed,
    },
    /// Changes a setting of a server, which is restarted where the setting asks for it.
    Setting {
        /// Its name.
        name: String,
        /// Its new value; absent: what the configuration files say without the drill's doing.
        value: Option<String>,
    },
    /// Fills the filesystem that a cluster lives on, down to the last byte.
    FillDisk,
    /// Puts a segment of another cluster, of the same name, in place of a WAL segment.
    AlienSegment {
        /// Which.
        files: Selection,
    },
    /// Restores the service's cluster from a backup to the end of its WAL, onto a timeline of its own.
    RestoreCluster {
        /// From which backup.
        from: Which,
    },
    /// Restores a backup into a clone, which promotes itself, writes, and archives into the service's archive.
    PromoteClone,
    /// Removes whole backups from the repository, as retention does: nothing is left to tell of them.
    ExpireBackup,
    /// Steps the wall clock of a server.
    Clock {
        /// By so much, forward or back; whole seconds.
        step: chrono::TimeDelta,
    },
    /// Runs a program of the user's own, as the server's account.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// Makes a service around the database misbehave until the drill ends.
    Service {
        /// How.
        does: Behaviour,
        /// So many requests, or starts, are served as always before it begins.
        after: u64,
        /// It lasts for so many requests, or starts; absent: for good.
        times: Option<u64>,
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
            Self::SwapFile { .. } => "swap-file",
            Self::CorruptPage { .. } => "corrupt-page",
            Self::Chmod { .. } => "chmod",
            Self::Signal { .. } => "signal",
            Self::Server { .. } => "server",
            Self::Setting { .. } => "setting",
            Self::FillDisk => "fill-disk",
            Self::AlienSegment { .. } => "alien-segment",
            Self::RestoreCluster { .. } => "restore-cluster",
            Self::PromoteClone => "promote-clone",
            Self::ExpireBackup => "expire-backup",
            Self::Clock { .. } => "clock",
            Self::Command { .. } => "command",
            Self::Service { .. } => "service",
        }
    }

    /// The files that it is about, if it is about files.
    pub fn files(&self) -> Option<&Selection> {
        match self {
            Self::RemoveFiles { files }
            | Self::TruncateFile { files, .. }
            | Self::FlipBytes { files, .. }
            | Self::ZeroBytes { files, .. }
            | Self::WriteBytes { files, .. }
            | Self::AppendBytes { files, .. }
            | Self::ReplaceFile { files, .. }
            | Self::SwapFile { files, .. }
            | Self::CorruptPage { files, .. }
            | Self::AlienSegment { files }
            | Self::Chmod { files, .. } => Some(files),
            _ => None,
        }
    }

    /// As [`Action::files`], to fill in what only the running server knows.
    pub fn files_mut(&mut self) -> Option<&mut Selection> {
        match self {
            Self::RemoveFiles { files }
            | Self::TruncateFile { files, .. }
            | Self::FlipBytes { files, .. }
            | Self::ZeroBytes { files, .. }
            | Self::WriteBytes { files, .. }
            | Self::AppendBytes { files, .. }
            | Self::ReplaceFile { files, .. }
            | Self::SwapFile { files, .. }
            | Self::CorruptPage { files, .. }
            | Self::AlienSegment { files }
            | Self::Chmod { files, .. } => Some(files),
            _ => None,
        }
    }
}

named! {
    /// What becomes of a page's checksum when the page is damaged.
    pub enum PageChecksum {
        /// It stays: a server with checksums notices.
        Keep = "keep",
        /// It is computed anew: checksums accept the damaged page.
        Mend = "mend",
        /// It is changed, so that it is wrong for certain.
        Break = "break",
    }
}

named! {
    /// What is done to a whole server, in order.
    pub enum ServerDeed {
        /// `pg_ctl stop -m fast`: with a checkpoint, so that every page is on disk.
        StopFast = "stop-fast",
        /// `pg_ctl stop -m immediate`: as a crash.
        StopImmediate = "stop-immediate",
        /// Starts it and waits until it serves.
        Start = "start",
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
