//! The operating system's processes: who is whose child, and in which state.
//!
//! Read from `/proc` where there is one, from `ps` elsewhere.

use std::{fs, io, path::Path, process::Command};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its number.
    pub(super) pid: u32,
    parent: u32,
    state: char,
    /// Its command line; a server process of PostgreSQL says there what it does.
    title: String,
}

impl Found {
    /// Whether it has ended; its number may live on until its parent asks.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether it stands still after SIGSTOP.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T')
    }

    /// Whether its title says that it is a `role` of PostgreSQL, with or without `cluster_name` before it.
    pub(super) fn is(&self, role: &str) -> bool {
        let Some(parts) = self.title.strip_prefix("postgres: ") else {
            return false;
        };
        parts.split(": ").any(|part| {
            part.strip_prefix(role)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }
}

/// Every living process.
pub(super) fn all() -> io::Result<Vec<Found>> {
    let mut found = if Path::new("/proc/self/stat").exists() {
        from_proc()?
    } else {
        from_ps()?
    };
    found.retain(|process| !process.is_dead());
    Ok(found)
}

/// The children of `pid`, their children and so on.
pub(super) fn descendants(of: &[Found], pid: u32) -> Vec<Found> {
    let mut family: Vec<Found> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for child in of.iter().filter(|process| process.parent == parent) {
            parents.push(child.pid);
            family.push(child.clone());
        }
    }
    family
}

fn from_proc() -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.path();
        let is_process = directory
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        // A process may end between these lines; then it is not there.
        if is_process
            && let Ok(stat) = fs::read_to_string(directory.join("stat"))
            && let Ok(command) = fs::read(directory.join("cmdline"))
        {
            found.extend(from_stat(&stat, &command));
        }
    }
    Ok(found)
}

/// `pid (name, which may hold anything) state parent …`
pub(super) fn from_stat(stat: &str, command: &[u8]) -> Option<Found> {
    let (pid, rest) = stat.split_once(' ')?;
    let mut fields = rest.rsplit_once(") ")?.1.split(' ');
    let title = String::from_utf8_lossy(command)
        .replace('\0', " ")
        .trim_end()
        .to_owned();
    Some(Found {
        pid: pid.parse().ok()?,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        title,
    })
}

fn from_ps() -> io::Result<Vec<Found>> {
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid=,stat=,args="])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(from_ps_line)
        .collect())
}

/// `pid parent state command`
pub(super) fn from_ps_line(line: &str) -> Option<Found> {
    let mut fields = line.split_whitespace();
    let (pid, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let state = fields.next()?.chars().next()?;
    Some(Found {
        pid,
        parent,
        state,
        title: fields.collect::<Vec<_>>().join(" "),
    })
}
