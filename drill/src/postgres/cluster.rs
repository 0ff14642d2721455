//! One disposable cluster: made fresh or adopted from a restore, started, stopped in the manner that a drill needs, connected
//! to, and gone with its [`Cluster`]. A cluster `source` lives in the run's directory as `source/data`, with its socket, log
//! and marker beside the data, so that they outlive a data directory that a fault takes away.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use chrono::Utc;
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};

use super::{
    Accepting, Authorised, ControlError, Installation, Marker, Refusal, ServerProcess, StartError, SystemIdentifier,
    TemplateError, UserError, WorkDir, WorkDirError, control::read_system_identifier, files, process::Server,
    readiness::Watch, settings, template, tool,
};

/// How long a start may take unless the caller says otherwise.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The system's limit for a socket's path, in bytes.
const SOCKET_PATH_BYTES: usize = 107;

/// What a new cluster should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Its name in the run: letters, digits, `-` and `_`. `source`, `restored-1`.
    pub name: String,
    /// More settings; they win over the defaults. For an adopted cluster they win over what it brings along, too.
    pub settings: Vec<(String, String)>,
    /// Size of a WAL segment in MiB, a power of two from 1 to 1024. Of no effect on an adopted cluster.
    pub wal_segment_mb: u32,
    /// Whether fsync is on.
    pub durable: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: "source".to_owned(),
            settings: Vec::new(),
            wal_segment_mb: 1,
            durable: true,
        }
    }
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shutdown {
    /// In order, clients cut off: `pg_ctl stop -m fast`.
    Fast,
    /// At once, as a crash but with the children told: `pg_ctl stop -m immediate`.
    Immediate,
    /// `SIGKILL` to every process of the server, as a power cut would.
    Kill,
}

/// Why a cluster could not be made, stopped or reached.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The name would not do as a directory's.
    #[error("{0:?} is no name for a cluster: use letters, digits, - and _, at most 32")]
    Name(String),
    /// The name is taken in this run.
    #[error("this run has a cluster {name} already, in {}: choose another name", home.display())]
    Taken {
        /// The name.
        name: String,
        /// Where it is.
        home: PathBuf,
    },
    /// No fresh cluster could be made.
    #[error("cannot make cluster {name}")]
    Template {
        /// The cluster.
        name: String,
        /// Why.
        source: TemplateError,
    },
    /// A directory in the run's directory could not be made.
    #[error("cannot make a place for cluster {name}")]
    Place {
        /// The cluster.
        name: String,
        /// Why.
        source: WorkDirError,
    },
    /// A file operation failed.
    #[error("cannot {what} {} for cluster {name}: check the space and the permissions there", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The cluster.
        name: String,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory could not be handed to the server's account.
    #[error("cannot hand cluster {name} to the server's account")]
    User {
        /// The cluster.
        name: String,
        /// Why.
        source: UserError,
    },
    /// A data directory that is to be adopted has no control file.
    #[error("cannot adopt {} as cluster {name}", data_directory.display())]
    Adopt {
        /// The cluster.
        name: String,
        /// The data directory.
        data_directory: PathBuf,
        /// Why.
        source: ControlError,
    },
    /// A data directory that is to be adopted is not in the run's directory.
    #[error("cannot adopt {} as cluster {name}: it lies outside this run's directory {}; restore into that", data_directory.display(), work.display())]
    Outside {
        /// The cluster.
        name: String,
        /// The data directory.
        data_directory: PathBuf,
        /// The run's directory.
        work: PathBuf,
    },
    /// It may not be destroyed.
    #[error("cannot remove cluster {name}")]
    Refused {
        /// The cluster.
        name: String,
        /// Why.
        source: Refusal,
    },
    /// The server did not answer, or not as hoped.
    #[error("cannot connect to cluster {name} as {user}, database {database}")]
    Connect {
        /// The cluster.
        name: String,
        /// The role.
        user: String,
        /// The database.
        database: String,
        /// What PostgreSQL or the system said.
        source: tokio_postgres::Error,
    },
}

/// One disposable cluster. Dropping it stops its server at once; its files stay until the run's directory goes.
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    work: WorkDir,
    home: PathBuf,
    marker: Marker,
    port: u16,
    log: PathBuf,
    overrides: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    server: Option<Server>,
    accepting: Option<Accepting>,
}

