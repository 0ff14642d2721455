//! Other servers that write into the service's archive: a cluster of its own with segments of the same names, and a
//! clone of the service that promoted itself and kept its archive_command.
//!
//! Both are real: their WAL is written by PostgreSQL's own programs, in the drill's directory, and they are gone when the
//! fault is done.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use super::{Done, FaultError, SUPERUSER, files::changed, root::Root};
use crate::{
    backup::{copy, wal},
    postgres::{Cluster, ClusterOptions, Shutdown, Tool},
    scenario::Selection,
};

/// How long a clone may take to promote itself, and to archive what it wrote.
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts a segment of a new cluster, of the same name, in place of each that is meant.
pub(super) async fn alien_segment(
    service: &Cluster,
    root: &Root,
    files: &Selection,
    line: usize,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    for (number, entry) in root.select(files, random)?.into_iter().enumerate() {
        let options = ClusterOptions {
            name: format!("alien-{line}-{number}"),
            wal_segment_mb: u32::try_from(entry.bytes >> 20).unwrap_or(1).max(1),
            ..ClusterOptions::default()
        };
        let alien = Cluster::create(service.installation(), service.work(), &options)
            .await
            .map_err(failed("make"))?;
        let name = entry.name.rsplit('/').next().unwrap_or(&entry.name).to_owned();
        let reset = Tool::new(service.installation(), "pg_resetwal")
            .args(["--force", "--next-wal-file", &name, "--pgdata"])
            .arg(alien.data_directory())
            .run()
            .await;
        reset.map_err(FaultError::Command)?;
        let written = alien.data_directory().join("pg_wal").join(&name);
        let content = fs::read(&written).map_err(FaultError::io("read", &written))?;
        root.open_file(&entry)?
            .write_all_at(&content, 0)
            .map_err(FaultError::io("write", &entry.path))?;
        if fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))? != content {
            let what = format!("{} does not have its new content", entry.path.display());
            return Err(FaultError::NotVerified { what });
        }
        let system = alien.recorded_identifier();
        touched.push(format!("{}: replaced by that of system {system}", entry.name));
        alien.remove().map_err(failed("remove"))?;
    }
    changed("alien-segment", "replaced", touched, "no segment was meant")
}

/// Restores a backup to the end of the archive in a clone that promotes itself, writes and archives; then stops it.
pub(super) async fn promote_clone(
    service: &Cluster,
    (backup, directory): (&str, &Path),
    archive: &Path,
    line: usize,
) -> Result<Done, FaultError> {
    let before = names(archive)?;
    let options = ClusterOptions {
        name: format!("clone-{line}"),
        settings: vec![
            ("restore_command".into(), format!("cp '{}/%f' '%p'", archive.display())),
            ("archive_mode".into(), "on".into()),
            ("archive_command".into(), wal::archive_command(archive, false)),
            ("synchronous_standby_names".into(), String::new()),
        ],
        durable: false,
        ..ClusterOptions::default()
    };
    let home = service.work().subdirectory(&options.name).map_err(failed("place"))?;
    let (from, data) = (directory.join("data"), home.join("data"));
    let (source, target) = (from.clone(), data.clone());
    tokio::task::spawn_blocking(move || copy::data_directory(&source, &target, &|_| {}))
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(FaultError::io("copy", from))?;
    let signal = data.join("recovery.signal");
    fs::write(&signal, "").map_err(FaultError::io("write", signal))?;
    let mut clone = Cluster::adopt(service.installation(), service.work(), data, &options).map_err(failed("adopt"))?;
    clone.start().await.map_err(failed("start"))?;
    let client = clone
        .connect(SUPERUSER, SUPERUSER)
        .await
        .map_err(failed("connect to"))?;
    let ask = async |statement: &'static str| {
        let asked = client.query_one(statement, &[]).await;
        asked.map_err(|source| FaultError::Statement {
            statement: statement.to_owned(),
            source,
        })
    };
    let deadline = Instant::now() + PATIENCE;
    let overdue = |what: String| match Instant::now() > deadline {
        true => Err(FaultError::NotVerified { what }),
        false => Ok(()),
    };
    while ask("SELECT pg_is_in_recovery()").await?.get(0) {
        overdue("the clone does not promote itself".to_owned())?;
        tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
    }
    ask("SELECT pg_logical_emit_message(true, 'clone', 'written after the promotion')").await?;
    let switched: String = ask("SELECT pg_walfile_name(pg_switch_wal())").await?.get(0);
    while !archive.join(&switched).exists() {
        overdue(format!("the clone does not archive {switched}"))?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clone.stop(Shutdown::Fast).await.map_err(failed("stop"))?;
    clone.remove().map_err(failed("remove"))?;
    let timeline = &switched[..8];
    let archived: Vec<String> = names(archive)?
        .difference(&before)
        .filter(|name| name.starts_with(timeline))
        .map(|name| format!("{name}: archived by the clone of {backup}"))
        .collect();
    let summary = format!(
        "a clone of {backup} promoted itself to timeline {timeline} and archived {} files",
        archived.len()
    );
    Ok(Done::new(summary, archived))
}

/// The files of a directory.
fn names(directory: &Path) -> Result<BTreeSet<String>, FaultError> {
    let entries = fs::read_dir(directory).map_err(FaultError::io("list", directory))?;
    Ok(entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> FaultError {
    move |source| FaultError::Server {
        what,
        source: Box::new(source),
    }
}
