//! What one drill has in Docker: a private network, a container for its client tools, one for each running server. All of it
//! carries the labels of the run and goes with [`Containers`], however the drill ends.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _,
    bollard::{Docker, models::NetworkCreateRequest},
    core::Mount,
    runners::AsyncRunner as _,
};
use tokio::sync::{OnceCell, RwLock};

use super::{
    Image,
    docker::{self, Complaint, RUN_LABEL, WORK_LABEL},
};
use crate::{
    errors::chain,
    postgres::{WorkDir, workdir::KEEP},
};

/// The accounts that the programs in a container know; libpq and initdb want to know who they are.
pub(in crate::postgres) const ACCOUNTS: &str = ".passwd";
/// Room for dynamic shared memory, as parallel queries use it; Docker's default is 64 MiB.
const SHARED_MEMORY_BYTES: u64 = 1 << 30;

/// What one drill has in Docker. Dropping it removes all of it, unless the run's directory is kept.
#[derive(Debug)]
pub(crate) struct Containers(Arc<Inner>);

/// Shared with what is under way on Docker's thread.
#[derive(Debug)]
pub(super) struct Inner {
    image: Arc<Image>,
    work: PathBuf,
    run_id: String,
    user: String,
    name: String,
    /// Starts hold it for reading, the end for writing: what is just being started is waited for, and then removed.
    closed: RwLock<bool>,
    network: OnceCell<()>,
    tools: OnceCell<String>,
    started: AtomicU32,
}

/// A container that was started.
#[derive(Debug)]
pub(super) struct Running {
    /// None once it was given to be removed.
    container: Option<ContainerAsync<GenericImage>>,
    keep: PathBuf,
}

impl Running {
    pub(super) fn id(&self) -> &str {
        self.container.as_ref().map_or("", |container| container.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(container) = self.container.take() else { return };
        if self.keep.exists() {
            std::mem::forget(container); // its own drop would remove it
            return;
        }
        docker::spawn(async move {
            let id = container.id().to_owned();
            if let Err(error) = container.rm().await {
                tracing::debug!(id, %error, "the container goes with the run's other ones");
            }
        });
    }
}

impl Containers {
    /// For the drill with that directory. Nothing is started yet.
    pub(super) fn new(image: &Arc<Image>, work: &WorkDir) -> Self {
        let path = work.path().to_owned();
        let user = work.user();
        let accounts = format!(
            "root:x:0:0::/:/bin/sh\npostgres:x:{}:{}::{}:/bin/sh\n",
            user.uid(),
            user.gid(),
            path.display()
        );
        if let Err(error) = fs::write(path.join(ACCOUNTS), accounts) {
            tracing::debug!(%error, "no accounts for the containers"); // mounting them will fail, and say why
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self(Arc::new(Inner {
            image: Arc::clone(image),
            run_id: work.run_id().to_owned(),
            user: format!("{}:{}", user.uid(), user.gid()),
            // A directory's name is drawn at random, but `.tmpXY` would not do as a container's.
            name: name.unwrap_or_default().trim_start_matches('.').to_owned(),
            work: path,
            closed: RwLock::new(false),
            network: OnceCell::new(),
            tools: OnceCell::new(),
            started: AtomicU32::new(0),
        }))
    }

    pub(super) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }

    /// The run's directory, which is at the same place in every container.
    pub(crate) fn work(&self) -> &Path {
        &self.0.work
    }

    /// Whether the tools' container is among this machine's processes, by its command line, which names the run's directory.
    pub(super) async fn tools_are_visible(&self) -> bool {
        let inner = self.inner();
        let pid = docker::spawn(async move {
            let id = inner.tools().await?;
            let inspected = docker::client().await?.inspect_container(id, None).await;
            let state = inspected.map_err(|error| chain(&error))?.state;
            Ok::<_, Complaint>(state.and_then(|state| state.pid))
        });
        let Ok(Ok(Some(pid))) = pid.await else { return false };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*self.0.work.to_string_lossy())
    }

