//! `plan.json`: which drills a run will carry out, written before the first of them begins.
//!
//! By it a run that was killed is known for what it is: the drills that never began stand in its report as well.

use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Name of the file.
pub const FILE_NAME: &str = "plan.json";

/// What a run will carry out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// Version of this shape, 1.
    pub schema_version: u32,
    /// The run's id.
    pub run_id: String,
    /// Its drills, in their order.
    pub drills: Vec<PlannedDrill>,
}

/// A drill of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDrill {
    /// Its name within the run, which names its folder.
    pub drill: String,
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's group; empty for a file outside the catalogue.
    pub group: String,
    /// `basebackup`, `dump` …
    pub backup_system: String,
    /// How it must end.
    pub expected_outcome: Outcome,
    /// Why it is left out: what this machine lacks for it. `None`: it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl RunPlan {
    /// The plan of a run.
    pub fn new(run_id: &str, drills: Vec<PlannedDrill>) -> Self {
        Self {
            schema_version: 1,
            run_id: run_id.to_owned(),
            drills,
        }
    }

    /// Writes it into a run's directory.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, run_dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(run_dir.join(FILE_NAME), text)
    }

    /// Reads that of a run's directory. `None` if there is none: runs of earlier versions had none.
    ///
    /// # Errors
    /// If it cannot be read, or is no plan.
    pub fn read(run_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(run_dir.join(FILE_NAME)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
