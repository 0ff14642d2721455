//! What drills are put together from: everything that is chosen by a name.
//!
//! The default is what drill brings. A program of somebody else's adds its own to a registry and hands all of them to
//! [`crate::cli::main_with`].

use crate::{
    backup::{self, Known},
    cutover::{self, MakeControl, MakeFence, MakeStore},
    fault,
    monitor::{self, StartMonitor},
    notify::{self, OpenChannel},
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
    /// Where the application's connection string can be kept.
    pub config_stores: Registry<MakeStore>,
    /// How the application can be started and stopped.
    pub app_controls: Registry<MakeControl>,
    /// What keeps a failed primary out.
    pub fences: Registry<MakeFence>,
    /// What can notice a failure.
    pub monitors: Registry<StartMonitor>,
    /// How people can be told.
    pub channels: Registry<OpenChannel>,
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
            config_stores: cutover::config_stores(),
            app_controls: cutover::app_controls(),
            fences: cutover::fences(),
            monitors: monitor::monitors(),
            channels: notify::channels(),
        }
    }
}
