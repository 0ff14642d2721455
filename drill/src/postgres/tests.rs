//! Real clusters on a real PostgreSQL 16: whatever this machine has, else the embedded one (fetched on first use). A test that
//! cannot get one fails and says why.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::*;

async fn postgres() -> Installation {
    let progress = |message: &str| eprintln!("{message}");
    match locate(&Request::default(), &progress).await {
        Ok(installation) => installation,
        Err(error) => {
            let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let chain: Vec<_> = chain.map(ToString::to_string).collect();
            panic!("these tests need a PostgreSQL 16: {}", chain.join(": "));
        }
    }
}

fn options(name: &str) -> ClusterOptions {
    ClusterOptions {
        name: name.into(),
        durable: false,
        ..ClusterOptions::default()
    }
}

pub(super) async fn fresh(work: &WorkDir, name: &str) -> Cluster {
    let mut cluster = Cluster::create(&postgres().await, work, &options(name)).await.unwrap();
    cluster.start().await.unwrap();
    cluster
}

fn alive_in(path: &Path) -> Vec<u32> {
    process::orphans(path, None)
}

#[tokio::test]
async fn a_cluster_lives_crashes_recovers_and_leaves_nothing() {
    let work = WorkDir::create(Storage::Memory, "lifecycle").unwrap();
    let path = work.path().to_owned();
    let mut cluster = fresh(&work, "source").await;
    assert_eq!(cluster.accepting(), Some(Accepting::ReadWrite));
    assert!(matches!(cluster.start().await, Err(StartError::Running { .. })));
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        .await
        .unwrap();
    let titles: Vec<_> = cluster.processes().into_iter().map(|process| process.title).collect();
    assert!(
        titles.iter().any(|title| title.starts_with("checkpointer")) && titles[0] == "postmaster",
        "{titles:?}"
    );

    assert_eq!(cluster.stop(Shutdown::Kill).await.unwrap(), Shutdown::Kill);
    assert!(!cluster.is_running() && cluster.pid().is_none() && alive_in(&path).is_empty());
    let control = ControlData::read(cluster.installation(), cluster.data_directory())
        .await
        .unwrap();
    assert_eq!(control.state, ClusterState::InProduction, "it was killed, not stopped");

    cluster.start().await.unwrap();
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 1000);
    assert!(
        fs::read_to_string(cluster.log_path())
            .unwrap()
            .contains("automatic recovery in progress")
    );
    assert_eq!(cluster.stop(Shutdown::Fast).await.unwrap(), Shutdown::Fast);
    cluster.start().await.unwrap();
    assert_eq!(cluster.stop(Shutdown::Immediate).await.unwrap(), Shutdown::Immediate);
    cluster.start().await.unwrap();

    let pid = cluster.pid().unwrap();
    drop(cluster);
    assert!(alive_in(&path).is_empty());
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    assert!(
        !segments
            .lines()
            .any(|line| line.split_whitespace().nth(4) == Some(&pid.to_string())),
        "{segments}"
    );
    drop(work);
    assert!(!path.exists());
}

#[tokio::test]
async fn copies_of_the_template_are_clusters_of_their_own_to_every_tool() {
    let work = WorkDir::create(Storage::Memory, "identity").unwrap();
    let (source, other) = (fresh(&work, "source").await, fresh(&work, "other").await);
    assert_ne!(source.recorded_identifier(), other.recorded_identifier());
    assert_eq!(source.system_identifier().unwrap(), source.recorded_identifier());
    let client = source.connect("postgres", "postgres").await.unwrap();
    let seen: i64 = client
        .query_one("SELECT system_identifier FROM pg_control_system()", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(seen.cast_unsigned(), source.recorded_identifier().0);
    let checksums: String = client.query_one("SHOW data_checksums", &[]).await.unwrap().get(0);
    assert_eq!(checksums, "on");

    let installation = source.installation();
    let control = ControlData::read(installation, source.data_directory()).await.unwrap();
    assert!(control.crc_ok && control.wal_segment_bytes == 1 << 20 && control.data_checksum_version > 0);
    assert_eq!(control.system_identifier, source.recorded_identifier());
    let segment = control.redo.segment_name(control.timeline, control.wal_segment_bytes);
    let waldump = Tool::new(installation, "pg_waldump").arg(source.data_directory().join("pg_wal").join(segment));
    let dumped = waldump.args(["--limit", "1"]).run().await.unwrap();
    assert!(!dumped.stdout.is_empty(), "{dumped:?}");

    let backup = work.subdirectory("restored").unwrap().join("data");
    let basebackup = Tool::new(installation, "pg_basebackup")
        .arg("-D")
        .arg(&backup)
        .args(["-X", "stream", "-c", "fast"]);
    basebackup
        .envs(source.client_environment("postgres", "postgres", None))
        .run()
        .await
        .unwrap();
    Tool::new(installation, "pg_verifybackup")
        .arg(&backup)
        .run()
        .await
        .unwrap();

    let mut restored = Cluster::adopt(installation, &work, backup, &options("restored")).unwrap();
    assert_eq!(
        restored.recorded_identifier(),
        source.recorded_identifier(),
        "a physical copy carries it"
    );
    restored.start().await.unwrap();
    let client = restored.connect("postgres", "postgres").await.unwrap();
    let archive_mode: String = client.query_one("SHOW archive_mode", &[]).await.unwrap().get(0);
    assert_eq!(archive_mode, "off");
    restored.wait_until_writable(Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        restored.authorise_destruction().unwrap().basis(),
        Basis::MarkerAndIdentifier
    );
    let data = restored.data_directory().to_owned();
    restored.remove().unwrap();
    assert!(!data.exists() && source.data_directory().exists());
}

#[tokio::test]
async fn roles_need_their_password_and_the_superuser_does_not() {
    let work = WorkDir::create(Storage::Memory, "roles").unwrap();
    let cluster = fresh(&work, "source").await;
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    client
        .batch_execute("CREATE ROLE app LOGIN PASSWORD 'secret one'")
        .await
        .unwrap();
    cluster
        .connect_with_password("app", "postgres", "secret one")
        .await
        .unwrap();
    let wrong = cluster
        .connect_with_password("app", "postgres", "secret two")
        .await
        .unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "cannot connect to cluster source as app, database postgres"
    );
    assert!(cluster.connect("app", "postgres").await.is_err());
    let psql = Tool::new(cluster.installation(), "psql").args(["-XAtc", "SELECT current_user"]);
    let asked = psql
        .envs(cluster.client_environment("app", "postgres", Some("secret one")))
        .run()
        .await
        .unwrap();
    assert_eq!(asked.stdout, "app\n");
}

