//! Tests of the damage itself, on directories and processes of their own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{
    Done, FaultError, OnFiles, Root, kind, kinds,
    kinds::{
        append_bytes::AppendBytes,
        chmod::{Chmod, Mode},
        corrupt_page::{CorruptPage, PageChecksum},
        fill_disk::fill,
        flip_bytes::{FlipBytes, spread},
        remove_files::RemoveFiles,
        replace_file::{ReplaceFile, Replacement},
        service::{Behaviour, Service},
        signal::{Process, SignalName, send_to},
        sql::changes_rows,
        swap_file::SwapFile,
        truncate_file::TruncateFile,
        write_bytes::WriteBytes,
        zero_bytes::ZeroBytes,
    },
    processes,
    world::backups,
};
use crate::{
    postgres::page::{PAGE_BYTES, checksum},
    scenario::{self, Between, Fault, Glob, Hex, Kind, Needs, OneBackup, Pick, Selection, Text, Which},
    state::Parts,
};

fn number<const LEAST: u64, const MOST: u64>(number: u64) -> Between<LEAST, MOST> {
    Between::new(number).unwrap()
}

fn random() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn files(path: &str) -> Selection {
    Selection::of(glob::Pattern::new(path).unwrap(), None)
}

fn picked(path: &str, pick: Pick) -> Selection {
    Selection {
        pick: Some(pick),
        ..files(path)
    }
}

/// A small data directory: `PG_VERSION`, `base/5/1` of 100 bytes, `base/5/2` of 300, `pg_wal` a link.
fn world() -> (TempDir, TempDir) {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir_all(root.path().join("base/5")).unwrap();
    fs::write(root.path().join("PG_VERSION"), "16\n").unwrap();
    fs::write(root.path().join("base/5/1"), [1; 100]).unwrap();
    fs::write(root.path().join("base/5/2"), [2; 300]).unwrap();
    fs::write(outside.path().join("000000010000000000000001"), [3; 50]).unwrap();
    symlink(outside.path(), root.path().join("pg_wal")).unwrap();
    symlink(
        outside.path().join("000000010000000000000001"),
        root.path().join("base/5/3"),
    )
    .unwrap();
    (root, outside)
}

fn does(root: &Path, files: &Selection, kind: &impl OnFiles) -> Result<Done, FaultError> {
    kind.act(&Root::open(root).unwrap(), files, &mut random())
}

/// Makes an empty file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MakeFile {
    /// Its name.
    called: Text,
}

impl Kind for MakeFile {
    fn name() -> &'static str {
        "make-file"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!("makes {} in {}", &*self.called, fault.whose())
    }
}

impl OnFiles for MakeFile {
    fn act(&self, root: &Root, _: &Selection, _: &mut StdRng) -> Result<Done, FaultError> {
        let path = root.path().join(&*self.called);
        fs::write(&path, "").map_err(FaultError::io("write", path))?;
        Ok(Done::new("made".to_owned(), [self.called.to_string()]))
    }
}

#[test]
fn a_kind_of_somebody_elses_is_read_described_and_done() {
    let own = Parts {
        kinds: kinds().with(kind::<MakeFile>()),
        ..Parts::default()
    };
    let own = own.vocabulary();
    let made = "[[fault]]\nat='failure'\nkind='make-file'\ntarget='cluster'\npath='**'\ncalled='new'\n";
    let text = |fault: &str| format!("id='a'\ntitle='t'\nwhy='w'\nsource='s'\n{fault}[expect]\noutcome='recovered'\n");
    let read = |text: &str, words| scenario::parse(text, Path::new("a.toml"), "", words);
    let mine = read(&text(made), &own).unwrap();
    assert!(scenario::show(&mine).contains("makes new in the service's cluster"));
    assert_eq!(
        read(&mine.to_toml().unwrap(), &own).unwrap().faults[0].action,
        mine.faults[0].action
    );
    assert_eq!(own.kinds.named("make-file").unwrap().about, "Makes an empty file.");
    let schema = scenario::schema(&own).to_string();
    assert!(schema.contains("make-file") && schema.contains("Its name."), "{schema}");
    let misspelt = read(&text(&made.replace("called", "caled")), &own).unwrap_err();
    assert!(misspelt.to_string().contains("did you mean `called`?"), "{misspelt}");
    let unknown = read(&text(made), &Parts::default().vocabulary()).unwrap_err();
    assert!(unknown.to_string().contains("no such kind of fault"), "{unknown}");

    let root = TempDir::new().unwrap();
    let called = Text::try_from("new".to_owned()).unwrap();
    does(root.path(), &files("**"), &MakeFile { called }).unwrap();
    assert!(root.path().join("new").exists());
}

