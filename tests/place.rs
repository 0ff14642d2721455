//! Surroundings of one trial: a directory for its evidence, one for its clusters, an environment without the tester's own
//! settings, and a mark by which its processes are known afterwards.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Left, Ran, Started, binary, left_by};

/// Names the trial in the environment of everything that it starts.
pub(crate) const MARK: &str = "DRILL_TRIAL";
/// Settings of drill that are the tester's to choose: which PostgreSQL, and where it is cached.
const KEPT: [&str; 4] = ["DRILL_BINDIR", "DRILL_CACHE_DIR", "DRILL_POSTGRES", "DRILL_PROVIDER"];
/// How long the dying may take after `drill` has gone.
const DYING: Duration = Duration::from_secs(3);

/// Surroundings of one trial. They go when it is dropped.
#[derive(Debug)]
pub struct Place {
    root: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// Makes them: short of path, because of sockets, and open to the account of the server.
    pub fn new() -> Self {
        let open = fs::Permissions::from_mode(0o755);
        let root = tempfile::Builder::new()
            .prefix("dt-")
            .permissions(open.clone())
            .tempdir_in("/var/tmp");
        let place = Self { root: root.unwrap() };
        fs::create_dir(place.work()).unwrap();
        fs::set_permissions(place.work(), open).unwrap();
        place
    }

    /// The directory that `drill` is started in.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Where clusters on disk live.
    pub fn work(&self) -> PathBuf {
        self.join("work")
    }

    /// Where [`Place::run`] has the evidence put.
    pub fn out(&self) -> PathBuf {
        self.join("out")
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The `drill` command with these arguments.
    pub fn drill<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(binary());
        command.args(arguments);
        command
    }

    /// A program in these surroundings: one that starts `drill` in its own way.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("DRILL_") && !KEPT.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command.env_remove("NO_COLOR").env("COLUMNS", "100");
        command.env("DRILL_WORK_DIR", self.work()).env(MARK, self.mark());
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs `drill` with these arguments to its end.
    pub fn ran<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        Started::start(&mut self.drill(arguments)).finish()
    }

    /// Runs `drill run … --out out` with its clusters in memory and without progress.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let always = ["run", "--storage", "memory", "--progress", "none", "--out", "out"];
        self.ran(always.iter().chain(arguments))
    }

    /// The value of the mark.
    pub(crate) fn mark(&self) -> String {
        self.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Asserts that a `drill` that has ended left no process and no directory of a cluster.
    pub fn nothing_left(&self, pid: u32) {
        let deadline = std::time::Instant::now() + DYING;
        loop {
            let left = left_by(self, pid);
            if left == Left::default() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "left behind: {left:#?}");
            std::thread::sleep(Duration::from_millis(20)); // between two looks at processes that are dying
        }
    }
}
