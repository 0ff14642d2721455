//! No fault acts on anything that the run did not make: every kind is aimed at something else and has to refuse.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use super::{FaultError, Services, World, inject, kinds};
use crate::{
    cutover::{Application, config_store::FileStore, process::ProcessControl},
    monitor::Alerts,
    notify::Inbox,
    postgres::{Cluster, ClusterOptions, Request, Silent, Storage, WorkDir, locate},
    scenario::{Fault, Needs, parse},
    state::Parts,
};

/// Keys of every kind that can be aimed at a cluster, so that each would do damage.
const AT_A_CLUSTER: &[(&str, &str)] = &[
    ("sql", "statements='CREATE TABLE damage ()'\ndatabase='postgres'"),
    ("remove-files", "path='**'"),
    ("truncate-file", "path='PG_VERSION'\nkeep_bytes=0"),
    ("flip-bytes", "path='PG_VERSION'\nbytes=1"),
    ("zero-bytes", "path='PG_VERSION'\noffset=0\nbytes=1"),
    ("write-bytes", "path='PG_VERSION'\noffset=0\nhex='00'"),
    ("append-bytes", "path='PG_VERSION'\nhex='00'"),
    ("replace-file", "path='PG_VERSION'\nwith={text='15'}"),
    ("swap-file", "path='PG_VERSION'\nfrom='backup:latest'"),
    ("corrupt-page", "path='global/pg_control'\nblock=0\nchecksum='break'"),
    ("chmod", "path='PG_VERSION'\nmode='0000'"),
    ("signal", "process='all'\nsignal='KILL'"),
    ("server", "does='stop-immediate'"),
    ("setting", "name='work_mem'\nvalue='64kB'"),
    ("fill-disk", ""),
    ("restore-cluster", "from='backup:latest'"),
    ("command", "argv=['sh', '-c', 'rm $PGDATA/PG_VERSION; echo removed']"),
];

/// The same for the directory of a backup.
const AT_A_BACKUP: &[(&str, &str)] = &[
    ("remove-files", "path='**'"),
    ("truncate-file", "path='page'\nkeep_bytes=0"),
    ("flip-bytes", "path='page'\nbytes=1"),
    ("zero-bytes", "path='page'\noffset=0\nbytes=1"),
    ("write-bytes", "path='page'\noffset=0\nhex='00'"),
    ("append-bytes", "path='page'\nhex='00'"),
    ("replace-file", "path='page'\nwith={text='15'}"),
    ("corrupt-page", "path='page'\nblock=0\nchecksum='break'"),
    ("chmod", "path='page'\nmode='0000'"),
    ("promote-clone", ""),
    ("expire-backup", ""),
];

fn fault(kind: &str, target: &str, keys: &str) -> Fault {
    let given = if kind == "fill-disk" {
        "storage_size='128MiB'"
    } else {
        ""
    };
    let text = format!(
        "id='a'\ntitle='t'\nwhy='w'\nsource='s'\ngiven={{{given}}}\nexpect={{outcome='recovered'}}\n\
         [[fault]]\nat='failure'\nkind='{kind}'\ntarget='{target}'\n{keys}\n"
    );
    parse(&text, Path::new("a.toml"), "", &Parts::default().vocabulary())
        .unwrap()
        .faults
        .remove(0)
}

/// Injects faults into a drill's world with this cluster and this backup; what becomes of each.
async fn results(
    faults: Vec<Fault>,
    cluster: &mut Cluster,
    work: &Path,
    backup: PathBuf,
) -> Vec<(&'static str, Result<(), FaultError>)> {
    let (inbox, alerts) = (Inbox::start().await.unwrap(), Alerts::start().await.unwrap());
    let control = ProcessControl::new(work.join("settings"), work.join("log"));
    let application = Application::new(Box::new(control));
    let app_faults = super::service::app::AppFaults::default();
    let store_faults = super::service::config_store::StoreFaults::default();
    let store = FileStore::new(work.join("settings"));
    let credentials = fixtures::Credentials::generate(&mut StdRng::seed_from_u64(1));
    let archive_service = work.join("archive-service.sh");
    let (mut random, relations, mut monitor) = (StdRng::seed_from_u64(1), BTreeMap::new(), None);
    let repository = backup.parent().unwrap().to_owned();
    let mut world = World {
        cluster,
        restored: None,
        archive: Some(work),
        stream: None,
        work,
        backups: vec![("b".to_owned(), backup)],
        random: &mut random,
        relations: &relations,
        database: "postgres",
        credentials: &credentials,
        repository: &repository,
        disk: Some(work),
        services: Services {
            application: &application,
            app_faults: &app_faults,
            store_faults: &store_faults,
            store: &store,
            notifications: inbox.port(),
            alerts: alerts.port(),
            monitor: &mut monitor,
            archive_service: &archive_service,
        },
    };
    let mut results = Vec::new();
    for fault in faults {
        let injected = inject(&fault, &mut world).await.map(|_| ());
        results.push((fault.action.kind(), injected));
    }
    results
}

