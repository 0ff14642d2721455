//! The processes of a running server: who they are, how to signal them, how to be sure that none is left. A PostgreSQL
//! server's children each lead a process group of their own, so a signal to the postmaster's group reaches only the
//! postmaster; where the system has /proc the family is found there, elsewhere the children's own watch over their parent
//! must do.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Serialize;

use super::{container::ContainerServer, files};

/// One process of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerProcess {
    /// Its process id.
    pub pid: u32,
    /// What it calls itself, `checkpointer`; the postmaster is called `postmaster`, a client's backend
    /// `user database [local] idle`, a shell command of the archiver by its command line.
    pub title: String,
}

/// The postmaster that we started, as our child.
#[derive(Debug)]
pub(super) struct ChildServer {
    child: Child,
    pid: u32,
    data_directory: PathBuf,
    program: PathBuf,
}

/// A server that we started.
#[derive(Debug)]
pub(super) enum Server {
    /// Among the host's processes.
    Child(ChildServer),
    /// In a container.
    Container(Box<ContainerServer>),
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Child(server) => server.pid,
            Self::Container(server) => server.pid(),
        }
    }

    /// How it ended, once it has.
    pub(super) fn exit_status(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Child(server) => server.exit_status(),
            Self::Container(server) => server.exit_status(),
        }
    }

    /// Signals the postmaster.
    pub(super) fn signal(&mut self, signal: Signal) {
        match self {
            Self::Child(server) => server.signal(signal),
            Self::Container(server) => server.signal(signal),
        }
    }

    /// The postmaster and everything it started, as far as the system tells.
    pub(super) fn processes(&mut self) -> Vec<ServerProcess> {
        if self.exit_status().is_some() {
            return Vec::new();
        }
        let postmaster = self.pid();
        let mut processes = vec![ServerProcess {
            pid: postmaster,
            title: "postmaster".to_owned(),
        }];
        processes.extend(
            descendants(postmaster)
                .into_iter()
                .map(|pid| ServerProcess { pid, title: title(pid) }),
        );
        processes
    }

    /// Kills the postmaster with all its children, and waits until none is left.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Child(server) => server.kill(),
            Self::Container(server) => server.kill(),
        }
    }

    /// Clears up after a postmaster that is gone. What a container leaves goes with the container, and that with this.
    pub(super) fn clear_remains(&mut self) {
        if let Self::Child(server) = self {
            server.clear_remains();
        }
    }
}

impl ChildServer {
    pub(super) fn new(child: Child, data_directory: &Path, program: &Path) -> Self {
        let pid = child.id();
        Self {
            child,
            pid,
            data_directory: data_directory.to_owned(),
            program: program.to_owned(),
        }
    }

    /// How it ended, once it has.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Cannot hit another process: until the child is reaped its number is not reused.
    fn signal(&mut self, signal: Signal) {
        if let (None, Some(pid)) = (self.exit_status(), as_pid(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    fn kill(&mut self) {
        if self.exit_status().is_none() {
            // Stopped, it starts no more children while they are being counted.
            self.signal(Signal::STOP);
            let mut family = Vec::new();
            for _ in 0..10 {
                let new: Vec<u32> = descendants(self.pid)
                    .into_iter()
                    .filter(|pid| !family.contains(pid))
                    .collect();
                if new.is_empty() {
                    break;
                }
                send(&new, Signal::STOP);
                family.extend(new);
            }
            if let Some(group) = as_pid(self.pid) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            send(&family, Signal::KILL);
            let _ = self.child.wait();
        }
        kill_orphans(&self.data_directory, Some(&self.program));
    }

    /// Clears up after a postmaster that is gone: children that outlived it, and the shared memory it could not give back.
    fn clear_remains(&mut self) {
        let (data, program) = (&self.data_directory, &self.program);
        if !files::wait_blocking(Duration::from_secs(3), || orphans(data, Some(program)).is_empty()) {
            kill_orphans(data, Some(program));
        }
        release_shared_memory(self.pid);
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(pid.cast_signed())
}

pub(super) fn send(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| as_pid(*pid)) {
        let _ = kill_process(pid, signal);
    }
}

/// Every process id that /proc lists; none where there is no /proc.
pub(super) fn all_processes() -> Vec<u32> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(number)
        .collect()
}

/// Children, their children and so on, without those that are dead already.
pub(super) fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all_processes()
        .into_iter()
        .filter_map(|pid| Some((pid, living_parent(pid)?)))
        .collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(
            parents
                .iter()
                .filter(|(pid, of)| *of == parent && *pid != parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    family.split_off(1)
}

/// The parent of a process that lives, from /proc/PID/stat: `pid (name) state parent …`.
fn living_parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        None
    } else {
        fields.next()?.parse().ok()
    }
}

/// What a process calls itself, without the `postgres: ` before it.
fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
    let line = line.trim();
    line.strip_prefix("postgres: ").unwrap_or(line).to_owned()
}

/// Where a process's link in /proc points, also when what it points to is gone.
fn link(pid: u32, name: &str) -> Option<PathBuf> {
    let target = fs::read_link(format!("/proc/{pid}/{name}")).ok()?;
    match target.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => Some(text.into()),
        None => Some(target),
    }
}

