//! When and where a fault happens.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::named::{hint, named};

named! {
    /// When in a drill a fault happens.
    pub enum Moment {
        /// Writers run, no backup was taken yet.
        BeforeBackups = "before-backups",
        /// At least one backup was taken and one is still to come.
        BetweenBackups = "between-backups",
        /// All backups are taken, the service is healthy.
        AfterBackups = "after-backups",
        /// The disaster: the recovery time counts from here.
        Failure = "failure",
        /// While the restore runs.
        Restore = "restore",
        /// Restored, not validated yet.
        Restored = "restored",
        /// Validated, the service is being moved over.
        Cutover = "cutover",
        /// The connection string is changed, the application is not restarted yet.
        Switched = "switched",
        /// The service runs on the restored cluster.
        AfterCutover = "after-cutover",
    }
}

/// Where a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FaultTarget {
    /// The service's cluster.
    Cluster,
    /// The WAL archive.
    Archive,
    /// The directory into which WAL is streamed.
    Stream,
    /// One backup, or all of them.
    Backup(Which),
    /// The cluster that recovery made.
    Restored,
    /// The application.
    App,
    /// The store of the connection string.
    ConfigStore,
    /// The receiver of notifications.
    Notifier,
    /// Monitoring.
    Monitor,
}

/// Which backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// The newest.
    Latest,
    /// The oldest that is still there.
    Oldest,
    /// By the number that it was given when it was taken, from 1 on; it keeps it when an earlier one expires.
    Number(u32),
    /// Each of them.
    All,
}

impl FaultTarget {
    /// The targets as a file writes them; `N` stands for a number.
    pub const NAMES: &[&str] = &[
        "cluster",
        "archive",
        "stream",
        "backup:latest",
        "backup:oldest",
        "backup:N",
        "backup:all",
        "restored",
        "app",
        "config-store",
        "notifier",
        "monitor",
    ];

    /// Reads a target's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "cluster" => Self::Cluster,
            "archive" => Self::Archive,
            "stream" => Self::Stream,
            "backup:latest" => Self::Backup(Which::Latest),
            "backup:oldest" => Self::Backup(Which::Oldest),
            "backup:all" => Self::Backup(Which::All),
            "restored" => Self::Restored,
            "app" => Self::App,
            "config-store" => Self::ConfigStore,
            "notifier" => Self::Notifier,
            "monitor" => Self::Monitor,
            _ => {
                let number = name.strip_prefix("backup:")?.parse().ok()?;
                (number > 0).then_some(Self::Backup(Which::Number(number)))?
            }
        })
    }

    /// What it is called: "the service's cluster".
    pub fn in_words(self) -> String {
        match self {
            Self::Cluster => "the service's cluster".to_owned(),
            Self::Archive => "the WAL archive".to_owned(),
            Self::Stream => "the streamed WAL".to_owned(),
            Self::Backup(Which::Latest) => "the newest backup".to_owned(),
            Self::Backup(Which::Oldest) => "the oldest backup".to_owned(),
            Self::Backup(Which::Number(number)) => format!("backup {number}"),
            Self::Backup(Which::All) => "every backup".to_owned(),
            Self::Restored => "the restored cluster".to_owned(),
            Self::App => "the application".to_owned(),
            Self::ConfigStore => "the configuration store".to_owned(),
            Self::Notifier => "the receiver of notifications".to_owned(),
            Self::Monitor => "monitoring".to_owned(),
        }
    }

    /// Whether it is a cluster, which can run statements and receive signals.
    pub fn is_cluster(self) -> bool {
        matches!(self, Self::Cluster | Self::Restored)
    }

    /// Whether it is a service around the database.
    pub fn is_service(self) -> bool {
        matches!(
            self,
            Self::App | Self::ConfigStore | Self::Notifier | Self::Monitor | Self::Archive
        )
    }

    /// Whether it is a directory of files.
    pub fn has_files(self) -> bool {
        self.is_cluster() || matches!(self, Self::Archive | Self::Stream | Self::Backup(_))
    }
}

impl fmt::Display for FaultTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "cluster",
            Self::Archive => "archive",
            Self::Stream => "stream",
            Self::Backup(Which::Latest) => "backup:latest",
            Self::Backup(Which::Oldest) => "backup:oldest",
            Self::Backup(Which::All) => "backup:all",
            Self::Backup(Which::Number(number)) => return f.pad(&format!("backup:{number}")),
            Self::Restored => "restored",
            Self::App => "app",
            Self::ConfigStore => "config-store",
            Self::Notifier => "notifier",
            Self::Monitor => "monitor",
        })
    }
}

impl TryFrom<String> for FaultTarget {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_name(&name).ok_or_else(|| hint(&name, Self::NAMES.iter().copied()))
    }
}

impl From<FaultTarget> for String {
    fn from(target: FaultTarget) -> Self {
        target.to_string()
    }
}
