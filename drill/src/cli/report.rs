//! `drill report RUN_DIR`: renders a run's reports again, from its events alone.
//!
//! `evidence.json` and the manifest vouch for a run, so they are left alone unless JSON is asked for by name, and are
//! never made anew over files that were changed since.

use std::path::PathBuf;

use clap::Args;
use reports::{Format, ManifestProblem, exit};

use super::{Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The directory of a run (drill-runs/…)
    run_dir: PathBuf,
    /// Which formats; all but json if not given
    #[arg(long, value_name = "md|csv|html|json|junit")]
    format: Vec<Format>,
}

pub(super) fn report(args: &ReportArgs) -> Outcome {
    let run = reports::read(&args.run_dir).map_err(Failure::usage)?;
    let unasked: Vec<Format> = Format::ALL
        .iter()
        .copied()
        .filter(|format| *format != Format::Json)
        .collect();
    let formats = if args.format.is_empty() {
        unasked.as_slice()
    } else {
        args.format.as_slice()
    };
    if formats.contains(&Format::Json) {
        let problem = reports::verify(&args.run_dir).into_iter().next();
        if let Some(problem) = problem.filter(|problem| !matches!(problem, ManifestProblem::NoManifest(_))) {
            return Err(Failure::usage(format!(
                "the run was changed since it was written, and will not be vouched for: {problem}"
            )));
        }
    }
    let written = reports::write(&args.run_dir, &run, formats);
    for file in &written.files {
        println!("{}", file.display());
    }
    let failed = written.errors.into_iter().next();
    failed.map_or_else(|| Ok(exit::AS_EXPECTED), |error| Err(Failure::execution(error)))
}
