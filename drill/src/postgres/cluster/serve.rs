//! Starting and stopping a cluster's server, and being sure that nothing is left of it.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    super::{
        Accepting, ControlData, ServerProcess, StartError,
        container::ContainerServer,
        files,
        process::{ChildServer, Server, record_postmaster},
        progress,
        readiness::Watch,
        settings, tool,
    },
    Cluster, ClusterError, Shutdown,
};

/// How long a start may take unless the caller says otherwise.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The system's limit for a socket's path, in bytes.
const SOCKET_PATH_BYTES: usize = 107;

impl Cluster {
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
        Box::pin(self.raise_settings_for_replay()).await;
        let server = self.launch().await?;
        let config = self.config("postgres", "postgres");
        let watch = Watch {
            name: &self.marker.cluster,
            log: &self.log,
            log_offset,
            config,
            limit,
        };
        // In its place before anything else is awaited: a cancelled start leaves nothing behind either.
        let server = self.server.insert(server);
        match watch.until_accepting(server, true).await {
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

    /// Waits until a started server has replayed all it should and accepts writes, as `recovery_target_action = promote`
    /// has it do. After an error the server is left as it is, to be asked how far it came.
    pub async fn wait_until_writable(&mut self, limit: Duration) -> Result<(), StartError> {
        let config = self.config("postgres", "postgres");
        let name = &self.marker.cluster;
        let Some(server) = &mut self.server else {
            return Err(StartError::NotRunning { name: name.clone() });
        };
        let watch = Watch {
            name,
            log: &self.log,
            log_offset: 0,
            config,
            limit,
        };
        self.accepting = Some(watch.until_accepting(server, false).await?);
        Ok(())
    }

    /// Raises settings that are lower than they were on the source, where they may have been given on its command line: a server
    /// that replays the source's WAL would refuse to start.
    async fn raise_settings_for_replay(&mut self) {
        let data = self.data_directory();
        if !["recovery.signal", "standby.signal"]
            .iter()
            .any(|signal| data.join(signal).exists())
        {
            return;
        }
        // Without a control file that can be read the server will say what is the matter.
        let Ok(control) = ControlData::read(&self.installation, data).await else {
            return;
        };
        let files = ["postgresql.conf", "postgresql.auto.conf"];
        let configuration: String = files
            .iter()
            .filter_map(|file| fs::read_to_string(data.join(file)).ok())
            .collect::<Vec<_>>()
            .join("\n");
        for (name, value) in settings::inherited(&control.primary_settings, &configuration) {
            if !self.overrides.iter().any(|(set, _)| set == name) {
                tracing::info!(cluster = self.name(), name, value, "inherited from the source");
                self.set(name, &value.to_string());
            }
        }
    }

    /// Runs the server's program: as our child, or in a container, which goes with the drill's others if nobody waits for it.
    async fn launch(&self) -> Result<Server, StartError> {
        let program = self.installation.tool("postgres");
        if let Some(containers) = self.installation.containers() {
            let mut argv = vec![program.to_string_lossy().into_owned()];
            argv.extend(self.arguments());
            let environment = self.environment.clone();
            let started = Box::pin(ContainerServer::start(
                containers,
                self.name(),
                argv,
                environment,
                &self.log,
            ))
            .await;
            return started
                .map(|server| Server::Container(Box::new(server)))
                .map_err(|complaint| StartError::Container {
                    name: self.name().to_owned(),
                    complaint,
                });
        }
        let child = self.command(&program).and_then(|mut command| command.spawn());
        let child = child.map_err(|source| StartError::Spawn {
            name: self.name().to_owned(),
            program: program.clone(),
            source,
        })?;
        record_postmaster(&self.home, child.id());
        Ok(Server::Child(ChildServer::new(child, self.data_directory(), &program)))
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-D".to_owned(), self.data_directory().to_string_lossy().into_owned()];
        let mut set = |name: &str, value: &str| arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        let home = self.home.to_string_lossy();
        let place = [
            ("unix_socket_directories", &*home),
            ("unix_socket_permissions", "0700"),
            ("listen_addresses", ""),
        ];
        for (name, value) in place {
            if !self.overrides.iter().any(|(set, _)| set == name) {
                set(name, value);
            }
        }
        set("port", &self.port.to_string());
        for (name, value) in &self.overrides {
            set(name, value);
        }
        arguments
    }

    fn command(&self, program: &Path) -> io::Result<Command> {
        let log = tool::append(&self.log)?;
        let mut command = Command::new(program);
        tool::clean_environment(&mut command);
        command.args(self.arguments());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.work.user().apply_std(&mut command);
        Ok(command)
    }

    /// Records a process, so that a later run ends it as it does the server, should this run be killed.
    pub(crate) fn remember(&self, pid: u32) {
        record_postmaster(&self.home, pid);
    }

    /// Stops the server and returns how it was really stopped. One that does not stop is stopped in the next harder manner: after
    /// 30 s of fast, 10 s of immediate; at once if a signal has suspended one of its processes. A server that does not run is
    /// stopped already.
    pub async fn stop(&mut self, mode: Shutdown) -> Result<Shutdown, ClusterError> {
        let attempts = [
            (Shutdown::Fast, Signal::INT, Duration::from_secs(30)),
            (Shutdown::Immediate, Signal::QUIT, Duration::from_secs(10)),
        ];
        for (attempt, signal, patience) in attempts.into_iter().skip_while(|(attempt, ..)| *attempt != mode) {
            if self.pid().is_some_and(progress::is_stopped) {
                break;
            }
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

    pub(super) fn kill_now(&mut self) {
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
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.work.is_kept() {
            return;
        }
        // "Immediate" first: the server then gives back what the system lent it.
        if let Some(server) = &mut self.server
            && !progress::is_stopped(server.pid())
        {
            server.signal(Signal::QUIT);
            files::wait_blocking(Duration::from_millis(500), || server.exit_status().is_some());
        }
        self.kill_now();
    }
}
