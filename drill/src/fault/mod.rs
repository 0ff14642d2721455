//! Faults: the damage that scenarios are composed of.
//!
//! [`inject`] does one fault, verifies that it happened and says exactly what it touched; a fault that changed nothing
//! is an error. What a fault is stands in [`crate::scenario`]; one file here a family:
//!
//! - `root.rs`: a directory that nothing leads out of, and the selection of files in it
//! - `files.rs` (remove, truncate, replace, permissions) and `bytes.rs` (flip, zero, write, append)
//! - `swap.rs` (an older copy) and `page.rs` (one page and its checksum); `expire.rs`: whole backups
//! - `sql.rs`, `signal.rs` with `processes.rs`, and `server.rs` (stop, start, settings): what acts on a server
//! - `stray.rs`: what brings another timeline, or another cluster, into the service's archive
//! - `clock.rs`: the wall clock of a server
//! - `service.rs`: the services around it; `disk.rs`: its filesystem; `command.rs`: a program of the user's own

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rand::{SeedableRng as _, rngs::StdRng};
use reports::{event::FaultReport, text::left_out};

use crate::{
    backup::catalogue,
    postgres::Cluster,
    scenario::{Action, Fault, FaultTarget, Which},
};

mod bytes;
pub mod clock;
mod command;
mod disk;
mod error;
mod expire;
mod files;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod guard_tests;
mod page;
mod processes;
mod root;
mod server;
mod service;
mod signal;
mod sql;
mod stray;
mod swap;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use error::FaultError;
pub use service::{Services, mend};

use root::Root;

/// Who runs a scenario's statements.
const SUPERUSER: &str = "postgres";

/// Everything that a fault can be aimed at.
pub struct World<'a> {
    /// The service's cluster.
    pub cluster: &'a mut Cluster,
    /// The cluster that recovery made, once there is one.
    pub restored: Option<&'a mut Cluster>,
    /// The WAL archive's directory.
    pub archive: Option<&'a Path>,
    /// The directory into which WAL is streamed.
    pub stream: Option<&'a Path>,
    /// The run's own directory: nothing outside of it is touched.
    pub work: &'a Path,
    /// Id and directory of each backup, oldest first.
    pub backups: Vec<(String, PathBuf)>,
    /// Source of every random choice.
    pub random: &'a mut StdRng,
    /// The file of each relation that a fault names, relative to the data directory.
    pub relations: &'a BTreeMap<String, String>,
    /// Passwords of the roles.
    pub credentials: &'a fixtures::Credentials,
    /// Where the backups are.
    pub repository: &'a Path,
    /// The small filesystem that this run made for the cluster, if it made one.
    pub disk: Option<&'a Path>,
    /// The services around the database.
    pub services: Services<'a>,
}

/// Does one fault and verifies that it happened.
///
/// A cluster is asked for its authorisation first: it must be one that this run made.
pub async fn inject(fault: &Fault, world: &mut World<'_>) -> Result<FaultReport, FaultError> {
    let done = match &fault.action {
        Action::Sql {
            database,
            statements,
            role,
            refused,
        } => {
            let role = role.map(|role| (role, world.credentials.password(role)));
            let who = sql::Who {
                role,
                refused: *refused,
            };
            sql::run(cluster(fault, world)?, database, statements, &who).await?
        }
        Action::Signal { process, signal } => signal::send(cluster(fault, world)?, *process, *signal).await?,
        Action::Server { does } => server::act(cluster(fault, world)?, *does).await?,
        Action::Setting { name, value } => server::set(cluster(fault, world)?, name, value.as_deref()).await?,
        Action::Command { argv } => {
            let kept = command::Kept {
                archive: world.archive,
                stream: world.stream,
                repository: world.repository,
            };
            command::run(cluster(fault, world)?, argv, kept).await?
        }
        Action::Service { does, after, times } => {
            service::misbehave(fault.target, *does, *after, *times, &mut world.services).await?
        }
        Action::AlienSegment { files } => {
            let (_, directory) = directories(fault, world)?.swap_remove(0);
            stray::alien_segment(
                world.cluster,
                &Root::open(&directory)?,
                files,
                fault.number,
                world.random,
            )
            .await?
        }
        Action::RestoreCluster { from } => {
            let backup = backups(*from, &world.backups).and_then(|chosen| chosen.into_iter().next());
            let (Some((backup, directory)), Some(archive)) = (backup, world.archive) else {
                return Err(FaultError::NoSuchTarget {
                    target: FaultTarget::Backup(*from),
                    at: fault.at,
                });
            };
            stray::restore_cluster(cluster(fault, world)?, &backup, &directory, archive).await?
        }
        Action::PromoteClone => {
            let (backup, directory) = directories(fault, world)?.swap_remove(0);
            let archive = world.archive.ok_or(FaultError::NoSuchTarget {
                target: fault.target,
                at: fault.at,
            })?;
            stray::promote_clone(world.cluster, (&backup, &directory), archive, fault.number).await?
        }
        Action::ExpireBackup => {
            let chosen = directories(fault, world)?;
            expire::expire(world.repository, &chosen)?
        }
        Action::Clock { step } => clock::step(cluster(fault, world)?, *step).await?,
        Action::FillDisk => {
            cluster(fault, world)?;
            disk::fill(world.disk.ok_or(FaultError::NoSuchTarget {
                target: fault.target,
                at: fault.at,
            })?)?
        }
        _ => on_files(fault, world).await?,
    };
    tracing::info!(at = %fault.at, kind = fault.action.kind(), target = %fault.target, "{}", done.summary);
    Ok(FaultReport {
        number: fault.number,
        at: fault.at.to_string(),
        kind: fault.action.kind().to_owned(),
        target: fault.target.to_string(),
        summary: done.summary,
        touched: done.touched.into_iter().chain(left_out(done.more as u64)).collect(),
    })
}

