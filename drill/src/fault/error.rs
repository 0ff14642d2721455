//! Why a fault did not happen as it should.

use std::{error::Error, io, path::PathBuf};

use super::kinds::signal::{Process, SignalName};
use crate::{
    postgres::packages::{self, Package},
    scenario::{FaultTarget, Moment},
};

/// Why a fault did not happen as it should. A drill with such a fault proves nothing and ends.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// What steps a server's clock is not installed.
    #[error(
        "libfaketime, by which a server's clock is stepped, is not installed: {}",
        packages::how_to_install(Package::LibFakeTime)
    )]
    NoLibrary,
    /// The drill has nothing like that now.
    #[error("at {at} the drill has no {target}; aim the fault elsewhere or let it happen at another moment")]
    NoSuchTarget {
        /// What the fault is aimed at.
        target: FaultTarget,
        /// When.
        at: Moment,
    },
    /// This kind cannot act on that target.
    #[error("`{kind}` cannot act on {target}; `drill list faults` says what each kind acts on")]
    NotApplicable {
        /// The fault's kind.
        kind: &'static str,
        /// What it is aimed at.
        target: FaultTarget,
    },
    /// Files may name this kind, and nobody does it.
    #[error("`{kind}` can be read and not done; the registry of kinds needs what `fault::kind` makes of it")]
    NoDeed {
        /// The fault's kind.
        kind: &'static str,
    },
    /// The cluster is not, or not provably, one that this run made.
    #[error("the {target} is not touched: it cannot be proven that this run made it")]
    NotAuthorised {
        /// What the fault is aimed at.
        target: FaultTarget,
        /// What speaks against it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No file is meant.
    #[error("no file below {} matches `{pattern}` (links are not followed); correct `path`", root.display())]
    NoMatch {
        /// The target's directory.
        root: PathBuf,
        /// The pattern.
        pattern: String,
    },
    /// The fault ran and changed nothing.
    #[error("`{kind}` changed nothing: {why}; a drill without its damage proves nothing, so correct the fault")]
    NoEffect {
        /// The fault's kind.
        kind: &'static str,
        /// Why.
        why: String,
    },
    /// The fault ran and what it should have changed is not changed.
    #[error("the fault cannot be verified: {what}; something else changed it meanwhile")]
    NotVerified {
        /// What was found instead.
        what: String,
    },
    /// A path that leads out of the target.
    #[error("{} leads out of {}; a fault stays inside of its target", path.display(), root.display())]
    Outside {
        /// The path.
        path: PathBuf,
        /// The target's directory.
        root: PathBuf,
    },
    /// Bytes beyond the end of a file.
    #[error("{} has {size} bytes, and {bytes} from offset {offset} on do not fit; aim lower", path.display())]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// Where the bytes begin.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was to be done: `open`, `remove` …
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No session.
    #[error("cannot connect to database {database} to run the fault's statements; is the server up at that moment?")]
    Connect {
        /// The database.
        database: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A statement failed.
    #[error("statement failed: {statement}")]
    Statement {
        /// The statement.
        statement: String,
        /// What the server says.
        source: tokio_postgres::Error,
    },
    /// The server did what it must refuse.
    #[error("the server did not refuse: {statement}")]
    NotRefused {
        /// The statement.
        statement: String,
    },
    /// Nobody knows in which file the relation is.
    #[error("the file of relation {relation} is not known; is its name right, and was the server up before the fault?")]
    NoRelation {
        /// The relation.
        relation: String,
    },
    /// A running server would write its own copy of the page over the damage.
    #[error("the server of the {target} runs, and would undo the damage of a page; stop it first (kind `server`)")]
    ServerRuns {
        /// What the fault is aimed at.
        target: FaultTarget,
    },
    /// A server could not be stopped, started or reached.
    #[error("cannot {what} the server")]
    Server {
        /// `stop`, `start`, `connect to`
        what: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A program of the user's own failed.
    #[error("the fault's own program failed")]
    Command(#[source] crate::postgres::ToolError),
    /// A filesystem that others use as well.
    #[error("{} is no filesystem of its own, so it is not filled; nothing was written", path.display())]
    NotItsOwn {
        /// The directory.
        path: PathBuf,
    },
    /// The server has no such process.
    #[error("the server has no {process} process now; is it running at that moment?")]
    NoProcess {
        /// Which.
        process: Process,
    },
    /// A signal could not be sent.
    #[error("cannot send {signal} to process {pid}")]
    Signal {
        /// Which signal.
        signal: SignalName,
        /// To which process.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// The thread that did it ended early.
    #[error("`{kind}` was interrupted; what it did until then is unknown")]
    Interrupted {
        /// The fault's kind.
        kind: &'static str,
        /// How it ended.
        source: tokio::task::JoinError,
    },
}

impl FaultError {
    /// For `map_err`: the operating system refused to do `what` with `path`.
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