#[test]
fn remove_everything_keeps_the_directory_and_what_links_point_to() {
    let (root, outside) = world();
    let done = does(root.path(), &files("**"), &RemoveFiles {}).unwrap();
    assert!(root.path().is_dir() && fs::read_dir(root.path()).unwrap().next().is_none());
    assert_eq!(
        fs::read(outside.path().join("000000010000000000000001")).unwrap(),
        [3; 50]
    );
    assert_eq!(done.summary, "removed 5 files (403 bytes) and 2 directories");
    assert!(
        done.touched.contains(&"base/5/2: removed, 300 bytes".to_owned()),
        "{:?}",
        done.touched
    );
    assert!(
        done.touched.contains(&"pg_wal: link removed".to_owned()),
        "{:?}",
        done.touched
    );
}

#[test]
fn remove_takes_a_directory_with_everything_below_it_or_one_file() {
    let (root, _outside) = world();
    does(root.path(), &picked("base/*/*", Pick::First), &RemoveFiles {}).unwrap();
    assert!(!root.path().join("base/5/1").exists() && root.path().join("base/5/2").exists());
    does(root.path(), &files("base"), &RemoveFiles {}).unwrap();
    assert!(!root.path().join("base").exists() && root.path().join("PG_VERSION").exists());
}

#[test]
fn removal_outlasts_a_server_that_goes_on_writing() {
    let (root, _outside) = world();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let directory = root.path().join("base/5");
    let writer = std::thread::spawn(move || {
        let mut number = 0;
        while stopped.try_recv().is_err() && fs::write(directory.join(format!("new{number}")), "x").is_ok() {
            number += 1;
        }
    });
    does(root.path(), &files("**"), &RemoveFiles {}).unwrap();
    let _ = stop.send(());
    writer.join().unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn truncate_cuts_the_largest_match() {
    let (root, _outside) = world();
    let percent = |percent| TruncateFile {
        keep_bytes: None,
        keep_percent: Between::new(percent),
    };
    let bytes = |bytes| TruncateFile {
        keep_bytes: Some(bytes),
        keep_percent: None,
    };
    let cut = |keep: TruncateFile| does(root.path(), &files("base/**"), &keep);
    assert_eq!(cut(percent(60)).unwrap().touched, ["base/5/2: 300 → 180 bytes"]);
    assert_eq!(cut(bytes(0)).unwrap().touched, ["base/5/2: 180 → 0 bytes"]);
    assert!(matches!(cut(bytes(100)), Err(FaultError::NoEffect { .. })));
}

#[test]
fn flip_changes_exactly_as_many_bytes_as_it_says() {
    let (root, _outside) = world();
    let flip = |bytes, offset| {
        does(
            root.path(),
            &files("base/**"),
            &FlipBytes {
                bytes: number(bytes),
                offset,
            },
        )
    };
    let changed = || {
        let content = fs::read(root.path().join("base/5/2")).unwrap();
        content
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte != 2)
            .map(|(offset, _)| offset)
            .collect::<Vec<_>>()
    };
    let done = flip(8, None).unwrap();
    assert_eq!((changed().len(), done.touched.len()), (8, 8));
    assert_eq!(done.summary, "base/5/2: 8 bytes changed");
    fs::write(root.path().join("base/5/2"), [2; 300]).unwrap();
    let done = flip(2, Some(298)).unwrap();
    assert_eq!(changed(), [298, 299]);
    assert!(
        done.touched[0].starts_with("base/5/2 at 298: 02 → "),
        "{:?}",
        done.touched
    );
    assert!(matches!(
        flip(3, Some(298)),
        Err(FaultError::OutOfRange { size: 300, .. })
    ));
    assert!(matches!(flip(301, None), Err(FaultError::OutOfRange { .. })));
    assert!(matches!(flip(u64::MAX, Some(1)), Err(FaultError::OutOfRange { .. })));
}

