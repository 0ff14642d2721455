//! One disposable cluster: made fresh or adopted from a restore, started, stopped in the manner that a drill needs, connected
//! to, and gone with its [`Cluster`]. A cluster `source` lives in the run's directory as `source/data`, with its socket, log
//! and marker beside the data, so that they outlive a data directory that a fault takes away.

mod connect;
mod error;
mod serve;

use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use chrono::Utc;

pub use self::error::ClusterError;
use super::{
    Accepting, Authorised, ControlError, Installation, Marker, Refusal, SystemIdentifier, WorkDir,
    control::read_system_identifier, files, process::Server, settings, template,
};

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
        let installation = &installation.within(work);
        let name = checked_name(&options.name)?;
        let home = work.path().join(&name);
        if home.join("data").exists() || home.join(super::authorisation::MARKER).exists() {
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
        if home.join(super::authorisation::MARKER).exists() {
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
            installation: installation.within(work),
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

    /// Sets a server setting for the next start, over whatever the configuration files say.
    pub fn set(&mut self, name: &str, value: &str) {
        settings::set(&mut self.overrides, name, value);
    }

    /// Removes such a setting from the next start on; returns whether there was one.
    pub fn unset(&mut self, name: &str) -> bool {
        let before = self.overrides.len();
        self.overrides.retain(|(set, _)| set != name);
        self.overrides.len() < before
    }

    /// Sets a variable in the server's environment for the next start.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        settings::set(&mut self.environment, name, value);
    }

    /// Its name in the run.
    pub fn name(&self) -> &str {
        &self.marker.cluster
    }

    /// The PostgreSQL that it runs on.
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

    /// Its port. It is only part of the socket's name, unless `listen_addresses` is set.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file beside its data with what pg_restore said while it loaded the cluster from a dump.
    pub fn load_log_path(&self) -> PathBuf {
        self.home.join("pg_restore.log")
    }

    /// The server's log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The identifier that is in the data directory now.
    pub fn system_identifier(&self) -> Result<SystemIdentifier, ControlError> {
        read_system_identifier(self.data_directory())
    }

    /// The identifier that it had when this run made or adopted it.
    pub fn recorded_identifier(&self) -> SystemIdentifier {
        self.marker.system_identifier
    }

    /// Permission to destroy its data: this run's marker is beside it, and it still is the cluster that this run recorded.
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
