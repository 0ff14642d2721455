//! PostgreSQL as this machine has it: from `--bindir`, the `PATH`, `pg_config`, or the places where distributions put it.
//! Counts only when server and client programs of the wanted major version are together in one directory.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{Installation, LocateError, Provider, installation::describe};

/// The programs that a drill needs.
pub const REQUIRED_TOOLS: [&str; 10] = [
    "postgres",
    "initdb",
    "pg_basebackup",
    "pg_verifybackup",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_receivewal",
    "pg_waldump",
    "pg_controldata",
];

/// The required programs that are not in `bindir`.
pub fn missing_tools(bindir: &Path) -> Vec<&'static str> {
    REQUIRED_TOOLS
        .into_iter()
        .filter(|tool| !bindir.join(tool).is_file())
        .collect()
}

/// The PostgreSQL in exactly this directory.
pub async fn at(bindir: &Path, wanted: u32) -> Result<Installation, LocateError> {
    let bindir = std::path::absolute(bindir).unwrap_or_else(|_| bindir.to_owned());
    let missing = missing_tools(&bindir);
    if !missing.is_empty() {
        return Err(LocateError::Incomplete { bindir, missing });
    }
    let found = describe(&bindir, Provider::Installed).await?;
    if found.major == wanted {
        Ok(found)
    } else {
        Err(LocateError::WrongMajor {
            bindir,
            found: found.version,
            major: found.major,
            wanted,
        })
    }
}

/// The first complete PostgreSQL of that major version in the usual places.
pub async fn search(wanted: u32) -> Result<Installation, LocateError> {
    let mut found = Vec::new();
    for bindir in candidates(wanted).await {
        if !bindir.join("postgres").is_file() {
            continue;
        }
        match at(&bindir, wanted).await {
            Ok(installation) => return Ok(installation),
            Err(LocateError::WrongMajor {
                bindir, found: version, ..
            }) => {
                found.push(format!("{version} in {}", bindir.display()));
            }
            Err(LocateError::Incomplete { bindir, missing }) => {
                found.push(format!("one without {} in {}", missing.join(", "), bindir.display()));
            }
            Err(LocateError::OutOfReach { bindir, user, .. }) => {
                found.push(format!("one that {user} cannot reach in {}", bindir.display()));
            }
            Err(LocateError::Version { program, .. }) => {
                found.push(format!("one that does not run, {}", program.display()));
            }
            Err(other) => return Err(other),
        }
    }
    Err(LocateError::NotInstalled { major: wanted, found })
}

/// Where to look, each directory once: what the user put first, then the distributions' places, the wanted version first.
async fn candidates(wanted: u32) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Some(bindir) = pg_config_bindir().await {
        places.insert(0, bindir);
    }
    places.push(format!("/usr/lib/postgresql/{wanted}/bin").into());
    places.push(format!("/usr/pgsql-{wanted}/bin").into());
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        places.push(format!("{prefix}/postgresql@{wanted}/bin").into());
    }
    places.push("/usr/local/pgsql/bin".into());
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        places.push(entry.path().join("bin"));
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| place.is_absolute() && seen.insert(place.canonicalize().unwrap_or_else(|_| place.clone())));
    places
}

async fn pg_config_bindir() -> Option<PathBuf> {
    let run = tokio::process::Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    let printed = String::from_utf8(run.stdout).ok()?;
    run.status.success().then(|| PathBuf::from(printed.trim()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory with programs that only know their version.
    fn pretend(version: &str, without: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let tools = REQUIRED_TOOLS.into_iter().filter(|tool| !without.contains(tool));
        say(
            place.path(),
            &tools.collect::<Vec<_>>(),
            &format!("postgres (PostgreSQL) {version}"),
        );
        place
    }

    /// Makes programs that say one thing. A shell writes them: a file that this process had open for writing could still be
    /// open in a child that another test is just starting, and then it would not run.
    fn say(place: &Path, tools: &[&str], what: &str) {
        let script = r#"cd "$1" && shift && what=$1 && shift && for tool; do
            printf '#!/bin/sh\necho "%s"\n' "$what" >"$tool" && chmod 755 "$tool"; done"#;
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).arg(place).arg(what).args(tools);
        assert!(shell.status().unwrap().success());
    }

    #[tokio::test]
    async fn a_bindir_without_postgresql_names_what_is_missing() {
        let empty = tempfile::tempdir().unwrap();
        let refusal = at(empty.path(), 16).await.unwrap_err().to_string();
        assert!(refusal.contains("missing postgres, initdb, pg_basebackup"), "{refusal}");
        assert!(
            refusal.contains("leave --bindir out to use the embedded one"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn a_server_without_its_clients_is_not_enough() {
        let place = pretend("16.3", &["pg_verifybackup"]);
        let refusal = at(place.path(), 16).await.unwrap_err().to_string();
        assert!(refusal.contains("missing pg_verifybackup;"), "{refusal}");
    }

    #[tokio::test]
    async fn a_wrong_major_says_both_numbers_and_what_to_do() {
        let place = pretend("15.10 (Debian 15.10-0+deb12u1)", &[]);
        let refusal = at(place.path(), 16).await.unwrap_err().to_string();
        assert!(refusal.starts_with("found PostgreSQL 15.10 in "), "{refusal}");
        assert!(
            refusal.contains("where 16 was asked for") && refusal.contains("--postgres 15"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn a_matching_one_is_described() {
        let place = pretend("16.3 (Debian 16.3-1)", &[]);
        let found = at(place.path(), 16).await.unwrap();
        assert_eq!(
            (found.major, found.version.as_str(), found.provider),
            (16, "16.3", Provider::Installed)
        );
        assert!(found.has_tool("pg_dump") && !found.has_tool("pg_rewind") && !found.has_extension("amcheck"));
    }

    #[tokio::test]
    async fn a_program_that_is_no_postgresql_is_refused() {
        let place = pretend("x", &[]);
        say(place.path(), &["postgres"], "hello");
        let refusal = at(place.path(), 16).await.unwrap_err().to_string();
        assert!(refusal.contains("does not answer --version (hello)"), "{refusal}");
    }
}