#[tokio::test]
async fn a_start_that_fails_says_what_the_server_said() {
    let work = WorkDir::create(Storage::Memory, "failing").unwrap();
    let mut cluster = fresh(&work, "source").await;
    cluster.stop(Shutdown::Fast).await.unwrap();
    let aside = work.path().join("pg_control");
    fs::rename(cluster.data_directory().join("global/pg_control"), &aside).unwrap();
    let error = cluster.start().await.unwrap_err();
    assert!(
        error.to_string().contains("ended instead of accepting connections: "),
        "{error}"
    );
    assert!(
        error.to_string().contains("could not find the database system"),
        "{error} {}",
        error.log_tail()
    );
    assert_eq!(cluster.authorise_destruction().unwrap().basis(), Basis::MarkerOnly);
    fs::rename(aside, cluster.data_directory().join("global/pg_control")).unwrap();
    cluster.set("shared_preload_libraries", "no_such_library");
    let error = cluster.start().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("FATAL: could not access file \"no_such_library\""),
        "{error}"
    );
    assert!(!cluster.is_running());
}

#[tokio::test]
async fn a_server_killed_by_others_can_be_started_again() {
    let work = WorkDir::create(Storage::Memory, "killed").unwrap();
    let mut cluster = fresh(&work, "source").await;
    process::send(&[cluster.pid().unwrap()], Signal::KILL);
    while cluster.is_running() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.start().await.unwrap();
    cluster.connect("postgres", "postgres").await.unwrap();
}

#[tokio::test]
async fn a_server_that_replays_is_read_only_until_it_is_promoted() {
    let work = WorkDir::create(Storage::Memory, "standby").unwrap();
    let mut cluster = fresh(&work, "source").await;
    cluster.stop(Shutdown::Fast).await.unwrap();
    fs::write(cluster.data_directory().join("standby.signal"), "").unwrap();
    cluster.start().await.unwrap();
    assert_eq!(cluster.accepting(), Some(Accepting::ReadOnly));
    let waiting = cluster
        .wait_until_writable(Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(
        waiting.to_string().contains("it still replays") && cluster.is_running(),
        "{waiting}"
    );
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    client.execute("SELECT pg_promote()", &[]).await.unwrap();
    cluster.wait_until_writable(Duration::from_secs(30)).await.unwrap();
    assert_eq!(cluster.accepting(), Some(Accepting::ReadWrite));
}

#[tokio::test]
async fn a_name_is_checked_and_taken_once() {
    let work = WorkDir::create(Storage::Memory, "names").unwrap();
    let installation = postgres().await;
    let made = async |name: &str| Cluster::create(&installation, &work, &options(name)).await.map(drop);
    assert!(matches!(made("../escape").await, Err(ClusterError::Name(_))));
    made("source").await.unwrap();
    assert!(matches!(made("source").await, Err(ClusterError::Taken { .. })));
    let outside = Cluster::adopt(&installation, &work, "/tmp".into(), &options("x"))
        .unwrap_err()
        .to_string();
    assert!(outside.contains("it lies outside this run's directory"), "{outside}");
}

#[tokio::test]
async fn the_remains_of_a_killed_run_are_swept() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(base.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let work = WorkDir::create_in(base.path(), Storage::Disk, "dead").unwrap();
    let mut cluster = fresh(&work, "source").await;
    assert!(sweep::sweep_below(base.path()).is_empty(), "the run lives");
    // As if the run had been killed: nobody holds this lock.
    fs::remove_file(work.path().join(workdir::LOCK)).unwrap();
    fs::write(work.path().join(workdir::LOCK), "drill run dead 1").unwrap();
    let swept = sweep::sweep_below(base.path());
    assert!(
        swept.len() == 1 && swept[0].killed >= 5 && swept[0].removed,
        "{swept:?}"
    );
    assert!(!cluster.is_running() && !work.path().exists());
}

/// Prints how long things take here; for the report, not for judging.
#[tokio::test]
#[ignore = "a measurement: run it by name with --ignored --nocapture"]
async fn measure() {
    let installation = postgres().await;
    for storage in [Storage::Memory, Storage::Disk] {
        let work = WorkDir::create(storage, "measure").unwrap();
        for round in 0..4 {
            let begun = Instant::now();
            let wanted = ClusterOptions {
                durable: storage == Storage::Disk,
                ..options(&format!("c{round}"))
            };
            let mut cluster = Cluster::create(&installation, &work, &wanted).await.unwrap();
            let created = begun.elapsed();
            cluster.start().await.unwrap();
            let started = begun.elapsed();
            drop(cluster);
            println!(
                "{storage:?} on {}: create {created:?}, start {:?}, drop {:?}",
                work.filesystem().unwrap().kind,
                started.checked_sub(created).unwrap(),
                begun.elapsed().checked_sub(started).unwrap()
            );
        }
    }
}