async fn cluster(work: &WorkDir) -> Cluster {
    let installation = locate(&Request::default(), &Silent).await.unwrap();
    let options = ClusterOptions {
        durable: false,
        ..ClusterOptions::default()
    };
    Cluster::create(&installation, work, &options).await.unwrap()
}

fn kinds_that_need(all: &[Needs]) -> Vec<&'static str> {
    let kinds = kinds();
    let kinds = kinds.iter().filter(|kind| all.contains(&kind.needs));
    kinds.map(|kind| kind.name).collect()
}

#[tokio::test]
async fn every_kind_refuses_a_cluster_that_another_run_made() {
    let work = WorkDir::create(Storage::Memory, "fault-guards").unwrap();
    let mut cluster = cluster(&work).await;
    cluster.start().await.unwrap();
    let home = cluster.data_directory().parent().unwrap().to_owned();
    let marker = home.join(".drill-cluster");
    let ours = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, ours.replace("fault-guards", "another-run")).unwrap();
    let before = fs::read(cluster.data_directory().join("PG_VERSION")).unwrap();

    let names: Vec<_> = AT_A_CLUSTER.iter().map(|(kind, _)| *kind).collect();
    let mut known = kinds_that_need(&[Needs::Files, Needs::Server, Needs::OwnFilesystem]);
    known.retain(|kind| *kind != "alien-segment"); // it is never aimed at a cluster: see rules.rs
    assert_eq!(names, known);
    let faults = AT_A_CLUSTER.iter().map(|(kind, keys)| fault(kind, "cluster", keys));
    for (kind, result) in results(faults.collect(), &mut cluster, work.path(), home.join("b")).await {
        assert!(
            matches!(result, Err(FaultError::NotAuthorised { .. })),
            "{kind}: {result:?}"
        );
    }
    assert_eq!(fs::read(cluster.data_directory().join("PG_VERSION")).unwrap(), before);
    let client = cluster.connect("postgres", "postgres").await.unwrap();
    let sql = "SELECT to_regclass('damage') IS NULL AND current_setting('work_mem') <> '64kB'";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));

    // The same faults would have acted: with its own marker the cluster is damaged.
    fs::write(&marker, ours).unwrap();
    let remove = fault("remove-files", "cluster", "path='PG_VERSION'");
    let damaged = results(vec![remove], &mut cluster, work.path(), home.join("b")).await;
    assert!(damaged[0].1.is_ok() && !cluster.data_directory().join("PG_VERSION").exists());
}

#[tokio::test]
async fn every_kind_refuses_a_backup_that_lies_elsewhere() {
    let work = WorkDir::create(Storage::Memory, "fault-guards").unwrap();
    let mut cluster = cluster(&work).await;
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("page"), [7; 8192]).unwrap();
    let repository = work.subdirectory("repository").unwrap();
    symlink(outside.path(), repository.join("b")).unwrap();

    let mut names: Vec<_> = AT_A_BACKUP.iter().map(|(kind, _)| *kind).collect();
    names.extend(["swap-file", "alien-segment"]); // they are never aimed at a backup: see rules.rs
    let mut known = kinds_that_need(&[Needs::Files, Needs::Backup]);
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);
    let faults = AT_A_BACKUP
        .iter()
        .map(|(kind, keys)| fault(kind, "backup:latest", keys));
    for (kind, result) in results(faults.collect(), &mut cluster, work.path(), repository.join("b")).await {
        assert!(matches!(result, Err(FaultError::Outside { .. })), "{kind}: {result:?}");
    }
    assert_eq!(fs::read(outside.path().join("page")).unwrap(), [7; 8192]);

    // A backup of the run's own is damaged, and expires.
    fs::remove_file(repository.join("b")).unwrap();
    fs::create_dir(repository.join("b")).unwrap();
    fs::write(repository.join("b/page"), [7; 8192]).unwrap();
    let faults = ["flip-bytes", "expire-backup"].map(|kind| {
        let (_, keys) = AT_A_BACKUP.iter().find(|(name, _)| *name == kind).unwrap();
        fault(kind, "backup:latest", keys)
    });
    for (kind, result) in results(faults.into(), &mut cluster, work.path(), repository.join("b")).await {
        assert!(result.is_ok(), "{kind}: {result:?}");
    }
    assert!(!repository.join("b").exists());
}
