//! Containers: the same cluster on every provider, the same drills, the same order left behind; and the image that the
//! project builds for itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use drill::{
    postgres::{
        Accepting, Cluster, ClusterOptions, ClusterState, ContainerOptions, ControlData, Installation, Limits,
        Provider, Request, Shutdown, Silent, StartError, Storage, Tool, WorkDir, locate,
    },
    scenario,
};
use rustix::process::Signal;
use tests::{Left, Need, Place, Started, in_docker, left_by, networks_of, row, rows, trial};

fn main() -> ExitCode {
    let docker = &[Need::Docker];
    let mut trials = vec![
        trial("contract-embedded", &[Need::Packages], || {
            contract(Provider::Embedded, 16);
        }),
        trial("contract-installed", &[Need::Installed(15)], || {
            contract(Provider::Installed, 15);
        }),
        trial("contract-container", docker, || contract(Provider::Container, 16)),
        trial("limits-are-set", docker, limits_are_set),
        trial(
            "a-server-that-cannot-start-says-why",
            docker,
            a_server_that_cannot_start,
        ),
        trial("the-default-drill", docker, the_default_drill),
        trial("a-kept-drill-stays", docker, a_kept_drill_stays),
        trial("the-image-is-like-the-official-one", docker, the_image),
    ];
    for scenario in scenario::all().unwrap() {
        if scenario.group == "backbone" {
            let name = format!("backbone/{}", scenario.id);
            trials.push(trial(name, docker, move || one_of_the_backbone(&scenario.id)));
        }
    }
    for (stage, says) in [
        ("once-seeded", "seeded:"),
        ("after-a-backup", "backup basebackup-1"),
        ("after-the-restore", "6 data restored"),
    ] {
        trials.push(trial(format!("sigkill-{stage}"), docker, move || killed(says)));
        trials.push(trial(format!("sigint-{stage}"), docker, move || interrupted(says)));
    }
    // 16 is what the trials of all scenarios run on.
    for (major, name) in [(15, "15"), (17, "17"), (18, "18")] {
        let run = move || backbone(name);
        trials.push(trial(format!("backbone-on-{name}"), &[Need::Major(major)], run));
    }
    tests::run(trials)
}

