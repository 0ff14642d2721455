//! `drill stop`: stops and removes what `drill run --keep` left running, and nothing else.

use clap::Args;
use reports::exit;

use super::{Failure, Outcome};
use crate::{
    postgres::{self, Kept},
    scenario::hint,
};

#[derive(Debug, Args)]
#[command(after_long_help = "Without an argument it lists what was left running.")]
pub(super) struct StopArgs {
    /// The run, by its id
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Everything that was left running
    #[arg(long, conflicts_with = "run")]
    all: bool,
}

pub(super) fn stop(args: &StopArgs) -> Outcome {
    let kept = postgres::kept();
    let chosen: Vec<&Kept> = match &args.run {
        Some(run) => kept.iter().filter(|kept| kept.run_id == *run).collect(),
        None if args.all => kept.iter().collect(),
        None => {
            list(&kept);
            return Ok(exit::AS_EXPECTED);
        }
    };
    if let (Some(run), true) = (&args.run, chosen.is_empty()) {
        return Err(Failure::usage(match kept.as_slice() {
            [] => format!("nothing of a run {run:?} was left running, and nothing of any other"),
            kept => format!(
                "nothing of a run {run:?} was left running; {}",
                hint(run, kept.iter().map(|kept| kept.run_id.as_str()))
            ),
        }));
    }
    let mut failed = None;
    for kept in chosen {
        let path = kept.path.display();
        match postgres::stop_kept(kept) {
            Some(swept) if swept.removed => say!("{} is stopped, and {path} removed", kept.run_id),
            Some(_) => failed = Some(format!("{} is stopped, but {path} could not be removed", kept.run_id)),
            None => {
                failed = Some(format!(
                    "{} is not stopped: its run is still at work in {path}",
                    kept.run_id
                ));
            }
        }
    }
    failed.map_or(Ok(exit::AS_EXPECTED), |why| Err(Failure::execution(why)))
}

fn list(kept: &[Kept]) {
    if kept.is_empty() {
        say!("Nothing was left running.");
    }
    for kept in kept {
        say!(
            "{} in {}; to stop and remove it: drill stop {0}",
            kept.run_id,
            kept.path.display()
        );
    }
}