impl Cluster {
    /// Makes a fresh cluster with an identifier of its own. It is not started.
    pub async fn create(
        installation: &Installation,
        work: &WorkDir,
        options: &ClusterOptions,
    ) -> Result<Self, ClusterError> {
        let name = checked_name(&options.name)?;
        if work.path().join(&name).exists() {
            return Err(ClusterError::Taken {
                home: work.path().join(&name),
                name,
            });
        }
        let home = place(work, &name, &name)?;
        let data = home.join("data");
        let identifier = template::fresh_cluster(installation, work.user(), options.wal_segment_mb, &data)
            .await
            .map_err(|source| ClusterError::Template {
                name: name.clone(),
                source,
            })?;
        let file = |what, path: PathBuf| {
            let name = name.clone();
            move |source| ClusterError::File {
                what,
                name,
                path,
                source,
            }
        };
        let conf = data.join("postgresql.conf");
        let text = fs::read_to_string(&conf).map_err(file("read", conf.clone()))?;
        fs::write(&conf, text + &settings::configuration(options)).map_err(file("write", conf))?;
        let hba = data.join("pg_hba.conf");
        fs::write(&hba, settings::HBA).map_err(file("write", hba))?;
        Self::assemble(installation, work, home, data, identifier, name, Vec::new())
    }

