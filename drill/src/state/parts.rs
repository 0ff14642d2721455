//! What drills are put together from: everything that is chosen by a name.
//!
//! The default is what drill brings. A program of somebody else's adds its own to a registry and hands all of them to
//! [`crate::cli::main_with`].

use crate::{
    backup::{self, Known},
    fault,
    registry::Registry,
    scenario::{Kinds, Vocabulary},
    service::{self, MakeService},
};

/// The registries.
pub struct Parts {
    /// Kinds of faults, which scenarios name.
    pub kinds: Kinds,
    /// Backup systems.
    pub systems: Registry<Known>,
    /// Services.
    pub services: Registry<MakeService>,
}

impl Parts {
    /// The names that a scenario may use.
    pub fn vocabulary(&self) -> Vocabulary<'_> {
        let systems = self.systems.iter();
        Vocabulary {
            kinds: &self.kinds,
            systems: systems.map(|system| (system.name, system.what.capabilities)).collect(),
        }
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            kinds: fault::kinds(),
            systems: backup::systems(),
            services: service::services(),
        }
    }
}
