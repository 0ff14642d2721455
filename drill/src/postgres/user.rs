//! Who the server runs as. PostgreSQL refuses to be root, so a drill that is root drops to `postgres`, else `nobody`, for
//! the server and every client tool; a drill that is not root runs them as itself.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
};

use rustix::process::{getegid, geteuid};

use super::files;

/// The account that PostgreSQL's processes run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUser {
    name: String,
    uid: u32,
    gid: u32,
    switch: bool,
}

/// Why there is no account to run the server under, or why it could not be given its files.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Root, and nobody to become.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd names neither `postgres` nor `nobody`: \
         create one (useradd --system postgres) or run drill as an ordinary user"
    )]
    Nobody,
    /// The account list could not be read.
    #[error("cannot read /etc/passwd to find an account for the server: run drill as an ordinary user")]
    Accounts(#[source] io::Error),
    /// A file could not change hands.
    #[error("cannot give {} to the server's account {name}: run drill on a file system that knows owners", path.display())]
    Chown {
        /// What should have changed hands.
        path: PathBuf,
        /// To whom.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ServerUser {
    /// The account for this process's servers.
    pub fn current() -> Result<Self, UserError> {
        let uid = geteuid().as_raw();
        if uid != 0 {
            return Ok(Self {
                name: format!("uid {uid}"),
                uid,
                gid: getegid().as_raw(),
                switch: false,
            });
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(UserError::Accounts)?;
        Self::from_accounts(&accounts).ok_or(UserError::Nobody)
    }

    /// The first of `postgres` and `nobody` in the text of /etc/passwd that is not root by another name.
    fn from_accounts(accounts: &str) -> Option<Self> {
        let entry = |wanted: &str| {
            accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| *name == wanted)?;
                let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)?;
                let gid = fields.next()?.parse().ok()?;
                Some(Self {
                    name: name.to_owned(),
                    uid,
                    gid,
                    switch: true,
                })
            })
        };
        entry("postgres").or_else(|| entry("nobody"))
    }

    /// The account's name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The account's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The account's group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether running as this account means to change from root to it.
    pub fn is_switch(&self) -> bool {
        self.switch
    }

    /// Makes a command run under this account.
    pub fn apply(&self, command: &mut tokio::process::Command) {
        self.apply_std(command.as_std_mut());
    }

    /// As [`ServerUser::apply`], for a command of the standard library.
    pub fn apply_std(&self, command: &mut std::process::Command) {
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives one file or directory to this account; nothing to do unless we are root.
    pub fn chown(&self, path: &Path) -> Result<(), UserError> {
        if !self.switch {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid)).map_err(|source| self.refused(path, source))
    }

    /// Gives a directory and everything below it to this account. Symbolic links are not followed.
    pub fn chown_recursive(&self, path: &Path) -> Result<(), UserError> {
        if !self.switch {
            return Ok(());
        }
        files::walk(path, &mut |entry, _| {
            std::os::unix::fs::lchown(entry, Some(self.uid), Some(self.gid))
        })
        .map_err(|source| self.refused(path, source))
    }

    fn refused(&self, path: &Path, source: io::Error) -> UserError {
        UserError::Chown {
            path: path.to_owned(),
            name: self.name.clone(),
            source,
        }
    }

    /// What this account may not do that reading a file takes: pass a directory, or read the file itself. None if it may, or
    /// if it is the account that we run under, which then sees by itself.
    pub fn barred_from(&self, path: &Path) -> Option<String> {
        if !self.switch {
            return None;
        }
        if let Some(directory) = self.blocked_at(path) {
            return Some(format!("pass {}", directory.display()));
        }
        let metadata = fs::metadata(path).ok()?;
        let allowed = self.allowed(&metadata, 4);
        (!allowed).then(|| {
            format!(
                "read it (mode {:04o}, owner {})",
                metadata.mode() & 0o7777,
                metadata.uid()
            )
        })
    }

    /// Whether the mode of a file or directory gives this account the right: 4 to read, 2 to write, 1 to pass.
    fn allowed(&self, metadata: &fs::Metadata, right: u32) -> bool {
        let shift = if metadata.uid() == self.uid {
            6
        } else if metadata.gid() == self.gid {
            3
        } else {
            0
        };
        self.uid == 0 || metadata.mode() >> shift & right != 0
    }

    /// The first directory on the way to `path` that this account may not pass, or none when it can get there.
    ///
    /// Judged by permission bits; access lists that go beyond them are not seen. Parts that do not exist yet are skipped.
    pub fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        let real = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok())?;
        let passable =
            |directory: &Path| fs::metadata(directory).map_or(true, |meta| !meta.is_dir() || self.allowed(&meta, 1));
        real.ancestors()
            .filter(|directory| !passable(directory))
            .last()
            .map(Path::to_owned)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn postgres_is_preferred_and_root_never_chosen() {
        let both = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        let chosen = ServerUser::from_accounts(both).unwrap();
        assert_eq!((chosen.name(), chosen.uid, chosen.gid), ("postgres", 101, 104));
        let disguised = "postgres:x:0:0::/:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(ServerUser::from_accounts(disguised).unwrap().name(), "nobody");
        assert_eq!(ServerUser::from_accounts("root:x:0:0::/root:/bin/sh\nbroken"), None);
    }

    #[test]
    fn a_private_directory_on_the_way_is_found() {
        let stranger = ServerUser {
            name: "stranger".into(),
            uid: 54_321,
            gid: 54_321,
            switch: true,
        };
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let inner = home.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(stranger.blocked_at(&inner).as_deref(), Some(home.path()));
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(stranger.blocked_at(&inner.join("not/yet")), None);
    }
}
