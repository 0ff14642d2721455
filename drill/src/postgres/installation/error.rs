//! Why there is no PostgreSQL to drill with, and what to do about it.

use std::path::PathBuf;

use super::{
    super::{
        UserError,
        container::ContainerError,
        embedded::EmbeddedError,
        packages::{self, Package},
    },
    Provider,
};

/// Why there is no PostgreSQL to drill with.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// `--bindir` names a place without a complete PostgreSQL.
    #[error(
        "no complete PostgreSQL in {}: missing {}; name the directory that holds the server and the client programs, \
         such as /usr/lib/postgresql/16/bin, or leave --bindir out to use the embedded one",
        bindir.display(), missing.join(", ")
    )]
    Incomplete {
        /// Where we looked.
        bindir: PathBuf,
        /// The programs that are not there.
        missing: Vec<&'static str>,
    },
    /// `--bindir` names another major version.
    #[error(
        "found PostgreSQL {found} in {} where {wanted} was asked for: ask for it with --postgres {major}, \
         or name a --bindir with PostgreSQL {wanted}", bindir.display()
    )]
    WrongMajor {
        /// Where we looked.
        bindir: PathBuf,
        /// The full version that is there.
        found: String,
        /// Its major version.
        major: u32,
        /// What was asked for.
        wanted: u32,
    },
    /// None of the usual places has it.
    #[error(
        "no PostgreSQL {major} is installed here{}: install it ({}), name it with \
         --bindir, or use --provider embedded",
        found_instead(found),
        packages::how_to_install(Package::PostgreSql(*major))
    )]
    NotInstalled {
        /// What was asked for.
        major: u32,
        /// What is there instead, one line each.
        found: Vec<String>,
    },
    /// The server's account may not enter the programs' directory.
    #[error(
        "PostgreSQL in {} is out of reach for the server's account {user}, which may not enter {}: \
         move it, or allow entering that directory (chmod o+x)", bindir.display(), blocked_at.display()
    )]
    OutOfReach {
        /// The programs' directory.
        bindir: PathBuf,
        /// The directory that is closed.
        blocked_at: PathBuf,
        /// The account.
        user: String,
    },
    /// A server program does not run.
    #[error("{} does not answer --version ({said}): it is not for this machine, or damaged; install it again", program.display())]
    Version {
        /// The program.
        program: PathBuf,
        /// What it, or the system, said.
        said: String,
    },
    /// Both ways of naming a PostgreSQL at once.
    #[error("--bindir names installed programs and does not go with --provider {0}: leave one of them out")]
    Conflict(Provider),
    /// An image, and a provider that has none.
    #[error("--image names a container image and does not go with --provider {0}: leave one of them out")]
    ImageConflict(Provider),
    /// An image was asked for and cannot be used.
    #[error("no PostgreSQL {major} from a container image")]
    Container {
        /// What was asked for.
        major: u32,
        /// Why.
        source: Box<ContainerError>,
    },
    /// There is no account for the server.
    #[error("no account to run PostgreSQL under")]
    User(#[from] UserError),
    /// The embedded one was asked for and could not be had.
    #[error("the embedded PostgreSQL {major} could not be prepared")]
    Embedded {
        /// What was asked for.
        major: u32,
        /// Why.
        source: Box<EmbeddedError>,
    },
    /// Neither installed nor embedded nor in an image.
    #[error(
        "no PostgreSQL {major} is installed here{}, none comes from an image ({container}), and the embedded one could not \
         be prepared",
        found_instead(found)
    )]
    Nothing {
        /// What was asked for.
        major: u32,
        /// What is installed instead, one line each.
        found: Vec<String>,
        /// Why there is none from an image.
        container: Box<ContainerError>,
        /// Why the embedded one could not be had.
        source: Box<EmbeddedError>,
    },
}

fn found_instead(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!(" (found {})", found.join(", "))
    }
}
