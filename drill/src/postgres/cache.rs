//! Where drill keeps what is worth keeping between runs: the embedded PostgreSQL and the templates of fresh clusters. Nothing
//! of a drill itself is kept here; deleting the directory costs the next run a download and nothing else.
//!
//! The rule: `DRILL_CACHE_DIR` if set; else `$XDG_CACHE_HOME/drill`; else `$HOME/.cache/drill`. When drill is root the
//! server's account must be able to get there: if it cannot (root's home usually is closed), `/var/cache/drill` is taken
//! instead. An explicit `DRILL_CACHE_DIR` is never replaced: if the server cannot reach it, that is an error.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{ServerUser, UserError, files};

const SYSTEM_WIDE: &str = "/var/cache/drill";

/// Why there is no usable cache directory.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Neither variable names a place.
    #[error("no place for the cache: set DRILL_CACHE_DIR (or HOME) to a directory that can be written")]
    Nowhere,
    /// The server's account cannot get to the place that was asked for.
    #[error(
        "the cache {} is out of reach for the server's account {user}, which may not enter {}: \
         choose another DRILL_CACHE_DIR, or allow entering it (chmod o+x)",
        cache.display(), blocked_at.display()
    )]
    OutOfReach {
        /// The cache directory.
        cache: PathBuf,
        /// The directory that is closed.
        blocked_at: PathBuf,
        /// The account.
        user: String,
    },
    /// There is no account for the server.
    #[error("cannot tell whom the cache is for")]
    User(#[from] UserError),
    /// It could not be made.
    #[error("cannot create the cache directory {}: set DRILL_CACHE_DIR to one that can be written", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The cache directory, created if need be.
pub fn directory() -> Result<PathBuf, CacheError> {
    let user = ServerUser::current()?;
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let path = choose(
        &user,
        variable("DRILL_CACHE_DIR"),
        variable("XDG_CACHE_HOME"),
        variable("HOME"),
    )?;
    create(&path).map_err(|source| CacheError::Create {
        path: path.clone(),
        source,
    })?;
    // Canonical, so that what is compared with /proc or a lock is the same for every process.
    path.canonicalize()
        .map_err(|source| CacheError::Create { path, source })
}

fn choose(
    user: &ServerUser,
    explicit: Option<OsString>,
    xdg: Option<OsString>,
    home: Option<OsString>,
) -> Result<PathBuf, CacheError> {
    if let Some(cache) = explicit.map(PathBuf::from) {
        return match user.blocked_at(&cache) {
            None => Ok(cache),
            Some(blocked_at) => Err(CacheError::OutOfReach {
                cache,
                blocked_at,
                user: user.name().to_owned(),
            }),
        };
    }
    let own = xdg
        .map(PathBuf::from)
        .or_else(|| home.map(|home| PathBuf::from(home).join(".cache")));
    let own = own.filter(|base| base.is_absolute()).map(|base| base.join("drill"));
    match own {
        Some(own) if !user.is_switch() || user.blocked_at(&own).is_none() => Ok(own),
        _ if user.is_switch() => Ok(SYSTEM_WIDE.into()),
        _ => Err(CacheError::Nowhere),
    }
}

/// Creates a directory that others may enter and read, whatever the umask.
fn create(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        files::make_readable(path)?;
    }
    Ok(())
}

/// A directory below the cache, created if need be.
pub(super) fn subdirectory(name: &str) -> Result<PathBuf, CacheError> {
    let path = directory()?.join(name);
    create(&path).map_err(|source| CacheError::Create {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_explicit_place_wins_then_xdg_then_home() {
        let user = ServerUser::current().unwrap();
        let some = |text: &str| Some(OsString::from(text));
        assert_eq!(
            choose(&user, some("/var/tmp/c"), some("/var/tmp/x"), None).unwrap(),
            Path::new("/var/tmp/c")
        );
        assert_eq!(
            choose(&user, None, some("/var/tmp/x"), some("/var/tmp")).unwrap(),
            Path::new("/var/tmp/x/drill")
        );
        assert_eq!(
            choose(&user, None, None, some("/var/tmp")).unwrap(),
            Path::new("/var/tmp/.cache/drill")
        );
    }

    #[test]
    fn a_place_that_the_server_cannot_reach_is_replaced_or_refused() {
        let user = ServerUser::current().unwrap();
        if !user.is_switch() {
            return; // Only root has another account to think of.
        }
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let home = || Some(closed.path().as_os_str().to_owned());
        assert_eq!(choose(&user, None, None, home()).unwrap(), Path::new(SYSTEM_WIDE));
        let refusal = choose(&user, home(), None, None).unwrap_err().to_string();
        assert!(
            refusal.contains("which may not enter") && refusal.contains("DRILL_CACHE_DIR"),
            "{refusal}"
        );
    }
}
