//! What a `drill` left behind: directories of clusters, and processes. Found without asking `drill`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Place, place::MARK};

const MEMORY: &str = "/dev/shm";

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

/// Whether the lock file of a run's directory (`<run-id> <process number>`) names that process.
fn is_of(directory: &Path, pid: u32) -> bool {
    let lock = fs::read_to_string(directory.join(".lock")).unwrap_or_default();
    lock.split_whitespace().nth(1) == Some(&pid.to_string())
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
