//! Containers: the same cluster on every provider, the same drills, the same order left behind; and the image that the
//! project builds for itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod image;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use drill::{
    postgres::{
        Cluster, ClusterOptions, ContainerOptions, Installation, Limits, Provider, Request, Silent, Storage, WorkDir,
        locate,
    },
    scenario,
};
use rustix::process::Signal;
use tests::{Left, Need, Place, Started, in_docker, left_by, networks_of, row, rows, trial};

/// What one drill stands for on every change, and a night has the time for.
const NIGHTLY: Need = Need::Asked("DRILL_NIGHTLY");

fn main() -> ExitCode {
    let docker = &[Need::Docker];
    let mut trials = vec![
        trial("contract-embedded", &[Need::Packages], || {
            contract::of(Provider::Embedded, 16);
        }),
        trial("contract-installed", &[Need::Installed(15)], || {
            contract::of(Provider::Installed, 15);
        }),
        trial("contract-container", docker, || contract::of(Provider::Container, 16)),
        trial("limits-are-set", docker, limits_are_set),
        trial(
            "a-server-that-cannot-start-says-why",
            docker,
            a_server_that_cannot_start,
        ),
        trial("the-default-drill", docker, the_default_drill),
        trial("a-kept-drill-stays", docker, a_kept_drill_stays),
        trial("a-clock-is-stepped", &[Need::Docker, Need::Faketime], || {
            one_in_containers("clock-step");
        }),
        trial("the-image-is-like-the-official-one", docker, image::behaves),
    ];
    let at_night: &[Need] = &[Need::Docker, NIGHTLY];
    for (stage, says, needs) in [
        ("once-seeded", "seeded:", &docker[..]),
        ("after-a-backup", "backup basebackup-1", at_night),
        ("after-the-restore", "6 data restored", docker),
    ] {
        trials.push(trial(format!("sigkill-{stage}"), needs, move || killed(says)));
        trials.push(trial(format!("sigint-{stage}"), needs, move || interrupted(says)));
    }
    // 16 is what the trials of all scenarios run on; 17 is nowhere to be had without a registry.
    for major in [15, 17, 18] {
        trials.push(trial(
            format!("one-drill-on-{major}"),
            &[Need::Major(major)],
            move || {
                on(major, "latest-backup-corrupt");
            },
        ));
        let needs = &[Need::Major(major), NIGHTLY];
        trials.push(trial(format!("backbone-on-{major}"), needs, move || {
            assert!(on(major, "backbone/") >= 14);
        }));
    }
    for scenario in scenario::all(&drill::state::Parts::default().vocabulary()).unwrap() {
        if scenario.group == "backbone" {
            let name = format!("backbone/{}", scenario.id);
            trials.push(trial(name, at_night, move || {
                one_in_containers(&scenario.id);
            }));
        }
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
fn one_in_containers(scenario: &str) {
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

/// Scenarios end as they should on that major version; how many drills there were.
fn on(major: u32, scenarios: &str) -> usize {
    let place = Place::new();
    let major = major.to_string();
    let ran = place.run(&[scenarios, "--jobs", "2", "--postgres", &major]);
    ran.exits(0);
    let drills = rows(&place.out(), "drills.csv");
    for drill in &drills {
        assert!(drill["postgres_version"].starts_with(&major), "{drill:#?}");
        assert_eq!(
            (&*drill["as_expected"], &*drill["verdict"]),
            ("true", "pass"),
            "{drill:#?}"
        );
    }
    place.nothing_left(ran.pid);
    drills.len()
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
    let (_, run) = told.split_once("drill stop ").unwrap();
    place.ran(["stop", run.trim()]).exits(0);
    assert_eq!(networks_of(&place.work()), [""; 0]);
    assert_eq!(in_docker(&place.work()), [""; 0]);
}
