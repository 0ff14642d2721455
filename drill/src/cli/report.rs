//! `drill report RUN_DIR`: renders a run's reports again, from its events alone.
//!
//! Whatever the format, the run's files are first compared with its manifest: if they were changed since, nothing is rendered.
//! A run that was killed has neither a manifest nor `evidence.json` and gets none: its report says that it did not finish.

use std::path::PathBuf;

use clap::Args;
use reports::{Format, ManifestProblem, exit, manifest, write};

use super::{Failure, Outcome};

#[derive(Debug, Args)]
#[command(after_long_help = "Exit codes:
  0  the reports are there
  1  the run's files are not what its manifest says; nothing was rendered
  2  it is not the directory of a run
  3  the run did not finish (its reports say so), or a report could not be written")]
pub(super) struct ReportArgs {
    /// The directory of a run (drill-runs/…)
    run_dir: PathBuf,
    /// Which formats; all but json if not given
    #[arg(long, value_name = "md|csv|html|json|junit")]
    format: Vec<Format>,
}

pub(super) fn report(args: &ReportArgs) -> Outcome {
    let run = reports::read(&args.run_dir).map_err(Failure::usage)?;
    let changed = changed(args, run.finished);
    if !changed.is_empty() {
        for problem in &changed {
            complain!("drill: {}", crate::errors::chain(problem));
        }
        complain!("drill: the run was changed since it was written: nothing is rendered from it");
        return Ok(exit::NOT_AS_EXPECTED);
    }
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
    let written = reports::write(&args.run_dir, &run, formats);
    for file in &written.files {
        say!("{}", file.display());
    }
    match written.errors.into_iter().next() {
        Some(error) => Err(Failure::execution(error)),
        None if !run.finished => {
            complain!("drill: the run did not finish; its reports say so, and nothing vouches for it");
            Ok(exit::NOT_VERIFIED)
        }
        None => Ok(exit::AS_EXPECTED),
    }
}

/// Files that differ from the manifest. Missing reports do not count: they are about to be rendered. A run may have been killed
/// before its manifest was written, or between the manifest and the evidence.
fn changed(args: &ReportArgs, finished: bool) -> Vec<ManifestProblem> {
    let mut problems = reports::verify(&args.run_dir);
    problems.retain(|problem| match problem {
        ManifestProblem::NoManifest(_) => finished || args.run_dir.join(manifest::FILE_NAME).exists(),
        ManifestProblem::Missing { path } => !(write::is_report(path) || !finished && path == reports::json::FILE_NAME),
        _ => true,
    });
    problems
}