    /// Takes over a restored data directory, which must lie in the run's directory. It is not started. It gets a socket, a log
    /// and an access list of its own, does not archive unless `options.settings` says so, and keeps what else it brings along.
    pub fn adopt(
        installation: &Installation,
        work: &WorkDir,
        data_directory: PathBuf,
        options: &ClusterOptions,
    ) -> Result<Self, ClusterError> {
        let name = checked_name(&options.name)?;
        let real = data_directory.canonicalize().unwrap_or(data_directory);
        if !real.starts_with(work.path()) {
            return Err(ClusterError::Outside {
                name,
                data_directory: real,
                work: work.path().to_owned(),
            });
        }
        let home = work.path().join(&name);
        if home.join(super::authority::MARKER).exists() {
            return Err(ClusterError::Taken { name, home });
        }
        let identifier = match read_system_identifier(&real) {
            Ok(identifier) => identifier,
            Err(source) => {
                return Err(ClusterError::Adopt {
                    name,
                    data_directory: real,
                    source,
                });
            }
        };
        let home = place(work, &name, &name)?;
        let user = |source| ClusterError::User {
            name: name.clone(),
            source,
        };
        work.user().chown_recursive(&real).map_err(user)?;
        let file = |what, path: &Path| {
            let (name, path) = (name.clone(), path.to_owned());
            move |source| ClusterError::File {
                what,
                name,
                path,
                source,
            }
        };
        // The server refuses a data directory that others may enter.
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).map_err(file("close", &real))?;
        let hba = home.join("pg_hba.conf");
        fs::write(&hba, settings::HBA).map_err(file("write", &hba))?;
        let overrides = settings::adopted(options, &hba.to_string_lossy());
        Self::assemble(installation, work, home, real, identifier, name, overrides)
    }

    fn assemble(
        installation: &Installation,
        work: &WorkDir,
        home: PathBuf,
        data_directory: PathBuf,
        system_identifier: SystemIdentifier,
        cluster: String,
        overrides: Vec<(String, String)>,
    ) -> Result<Self, ClusterError> {
        let run_id = work.run_id().to_owned();
        let marker = Marker {
            run_id,
            cluster,
            data_directory,
            system_identifier,
            created_at_utc: Utc::now(),
        };
        let file = |what, path: PathBuf| {
            let name = marker.cluster.clone();
            move |source| ClusterError::File {
                what,
                name,
                path,
                source,
            }
        };
        marker.write(&home).map_err(file("write the marker in", home.clone()))?;
        let port = free_port().map_err(file("find a free port beside", home.clone()))?;
        Ok(Self {
            installation: installation.clone(),
            work: work.clone(),
            log: home.join("server.log"),
            home,
            marker,
            port,
            overrides,
            environment: Vec::new(),
            server: None,
            accepting: None,
        })
    }

    /// Starts the server and returns once it answers, within a minute.
    pub async fn start(&mut self) -> Result<(), StartError> {
        self.start_within(START_LIMIT).await
    }

    /// Starts the server and returns once it answers. While it replays, a hot standby's answer counts: see
    /// [`Cluster::accepting`]. After an error no process is left.
    pub async fn start_within(&mut self, limit: Duration) -> Result<(), StartError> {
        if self.is_running() {
            return Err(StartError::Running {
                name: self.name().to_owned(),
            });
        }
        self.clear_remains();
        let socket = self.home.join(format!(".s.PGSQL.{}", self.port));
        if socket.as_os_str().len() > SOCKET_PATH_BYTES {
            return Err(StartError::SocketPath { path: socket });
        }
        let log_offset = fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let child = self.command().and_then(|mut command| command.spawn());
        let program = self.installation.tool("postgres");
        let child = child.map_err(|source| StartError::Spawn {
            name: self.name().to_owned(),
            program: program.clone(),
            source,
        })?;
        let mut server = Server::new(child, self.data_directory(), &program);
        let config = self.config("postgres", "postgres");
        let watch = Watch {
            name: &self.marker.cluster,
            log: &self.log,
            log_offset,
            config,
            limit,
        };
        // In its place before the first await: a cancelled start leaves nothing behind either.
        let server = self.server.insert({
            server.exit_status();
            server
        });
        match watch.until_accepting(server).await {
            Ok(accepting) => {
                self.accepting = Some(accepting);
                Ok(())
            }
            Err(error) => {
                self.kill_now();
                Err(error)
            }
        }
    }

    fn command(&self) -> io::Result<Command> {
        let log = tool::append(&self.log)?;
        let mut command = Command::new(self.installation.tool("postgres"));
        tool::clean_environment(&mut command);
        command.arg("-D").arg(self.data_directory());
        let home = self.home.to_string_lossy();
        let place = [
            ("unix_socket_directories", &*home),
            ("unix_socket_permissions", "0700"),
            ("listen_addresses", ""),
        ];
        for (name, value) in place {
            if !self.overrides.iter().any(|(set, _)| set == name) {
                command.arg("-c").arg(format!("{name}={value}"));
            }
        }
        command.arg("-c").arg(format!("port={}", self.port));
        for (name, value) in &self.overrides {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.work.user().apply_std(&mut command);
        Ok(command)
    }

    /// Stops the server, and answers how it was really stopped: one that does not obey is treated harder (after 30 s of fast,
    /// 10 s of immediate). A server that does not run is stopped already.
    pub async fn stop(&mut self, mode: Shutdown) -> Result<Shutdown, ClusterError> {
        let attempts = [
            (Shutdown::Fast, Signal::INT, Duration::from_secs(30)),
            (Shutdown::Immediate, Signal::QUIT, Duration::from_secs(10)),
        ];
        for (attempt, signal, patience) in attempts.into_iter().skip_while(|(attempt, ..)| *attempt != mode) {
            if let Some(server) = &mut self.server {
                server.signal(signal);
            }
            let begun = Instant::now();
            while self.is_running() && begun.elapsed() < patience {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if !self.is_running() {
                self.clear_remains();
                return Ok(attempt);
            }
            tracing::warn!(
                cluster = self.name(),
                ?attempt,
                "the server did not stop; trying harder"
            );
        }
        self.kill_now();
        Ok(Shutdown::Kill)
    }

    /// Whether the server's first process lives.
    pub fn is_running(&mut self) -> bool {
        self.server
            .as_mut()
            .is_some_and(|server| server.exit_status().is_none())
    }

    /// The server's first process; none before the first start and after a stop.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// The processes of the running server. On systems without /proc only the first.
    pub fn processes(&mut self) -> Vec<ServerProcess> {
        self.server.as_mut().map(Server::processes).unwrap_or_default()
    }

    /// What the server let its clients do when it was started; none when it is not.
    pub fn accepting(&self) -> Option<Accepting> {
        self.accepting
    }

    fn kill_now(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill();
        }
        self.clear_remains();
    }

    /// Makes sure that nothing is left of a server that is gone.
    fn clear_remains(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.clear_remains();
        }
        self.accepting = None;
    }

    /// Sets a server setting for the next start, over whatever the configuration files say.
    pub fn set(&mut self, name: &str, value: &str) {
        settings::set(&mut self.overrides, name, value);
    }

    /// Sets a variable in the server's environment for the next start.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        settings::set(&mut self.environment, name, value);
    }

    /// Its name in the run.
    pub fn name(&self) -> &str {
        &self.marker.cluster
    }

    /// What it runs on.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The run's directory.
    pub fn work(&self) -> &WorkDir {
        &self.work
    }

    /// Its data directory, PGDATA.
    pub fn data_directory(&self) -> &Path {
        &self.marker.data_directory
    }

    /// The directory with its socket: what `host` must be to connect.
    pub fn socket_directory(&self) -> &Path {
        &self.home
    }

    /// Its port. The server listens on it only in the socket's name, unless `listen_addresses` is set.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// How to connect to it.
    pub fn config(&self, user: &str, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.socket_directory())
            .port(self.port)
            .user(user)
            .dbname(database);
        config.application_name("drill").connect_timeout(Duration::from_secs(5));
        config
    }

    /// Connects without a password, which only the superuser `postgres` may.
    pub async fn connect(&self, user: &str, database: &str) -> Result<Client, ClusterError> {
        self.connect_by(&self.config(user, database)).await
    }

    /// Connects with a password.
    pub async fn connect_with_password(
        &self,
        user: &str,
        database: &str,
        password: &str,
    ) -> Result<Client, ClusterError> {
        self.connect_by(self.config(user, database).password(password)).await
    }

    async fn connect_by(&self, config: &tokio_postgres::Config) -> Result<Client, ClusterError> {
        let (client, connection) = config.connect(NoTls).await.map_err(|source| ClusterError::Connect {
            name: self.name().to_owned(),
            user: config.get_user().unwrap_or_default().to_owned(),
            database: config.get_dbname().unwrap_or_default().to_owned(),
            source,
        })?;
        let name = self.name().to_owned();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(cluster = name, %error, "a connection ended");
            }
        });
        Ok(client)
    }

    /// The environment by which client programs find this cluster; for [`super::Tool::envs`].
    pub fn client_environment(&self, user: &str, database: &str, password: Option<&str>) -> Vec<(String, String)> {
        let mut environment = vec![
            (
                "PGHOST".to_owned(),
                self.socket_directory().to_string_lossy().into_owned(),
            ),
            ("PGPORT".to_owned(), self.port.to_string()),
            ("PGUSER".to_owned(), user.to_owned()),
            ("PGDATABASE".to_owned(), database.to_owned()),
            ("PGAPPNAME".to_owned(), "drill".to_owned()),
        ];
        environment.extend(password.map(|password| ("PGPASSWORD".to_owned(), password.to_owned())));
        environment
    }

    /// The identifier that is in the data directory now.
    pub fn system_identifier(&self) -> Result<SystemIdentifier, ControlError> {
        read_system_identifier(self.data_directory())
    }

    /// The identifier that it had when this run made or adopted it.
    pub fn recorded_identifier(&self) -> SystemIdentifier {
        self.marker.system_identifier
    }

    /// Leave to harm its data: this run's marker is beside it, and it still is the cluster that this run recorded.
    pub fn authorise_destruction(&self) -> Result<Authorised, Refusal> {
        self.marker.authorise(&self.home, self.work.path())
    }

    /// Stops the server and removes all its files, to give back their space before the run ends.
    pub fn remove(mut self) -> Result<(), ClusterError> {
        let name = self.name().to_owned();
        let authorised = match self.authorise_destruction() {
            Ok(authorised) => authorised,
            Err(source) => return Err(ClusterError::Refused { name, source }),
        };
        self.kill_now();
        for path in [authorised.data_directory(), &self.home] {
            files::remove_tree(path).map_err(|source| ClusterError::File {
                what: "remove",
                name: name.clone(),
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.work.is_kept() {
            return;
        }
        // "Immediate" first: the server then gives back what the system lent it.
        if let Some(server) = &mut self.server {
            server.signal(Signal::QUIT);
            files::wait_blocking(Duration::from_millis(500), || server.exit_status().is_some());
        }
        self.kill_now();
    }
}

/// A name that is safe as a directory's and short enough for a socket's path.
fn checked_name(name: &str) -> Result<String, ClusterError> {
    let fits = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fits {
        Ok(name.to_owned())
    } else {
        Err(ClusterError::Name(name.to_owned()))
    }
}

fn place(work: &WorkDir, directory: &str, name: &str) -> Result<PathBuf, ClusterError> {
    work.subdirectory(directory).map_err(|source| ClusterError::Place {
        name: name.to_owned(),
        source,
    })
}

/// A port that nobody listens on just now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
