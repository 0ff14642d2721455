//! WAL archives, whole and damaged, and a replay that ends where the archive does.

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::World;
use crate::{
    backup::Site,
    postgres::{Lsn, TimelineId},
    record::Recorder,
    wal::{Reach, Start, WalSource, commands::archive_command},
};

/// A source that archives, and what it had archived when it was looked at.
struct Archive {
    world: World,
    site: Site,
    directory: PathBuf,
    start: Lsn,
}

const SEGMENT: u64 = 1 << 20;

impl Archive {
    async fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("drill-wal-").tempdir().unwrap().keep();
        let archive = directory.join("archive");
        fs::create_dir(&archive).unwrap();
        crate::postgres::ServerUser::current()
            .unwrap()
            .chown_recursive(&directory)
            .unwrap();
        let command = archive_command(&archive, false);
        let world = World::new(name, &[("archive_mode", "on"), ("archive_command", &command)]).await;
        let start = world.lsn("pg_switch_wal").await;
        let site = Site {
            installation: world.cluster.installation().clone(),
            work: world.work.clone(),
            repository: directory.clone(),
            wal: WalSource {
                archive: Some(archive.clone()),
                stream: None,
                segment_bytes: SEGMENT,
            },
            service: std::sync::Arc::new(crate::service::transformations::any().clone()),
            credentials: std::sync::Arc::new(world.credentials.clone()),
            backup_options: Vec::new(),
            backup_role: None,
            durable: false,
            wal_in_backup: true,
            references: crate::reference::SharedLog::default(),
            recorder: Recorder::create(&directory.join("events.jsonl"), None).unwrap(),
        };
        // The next segment begins behind the switch.
        let start = Lsn((start.0 / SEGMENT + 1) * SEGMENT);
        Self {
            world,
            site,
            directory: archive,
            start,
        }
    }

    /// Writes some segments and waits until they are archived; answers where the last switch ended.
    async fn write(&self, segments: u32) -> Lsn {
        let mut end = Lsn(0);
        for _ in 0..segments {
            self.world
                .sql("CREATE TABLE t AS SELECT repeat('x', 100) AS x FROM generate_series(1, 100); DROP TABLE t")
                .await;
            end = self.world.lsn("pg_switch_wal").await;
        }
        let end = Lsn((end.0 / SEGMENT + 1) * SEGMENT);
        self.archived(Lsn(end.0 - 1)).await;
        end
    }

    async fn archived(&self, lsn: Lsn) {
        let file = self.directory.join(lsn.segment_name(TimelineId(1), SEGMENT));
        for _ in 0..1000 {
            if file.exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // back-off of a bounded wait
        }
        panic!("{} is not archived", file.display());
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.directory
            .join(Lsn(self.start.0 + number * SEGMENT).segment_name(TimelineId(1), SEGMENT))
    }

    async fn reach(&self) -> Reach {
        self.reach_with(None).await
    }

    async fn reach_with(&self, held: Option<&Path>) -> Reach {
        self.reach_to(held, None).await
    }

    async fn reach_to(&self, held: Option<&Path>, until: Option<Lsn>) -> Reach {
        let system = Some(self.world.cluster.recorded_identifier());
        let start = Start {
            from: self.start,
            timeline: TimelineId(1),
            own: TimelineId(1),
            system,
            held,
            until,
        };
        self.site
            .wal
            .reach(&self.site.installation, &self.site.work, start)
            .await
            .unwrap()
    }

    async fn named(&self, problem: &str) {
        let reach = self.reach().await;
        assert!(
            reach.problems.iter().any(|text| text.contains(problem)),
            "{problem}: {reach:#?}"
        );
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.site.repository);
    }
}