/// What a fault did.
#[derive(Debug, Default)]
struct Done {
    /// One sentence with the totals.
    summary: String,
    /// Each thing touched, up to [`Done::MOST`].
    touched: Vec<String>,
    /// So many more are not named.
    more: usize,
}

impl Done {
    /// So many things are named one by one.
    const MOST: usize = 40;

    fn new(summary: String, touched: impl IntoIterator<Item = String>) -> Self {
        let mut touched: Vec<String> = touched.into_iter().collect();
        let more = touched.len().saturating_sub(Self::MOST);
        touched.truncate(Self::MOST);
        Self { summary, touched, more }
    }
}

/// The cluster that a fault is aimed at, once it is known that it may be broken.
fn cluster<'w>(fault: &Fault, world: &'w mut World<'_>) -> Result<&'w mut Cluster, FaultError> {
    let cluster = match fault.target {
        FaultTarget::Cluster => Some(&mut *world.cluster),
        FaultTarget::Restored => world.restored.as_deref_mut(),
        _ => {
            return Err(FaultError::NotApplicable {
                kind: fault.action.kind(),
                target: fault.target,
            });
        }
    };
    let cluster = cluster.ok_or(FaultError::NoSuchTarget {
        target: fault.target,
        at: fault.at,
    })?;
    cluster
        .authorise_destruction()
        .map_err(|source| FaultError::NotAuthorised {
            target: fault.target,
            source: Box::new(source),
        })?;
    Ok(cluster)
}

/// The directories that a fault is aimed at; each of backups with what to call it, another without a name.
fn directories(fault: &Fault, world: &mut World<'_>) -> Result<Vec<(String, PathBuf)>, FaultError> {
    let absent = || FaultError::NoSuchTarget {
        target: fault.target,
        at: fault.at,
    };
    let directory = match fault.target {
        FaultTarget::Cluster | FaultTarget::Restored => cluster(fault, world)?.data_directory().to_owned(),
        FaultTarget::Archive => world.archive.ok_or_else(absent)?.to_owned(),
        FaultTarget::Stream => world.stream.ok_or_else(absent)?.to_owned(),
        FaultTarget::Backup(which) => {
            let chosen = backups(which, &world.backups).ok_or_else(absent)?;
            for (_, directory) in &chosen {
                confine(directory, world.work)?;
            }
            return Ok(chosen);
        }
        _ => {
            return Err(FaultError::NotApplicable {
                kind: fault.action.kind(),
                target: fault.target,
            });
        }
    };
    confine(&directory, world.work)?;
    Ok(vec![(String::new(), directory)])
}

/// Refuses a directory that, links resolved, is not one of the run's own.
fn confine(directory: &Path, work: &Path) -> Result<(), FaultError> {
    let real = |path: &Path| path.canonicalize().map_err(FaultError::io("open", path));
    let (path, root) = (real(directory)?, real(work)?);
    if path.starts_with(&root) {
        Ok(())
    } else {
        Err(FaultError::Outside { path, root })
    }
}

