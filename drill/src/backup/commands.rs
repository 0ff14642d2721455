//! What the servers run to archive WAL and to get it back: `archive_command` and `restore_command`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::wal::WalSource;

/// The script that `restore_command` runs: `SCRIPT %f %p`. It takes a file from the archive, else from the stream,
/// else the stream's unfinished tail, and fails if there is none: which the server takes for the end of the archive.
///
/// A segment of another size than a segment has is not offered: it would be fatal to the server (PostgreSQL 16,
/// xlogarchive.c), while the WAL before it is good. Nor is a copy that was found damaged, where there is another: the
/// server would end its replay at it, and looks into no second place. `service` is a program that is asked first while it
/// is there.
pub fn restore_script(wal: &WalSource, instead: &BTreeMap<String, PathBuf>, service: &Path) -> String {
    let mut script = String::from("#!/bin/sh\n# restore_command: $1 = file asked for, $2 = where to put it\n");
    let service = service.display();
    let bytes = wal.segment_bytes;
    let _ = write!(
        script,
        "if [ -f '{service}' ]; then sh '{service}' \"$1\" || exit 1; fi\n\
         case \"$1\" in *.*) whole=any ;; *) whole={bytes} ;; esac\n\
         offer() {{ [ -f \"$1\" ] && {{ [ $whole = any ] || [ \"$(wc -c < \"$1\")\" -eq $whole ]; }}; }}\n"
    );
    for (name, copy) in instead {
        let _ = writeln!(
            script,
            "if [ \"$1\" = {name} ]; then exec cp '{}' \"$2\"; fi",
            copy.display()
        );
    }
    let mut offer = |directory: &Path, suffix: &str| {
        let file = format!("'{}'/\"$1\"{suffix}", directory.display());
        let _ = writeln!(script, "if offer {file}; then exec cp {file} \"$2\"; fi");
    };
    if let Some(archive) = &wal.archive {
        offer(archive, "");
    }
    if let Some(stream) = &wal.stream {
        offer(stream, "");
        offer(stream, ".partial");
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
    use std::{collections::BTreeMap, path::PathBuf};

    use super::{WalSource, archive_command, restore_script};

    fn source() -> WalSource {
        WalSource {
            archive: Some("/a".into()),
            stream: Some("/s".into()),
            segment_bytes: 1 << 20,
        }
    }

    #[test]
    fn whole_segments_come_before_the_partial_tail() {
        let script = restore_script(&source(), &BTreeMap::new(), "/w/archive-service.sh".as_ref());
        let place = |text: &str| script.find(text).unwrap();
        assert!(place("'/a'/\"$1\" ") < place("'/s'/\"$1\" ") && place("'/s'/\"$1\" ") < place("'/s'/\"$1\".partial"));
    }

    #[test]
    fn a_damaged_copy_gives_way_to_another() {
        let instead = BTreeMap::from([("000000010000000000000003".to_owned(), PathBuf::from("/b/3"))]);
        let script = restore_script(&source(), &instead, "/w/archive-service.sh".as_ref());
        let place = |text: &str| script.find(text).unwrap();
        let other = place("if [ \"$1\" = 000000010000000000000003 ]; then exec cp '/b/3' \"$2\"; fi\n");
        assert!(place("archive-service.sh") < other && other < place("'/a'/\"$1\" "));
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
