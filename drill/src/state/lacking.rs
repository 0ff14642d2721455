//! What a scenario takes beyond PostgreSQL, and whether this machine has it.

use super::SmallDisk;
use crate::{
    errors::chain,
    fault::{self, FaultError},
    scenario::{Needs, Scenario},
};

/// Why this machine cannot carry a scenario out, with what to do about it. `None`: nothing is known to be lacking.
pub fn lacking(scenario: &Scenario) -> Option<String> {
    let steps_the_clock = scenario
        .faults
        .iter()
        .any(|fault| fault.action.needs() == Needs::OwnClock);
    if steps_the_clock && fault::clock::library().is_none() {
        return Some(chain(&FaultError::NoLibrary));
    }
    let given = &scenario.given;
    let bytes = given.storage_bytes.or(given.restore_bytes)?;
    SmallDisk::try_out(bytes).err().map(|error| chain(&error))
}
