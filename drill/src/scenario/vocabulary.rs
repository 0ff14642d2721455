//! The names that a scenario may use for things defined elsewhere: kinds of faults, and backup systems with what they can do.

use serde::Serialize;

use super::{Kinds, named::nearest};

/// What a backup system can do. Rules of scenarios, the planner, help and trials follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// It recovers to a point after the backup by replaying WAL.
    pub point_in_time: bool,
    /// It restores the cluster as it was, byte for byte, and with it the system identifier.
    pub physical: bool,
    /// It takes backups as whatever role it is told to.
    pub as_any_role: bool,
}

/// The names that a file may use.
pub struct Vocabulary<'a> {
    /// Kinds of faults.
    pub kinds: &'a Kinds,
    /// Backup systems.
    pub systems: Vec<(&'static str, Capabilities)>,
}

impl Vocabulary<'_> {
    /// What the backup system of that name can do; `None` if there is none.
    pub fn system(&self, name: &str) -> Option<Capabilities> {
        let mut systems = self.systems.iter();
        systems.find(|(known, _)| *known == name).map(|(_, can)| *can)
    }

    /// The names of all backup systems.
    pub fn system_names(&self) -> Vec<&'static str> {
        self.systems.iter().map(|(name, _)| *name).collect()
    }

    /// The first of `names` that is no backup system, and what to write instead.
    pub(super) fn unknown_system<'n>(&self, names: &'n [String]) -> Option<(&'n str, String)> {
        let unknown = names.iter().find(|name| self.system(name).is_none())?;
        let known = self.system_names();
        let advice = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", known.join(", ")),
        };
        Some((unknown, advice))
    }
}