impl World {
    async fn lsn(&self, function: &str) -> Lsn {
        let row = self
            .admin
            .query_one(&format!("SELECT {function}()::text"), &[])
            .await
            .unwrap();
        row.get::<_, &str>(0).parse().unwrap()
    }
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(bytes, at)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damage_to_an_archive_is_named() {
    let here = Archive::new("archive").await;
    let end = here.write(5).await;
    let reach = here.reach().await;
    assert_eq!(
        (&reach.problems, reach.segments, reach.timeline),
        (&Vec::new(), 5, Some(TimelineId(1))),
        "{reach:#?}"
    );
    assert_eq!(reach.end, Some(end), "it ends with a switch, at the segment's end");
    assert!(reach.last_commit.is_some());
    for ignored in [
        "00000001000000000000000A.00000028.backup",
        ".000000010000000000000099.tmp",
        "README",
    ] {
        fs::write(here.directory.join(ignored), "x").unwrap();
    }
    assert_eq!(here.reach().await, reach);

    let third = here.segment(2);
    let whole = fs::read(&third).unwrap();
    let restore = || fs::write(&third, &whole).unwrap();
    fs::remove_file(&third).unwrap();
    here.named("is missing, ").await;
    fs::write(&third, &whole[..300_000]).unwrap();
    here.named("has 300,000 bytes instead of 1,048,576").await;
    restore();
    patch(&third, 24, &[1, 2, 3, 4, 5, 6, 7, 8]);
    here.named("is of another cluster, system 578437695752307201").await;
    restore();
    fs::copy(here.segment(1), &third).unwrap();
    here.world.work.user().chown(&third).unwrap();
    here.named("says that it begins at").await;
    restore();
    patch(&third, 8192, &[0xAA; 512]);
    here.named("the WAL can be read to").await;
    restore();
    patch(&third, 0, &[0; 8192]);
    here.named("begins with zeros").await;
    restore();
    fs::remove_file(here.segment(0)).unwrap();
    here.named("is missing, ").await;
    fs::write(here.directory.join("00000002.history"), "").unwrap();
    here.named("00000002.history is empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_gives_way_to_one_that_goes_further() {
    let mut here = Archive::new("copies").await;
    here.write(4).await;
    let whole = here.reach().await;
    let stream = here.site.repository.join("stream");
    fs::create_dir(&stream).unwrap();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let copied = |number| {
        let copy = stream.join(name(&here.segment(number)));
        fs::copy(here.segment(number), &copy).unwrap();
        (name(&copy), copy)
    };
    let copies: Vec<_> = [1, 2].map(copied).into();
    for (_, copy) in &copies {
        here.world.work.user().chown(copy).unwrap();
    }
    here.site.wal.stream = Some(stream.clone());
    assert_eq!(here.reach().await, whole, "the archive's copies are good");
    patch(&here.segment(1), 0, &[0; 8192]); // seen in its header
    patch(&here.segment(2), 8192, &[0xAA; 512]); // seen in its records
    let reach = here.reach().await;
    assert_eq!((reach.end, reach.segments), (whole.end, whole.segments), "{reach:#?}");
    let instead: Vec<_> = copies.iter().cloned().map(|(name, copy)| (name, Some(copy))).collect();
    assert_eq!(reach.instead.clone().into_iter().collect::<Vec<_>>(), instead);
    let used = |path: &Path| format!("{} is used instead of", path.display());
    assert!(
        copies
            .iter()
            .all(|(_, copy)| reach.problems.iter().any(|text| text.contains(&used(copy)))),
        "{reach:#?}"
    );
    // A file that the server's account may not read proves nothing of what is behind it.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&copies[0].1, Some(0), Some(0)).unwrap();
        fs::set_permissions(&copies[0].1, fs::Permissions::from_mode(0o600)).unwrap();
        let reach = here.reach().await;
        assert!(reach.end < whole.end && !reach.problems.is_empty(), "{reach:#?}");
        here.world.work.user().chown(&copies[0].1).unwrap();
    }
    // Where both are damaged, the first stays and the problem is its own.
    patch(&copies[1].1, 8192, &[0xAA; 512]);
    let reach = here.reach().await;
    assert!(reach.end < whole.end && reach.instead.len() == 1, "{reach:#?}");
    here.named("the WAL can be read to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_copy_gives_way_to_the_backups_own() {
    let mut here = Archive::new("unfinished").await;
    here.write(2).await;
    let whole = here.reach().await;
    let (held, stream) = (here.site.repository.join("held"), here.site.repository.join("stream"));
    fs::create_dir(&held).unwrap();
    fs::create_dir(&stream).unwrap();
    let last = here.segment(1);
    let name = last.file_name().unwrap().to_string_lossy().into_owned();
    let own = held.join(&name);
    fs::rename(&last, &own).unwrap();
    fs::write(stream.join(format!("{name}.partial")), vec![0; SEGMENT as usize]).unwrap();
    here.site.wal.stream = Some(stream);
    let short = here.reach().await;
    assert!(short.problems.is_empty() && short.end < whole.end, "{short:#?}");
    let reach = here.reach_with(Some(&held)).await;
    assert!(reach.problems.is_empty() && reach.end == whole.end, "{reach:#?}");
    assert_eq!(reach.instead.into_iter().collect::<Vec<_>>(), [(name, Some(own))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_last_whole_segment_is_not_taken_for_the_end() {
    let here = Archive::new("lastseg").await;
    here.write(2).await;
    patch(&here.segment(1), 8192, &[0xAA; 512]);
    here.named("the WAL can be read to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_the_end_of_the_last_record() {
    let mut here = Archive::new("tail").await;
    here.write(1).await;
    here.world
        .sql("CREATE TABLE tail AS SELECT generate_series(1, 3000) AS n")
        .await;
    here.world.sql("SELECT pg_current_wal_flush_lsn()").await;
    let inserted = here.world.lsn("pg_current_wal_insert_lsn").await;
    let name = inserted.segment_name(TimelineId(1), SEGMENT);
    let stream = here.site.repository.join("stream");
    fs::create_dir(&stream).unwrap();
    let current = here.world.cluster.data_directory().join("pg_wal").join(&name);
    // A crash writes no shutdown checkpoint: what is there is what was flushed.
    here.world
        .cluster
        .stop(crate::postgres::Shutdown::Immediate)
        .await
        .unwrap();
    let mut bytes = fs::read(&current).unwrap();
    let used = usize::try_from(inserted.0 % SEGMENT).unwrap();
    bytes[used..].fill(0);
    let partial = stream.join(format!("{name}.partial"));
    fs::write(&partial, &bytes).unwrap();
    here.site.wal.stream = Some(stream.clone());
    let reach = here.reach().await;
    assert_eq!(
        (&reach.problems, reach.end),
        (&Vec::new(), Some(inserted)),
        "{reach:#?}"
    );
    // A torn tail is the end as well: the record that is not complete is not there.
    bytes[used - 8..].fill(0);
    fs::write(&partial, &bytes).unwrap();
    let torn = here.reach().await;
    assert!(
        torn.problems.is_empty() && torn.end < Some(inserted) && torn.end > Some(here.start),
        "{torn:#?}"
    );
    // Damage in its middle is no end: records go on behind it.
    bytes[used - 8..used].fill(1);
    let damaged = (used / 8192 / 2) * 8192;
    bytes[damaged..damaged + 8192].fill(0xAA);
    fs::write(&partial, &bytes).unwrap();
    here.named("the WAL can be read to").await;
    // Segments that end between two records, with nothing behind: no problem, and the exact end.
    fs::remove_file(&partial).unwrap();
    let boundary = here.reach().await;
    assert!(
        boundary.problems.is_empty() && boundary.end <= Some(inserted),
        "{boundary:#?}"
    );
    fs::write(&partial, vec![0; SEGMENT as usize]).unwrap();
    let empty = here.reach().await;
    assert_eq!(
        (&empty.problems, empty.end),
        (&Vec::new(), boundary.end),
        "a tail that nothing was written to"
    );
}

/// Where the system asks for the last segment only: what is damaged there ends the WAL one segment earlier.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_would_not_take_is_named_and_not_handed_out() {
    let here = Archive::new("headers").await;
    let end = here.write(3).await;
    let before = Lsn(end.0 - SEGMENT);
    let last = here.segment(2);
    let name = last.file_name().unwrap().to_string_lossy().into_owned();
    let whole = fs::read(&last).unwrap();
    let used = whole.chunks(8192).rposition(|page| page.iter().any(|byte| *byte != 0));
    let header = [
        (0, 0xFF, "does not begin with the header of a WAL page"), // the magic number
        (3, 0x10, "does not begin with the header of a WAL page"), // a flag that there is not
        (4, 2, "is of timeline"),
        (9, 0xFF, "says that it begins at"),
        (24, 0xFF, "is of another cluster"),
        (34, 0xFF, "segments or pages are of another size"),
        (36, 0xFF, "segments or pages are of another size"),
    ];
    for (at, byte, problem) in header {
        patch(&last, at, &[whole[at as usize] ^ byte]);
        let reach = here.reach().await;
        assert_eq!(reach.end, Some(before), "{problem}: {reach:#?}");
        assert!(
            reach.problems.iter().any(|text| text.contains(problem)),
            "{problem}: {reach:#?}"
        );
        assert_eq!(reach.instead, [(name.clone(), None)].into(), "{problem}");
        fs::write(&last, &whole).unwrap();
    }
    // Of the timeline of a page within it pg_waldump has nothing to say; the server stops there.
    let page = used.unwrap() as u64;
    patch(&last, page * 8192 + 4, &[2]);
    let reach = here.reach().await;
    let stop = Lsn(before.0 + page * 8192);
    assert!(
        reach.end > Some(before) && reach.end <= Some(stop),
        "{stop}: {reach:#?}"
    );
    assert!(
        reach.problems[0].contains(&format!("the page at {stop} in segment {name} is of timeline 2")),
        "{reach:#?}"
    );
    assert!(reach.instead.is_empty(), "as far as it goes it is good");
    fs::write(&last, &whole).unwrap();
    assert!(here.reach().await.problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_its_own_reason() {
    let here = Archive::new("unreadable").await;
    let end = here.write(3).await;
    let last = here.segment(2);
    let whole = fs::read(&last).unwrap();
    let short = async |problem: &str| {
        let reach = here.reach().await;
        assert_eq!(reach.end, Some(Lsn(end.0 - SEGMENT)), "{problem}: {reach:#?}");
        assert!(
            reach.problems.iter().any(|text| text.contains(problem)),
            "{problem}: {reach:#?}"
        );
    };
    fs::set_permissions(&last, fs::Permissions::from_mode(0o000)).unwrap();
    short("cannot be read").await;
    fs::remove_file(&last).unwrap();
    fs::create_dir(&last).unwrap();
    short("no regular file but a directory").await;
    fs::remove_dir(&last).unwrap();
    assert!(Command::new("mkfifo").arg(&last).status().unwrap().success());
    short("no regular file but a pipe").await; // whoever opened it would wait for good
    fs::remove_file(&last).unwrap();
    std::os::unix::fs::symlink(&last, &last).unwrap();
    short("cannot be read").await;
    fs::remove_file(&last).unwrap();
    let moved = here.directory.with_file_name("moved");
    fs::write(&moved, &whole).unwrap();
    here.world.work.user().chown(&moved).unwrap();
    std::os::unix::fs::symlink(&moved, &last).unwrap();
    let reach = here.reach().await;
    assert_eq!(
        (reach.end, &reach.problems),
        (Some(end), &Vec::new()),
        "a link leads to it: {reach:#?}"
    );
    // Under another name the server does not find it.
    fs::remove_file(&last).unwrap();
    fs::rename(&moved, here.directory.join("000000010000000000000fff")).unwrap();
    short("holds what should be in it").await;
    // All there is is an unfinished copy, and that is whole.
    let partial = last.with_extension("partial");
    fs::rename(here.directory.join("000000010000000000000fff"), &partial).unwrap();
    let reach = here.reach().await;
    assert_eq!((reach.end, &reach.problems), (Some(end), &Vec::new()), "{reach:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_matter_is_no_alarm() {
    let mut here = Archive::new("harmless").await;
    let end = here.write(4).await;
    let whole = here.reach().await;
    assert!(whole.problems.is_empty() && whole.end == Some(end), "{whole:#?}");
    // Segments of strangers, far behind the end and on a timeline of their own.
    let stranger = here.segment(9);
    fs::write(&stranger, vec![7; SEGMENT as usize]).unwrap();
    fs::write(here.directory.join("00000001000000000000FFFF"), "short").unwrap();
    fs::create_dir(here.directory.join("00000001000000000000FFFE")).unwrap();
    assert_eq!(here.reach().await, whole);
    fs::write(
        here.directory.join("000000050000000000000001"),
        vec![7; SEGMENT as usize],
    )
    .unwrap();
    let reach = here.reach().await;
    assert!(
        reach.problems.is_empty() && reach.explicit && reach.remarks.len() == 1,
        "{reach:#?}"
    );
    // Damage behind the point that the recovery is to stop at.
    patch(&here.segment(3), 0, &[0; 64]);
    let until = Lsn(here.start.0 + 2 * SEGMENT + 100);
    let reach = here.reach_to(None, Some(until)).await;
    assert!(reach.problems.is_empty() && reach.end > Some(until), "{reach:#?}");
    here.named("segment").await;
    // Where nothing is kept but by the backup itself, nothing is missing elsewhere; an archive that is gone is.
    let held = here.site.wal.archive.take().unwrap();
    let reach = here.reach_with(Some(&held)).await;
    assert!(
        reach.problems.iter().all(|text| !text.contains("is missing")),
        "{reach:#?}"
    );
    here.site.wal.archive = Some(held.with_file_name("gone"));
    let reach = here.reach_with(Some(&held)).await;
    assert!(
        reach.problems.iter().any(|text| text.contains("cannot be listed")),
        "{reach:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pg_waldump_the_end_is_not_known_and_nothing_is_said_of_the_wal() {
    let mut here = Archive::new("waldump").await;
    let end = here.write(2).await;
    here.site.installation.bindir = here.site.repository.clone();
    let program = here.site.repository.join("pg_waldump");
    for script in [None, Some("#!/bin/sh\nkill -KILL $$\n"), Some("#!/bin/sh\nexit 127\n")] {
        if let Some(script) = script {
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let reach = here.reach().await;
        assert!(
            reach.unread.is_some() && reach.problems.is_empty(),
            "{script:?}: {reach:#?}"
        );
        assert_eq!((reach.end, reach.covered, reach.segments), (None, Some(end), 2));
        assert_eq!(reach.timeline, Some(TimelineId(1)));
    }
    fs::remove_file(here.segment(0)).unwrap();
    here.named("is missing, ").await; // that needs no pg_waldump
}
