//! What drills are put together from: everything that is chosen by a name.
//!
//! The default is what drill brings. A program of somebody else's adds its own to a registry and hands all of them to
//! [`crate::cli::main_with`].

use crate::{fault, scenario::Kinds};

/// The registries.
pub struct Parts {
    /// Kinds of faults, which scenarios name.
    pub kinds: Kinds,
}

impl Default for Parts {
    fn default() -> Self {
        Self { kinds: fault::kinds() }
    }
}
