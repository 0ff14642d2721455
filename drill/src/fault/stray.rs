//! What brings another timeline or another cluster into the service's archive: a cluster of its own with segments of the
//! same names, a clone of the service that promoted itself and kept its archive_command, an earlier recovery of the service.
//!
//! All are real: their WAL is written by PostgreSQL's own programs, in the drill's directory. The other servers are gone
//! when the fault is done.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reports::text::counted;

use rand::rngs::StdRng;

use super::{Done, FaultError, SUPERUSER, files::changed, root::Root};
use crate::{
    backup::copy,
    postgres::{Cluster, ClusterOptions, Shutdown, Tool, conf_quoted},
    scenario::Selection,
    wal::commands,
};

/// How long a clone may take to promote itself, and to archive what it wrote.
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts a segment of a new cluster, of the same name, in place of each that is meant.
pub(super) async fn alien_segment(
    service: &Cluster,
    root: &Root,
    files: &Selection,
    fault: u32,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    let mut touched = Vec::new();
    for (number, entry) in root.select(files, random)?.into_iter().enumerate() {
        let options = ClusterOptions {
            name: format!("alien-{fault}-{number}"),
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
    fault: u32,
) -> Result<Done, FaultError> {
    let before = names(archive)?;
    let options = ClusterOptions {
        name: format!("clone-{fault}"),
        settings: vec![
            ("restore_command".into(), commands::copy_command(archive)),
            ("archive_mode".into(), "on".into()),
            ("archive_command".into(), commands::archive_command(archive, false)),
            ("synchronous_standby_names".into(), String::new()),
        ],
        durable: false,
        ..ClusterOptions::default()
    };
    let home = service.work().subdirectory(&options.name).map_err(failed("place"))?;
    let data = home.join("data");
    copied(directory.join("data"), data.clone()).await?;
    let signal = data.join("recovery.signal");
    fs::write(&signal, "").map_err(FaultError::io("write", signal))?;
    let mut clone = Cluster::adopt(service.installation(), service.work(), data, &options).map_err(failed("adopt"))?;
    clone.start().await.map_err(failed("start"))?;
    clone.wait_until_writable(PATIENCE).await.map_err(failed("promote"))?;
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
    ask("SELECT pg_logical_emit_message(true, 'clone', 'written after the promotion')").await?;
    let switched: String = ask("SELECT pg_walfile_name(pg_switch_wal())").await?.get(0);
    let deadline = Instant::now() + PATIENCE;
    while !archive.join(&switched).exists() {
        if Instant::now() > deadline {
            let what = format!("the clone does not archive {switched}");
            return Err(FaultError::NotVerified { what });
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // back-off of a bounded wait
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
        "a clone of {backup} promoted itself to timeline {timeline} and archived {}",
        counted(archived.len(), "file")
    );
    Ok(Done::new(summary, archived))
}

/// Restores the service's cluster from a backup by the book (PostgreSQL manual, 26.3.5): its own pg_wal is saved, so that
/// it comes back with everything, on a timeline of its own. It was stopped in order, so nothing is lost.
pub(super) async fn restore_cluster(
    service: &mut Cluster,
    backup: &str,
    directory: &Path,
    archive: &Path,
) -> Result<Done, FaultError> {
    let before = names(archive)?;
    let stopped = service.stop(Shutdown::Fast).await.map_err(failed("stop"))?;
    if stopped != Shutdown::Fast {
        let what = format!("the server had to be stopped by {stopped:?}");
        return Err(FaultError::NotVerified { what });
    }
    let data = service.data_directory().to_owned();
    let lost = data.with_file_name("data.before");
    fs::rename(&data, &lost).map_err(FaultError::io("move away", &data))?;
    copied(directory.join("data"), data.clone()).await?;
    let wal = data.join("pg_wal");
    fs::remove_dir_all(&wal).map_err(FaultError::io("remove", &wal))?;
    fs::rename(lost.join("pg_wal"), &wal).map_err(FaultError::io("put back", &wal))?;
    fs::remove_dir_all(&lost).map_err(FaultError::io("remove", &lost))?;
    let conf = data.join("postgresql.auto.conf");
    let mut settings = fs::read_to_string(&conf).map_err(FaultError::io("read", &conf))?;
    let restore_command = conf_quoted(&commands::copy_command(archive));
    let _ = writeln!(settings, "restore_command = {restore_command}");
    fs::write(&conf, settings).map_err(FaultError::io("write", &conf))?;
    let signal = data.join("recovery.signal");
    fs::write(&signal, "").map_err(FaultError::io("write", &signal))?;
    let user = service.work().user();
    user.chown_recursive(&data).map_err(failed("hand over the files of"))?;
    service.start().await.map_err(failed("start"))?;
    service.wait_until_writable(PATIENCE).await.map_err(failed("promote"))?;
    let archived: Vec<String> = names(archive)?.difference(&before).cloned().collect();
    let archived = archived.into_iter().map(|name| format!("{name}: archived meanwhile"));
    let summary = format!("the service was restored from {backup} to the end of its WAL, and serves again");
    Ok(Done::new(summary, archived))
}

/// Copies a backup's data directory.
async fn copied(from: PathBuf, to: PathBuf) -> Result<(), FaultError> {
    let source = from.clone();
    tokio::task::spawn_blocking(move || copy::Copier::default().data_directory(&source, &to))
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(FaultError::io("copy", from))
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
