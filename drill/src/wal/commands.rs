//! What the servers run to archive WAL and to get it back: `archive_command` and `restore_command`.

use std::{fmt::Write as _, path::Path};

use super::{Instead, WalSource};

/// The script that `restore_command` runs: `SCRIPT %f %p`. It takes a file from the archive, else from the stream,
/// else the unfinished tail of either, and fails if there is none: which the server takes for the end of the archive.
///
/// A segment of another size than a segment has is not offered: it would be fatal to the server (PostgreSQL 16,
/// xlogarchive.c), while the WAL before it is good. Nor is one that was found bad: the server would end its replay at it,
/// and looks into no second place. What is handed out the server may write to, as it will: it goes on in the last
/// segment. `service` is a program that is asked first while it is there.
pub fn restore_script(wal: &WalSource, instead: &Instead, service: &Path) -> String {
    let mut script = String::from("#!/bin/sh\n# restore_command: $1 = file asked for, $2 = where to put it\n");
    let service = service.display();
    let bytes = wal.segment_bytes;
    let _ = write!(
        script,
        "if [ -f '{service}' ]; then sh '{service}' \"$1\" || exit 1; fi\n\
         case \"$1\" in *.*) whole=any ;; *) whole={bytes} ;; esac\n\
         offer() {{ [ -f \"$1\" ] && {{ [ $whole = any ] || [ \"$(wc -c < \"$1\")\" -eq $whole ]; }}; }}\n\
         give() {{ cp \"$1\" \"$2\" && chmod u+w \"$2\"; exit $?; }}\n"
    );
    for (name, copy) in instead {
        let instead = copy.as_ref().map_or_else(
            || "exit 1".to_owned(),
            |copy| format!("give '{}' \"$2\"", copy.display()),
        );
        let _ = writeln!(script, "if [ \"$1\" = {name} ]; then {instead}; fi");
    }
    let mut offer = |directory: &Path, suffix: &str| {
        let file = format!("'{}'/\"$1\"{suffix}", directory.display());
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
    let archive = archive.display();
    let sync = if durable {
        format!(" && sync '{archive}/.%f.tmp'")
    } else {
        String::new()
    };
    format!("test ! -f '{archive}/%f' && cp '%p' '{archive}/.%f.tmp'{sync} && mv '{archive}/.%f.tmp' '{archive}/%f'")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use super::{Instead, WalSource, archive_command, restore_script};

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
        let places = [
            "'/a'/\"$1\";",
            "'/s'/\"$1\";",
            "'/a'/\"$1\".partial;",
            "'/s'/\"$1\".partial;",
        ];
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

    #[test]
    fn archiving_never_overwrites_and_ends_with_a_rename() {
        let command = archive_command("/a".as_ref(), true);
        assert!(
            command.starts_with("test ! -f '/a/%f'") && command.ends_with("mv '/a/.%f.tmp' '/a/%f'"),
            "{command}"
        );
    }
}