fn installation(provider: Provider, major: u32, limits: Limits) -> Installation {
    let containers = ContainerOptions { image: None, limits };
    let request = Request {
        provider,
        major,
        containers,
        ..Request::default()
    };
    wait_for(locate(&request, &Silent)).unwrap()
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// What every provider's clusters must do alike.
fn contract(provider: Provider, major: u32) {
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
    wait_for(carry_out_contract(&installation, &work));
    drop(work);
    assert!(!path.exists());
    assert_eq!(in_docker(&path), [""; 0]);
}

async fn carry_out_contract(installation: &Installation, work: &WorkDir) {
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

/// What Docker says of the only server's container of a run.
fn inspect(work: &Path, template: &str) -> String {
    let ids = in_docker(work);
    let servers: Vec<_> = ids.iter().filter(|name| name.contains("-source-")).collect();
    assert_eq!(servers.len(), 1, "{ids:?}");
    docker(&["inspect", "--format", template, servers[0]])
}

#[track_caller]
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn limits_are_set() {
    let limits = Limits {
        memory_bytes: Some(512 << 20),
        millicpus: Some(1500),
    };
    let installation = installation(Provider::Container, 16, limits);
    let work = WorkDir::create(Storage::Disk, "limits").unwrap();
    let path = work.path().to_owned();
    let options = ClusterOptions::default();
    let mut cluster = wait_for(Cluster::create(&installation, &work, &options)).unwrap();
    wait_for(cluster.start()).unwrap();
    let set = inspect(&path, "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}");
    assert_eq!(set, "536870912 1500000000");
    // A network of its own, which leads nowhere, and no port on the host.
    let network = inspect(&path, "{{.HostConfig.NetworkMode}}");
    assert_eq!(
        docker(&["network", "inspect", "--format", "{{.Internal}}", &network]),
        "true"
    );
    let ports = inspect(&path, "{{json .NetworkSettings.Ports}}");
    assert!(!ports.contains("HostPort"), "{ports}");
    drop((cluster, installation, work));
    assert_eq!(in_docker(&path), [""; 0]);
}

/// Its last words are in its log, as everywhere.
fn a_server_that_cannot_start() {
    let installation = installation(Provider::Container, 16, Limits::default());
    let work = WorkDir::create(Storage::Memory, "broken").unwrap();
    let mut cluster = wait_for(Cluster::create(&installation, &work, &ClusterOptions::default())).unwrap();
    fs::remove_file(cluster.data_directory().join("global/pg_control")).unwrap();
    let error = wait_for(cluster.start()).unwrap_err().to_string();
    assert!(error.contains("could not find the database system"), "{error}");
    assert!(!cluster.is_running());
}

fn the_default_drill() {
    let place = Place::new();
    let ran = place.ran(["run", "--provider", "container", "--storage", "disk", "--out", "out"]);
    ran.exits(0);
    let drill = row(&place.out(), "drills.csv");
    assert_eq!((&*drill["provider"], &*drill["outcome"]), ("container", "recovered"));
    let steps = rows(&place.out(), "steps.csv");
    assert!(
        steps.len() == 14 && steps.iter().all(|step| step["verdict"] == "pass"),
        "{steps:#?}"
    );
    place.nothing_left(ran.pid);
    assert_eq!(in_docker(&place.work()), [""; 0]);
}

/// It ends in a container as it does elsewhere, and nothing stays.
fn one_of_the_backbone(scenario: &str) {
    let place = Place::new();
    let always = [
        "--provider",
        "container",
        "--storage",
        "disk",
        "--progress",
        "none",
        "--out",
        "out",
    ];
    let ran = place.ran(["run", scenario].iter().chain(&always));
    ran.exits(0);
    let drill = row(&place.out(), "drills.csv");
    let ended = (&*drill["provider"], &*drill["as_expected"], &*drill["verdict"]);
    assert_eq!(ended, ("container", "true", "pass"), "{drill:#?}");
    place.nothing_left(ran.pid);
    assert_eq!(in_docker(&place.work()), [""; 0]);
}

/// The backbone's scenarios all end as they should on that major version.
fn backbone(major: &str) {
    let place = Place::new();
    let ran = place.run(&["backbone/", "--jobs", "2", "--postgres", major]);
    ran.exits(0);
    let drills = rows(&place.out(), "drills.csv");
    assert!(drills.len() >= 14, "{} drills", drills.len());
    for drill in &drills {
        assert!(drill["postgres_version"].starts_with(major), "{drill:#?}");
        assert_eq!(
            (&*drill["as_expected"], &*drill["verdict"]),
            ("true", "pass"),
            "{drill:#?}"
        );
    }
    place.nothing_left(ran.pid);
}

fn start(place: &Place) -> Started {
    let arguments = [
        "run",
        "--provider",
        "container",
        "--storage",
        "disk",
        "--progress",
        "plain",
        "--out",
        "out",
    ];
    Started::start(&mut place.drill(arguments))
}

fn interrupted(says: &str) {
    let place = Place::new();
    let started = start(&place);
    started.says(says);
    assert_ne!(
        in_docker(&place.work()),
        [""; 0],
        "no container: the trial proves nothing"
    );
    started.signal(Signal::INT);
    let ran = started.finish();
    ran.exits(3).complains(&["interrupted"]);
    place.nothing_left(ran.pid);
    assert_eq!(in_docker(&place.work()), [""; 0]);
}

fn killed(says: &str) {
    let place = Place::new();
    let started = start(&place);
    started.says(says);
    let pid = started.pid();
    // Asked before: another trial's drill may sweep at any moment after.
    assert_ne!(
        in_docker(&place.work()),
        [""; 0],
        "no container: the trial proves nothing"
    );
    started.signal(Signal::KILL);
    assert_eq!(started.end().code(), None);
    let living = WorkDir::create_in(&place.work(), Storage::Disk, "living").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let doctor = place.ran(["doctor", "--clean"]);
        doctor.exits(0);
        let left = left_by(&place, pid);
        let others = Left {
            directories: vec![living.path().to_owned()],
            ..Left::default()
        };
        if left == others && in_docker(&place.work()).is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "left behind: {left:#?}, {:?}",
            in_docker(&place.work())
        );
    }
    drop(living);
    place.nothing_left(pid);
}

