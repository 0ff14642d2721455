//! One body for the clusters of every provider.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use drill::postgres::{
    Accepting, Cluster, ClusterOptions, ClusterState, ControlData, Installation, Limits, Provider, Shutdown,
    StartError, Storage, Tool, WorkDir,
};
use rustix::process::Signal;
use tests::in_docker;

use super::{installation, wait_for};

/// What every provider's clusters must do alike.
pub(super) fn of(provider: Provider, major: u32) {
    let installation = installation(provider, major, Limits::default());
    assert_eq!((installation.provider, installation.major), (provider, major));
    assert!(
        installation.version.starts_with(&format!("{major}.")),
        "{}",
        installation.version
    );
    assert!(installation.has_tool("pg_basebackup") && !installation.has_tool("pg_nonsense"));
    assert!(installation.has_extension("plpgsql") && !installation.has_extension("nonsense"));
    let work = WorkDir::create(Storage::Memory, "contract").unwrap();
    let path = work.path().to_owned();
    wait_for(carry_out(&installation, &work));
    drop(work);
    assert!(!path.exists());
    assert_eq!(in_docker(&path), [""; 0]);
}

async fn carry_out(installation: &Installation, work: &WorkDir) {
    let options = |name: &str| ClusterOptions {
        name: name.into(),
        settings: vec![("work_mem".into(), "5MB".into())],
        durable: false,
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::create(installation, work, &options("source")).await.unwrap();
    assert!(!cluster.is_running() && cluster.pid().is_none());
    cluster.set("wal_keep_size", "16MB");
    cluster.set("max_connections", "80"); // on its command line, so that its files do not tell a copy
    cluster.start().await.unwrap();
    assert_eq!(cluster.accepting(), Some(Accepting::ReadWrite));
    assert!(matches!(cluster.start().await, Err(StartError::Running { .. })));
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    for (setting, value) in [("work_mem", "5MB"), ("wal_keep_size", "16MB"), ("data_checksums", "on")] {
        let row = client
            .query_one("SELECT current_setting($1)", &[&setting])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), value, "{setting}");
    }
    client
        .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        .await
        .unwrap();

    // Its processes are seen, and its log is read, from outside.
    let processes = cluster.processes();
    assert_eq!(processes[0].title, "postmaster");
    assert!(
        processes
            .iter()
            .any(|process| process.title.starts_with("checkpointer")),
        "{processes:?}"
    );
    assert!(
        fs::read_to_string(cluster.log_path())
            .unwrap()
            .contains("ready to accept connections")
    );

    // A client tool: what it prints, how it fails, how it is stopped.
    let installation = cluster.installation().clone();
    let tool =
        |name: &str| Tool::new(&installation, name).envs(cluster.client_environment("postgres", "postgres", None));
    let dump = tool("pg_dump")
        .args(["--schema-only", "--table=t"])
        .run()
        .await
        .unwrap();
    assert!(dump.stdout.contains("CREATE TABLE public.t"), "{}", dump.stdout);
    let error = tool("pg_dump").arg("--table=nonsense").run().await.unwrap_err();
    assert_eq!(error.exit_code(), Some(1));
    assert!(error.stderr().contains("no matching tables"), "{error}");
    let wal = work.subdirectory("received").unwrap();
    let mut receiver = tool("pg_receivewal").arg("--directory").arg(&wal).spawn().unwrap();
    let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.query_one(streaming, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(
            Instant::now() < deadline && receiver.is_running(),
            "pg_receivewal does not stream"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(receiver.pid().is_some());
    let stopped = receiver.stop(Signal::INT, Duration::from_secs(10)).await.unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    let limited = tool("pg_receivewal")
        .arg("--directory")
        .arg(&wal)
        .time_limit(Duration::from_secs(1));
    assert!(
        limited
            .run()
            .await
            .unwrap_err()
            .to_string()
            .contains("was killed after 1 s")
    );

    // A base backup, restored beside.
    let backup = work.subdirectory("restored").unwrap().join("data");
    tool("pg_basebackup")
        .arg("--pgdata")
        .arg(&backup)
        .args(["--no-sync", "--checkpoint=fast"])
        .run()
        .await
        .unwrap();
    Tool::new(&installation, "pg_verifybackup")
        .arg(&backup)
        .run()
        .await
        .unwrap();
    fs::write(backup.join("recovery.signal"), "").unwrap();
    let mut replaying = options("restored");
    replaying.settings.push(("restore_command".into(), "false".into()));
    let mut restored = Cluster::adopt(&installation, work, backup, &replaying).unwrap();
    restored.start().await.unwrap();
    restored.wait_until_writable(Duration::from_secs(30)).await.unwrap();
    let asked = restored.connect("postgres", "postgres").await.unwrap();
    let row = asked.query_one("SHOW max_connections", &[]).await.unwrap();
    assert_eq!(
        row.get::<_, &str>(0),
        "80",
        "it would not have started with the 60 of its files"
    );
    assert_eq!(count(&restored).await, 1000);
    drop(restored);

    // Killed, it recovers; stopped in either manner, it says so.
    drop(client);
    assert_eq!(cluster.stop(Shutdown::Kill).await.unwrap(), Shutdown::Kill);
    let control = ControlData::read(&installation, cluster.data_directory())
        .await
        .unwrap();
    assert_eq!(control.state, ClusterState::InProduction, "it was killed, not stopped");
    assert_eq!(control.system_identifier, cluster.recorded_identifier());
    cluster.start().await.unwrap();
    assert_eq!(count(&cluster).await, 1000);
    assert_eq!(cluster.stop(Shutdown::Immediate).await.unwrap(), Shutdown::Immediate);
    cluster.start().await.unwrap();
    assert_eq!(cluster.stop(Shutdown::Fast).await.unwrap(), Shutdown::Fast);
    let control = ControlData::read(&installation, cluster.data_directory())
        .await
        .unwrap();
    assert_eq!(control.state, ClusterState::ShutDown);
    cluster.start().await.unwrap();
    let postmaster = cluster.pid().unwrap();
    assert!(Path::new(&format!("/proc/{postmaster}")).exists());
    cluster.remove().unwrap();
    assert!(!Path::new(&format!("/proc/{postmaster}")).exists());
}

async fn count(cluster: &Cluster) -> i64 {
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
}
