//! What the servers run to archive WAL and to get it back: `archive_command` and `restore_command`.

use std::{env, fmt::Write as _, path::Path};

use super::{Instead, WalSource};
use crate::postgres::shell_quoted;

/// The programs that these commands run.
const PROGRAMS: [&str; 7] = ["sh", "cp", "mv", "wc", "chmod", "sync", "test"];

/// A program that archiving WAL, or fetching it, needs is missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be found in PATH, and archiving and fetching of WAL need them: install them, or mend PATH",
    programs.join(", ")
)]
pub struct NoPrograms {
    programs: Vec<&'static str>,
}

/// Looks for the programs that the commands run on this machine's search path. A server finds them as this process does;
/// without them nothing is archived, or nothing fetched, and both look like the end of the WAL.
///
/// # Errors
/// If one is missing.
pub fn find_programs() -> Result<(), NoPrograms> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| env::split_paths(&path).any(|directory| directory.join(name).is_file());
    let programs: Vec<_> = PROGRAMS.into_iter().filter(|name| !is_there(name)).collect();
    if programs.is_empty() {
        Ok(())
    } else {
        Err(NoPrograms { programs })
    }
}

fn shell(path: &Path) -> String {
    shell_quoted(&path.to_string_lossy())
}

/// A path as it stands in `archive_command` or `restore_command`, where `%` has a meaning.
fn in_command(path: &Path) -> String {
    shell(path).replace('%', "%%")
}

/// The `restore_command` that runs a script of [`restore_script`].
pub fn restore_command(script: &Path) -> String {
    format!("sh {} '%f' '%p'", in_command(script))
}

/// A `restore_command` that takes what an archive has, as it is.
pub fn copy_command(archive: &Path) -> String {
    format!("cp {}/'%f' '%p'", in_command(archive))
}

/// The script that `restore_command` runs: `SCRIPT %f %p`. It takes a file from the archive, else from the stream,
/// else the unfinished tail of either, and fails if there is none: which the server takes for the end of the archive.
///
/// A segment of another size than a segment has is not offered: it would be fatal to the server (PostgreSQL 16,
/// xlogarchive.c), while the WAL before it is good. Nor is one that was found bad: the server would end its replay at it,
/// and looks into no second place. The file that is handed out is writable: the server goes on writing in the last segment.
/// `service` is a program that is run first while it exists.
pub fn restore_script(wal: &WalSource, instead: &Instead, service: &Path) -> String {
    let mut script = String::from("#!/bin/sh\n# restore_command: $1 = file asked for, $2 = where to put it\n");
    let service = shell(service);
    let bytes = wal.segment_bytes;
    let _ = write!(
        script,
        "if [ -f {service} ]; then sh {service} \"$1\" || exit 1; fi\n\
         case \"$1\" in *.*) whole=any ;; *) whole={bytes} ;; esac\n\
         offer() {{ [ -f \"$1\" ] && {{ [ $whole = any ] || [ \"$(wc -c < \"$1\")\" -eq $whole ]; }}; }}\n\
         give() {{ cp \"$1\" \"$2\" && chmod u+w \"$2\"; exit $?; }}\n"
    );
    for (name, copy) in instead {
        let instead = copy
            .as_ref()
            .map_or_else(|| "exit 1".to_owned(), |copy| format!("give {} \"$2\"", shell(copy)));
        let _ = writeln!(script, "if [ \"$1\" = {name} ]; then {instead}; fi");
    }
    let mut offer = |directory: &Path, suffix: &str| {
        let file = format!("{}/\"$1\"{suffix}", shell(directory));
        let _ = writeln!(script, "if offer {file}; then give {file} \"$2\"; fi");
    };
    for suffix in ["", ".partial"] {
        for directory in [&wal.archive, &wal.stream].into_iter().flatten() {
            offer(directory, suffix);
        }
    }
    script.push_str("exit 1\n");
    script
}