fn a_kept_drill_stays() {
    let place = Place::new();
    let ran = place.ran([
        "run",
        "--provider",
        "container",
        "--storage",
        "disk",
        "--keep",
        "--out",
        "out",
    ]);
    ran.exits(0);
    let told = ran
        .stdout
        .lines()
        .find(|line| line.contains("was left running as asked"))
        .unwrap();
    place.ran(["doctor", "--clean"]).exits(0);
    let kept = in_docker(&place.work());
    assert!(kept.iter().any(|name| name.contains("-restored-")), "{kept:?}");
    assert!(told.contains("docker"), "it does not say how to remove it: {told}");
    for name in kept {
        docker(&["rm", "--force", "--volumes", &name]);
    }
    for network in networks_of(&place.work()) {
        docker(&["network", "rm", &network]);
    }
    assert_eq!(in_docker(&place.work()), [""; 0]);
}

/// A container that is removed when the trial ends.
struct Removed(String);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.0])
            .output();
    }
}

/// What the official image documents holds for whichever is there as postgres:16.
fn the_image() {
    let place = Place::new();
    place.write("once.sql", "CREATE TABLE made_at_first_start (n int);");
    let scripts = format!("{}:/docker-entrypoint-initdb.d:ro", place.path().display());
    let arguments = [
        "run",
        "--detach",
        "--env",
        "POSTGRES_USER=auditor",
        "--env",
        "POSTGRES_PASSWORD=open sesame",
        "--env",
        "POSTGRES_DB=ledger",
        "--env",
        "POSTGRES_INITDB_ARGS=--data-checksums --wal-segsize=1",
        "--volume",
        &scripts,
        "postgres:16",
        "-c",
        "max_connections=37",
    ];
    let container = Removed(docker(&arguments));
    let query = |host: &[&str], sql: &str| {
        let psql = [
            "exec",
            "--env",
            "PGPASSWORD=open sesame",
            &container.0,
            "psql",
            "-U",
            "auditor",
            "-AtX",
        ];
        let output = Command::new("docker")
            .args(psql)
            .args(host)
            .args(["-c", sql, "ledger"])
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    // Through TCP: the server that initialises answers on its socket only.
    while !query(&["-h", "127.0.0.1"], "SELECT 1").0 {
        assert!(Instant::now() < deadline, "{}", docker(&["logs", &container.0]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let settings = "SELECT current_setting('max_connections'), current_setting('data_checksums'), \
                    current_setting('wal_segment_size'), to_regclass('made_at_first_start')";
    assert_eq!(query(&[], settings).1, "37|on|1MB|made_at_first_start");
    let refused = Command::new("docker")
        .args([
            "exec",
            "--env",
            "PGPASSWORD=wrong",
            &container.0,
            "psql",
            "-U",
            "auditor",
            "-h",
        ])
        .args([
            &docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &container.0]),
            "-c",
            "SELECT 1",
            "ledger",
        ])
        .output()
        .unwrap();
    assert!(!refused.status.success(), "a wrong password was taken");
    let logs = Command::new("docker").args(["logs", &container.0]).output().unwrap();
    for (name, stream) in [("stdout", logs.stdout), ("stderr", logs.stderr)] {
        let said = String::from_utf8_lossy(&stream).into_owned();
        let times = said.matches("database system is ready to accept connections").count();
        assert_eq!(times, 1, "{name} says it so often:\n{said}");
    }
    let without = Command::new("docker")
        .args(["run", "--rm", "postgres:16"])
        .output()
        .unwrap();
    assert!(!without.status.success() && String::from_utf8_lossy(&without.stderr).contains("POSTGRES_PASSWORD"));
}
