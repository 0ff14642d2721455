//! Talks to Docker from a thread of its own: a request is completed though its caller may be gone, and code that cannot
//! await (`Drop`) can still wait for it.

use std::{
    collections::HashMap,
    future::Future,
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use futures_util::future::join_all;
use testcontainers::{
    bollard::{
        Docker,
        query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder},
    },
    core::client::docker_client_instance,
};
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::errors::chain;

/// The label with the directory of the run that something belongs to.
pub(super) const WORK_LABEL: &str = "org.drill.work";
/// The label with that run's id.
pub(super) const RUN_LABEL: &str = "org.drill.run";
/// How long a daemon may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why Docker did not do what it was asked, in one line.
pub(super) type Complaint = String;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let built = builder.worker_threads(1).thread_name("docker").enable_all().build();
        #[expect(clippy::expect_used, reason = "a process without another thread cannot drill")]
        built.expect("a thread for Docker")
    })
}

/// Runs a task, which goes on when nobody waits for it any more.
pub(super) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    runtime().spawn(task)
}

/// Runs a task and waits for it on this thread, which must not be Docker's own; `None` if it panicked.
pub(super) fn block<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    spawn(async move { sender.send(task.await) });
    receiver.recv().ok()
}

/// The daemon that testcontainers uses, once it answers.
pub(super) async fn client() -> Result<Docker, Complaint> {
    let client = docker_client_instance().await.map_err(|error| chain(&error))?;
    match tokio::time::timeout(PATIENCE, client.ping()).await {
        Ok(Ok(_)) => Ok(client),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// As [`client`], but only one on this machine: another is not worth waiting for.
pub(super) async fn local_client() -> Result<Docker, Complaint> {
    if let Some(host) = std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.starts_with("unix://") && !host.is_empty())
    {
        return Err(format!("DOCKER_HOST is {host}, which is not a socket of this machine"));
    }
    client().await
}

/// Something of a run in Docker, by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    /// A container; its anonymous volumes go with it.
    Container(String),
    /// A network; goes when no container is in it any more.
    Network(String),
}

/// Everything that belongs to runs, with the directory of each; containers first, as they must be removed first.
pub(super) async fn of_runs(docker: &Docker) -> Result<Vec<(PathBuf, Thing)>, Complaint> {
    let filter = HashMap::from([("label", vec![WORK_LABEL])]);
    let failed = |error| chain(&error);
    let work = |labels: Option<HashMap<String, String>>| Some(PathBuf::from(labels?.remove(WORK_LABEL)?));
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    let containers = docker.list_containers(Some(options)).await.map_err(failed)?;
    let options = ListNetworksOptionsBuilder::new().filters(&filter).build();
    let networks = docker.list_networks(Some(options)).await.map_err(failed)?;
    let containers = containers
        .into_iter()
        .filter_map(|found| Some((work(found.labels)?, Thing::Container(found.id?))));
    let networks = networks
        .into_iter()
        .filter_map(|found| Some((work(found.labels)?, Thing::Network(found.id?))));
    Ok(containers.chain(networks).collect())
}

/// Removes a thing; one that is gone already is no error.
pub(super) async fn remove(docker: &Docker, thing: &Thing) -> Result<(), Complaint> {
    let removed = match thing {
        Thing::Container(id) => {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            docker.remove_container(id, Some(options)).await
        }
        Thing::Network(id) => docker.remove_network(id).await,
    };
    match removed {
        Err(error) if status(&error) == Some(404) => Ok(()),
        other => other.map_err(|error| chain(&error)),
    }
}

/// Removes everything that belongs to the run with that directory; answers how many containers there were.
pub(super) async fn remove_all(docker: &Docker, work: &Path) -> Result<usize, Complaint> {
    const ATTEMPTS: u32 = 100;
    let mut count = 0;
    for attempt in 1.. {
        let things: Vec<Thing> = of_runs(docker)
            .await?
            .into_iter()
            .filter(|(of, _)| of == work)
            .map(|(_, thing)| thing)
            .collect();
        if things.is_empty() {
            break;
        }
        if attempt == 1 {
            count = things
                .iter()
                .filter(|thing| matches!(thing, Thing::Container(_)))
                .count();
        }
        let (containers, networks): (Vec<_>, Vec<_>) =
            things.iter().partition(|thing| matches!(thing, Thing::Container(_)));
        let mut complaint = None;
        for several in [containers, networks] {
            let removals = several.into_iter().map(|thing| remove(docker, thing));
            // Another removal of the same may be under way (409); the next look tells.
            for removed in join_all(removals).await {
                complaint = removed.err().or(complaint);
            }
        }
        if attempt == ATTEMPTS {
            return Err(complaint.unwrap_or_else(|| "it is there again after each removal".to_owned()));
        }
        if complaint.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await; // back-off of a bounded wait
        }
    }
    Ok(count)
}

/// The status by which the daemon refused.
pub(super) fn status(error: &testcontainers::bollard::errors::Error) -> Option<u16> {
    match error {
        testcontainers::bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
