//! How a service around the database misbehaves, and which service can misbehave how.

use std::time::Duration;

use super::FaultTarget;

/// How a service misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It is not there: a process is killed as soon as it is started, a port is closed, a file is gone.
    Down,
    /// It is there and refuses to be changed.
    Refuse,
    /// It accepts a request and never answers.
    Hang,
    /// It answers late.
    Slow(Duration),
    /// It answers with this HTTP status.
    Status(u16),
    /// What fetches from it is killed before it has anything.
    Kill,
    /// It raises the alert of a failed database, whatever the database does.
    Alert,
    /// It goes on as it is, and whoever restarts it is told that it was done.
    Stale,
}

impl Behaviour {
    /// The name of each, for files and people.
    pub const NAMES: &[&str] = &["down", "refuse", "hang", "slow", "status", "kill", "alert", "stale"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Refuse => "refuse",
            Self::Hang => "hang",
            Self::Slow(_) => "slow",
            Self::Status(_) => "status",
            Self::Kill => "kill",
            Self::Alert => "alert",
            Self::Stale => "stale",
        }
    }

    /// What a target can do wrong.
    pub fn of(target: FaultTarget) -> &'static [&'static str] {
        match target {
            FaultTarget::App => &["down", "hang", "slow", "status", "stale"],
            FaultTarget::ConfigStore => &["down", "refuse"],
            FaultTarget::Notifier => &["down", "hang", "slow", "status"],
            FaultTarget::Monitor => &["down", "hang", "slow", "status", "alert"],
            FaultTarget::Archive => &["down", "slow", "kill"],
            _ => &[],
        }
    }

    /// Whether what it does to `target` comes request by request (or start by start), so that it can be counted.
    pub fn is_counted(self, target: FaultTarget) -> bool {
        match target {
            FaultTarget::App | FaultTarget::Archive => true,
            FaultTarget::Notifier | FaultTarget::Monitor => {
                matches!(self, Self::Hang | Self::Slow(_) | Self::Status(_))
            }
            _ => false,
        }
    }
}
