//! `drill report RUN_DIR`: renders a run's reports again, from its events alone.

use std::path::PathBuf;

use clap::Args;
use reports::{Format, exit};

use super::{Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The directory of a run (drill-runs/…)
    run_dir: PathBuf,
    /// Which formats; all of them if not given
    #[arg(long, value_name = "md|csv|html|json|junit")]
    format: Vec<Format>,
}

pub(super) fn report(args: &ReportArgs) -> Outcome {
    let run = reports::read(&args.run_dir).map_err(Failure::usage)?;
    let formats = if args.format.is_empty() { Format::ALL } else { args.format.as_slice() };
    let written = reports::write(&args.run_dir, &run, formats);
    for file in &written.files {
        println!("{}", file.display());
    }
    let failed = written.errors.into_iter().next();
    failed.map_or_else(|| Ok(exit::AS_EXPECTED), |error| Err(Failure::execution(error)))
}