/// Living PostgreSQL processes at work in a directory or below it: of `program`, or of any `postgres`.
pub(super) fn orphans(directory: &Path, program: Option<&Path>) -> Vec<u32> {
    let program = program.map(|program| program.canonicalize().unwrap_or_else(|_| program.to_owned()));
    let is_postgres = |pid: u32| {
        link(pid, "exe").is_some_and(|exe| match &program {
            Some(program) => exe == *program,
            None => exe.file_name().is_some_and(|name| name == "postgres"),
        })
    };
    let works_there = |pid: u32| link(pid, "cwd").is_some_and(|cwd| cwd.starts_with(directory));
    all_processes()
        .into_iter()
        .filter(|pid| is_postgres(*pid) && works_there(*pid) && living_parent(*pid).is_some())
        .collect()
}

/// Kills them and waits until they are gone.
pub(super) fn kill_orphans(directory: &Path, program: Option<&Path>) -> usize {
    let found = orphans(directory, program);
    send(&found, Signal::KILL);
    if !found.is_empty() {
        files::wait_blocking(Duration::from_secs(5), || orphans(directory, program).is_empty());
    }
    found.len()
}

/// Kills what a user's own program left running, by the variable with the run's directory ([`MARK`]) in its environment: every
/// process that it starts inherits that, in whatever session.
pub(super) fn kill_marked(work: &Path) -> usize {
    let mark = [MARK.as_bytes(), b"=", work.as_os_str().as_encoded_bytes(), b"/"].concat();
    let is_marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        *pid != std::process::id()
            && environment
                .split(|byte| *byte == 0)
                .any(|entry| entry.starts_with(&mark))
    };
    let marked = || all_processes().into_iter().filter(is_marked).collect::<Vec<_>>();
    let found = marked();
    send(&found, Signal::KILL);
    found.len()
}

/// The variable that tells a program of the user's own where the backups are, below the run's directory.
pub(crate) const MARK: &str = "DRILL_BACKUPS";

/// The list of postmasters that were started in a cluster's home, one number a line. It lies beside the data, because a
/// fault may take the data away, and postmaster.pid with it.
const POSTMASTERS: &str = "postmasters";

/// Adds a postmaster to its cluster's list, for a sweep after this process was killed.
pub(super) fn record_postmaster(home: &Path, pid: u32) {
    let list = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(home.join(POSTMASTERS));
    if let Err(error) = list.and_then(|mut list| writeln!(list, "{pid}")) {
        tracing::debug!(%error, "the postmaster is not on its cluster's list");
    }
}

/// The postmasters on a cluster's list, dead or alive.
pub(super) fn recorded_postmasters(home: &Path) -> Vec<u32> {
    let list = fs::read_to_string(home.join(POSTMASTERS)).unwrap_or_default();
    list.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Releases the small System V segment by which a postmaster guards its data directory. One that was killed leaves it, and the
/// system has room for some thousands only. Only segments that the postmaster made and nobody is attached to are released;
/// processes that are just dying are waited for a moment. What libfaketime made for it is removed as well.
pub(crate) fn release_shared_memory(postmaster: u32) {
    for name in ["faketime_shm", "sem.faketime_sem"] {
        let _ = fs::remove_file(format!("/dev/shm/{name}_{postmaster}")); // seldom there
    }
    let table = || fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    files::wait_blocking(Duration::from_secs(2), || {
        created_segments(&table(), postmaster) == abandoned_segments(&table(), postmaster).len()
    });
    for id in abandoned_segments(&table(), postmaster) {
        let run = Command::new("ipcrm")
            .args(["-m", &id])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !run.is_ok_and(|status| status.success()) {
            tracing::debug!(id, "could not give back a shared memory segment");
        }
    }
}

/// How many segments a process made, attached to or not.
fn created_segments(table: &str, creator: u32) -> usize {
    let creator = creator.to_string();
    table
        .lines()
        .skip(1)
        .filter(|line| line.split_whitespace().nth(4) == Some(&creator))
        .count()
}

/// Reads /proc/sysvipc/shm: `key shmid perms size cpid lpid nattch …`.
fn abandoned_segments(table: &str, creator: u32) -> Vec<String> {
    let abandoned = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let matches = *fields.get(4)? == creator.to_string() && *fields.get(6)? == "0";
        matches.then(|| (*fields.get(1)?).to_owned().into())?
    };
    table.lines().skip(1).filter_map(abandoned).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_the_creators_unattached_segments_are_given_back() {
        let table = "key shmid perms size cpid lpid nattch uid\n 1 10 600 56 77 77 0 101\n 2 11 600 56 77 77 3 101\n 3 12 600 56 78 78 0 101\n\n";
        assert_eq!(abandoned_segments(table, 77), ["10"]);
        assert!(abandoned_segments("", 77).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_is_found_among_the_descendants() {
        let mut child = Command::new("/bin/sh").args(["-c", "sleep 30 & wait"]).spawn().unwrap();
        assert!(files::wait_blocking(Duration::from_secs(5), || descendants(child.id())
            .len()
            == 1));
        let family = descendants(child.id());
        assert!(descendants(std::process::id()).contains(&family[0]));
        send(&family, Signal::KILL);
        child.wait().unwrap();
        assert!(descendants(child.id()).is_empty());
    }
}