/// The source's `archive_command`: copies to a temporary name and renames, so that a killed archiver leaves no torn
/// segment, and refuses to overwrite (PostgreSQL manual, 26.3.1).
pub fn archive_command(archive: &Path, durable: bool) -> String {
    let archive = in_command(archive);
    let sync = if durable {
        format!(" && sync {archive}/.%f.tmp")
    } else {
        String::new()
    };
    format!("test ! -f {archive}/%f && cp '%p' {archive}/.%f.tmp{sync} && mv {archive}/.%f.tmp {archive}/%f")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

    use super::{Instead, WalSource, archive_command, copy_command, restore_command, restore_script};

    fn source() -> WalSource {
        WalSource {
            archive: Some("/a".into()),
            stream: Some("/s".into()),
            segment_bytes: 1 << 20,
        }
    }

    #[test]
    fn whole_segments_come_before_the_partial_tail() {
        let script = restore_script(&source(), &Instead::new(), "/w/archive-service.sh".as_ref());
        let places = ["/a/\"$1\";", "/s/\"$1\";", "/a/\"$1\".partial;", "/s/\"$1\".partial;"];
        assert!(places.map(|text| script.find(text).unwrap()).is_sorted());
    }

    #[test]
    fn the_server_gets_what_is_good_and_may_write_to_it() {
        let root = tempfile::tempdir().unwrap();
        let (archive, asked) = (root.path().join("archive"), root.path().join("asked"));
        fs::create_dir(&archive).unwrap();
        let wal = WalSource {
            archive: Some(archive.clone()),
            stream: None,
            segment_bytes: 4,
        };
        for (name, content) in [
            ("1", "bad1"),
            ("2", "bad2"),
            ("3", "good"),
            ("4", "cut"),
            ("5.partial", "tail"),
            ("other", "copy"),
        ] {
            fs::write(archive.join(name), content).unwrap();
            fs::set_permissions(archive.join(name), fs::Permissions::from_mode(0o400)).unwrap();
        }
        let instead = Instead::from([("1".to_owned(), Some(archive.join("other"))), ("2".to_owned(), None)]);
        let script = root.path().join("restore.sh");
        fs::write(&script, restore_script(&wal, &instead, "/nowhere".as_ref())).unwrap();
        let get = |name: &str| {
            let _ = fs::remove_file(&asked);
            let status = Command::new("sh").arg(&script).arg(name).arg(&asked).status().unwrap();
            status.success().then(|| fs::read_to_string(&asked).unwrap())
        };
        assert_eq!(get("1").as_deref(), Some("copy"), "another copy");
        assert_eq!(get("2"), None, "it was found bad");
        assert_eq!(get("3").as_deref(), Some("good"));
        assert_ne!(asked.metadata().unwrap().permissions().mode() & 0o200, 0);
        assert_eq!((get("4"), get("6")), (None, None));
        assert_eq!(get("5").as_deref(), Some("tail"), "it is all there is");
    }

    /// What a path may hold: a quote, spaces, and what `archive_command` itself gives a meaning.
    #[test]
    fn whatever_a_path_holds_a_segment_is_archived_and_fetched() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("it's 100%f $HOME `x`");
        let (archive, segment, asked) = (base.join("archive"), base.join("segment"), base.join("asked"));
        fs::create_dir_all(&archive).unwrap();
        fs::write(&segment, "wal!").unwrap();
        let run = |command: &str, name: &str, path: &Path| {
            // As the server puts names and paths in (PostgreSQL manual, archive_command).
            let command = command.replace("%%", "\u{1}").replace("%f", name);
            let command = command.replace("'%p'", "\"$P\"").replace('\u{1}', "%");
            let status = Command::new("sh").args(["-c", &command]).env("P", path).status();
            assert!(status.unwrap().success(), "{command}");
        };
        run(&archive_command(&archive, true), "1", &segment);
        let wal = WalSource {
            archive: Some(archive.clone()),
            stream: None,
            segment_bytes: 4,
        };
        let script = base.join("restore.sh");
        fs::write(&script, restore_script(&wal, &Instead::new(), &base.join("service"))).unwrap();
        for command in [restore_command(&script), copy_command(&archive)] {
            let _ = fs::remove_file(&asked);
            run(&command, "1", &asked);
            assert_eq!(fs::read_to_string(&asked).unwrap(), "wal!");
        }
        assert!(super::find_programs().is_ok());
    }

    #[test]
    fn archiving_never_overwrites_and_ends_with_a_rename() {
        let command = archive_command("/a".as_ref(), true);
        assert!(
            command.starts_with("test ! -f /a/%f") && command.ends_with("mv /a/.%f.tmp /a/%f"),
            "{command}"
        );
    }
}