/// The backups that are meant, each with what to call it; `None` if there is none.
fn backups(which: Which, backups: &[(String, PathBuf)]) -> Option<Vec<(String, PathBuf)>> {
    let chosen = match which {
        Which::Latest => backups.last().into_iter().collect(),
        Which::Oldest => backups.first().into_iter().collect(),
        Which::Number(number) => {
            let is_it = |(id, _): &&(String, PathBuf)| catalogue::number(id) == Some(number);
            backups.iter().find(is_it).into_iter().collect()
        }
        Which::All => backups.iter().collect::<Vec<_>>(),
    };
    let named: Vec<_> = chosen
        .into_iter()
        .map(|(id, path)| (format!("backup {id}"), path.clone()))
        .collect();
    (!named.is_empty()).then_some(named)
}

/// Does a fault of files, on a thread that may block.
async fn on_files(fault: &Fault, world: &mut World<'_>) -> Result<Done, FaultError> {
    let directories = directories(fault, world)?;
    let action = located(fault, world)?;
    if matches!(action, Action::CorruptPage { .. }) && fault.target.is_cluster() && cluster(fault, world)?.is_running()
    {
        return Err(FaultError::ServerRuns { target: fault.target });
    }
    let older = match &action {
        Action::SwapFile { from, .. } => backups(*from, &world.backups).and_then(|chosen| chosen.into_iter().next()),
        _ => None,
    };
    let mut random = StdRng::from_rng(world.random);
    tokio::task::spawn_blocking(move || {
        let (mut summaries, mut touched, mut more) = (Vec::new(), Vec::new(), 0);
        for (name, directory) in directories {
            let done = act(&action, &Root::open(&directory)?, older.as_ref(), &mut random)?;
            let named = |line| {
                if name.is_empty() {
                    line
                } else {
                    format!("{name}: {line}")
                }
            };
            summaries.push(named(done.summary));
            touched.extend(done.touched.into_iter().map(named));
            more += done.more;
        }
        let mut done = Done::new(summaries.join("; "), touched);
        done.more += more;
        Ok(done)
    })
    .await
    .map_err(|source| FaultError::Interrupted {
        kind: fault.action.kind(),
        source,
    })?
}

fn act(
    action: &Action,
    root: &Root,
    older: Option<&(String, PathBuf)>,
    random: &mut StdRng,
) -> Result<Done, FaultError> {
    match action {
        Action::RemoveFiles { files } => files::remove(root, files, random),
        Action::TruncateFile { files, keep } => files::truncate(root, files, *keep, random),
        Action::ReplaceFile { files, with } => files::replace(root, files, with, random),
        Action::Chmod { files, mode } => files::chmod(root, files, *mode, random),
        Action::FlipBytes { files, bytes, offset } => bytes::flip(root, files, *bytes, *offset, random),
        Action::ZeroBytes { files, offset, bytes } => bytes::zero(root, files, *offset, *bytes, random),
        Action::WriteBytes { files, offset, content } => bytes::write(root, files, *offset, content, random),
        Action::AppendBytes { files, content } => bytes::append(root, files, content, random),
        Action::SwapFile { files, keep_tail, .. } => {
            let older = older.ok_or_else(|| FaultError::NoEffect {
                kind: action.kind(),
                why: "there is no such backup to take the older copy from".to_owned(),
            })?;
            swap::swap(root, files, older, *keep_tail, random)
        }
        Action::CorruptPage {
            files,
            block,
            content,
            checksum,
        } => page::corrupt(root, files, *block, content.as_ref(), *checksum, random),
        _ => Err(FaultError::NoEffect {
            kind: action.kind(),
            why: "it does not act on files".to_owned(),
        }),
    }
}

/// The fault's action, with the path of the relation that it names. A backup keeps a data directory somewhere below.
fn located(fault: &Fault, world: &World<'_>) -> Result<Action, FaultError> {
    let mut action = fault.action.clone();
    if let Some(files) = action.files_mut()
        && let Some(relation) = files.relation.clone()
    {
        let path = world
            .relations
            .get(&relation)
            .ok_or(FaultError::NoRelation { relation })?;
        let escaped = glob::Pattern::escape(path);
        let path = if fault.target.is_cluster() {
            escaped
        } else {
            format!("**/{escaped}")
        };
        files.path = glob::Pattern::new(&path).unwrap_or_default();
    }
    Ok(action)
}
