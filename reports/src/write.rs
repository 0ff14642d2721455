//! Writing a run's reports into its directory.
//!
//! Every format is made from the [`RunEvidence`] alone, and one that fails does not stop the rest. `evidence.json`
//! comes last, by rename, right after the manifest that covers it: where it is, the run finished and everything else
//! that could be written had been.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Format, RunEvidence, csv, html, json, junit, manifest, markdown};

/// What became of the reports.
#[derive(Debug, Default)]
pub struct Written {
    /// Files in place, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// Reports that could not be made or written.
    pub errors: Vec<WriteError>,
}

/// Why a report is not there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It could not be made.
    #[error("cannot render {file}")]
    Render {
        /// Name of the file.
        file: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It vouches for a run as a whole, and this one did not finish.
    #[error(
        "the run did not finish: nothing vouches for it, and no {} is written",
        json::FILE_NAME
    )]
    Unfinished,
    /// The files of the run could not be hashed.
    #[error("cannot hash the files of {path}")]
    Hash {
        /// The run's directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

type Renderer = fn(&RunEvidence) -> Rendered;
type Rendered = Result<String, Box<dyn std::error::Error + Send + Sync>>;

/// Writes reports in the given formats ([`Format::ALL`] by default) into `run_dir`, which must be there.
///
/// Only [`Format::Json`] writes the manifest, together with `evidence.json`. Rendering other formats again leaves a
/// manifest as it is, so that it cannot vouch for files that were changed since; a report that comes out otherwise
/// than before then shows as changed.
pub fn write(run_dir: &Path, run: &RunEvidence, formats: &[Format]) -> Written {
    let mut written = Written::default();
    for (_, file, render) in REPORTS.iter().filter(|(format, ..)| formats.contains(format)) {
        match render(run) {
            Ok(content) => written.put(run_dir.join(file), content.as_bytes()),
            Err(source) => written.errors.push(WriteError::Render { file, source }),
        }
    }
    if formats.contains(&Format::Json) {
        if run.finished {
            evidence(run_dir, run, &mut written);
        } else {
            written.errors.push(WriteError::Unfinished);
        }
    }
    written
}

/// Whether a file of a run's directory is a report, which can be made again from the run's events.
pub fn is_report(path: &str) -> bool {
    REPORTS.iter().any(|(_, file, _)| *file == path)
}

/// Which files belong to which format, and what renders them.
const REPORTS: &[(Format, &str, Renderer)] = &[
    (Format::Md, markdown::FILE_NAME, |run| Ok(markdown::render(run))),
    (Format::Csv, "drills.csv", |run| Ok(csv::drills(run)?)),
    (Format::Csv, "steps.csv", |run| Ok(csv::steps(run)?)),
    (Format::Csv, "checks.csv", |run| Ok(csv::checks(run)?)),
    (Format::Csv, "detection.csv", |run| Ok(csv::detection(run)?)),
    (Format::Html, html::FILE_NAME, |run| Ok(html::render(run)?)),
    (Format::Junit, junit::FILE_NAME, |run| Ok(junit::render(run)?)),
];

/// Manifest first, evidence last. Without a manifest no evidence: it would look like a run that finished in order.
fn evidence(run_dir: &Path, run: &RunEvidence, written: &mut Written) {
    let content = match json::render(run) {
        Ok(content) => content,
        Err(source) => {
            return written.errors.push(WriteError::Render {
                file: json::FILE_NAME,
                source: source.into(),
            });
        }
    };
    let manifest = match manifest::build(run_dir, &run.run_id, content.as_bytes()) {
        Ok(manifest) => manifest,
        Err(source) => {
            return written.errors.push(WriteError::Hash {
                path: run_dir.to_owned(),
                source,
            });
        }
    };
    let errors_before = written.errors.len();
    match manifest::render(&manifest) {
        Ok(manifest) => written.put(run_dir.join(manifest::FILE_NAME), manifest.as_bytes()),
        Err(source) => written.errors.push(WriteError::Render {
            file: manifest::FILE_NAME,
            source: source.into(),
        }),
    }
    if written.errors.len() == errors_before {
        written.put(run_dir.join(json::FILE_NAME), content.as_bytes());
    }
}

impl Written {
    /// Writes a file beside its place, syncs it and renames it, so that there is never half a report.
    fn put(&mut self, path: PathBuf, content: &[u8]) {
        let mut beside = path.clone().into_os_string();
        beside.push(".tmp");
        let beside = PathBuf::from(beside);
        let result = File::create(&beside)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, &path));
        match result {
            Ok(()) => self.files.push(path),
            Err(source) => {
                // What is left of it is no report; that it may not be removable either adds nothing to the error.
                let _ = fs::remove_file(&beside);
                self.errors.push(WriteError::Write { path, source });
            }
        }
    }
}