#[test]
fn the_same_seed_flips_the_same_bytes() {
    let flip = || {
        let (root, _outside) = world();
        does(
            root.path(),
            &picked("**", Pick::Random),
            &FlipBytes {
                bytes: number(3),
                offset: None,
            },
        )
        .unwrap()
        .touched
    };
    assert_eq!(flip(), flip());
}

#[test]
fn zero_write_and_append_change_bytes_in_place() {
    let (root, _outside) = world();
    let path = root.path().join("base/5/2");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let all = files("base/**");
    let zero = ZeroBytes {
        offset: 10,
        bytes: number(20),
    };
    assert_eq!(does(root.path(), &all, &zero).unwrap().touched.len(), 1);
    assert!(matches!(
        does(root.path(), &all, &zero),
        Err(FaultError::NoEffect { .. })
    ));
    let write = WriteBytes {
        offset: 0,
        hex: Hex(vec![9, 8]),
    };
    assert_eq!(
        does(root.path(), &all, &write).unwrap().summary,
        "base/5/2 at 0: 0202 → 0908"
    );
    assert!(matches!(
        does(root.path(), &all, &write),
        Err(FaultError::NoEffect { .. })
    ));
    let append = AppendBytes { hex: Hex(vec![7]) };
    assert_eq!(
        does(root.path(), &all, &append).unwrap().summary,
        "base/5/2: 300 → 301 bytes, appended 07"
    );

    let content = fs::read(&path).unwrap();
    assert_eq!(
        (&content[..3], &content[9..12], content[29], content[30], content[300]),
        (&[9, 8, 2][..], &[2, 0, 0][..], 0, 2, 7)
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn replace_gives_another_content_and_keeps_the_mode() {
    let (root, _outside) = world();
    let path = root.path().join("base/5/1");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let replace = |with| does(root.path(), &files("base/5/1"), &ReplaceFile { with });
    let other = Replacement::Path(Glob(glob::Pattern::new("base/*/2").unwrap()));
    replace(other.clone()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [2; 300]);
    assert!(matches!(replace(other), Err(FaultError::NoEffect { .. })));
    assert_eq!(
        replace(Replacement::Text(String::new()))
            .unwrap()
            .summary
            .split(": ")
            .next(),
        Some("base/5/1")
    );
    assert_eq!(fs::read(&path).unwrap(), [0_u8; 0]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn chmod_sets_permissions_of_files_and_directories() {
    let (root, _outside) = world();
    fs::set_permissions(root.path().join("base"), fs::Permissions::from_mode(0o700)).unwrap();
    let chmod = || does(root.path(), &files("base"), &Chmod { mode: Mode(0o500) });
    assert_eq!(chmod().unwrap().touched, ["base: permissions 0700 → 0500"]);
    assert!(matches!(chmod(), Err(FaultError::NoEffect { .. })));
    fs::set_permissions(root.path().join("base"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn nothing_that_a_link_leads_to_is_touched() {
    let (root, outside) = world();
    for path in ["pg_wal/*", "base/5/3", "pg_wal"] {
        let error = does(root.path(), &files(path), &AppendBytes { hex: Hex(vec![0]) }).unwrap_err();
        assert!(matches!(error, FaultError::NoMatch { .. }), "{path}: {error}");
    }
    // A directory that becomes a link between listing and acting.
    let opened = Root::open(root.path()).unwrap();
    let entries = opened.entries().unwrap();
    let entry = entries.iter().find(|entry| entry.name == "base/5/1").unwrap();
    fs::write(outside.path().join("1"), "safe").unwrap();
    fs::remove_dir_all(root.path().join("base/5")).unwrap();
    symlink(outside.path(), root.path().join("base/5")).unwrap();
    assert!(matches!(opened.open_file(entry), Err(FaultError::Outside { .. })));
    assert!(matches!(
        super::root::Root::confine(&opened, entry),
        Err(FaultError::Outside { .. })
    ));
    // A file that becomes a link.
    fs::remove_file(root.path().join("PG_VERSION")).unwrap();
    symlink(outside.path().join("1"), root.path().join("PG_VERSION")).unwrap();
    let entry = entries.iter().find(|entry| entry.name == "PG_VERSION").unwrap();
    assert!(matches!(opened.open_file(entry), Err(FaultError::Io { .. })));
    assert_eq!(fs::read_to_string(outside.path().join("1")).unwrap(), "safe");
}

#[test]
fn no_match_is_an_error_that_says_so() {
    let (root, _outside) = world();
    let none = files("base/6/*");
    let flip = FlipBytes {
        bytes: number(1),
        offset: None,
    };
    for done in [
        does(root.path(), &none, &RemoveFiles {}),
        does(root.path(), &none, &flip),
    ] {
        let error = done.unwrap_err().to_string();
        assert!(error.contains("matches `base/6/*`"), "{error}");
    }
}

#[test]
fn pick_chooses_among_matches() {
    let (root, _outside) = world();
    let opened = Root::open(root.path()).unwrap();
    let chosen = |pick| {
        let chosen = opened.select(&picked("**", pick), &mut random()).unwrap();
        chosen.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!(chosen(Pick::Largest), ["base/5/2"]);
    assert_eq!(chosen(Pick::Smallest), ["PG_VERSION"]);
    assert_eq!(chosen(Pick::First), ["PG_VERSION"]);
    assert_eq!(chosen(Pick::Last), ["base/5/2"]);
    assert_eq!(chosen(Pick::All).len(), 3);
    assert_eq!(chosen(Pick::Random).len(), 1);
}

#[test]
fn the_one_before_the_last_needs_two() {
    let (root, _outside) = world();
    let opened = Root::open(root.path()).unwrap();
    let second_last = |path| opened.select(&picked(path, Pick::SecondLast), &mut random());
    assert_eq!(second_last("base/*/*").unwrap()[0].name, "base/5/1");
    assert!(matches!(second_last("PG_VERSION"), Err(FaultError::NoMatch { .. })));
}

#[test]
fn an_older_copy_comes_from_the_backup_with_or_without_the_newer_tail() {
    let (root, _outside) = world();
    let backup = TempDir::new().unwrap();
    fs::create_dir_all(backup.path().join("data/base/5")).unwrap();
    fs::write(backup.path().join("data/base/5/2"), [7; 100]).unwrap();
    let from = ("backup b".to_owned(), backup.path().to_owned());
    let swap_in = |path, keep_tail| {
        let from_latest = SwapFile {
            from: OneBackup(Which::Latest),
            keep_tail,
        };
        let root = Root::open(root.path()).unwrap();
        from_latest.act(&root, &files(path), Some(&from), &mut random())
    };
    let swap = |keep_tail| swap_in("base/5/2", keep_tail);
    assert_eq!(
        swap(true).unwrap().summary,
        "base/5/2: as in backup b: 300 → 300 bytes, 1 page older"
    );
    let content = fs::read(root.path().join("base/5/2")).unwrap();
    assert!(content[..100] == [7; 100] && content[100..] == [2; 200]);
    swap(false).unwrap();
    assert_eq!(fs::read(root.path().join("base/5/2")).unwrap(), [7; 100]);
    assert!(matches!(swap(false), Err(FaultError::NoEffect { .. })));
    assert!(matches!(swap_in("PG_VERSION", false), Err(FaultError::NoMatch { .. })));
}

#[test]
fn a_page_is_damaged_and_its_checksum_is_kept_mended_or_broken() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("16384");
    let mut sound = vec![1; 2 * PAGE_BYTES];
    let sum = checksum(&sound[PAGE_BYTES..], 1).to_ne_bytes();
    sound[PAGE_BYTES + 8..PAGE_BYTES + 10].copy_from_slice(&sum);
    let corrupt = |content: Option<(u64, Vec<u8>)>, checksum| {
        fs::write(&path, &sound).unwrap();
        let (offset, hex) = content.map(|(offset, bytes)| (number(offset), Hex(bytes))).unzip();
        let kind = CorruptPage {
            block: 1,
            offset,
            hex,
            checksum,
        };
        kind.act(&Root::open(root.path()).unwrap(), &files("*"), &mut random())
    };
    let valid = || {
        let page = &fs::read(&path).unwrap()[PAGE_BYTES..];
        page[8..10] == checksum(page, 1).to_ne_bytes()
    };
    corrupt(Some((100, vec![9])), PageChecksum::Keep).unwrap();
    assert!(!valid());
    let done = corrupt(Some((100, vec![9])), PageChecksum::Mend).unwrap();
    assert!(valid() && done.summary.ends_with("valid"), "{}", done.summary);
    assert_eq!(fs::read(&path).unwrap()[..PAGE_BYTES], sound[..PAGE_BYTES]);
    corrupt(None, PageChecksum::Break).unwrap();
    assert!(!valid());
    assert!(matches!(
        corrupt(Some((100, vec![1])), PageChecksum::Keep),
        Err(FaultError::NoEffect { .. })
    ));
    assert!(matches!(
        corrupt(Some((8191, vec![9, 9])), PageChecksum::Keep),
        Err(FaultError::OutOfRange { .. })
    ));
}

/// The program of an archive that misbehaves after so many segments, so many times.
fn archive(does: Behaviour, after: u64, times: u64) -> String {
    let service = Service {
        does,
        delay: None,
        status: None,
        after: Between::new(after),
        times: Between::new(times),
    };
    service.archive_program()
}

#[test]
fn the_archive_fails_for_the_segments_that_it_should() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("service.sh");
    fs::write(&program, archive(Behaviour::Down, 1, 2)).unwrap();
    let ask = |file: &str| Command::new("sh").arg(&program).arg(file).status().unwrap().success();
    let segment = "000000010000000000000001";
    assert_eq!(
        [segment, "00000002.history", segment, segment, segment].map(ask),
        [true, true, false, false, true]
    );
}

#[test]
fn what_fetches_a_segment_is_killed_and_not_the_server() {
    use std::os::unix::process::ExitStatusExt as _;
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("archive-service.sh");
    fs::write(&program, archive(Behaviour::Kill, 1, 1)).unwrap();
    // As restore_command asks it: from a script that goes on afterwards.
    let script = directory.path().join("restore-wal.sh");
    fs::write(
        &script,
        format!("sh '{}' \"$1\" || exit 1\nexit 3\n", program.display()),
    )
    .unwrap();
    let fetch = || {
        let status = Command::new("sh").arg(&script).arg("000000010000000000000001").status();
        let status = status.unwrap();
        (status.code(), status.signal())
    };
    assert_eq!(fetch(), (Some(3), None));
    assert_eq!(fetch(), (None, Some(9)));
    assert_eq!(fetch(), (Some(3), None));
}

#[test]
fn a_filesystem_that_others_use_is_never_filled() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("source")).unwrap();
    let error = fill(&directory.path().join("source")).unwrap_err();
    assert!(matches!(error, FaultError::NotItsOwn { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path().join("source")).unwrap().count(), 0);
}

#[test]
fn a_backup_keeps_its_number_when_an_earlier_one_expires() {
    let taken = [
        "basebackup-1",
        "dump-2",
        "basebackup-3",
        "basebackup-of-another-cluster",
    ];
    let mut all: Vec<_> = taken.map(|id| (id.to_owned(), id.into())).into();
    let names = |chosen: Vec<(String, _)>| chosen.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let chosen = |which, all: &[_]| backups(which, all).map(names);
    assert_eq!(chosen(Which::Oldest, &all).as_deref(), Some("backup basebackup-1"));
    assert_eq!(chosen(Which::Number(2), &all).as_deref(), Some("backup dump-2"));
    assert_eq!(chosen(Which::Number(4), &all), None);
    assert_eq!(chosen(Which::All, &all).unwrap().matches("backup ").count(), 4);
    let stranger = "backup basebackup-of-another-cluster";
    assert_eq!(chosen(Which::Latest, &all).as_deref(), Some(stranger));

    all.remove(0);
    assert_eq!(chosen(Which::Number(1), &all), None, "it has expired");
    assert_eq!(chosen(Which::Number(2), &all).as_deref(), Some("backup dump-2"));
    assert_eq!(chosen(Which::Number(3), &all).as_deref(), Some("backup basebackup-3"));
    assert_eq!(chosen(Which::Oldest, &all).as_deref(), Some("backup dump-2"));
    assert!(backups(Which::All, &[]).is_none());
}

#[test]
fn statements_that_must_change_rows_are_known() {
    for statement in [
        "DELETE FROM a",
        "  update a SET b = 1",
        "-- why\n-- so\nINSERT INTO a",
        "WITH x AS (…) DELETE",
        "MERGE INTO a",
    ] {
        assert!(changes_rows(statement), "{statement}");
    }
    for statement in ["DROP TABLE a", "SELECT 1", "TRUNCATE a", "", "--", "updated()"] {
        assert!(!changes_rows(statement), "{statement}");
    }
}

#[test]
fn processes_are_read_from_both_sources() {
    let title = b"postgres: drill source: checkpointer \0\0\0";
    let from_proc = processes::from_stat("42 (a) name) S 7 42 42 0", title).unwrap();
    let from_ps = processes::from_ps_line("  42   7 S    postgres: drill source: checkpointer ").unwrap();
    assert_eq!(from_proc, from_ps);
    assert!(from_proc.is("checkpointer") && !from_proc.is("check") && !from_proc.is("walwriter"));
    assert_eq!(processes::descendants(&[from_proc], 7).len(), 1);
    assert!(processes::from_stat("garbage", b"").is_none());
    assert!(processes::from_ps_line("garbage").is_none());
}

#[tokio::test]
async fn signals_reach_a_process_and_its_family() {
    let mut shell = Command::new("sh")
        .args(["-c", "sleep 300 & sleep 300; true"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = shell.id();
    while processes::descendants(&processes::all().unwrap(), pid).len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let stopped = send_to(pid, Process::Postmaster, SignalName::Stop).await.unwrap();
    assert_eq!(stopped.touched, [format!("STOP to process {pid}")]);
    let error = send_to(pid, Process::Checkpointer, SignalName::Kill).await.unwrap_err();
    assert!(matches!(
        error,
        FaultError::NoProcess {
            process: Process::Checkpointer
        }
    ));
    let killed = send_to(pid, Process::All, SignalName::Kill).await.unwrap();
    assert_eq!(killed.touched.len(), 3);
    shell.wait().unwrap();
    assert!(matches!(
        send_to(pid, Process::Postmaster, SignalName::Kill).await,
        Err(FaultError::NoProcess { .. })
    ));
}

#[test]
fn long_lists_are_cut() {
    let done = Done::new(String::new(), (0..100).map(|number| number.to_string()));
    assert_eq!((done.touched.len(), done.more), (40, 60));
}

proptest! {
    #[test]
    fn flips_are_spread_and_never_twice_the_same_byte(size in 1..100_000_u64, count in 1..500_u64, seed: u64) {
        prop_assume!(count <= size);
        let offsets = spread(size, count, &mut StdRng::seed_from_u64(seed));
        prop_assert_eq!(offsets.len() as u64, count);
        prop_assert!(offsets.is_sorted_by(|a, b| a < b));
        prop_assert!(offsets.iter().all(|offset| *offset < size));
        // One in each of `count` equal parts: no two neighbours are further apart than two parts.
        prop_assert!(offsets.array_windows().all(|[a, b]| b - a <= 2 * size.div_ceil(count)));
    }
}
