//! What the end-to-end tests in `tests/tests/` share: starting the real `drill` command in surroundings of its own, reading
//! what it wrote, and seeing what it left behind. Nothing here knows a scenario.
//!
//! | to | look at |
//! |---|---|
//! | declare a trial and what it needs of the machine | [`trial`], [`Need`] |
//! | start `drill` and wait for it | [`Place`], [`Started`], [`Ran`] |
//! | look at the screen of one that was started at a terminal | [`Terminal`] |
//! | read a run's tables | [`rows`], [`Row`] |
//! | see that nothing is left | [`Place::nothing_left`] |

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod binary;
mod leftovers;
mod needs;
mod place;
mod process;
mod table;
mod terminal;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

pub use binary::path as binary;
pub use leftovers::{Left, in_docker, left_by, networks_of};
pub use needs::Need;
pub use place::Place;
pub use process::{Ran, Started};
pub use table::{Row, header, row, rows};
pub use terminal::{SIZE, Terminal};

/// A trial. It is ignored, with the reason, on a machine that lacks one of its needs, unless `DRILL_REQUIRE` asks for
/// that need (see [`Need`]): then it fails.
pub fn trial(name: impl Into<String>, needs: &[Need], body: impl FnOnce() + Send + 'static) -> Trial {
    let needs = needs.to_vec();
    Trial::ignorable_test(name, move || {
        for need in needs {
            let Some(reason) = need.missing() else { continue };
            if need.is_required() {
                return Err(format!("DRILL_REQUIRE asks for {need}: {reason}").into());
            }
            return Ok(Completion::ignored_with(format!("needs {need}: {reason}")));
        }
        body();
        Ok(Completion::Completed)
    })
}

/// Runs trials as `cargo test` expects it, with libtest's arguments.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
