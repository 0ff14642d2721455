//! A kind of fault: files get another name.

use std::fs;

use drill::{
    fault::{Done, FaultError, OnFiles, Root},
    scenario::{Fault, Kind, Needs, Selection, Text},
};
use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Gives files another name, as somebody does who wants to try out what happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameFile {
    /// What is put behind the name.
    suffix: Text,
}

impl Kind for RenameFile {
    fn name() -> &'static str {
        "rename-file"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "puts {:?} behind the name of {} of {}",
            &*self.suffix,
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for RenameFile {
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            root.confine(&entry)?;
            let mut name = entry.path.clone().into_os_string();
            name.push(&*self.suffix);
            fs::rename(&entry.path, &name).map_err(FaultError::io("rename", &entry.path))?;
            touched.push(format!("{} has another name", entry.name));
        }
        Ok(Done::new(touched.join("; "), touched))
    }
}
