//! What a `drill` left behind: directories of clusters, and processes. Found without asking `drill`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Place, place::MARK};

const MEMORY: &str = "/dev/shm";
/// The label by which drill knows what is its own in Docker; its value is the directory of the run.
const LABEL: &str = "org.drill.work";

/// What is still there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Directories of clusters.
    pub directories: Vec<PathBuf>,
    /// Processes: number and command line.
    pub processes: Vec<(u32, String)>,
}

/// What the `drill` with this process number has left.
pub fn left_by(place: &Place, pid: u32) -> Left {
    let mut directories = entries(&place.work());
    directories.extend(entries(Path::new(MEMORY)).into_iter().filter(|path| is_of(path, pid)));
    let processes = entries(Path::new("/proc"))
        .into_iter()
        .filter(|process| belongs(process, place, &directories))
        .filter_map(|process| Some((process.file_name()?.to_str()?.parse().ok()?, command_line(&process))))
        .collect();
    Left { directories, processes }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Whether the lock file of a run's directory (`drill run <run-id> <process number>`) names that process.
fn is_of(directory: &Path, pid: u32) -> bool {
    let lock = fs::read_to_string(directory.join(".lock")).unwrap_or_default();
    lock.split_whitespace().last() == Some(&pid.to_string())
}

/// Whether a process carries the trial's mark or works in one of its directories. A server's children overwrite their
/// environment with their title, so both are asked.
fn belongs(process: &Path, place: &Place, directories: &[PathBuf]) -> bool {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let mark = format!("{MARK}={}", place.mark());
    if environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes())
    {
        return true;
    }
    let Ok(cwd) = fs::read_link(process.join("cwd")) else {
        return false;
    };
    cwd.starts_with(place.work()) || directories.iter().any(|directory| cwd.starts_with(directory))
}

fn command_line(process: &Path) -> String {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
}

/// Names of the containers and networks that belong to runs in a directory or below it.
pub fn in_docker(directory: &Path) -> Vec<String> {
    let mut names = listed(&["ps", "--all"], ".Names", directory);
    names.extend(networks_of(directory));
    names
}

/// Those of the networks.
pub fn networks_of(directory: &Path) -> Vec<String> {
    listed(&["network", "ls"], ".Name", directory)
}

/// Nothing where there is no Docker.
fn listed(what: &[&str], name: &str, directory: &Path) -> Vec<String> {
    let format = format!("{{{{.Label \"{LABEL}\"}}}} {{{{{name}}}}}");
    let filter = format!("label={LABEL}");
    let listed = Command::new("docker")
        .args(what)
        .args(["--filter", &filter, "--format", &format])
        .output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let of = |line: &str| {
        let (label, name) = line.split_once(' ')?;
        Path::new(label).starts_with(directory).then(|| name.to_owned())
    };
    String::from_utf8_lossy(&listed).lines().filter_map(of).collect()
}
