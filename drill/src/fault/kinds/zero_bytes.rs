//! Zeros where a page was, as a filesystem leaves them after a crash.

use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Done, FaultError, OnFiles, Root, bytes::overwrite_each, files::changed},
    scenario::{AtLeast, Fault, Kind, Needs, Selection, plural},
};

/// Overwrites a part of a file with zeros.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZeroBytes {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub bytes: AtLeast<1>,
}

impl Kind for ZeroBytes {
    fn name() -> &'static str {
        "zero-bytes"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "overwrites {} from offset {} on with zeros in {} of {}",
            plural(self.bytes.get(), "byte"),
            self.offset,
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for ZeroBytes {
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let zeros = |old: &[u8]| vec![0; old.len()];
        let touched = overwrite_each(root, files, self.offset, self.bytes.get(), random, zeros)?;
        changed(Self::name(), "zeroed", touched, "these bytes are zero already")
    }
}
