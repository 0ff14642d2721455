//! Bytes in the midst of a file that were never meant for it.

use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Done, FaultError, OnFiles, Root, bytes::overwrite_each, files::changed},
    scenario::{Fault, Hex, Kind, Needs, Selection, plural},
};

/// Overwrites a part of a file with given bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteBytes {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The bytes as hexadecimal digits: "de ad be ef".
    pub hex: Hex,
}

impl Kind for WriteBytes {
    fn name() -> &'static str {
        "write-bytes"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "overwrites {} from offset {} on in {} of {}",
            plural(self.hex.0.len() as u64, "byte"),
            self.offset,
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for WriteBytes {
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let Hex(content) = &self.hex;
        let new = |_: &[u8]| content.clone();
        let touched = overwrite_each(root, files, self.offset, content.len() as u64, random, new)?;
        changed(Self::name(), "overwritten", touched, "these bytes stand there already")
    }
}
