//! `drill show SCENARIO`: a scenario in plain words.

use clap::Args;
use reports::exit;

use super::{Failure, Outcome};
use crate::{scenario, state::Parts};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A scenario's id, or a path to a scenario file
    scenario: String,
}

pub(super) fn show(args: &ShowArgs, parts: &Parts) -> Outcome {
    let found = scenario::resolve(std::slice::from_ref(&args.scenario), &parts.vocabulary()).map_err(Failure::usage)?;
    for scenario in found {
        say!("{}", scenario::show(&scenario));
    }
    Ok(exit::AS_EXPECTED)
}