    /// Starts a container with a server: `argv`, its output appended to `log`.
    pub(super) async fn start_server(
        &self,
        cluster: &str,
        argv: Vec<String>,
        environment: Vec<(String, String)>,
        log: &Path,
    ) -> Result<Running, Complaint> {
        let (inner, cluster) = (self.inner(), cluster.to_owned());
        let log = log.to_string_lossy().into_owned();
        // The tools will be wanted soon; whoever wants them first is told if they cannot be had.
        let soon = self.inner();
        docker::spawn(async move { soon.tools().await.map(drop) });
        let started = docker::spawn(async move {
            let append = ["-c", r#"exec "$@" >>"$0" 2>&1"#, &log].map(ToOwned::to_owned);
            let request = inner.request(&cluster, append.into_iter().chain(argv));
            let request = environment
                .into_iter()
                .fold(request, |request, (name, value)| request.with_env_var(name, value));
            let limits = inner.image.limits.clone();
            let request = request.with_host_config_modifier(move |host| {
                closed_to_the_outside(host);
                host.memory = limits.memory_bytes.map(|bytes| bytes as i64);
                host.memory_swap = host.memory;
                host.nano_cpus = limits.millicpus.map(|thousandths| thousandths as i64 * 1_000_000);
            });
            inner.start(request).await
        });
        started.await.map_err(|error| error.to_string())?
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let inner = self.inner();
        if inner.work.join(KEEP).exists() {
            return;
        }
        let work = inner.work.clone();
        let removed = docker::block(async move {
            let mut closed = inner.closed.write().await;
            *closed = true;
            if inner.started.load(Ordering::Relaxed) == 0 && !inner.network.initialized() {
                return Ok(0);
            }
            docker::remove_all(&docker::client().await?, &inner.work).await
        });
        match removed {
            Some(Err(complaint)) => {
                tracing::warn!(work = %work.display(), complaint, "cannot remove the drill's containers; `drill doctor --clean` will");
            }
            _ => drop(fs::remove_file(work.join(ACCOUNTS))), // if not, the directory's end is its end
        }
    }
}

impl Inner {
    /// What all containers of a drill have in common.
    fn request(&self, what: &str, command: impl IntoIterator<Item = String>) -> ContainerRequest<GenericImage> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let (name, tag) = self.image.name_and_tag();
        let accounts = self.work.join(ACCOUNTS).to_string_lossy().into_owned();
        let work = self.work.to_string_lossy().into_owned();
        GenericImage::new(name, tag)
            .with_entrypoint("/bin/sh")
            .with_cmd(command)
            .with_container_name(format!("{}-{what}-{number}", self.name))
            .with_hostname(what)
            .with_labels([(WORK_LABEL, &work), (RUN_LABEL, &self.run_id)])
            .with_network(&self.name)
            .with_user(&self.user)
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges")
            .with_shm_size(SHARED_MEMORY_BYTES)
            .with_working_dir("/")
            .with_env_var("LC_ALL", "C")
            .with_env_var("TZ", "UTC")
            .with_mount(Mount::bind_mount(&work, &work))
            .with_mount(
                Mount::bind_mount(accounts, "/etc/passwd").with_access_mode(testcontainers::core::AccessMode::ReadOnly),
            )
            .with_host_config_modifier(closed_to_the_outside)
    }

    /// Starts a container in the drill's network.
    async fn start(&self, request: ContainerRequest<GenericImage>) -> Result<Running, Complaint> {
        let closed = self.closed.read().await;
        if *closed {
            return Err("the drill is over".to_owned());
        }
        let docker = docker::client().await?;
        self.network.get_or_try_init(|| self.make_network(&docker)).await?;
        let container = request.start().await.map_err(|error| chain(&error))?;
        Ok(Running {
            container: Some(container),
            keep: self.work.join(KEEP),
        })
    }

    /// A network that leads nowhere: what is restored in it can reach the drill's own clusters and nothing else.
    async fn make_network(&self, docker: &Docker) -> Result<(), Complaint> {
        let labels = [
            (WORK_LABEL, self.work.to_string_lossy().into_owned()),
            (RUN_LABEL, self.run_id.clone()),
        ];
        let network = NetworkCreateRequest {
            name: self.name.clone(),
            internal: Some(true),
            labels: Some(
                labels
                    .map(|(name, value)| (name.to_owned(), value))
                    .into_iter()
                    .collect::<HashMap<_, _>>(),
            ),
            ..NetworkCreateRequest::default()
        };
        docker
            .create_network(network)
            .await
            .map(drop)
            .map_err(|error| chain(&error))
    }

    /// The id of the container in which client tools run; started when the first one is.
    pub(super) async fn tools(&self) -> Result<&str, Complaint> {
        let start = async || {
            let idle = ["-c", "while :; do sleep 3600; done"].map(ToOwned::to_owned);
            let work = self.work.to_string_lossy().into_owned();
            let request = self.request("tools", idle.into_iter().chain([work]));
            let mut running = self.start(request).await?;
            // It stays until everything goes: by its label, not by this handle.
            let container = running.container.take();
            let id = container
                .as_ref()
                .map(|container| container.id().to_owned())
                .unwrap_or_default();
            std::mem::forget(container);
            Ok(id)
        };
        self.tools.get_or_try_init(start).await.map(String::as_str)
    }
}

/// No port of a container is published on the host, whatever its image exposes.
fn closed_to_the_outside(host: &mut testcontainers::bollard::models::HostConfig) {
    host.publish_all_ports = Some(false);
}
