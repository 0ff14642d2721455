//! PostgreSQL from a container image: each server in a container of its own, client tools in one beside them, on a private
//! network that leads nowhere. Through testcontainers.
//!
//! The run's directory (data, WAL archive, backups, sockets, logs) is mounted in the containers at the same path and used
//! under the same account. So faults, checks and clients that connect by a socket need not know where a server runs.
//! The image is used as it is, with `postgres` in the place of its entrypoint: a user's own image with extensions of its own
//! will do, as long as it has a shell, the server and the client tools.
//!
//! # What is different from a server among the host's processes
//!
//! - A postmaster that dies takes its children with it at once, and its shared memory: the system ends a container with its
//!   first process. Outside, the children notice a moment later and end by themselves.
//! - `archive_command`, `restore_command` and `COPY … PROGRAM` find the image's programs, not the host's. Those of drill need
//!   `sh`, `test`, `cp`, `mv`, `wc` and, on disk, `sync`.
//! - Faults of the kind `command`, the reference application and the receivers stay processes of the host. They reach a
//!   server by its socket in the run's directory, never through TCP: no port is published. A `command` that runs programs of
//!   PostgreSQL needs them on the host, in the same version: of the catalogue, that is `wrong-environment`.
//! - The library that steps a server's clock is the host's, copied to where the container sees it; an image with another
//!   C library than glibc cannot load it, and the fault says that the clock did not move.
//! - A tool that a signal ended is reported with the exit code 128 + signal turned back into the signal.
//! - `--container-memory` and `--container-cpus` limit each server, not the tools. With `--storage memory` what a server writes
//!   counts as its memory.
//! - Starting takes a few tenths of a second more, and so does each client tool.
//!
//! # What it needs
//!
//! A Docker on this machine, with the same file system and the same process numbers as drill has: not a remote one, not one in
//! a virtual machine (Docker Desktop), not a rootless one or one that remaps users, for there the server's account is
//! another inside than outside. Each of these is refused with what to do instead.

mod containers;
mod docker;
mod error;
mod exec;
mod image;
mod server;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use self::error::ContainerError;
pub(super) use self::{
    containers::{ACCOUNTS, Containers},
    exec::{Call, Exec, Sink},
    image::Image,
    server::ContainerServer,
};
use super::{Installation, Progress, Provider, Request, WorkDir};

/// Options for containers, besides the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOptions {
    /// The image; `postgres:<major>` unless it is named.
    pub image: Option<String>,
    /// What each server may use.
    pub limits: Limits,
}

/// What a server may use of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes, swap included.
    pub memory_bytes: Option<u64>,
    /// Processors, in thousandths.
    pub millicpus: Option<u64>,
}

/// An installation's image, and the containers of the drill that it is used in.
#[derive(Debug, Clone)]
pub(super) struct InContainers {
    image: Arc<Image>,
    drill: Option<Arc<Containers>>,
}

impl PartialEq for InContainers {
    fn eq(&self, other: &Self) -> bool {
        self.image == other.image
    }
}

impl Eq for InContainers {}

impl InContainers {
    /// The installation for the drill with that directory; it keeps its containers if it is that drill's already.
    pub(super) fn within(&self, work: &WorkDir) -> Self {
        match &self.drill {
            Some(drill) if drill.work() == work.path() => self.clone(),
            _ => Self {
                image: Arc::clone(&self.image),
                drill: Some(Arc::new(Containers::new(&self.image, work))),
            },
        }
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// The drill's containers; none before [`InContainers::within`].
    pub(super) fn drill(&self) -> Option<&Arc<Containers>> {
        self.drill.as_ref()
    }
}

/// Finds the image, or pulls it, and looks at what is in it.
///
/// # Errors
/// Why there is none, and what to do.
pub async fn locate(request: &Request, progress: &dyn Progress) -> Result<Installation, ContainerError> {
    installation(image::find(request, progress).await?, request)
}

/// As [`locate`], but pulls nothing; `None` if the image is not here.
///
/// # Errors
/// Why it will not do.
pub async fn present(request: &Request) -> Result<Option<Installation>, ContainerError> {
    let found = image::present(request).await?;
    found.map(|image| installation(image, request)).transpose()
}

fn installation(image: Image, request: &Request) -> Result<Installation, ContainerError> {
    if image.major != request.major {
        return Err(ContainerError::WrongMajor {
            image: image.name,
            found: image.version,
            major: image.major,
            wanted: request.major,
        });
    }
    Ok(Installation {
        bindir: image.bindir.clone(),
        sharedir: image.sharedir.clone(),
        major: image.major,
        version: image.version.clone(),
        provider: Provider::Container,
        notes: vec![format!("image {} ({})", image.name, image.id)],
        containers: Some(InContainers {
            image: Arc::new(image),
            drill: None,
        }),
    })
}

/// Whether a Docker answers, and which: for `drill doctor`.
///
/// # Errors
/// Why none does, or why it will not do.
pub async fn available() -> Result<String, ContainerError> {
    image::suitable().await.map(|(_, version)| version)
}

/// The directories of the runs that anything in Docker belongs to; none where no Docker answers.
pub(super) fn directories_of_runs() -> Vec<PathBuf> {
    // A daemon that hangs shall not hold up a drill that has no use for it.
    // Made within a runtime: a timer cannot be made outside of one.
    let found = docker::block(async {
        let asked = async {
            let docker = docker::local_client().await?;
            docker::of_runs(&docker).await
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await
    });
    let mut directories: Vec<PathBuf> = match found {
        Some(Ok(Ok(things))) => things.into_iter().map(|(work, _)| work).collect(),
        _ => Vec::new(),
    };
    directories.sort();
    directories.dedup();
    directories
}

/// Removes everything in Docker that belongs to the run with that directory, which must be over; answers how many containers.
pub(super) fn remove_of_run(work: &Path) -> usize {
    let work = work.to_owned();
    let removed = docker::block(async move {
        let docker = docker::local_client().await?;
        docker::remove_all(&docker, &work).await
    });
    match removed {
        Some(Ok(containers)) => containers,
        Some(Err(complaint)) => {
            tracing::warn!(complaint, "cannot remove the containers of a killed run");
            0
        }
        None => 0,
    }
}
