//! Reading a run's event logs back, so that every report can be made again.

mod earlier;

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::event::FORMAT;
use crate::log::FILE_NAME;
use crate::run::UnreadableLog;
use crate::{DrillEvidence, Event, FoldError, RunEvidence, RunPlan, fold, json};

/// Why a run cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory cannot be listed.
    #[error("cannot list the run directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What it was going to do cannot be read.
    #[error("cannot read the plan of the run in {path}")]
    Plan {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No folder in it has an event log.
    #[error("no drill below {path} has an {FILE_NAME}: is this the directory of a run?")]
    NoDrills {
        /// The directory.
        path: PathBuf,
    },
}

/// Why one event log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no event, and it is not merely the broken end of a log that was cut off.
    #[error("{path}:{line} is not an event")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// Why not.
        source: serde_json::Error,
    },
    /// It was written in a format that did not exist when this program was made.
    #[error(
        "{path} has format {found}, and this drill reads formats 1 to {FORMAT}: read it with the drill that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The events are not the log of one drill.
    #[error("{path} is not the log of one drill")]
    Fold {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FoldError,
    },
}

/// The events of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadLog {
    /// The events that are whole.
    pub events: Vec<Event>,
    /// Bytes of a last line that is not whole, because the harness was killed while writing it; 0 if it is.
    pub truncated_bytes: usize,
}

/// All that is read of a first event before its format is known.
#[derive(serde::Deserialize)]
struct Formatted {
    #[serde(default = "crate::event::first_format")]
    format: u32,
}

fn parse(line: &[u8], format: u32) -> serde_json::Result<Event> {
    if format == FORMAT {
        return serde_json::from_slice(line);
    }
    let mut event = serde_json::from_slice(line)?;
    earlier::upgrade(&mut event);
    serde_json::from_value(event)
}

/// Reads one event log.
///
/// # Errors
/// [`LogError::File`] or [`LogError::Line`]. A last line without its newline is no error, see [`ReadLog::truncated_bytes`].
pub fn read_log(path: &Path) -> Result<ReadLog, LogError> {
    let content = fs::read(path).map_err(|source| LogError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut log = ReadLog {
        events: Vec::new(),
        truncated_bytes: 0,
    };
    let format = content
        .split(|&byte| byte == b'\n')
        .next()
        .and_then(|first| serde_json::from_slice(first).ok())
        .map_or(1, |Formatted { format }| format);
    if format > FORMAT {
        return Err(LogError::Newer {
            path: path.to_owned(),
            found: format,
        });
    }
    for (index, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match parse(line, format) {
            Ok(event) => log.events.push(event),
            Err(_) if !line.ends_with(b"\n") => log.truncated_bytes = line.len(),
            Err(source) => {
                return Err(LogError::Line {
                    path: path.to_owned(),
                    line: index + 1,
                    source,
                });
            }
        }
    }
    Ok(log)
}

/// Reads and folds one event log.
///
/// # Errors
/// See [`LogError`].
pub fn read_drill(path: &Path) -> Result<DrillEvidence, LogError> {
    let log = read_log(path)?;
    let mut evidence = fold(&log.events).map_err(|source| LogError::Fold {
        path: path.to_owned(),
        source,
    })?;
    if log.truncated_bytes > 0 {
        let (bytes, events) = (log.truncated_bytes, log.events.len());
        evidence.log_notes.push(format!(
            "the log ends in the middle of a line: {bytes} bytes after event {events} were left out"
        ));
    }
    Ok(evidence)
}

/// Reads every `<drill>/events.jsonl` below a run's directory. A log that cannot be read or folded does not stop the
/// rest: it is listed in [`RunEvidence::unreadable`] and makes the run's verdict at least `Unknown`. So do drills of the
/// plan that never began; a run without `evidence.json` did not finish.
///
/// # Errors
/// If the directory cannot be listed, holds neither a log nor a plan, or a plan that cannot be read.
pub fn read(run_dir: &Path) -> Result<RunEvidence, ReadError> {
    let failed = |source| ReadError::Directory {
        path: run_dir.to_owned(),
        source,
    };
    let here = run_dir.join("").to_string_lossy().into_owned();
    let (mut drills, mut unreadable) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(run_dir).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        let path = folder.join(FILE_NAME);
        if !path.is_file() {
            continue;
        }
        match read_drill(&path) {
            Ok(drill) => drills.push(drill),
            Err(error) => unreadable.push(UnreadableLog {
                drill: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                problem: chain(&error).replace(&*here, ""),
            }),
        }
    }
    let plan = RunPlan::read(run_dir).map_err(|source| ReadError::Plan {
        path: run_dir.to_owned(),
        source,
    })?;
    if drills.is_empty() && unreadable.is_empty() && plan.is_none() {
        return Err(ReadError::NoDrills {
            path: run_dir.to_owned(),
        });
    }
    unreadable.sort_by(|a, b| a.drill.cmp(&b.drill));
    let mut run = RunEvidence::with_unreadable(drills, unreadable);
    if let Some(plan) = plan {
        run = run.of_plan(plan);
    }
    Ok(if run_dir.join(json::FILE_NAME).is_file() {
        run
    } else {
        run.unfinished()
    })
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
