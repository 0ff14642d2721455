//! Bytes behind the end of a file.

use rand::rngs::StdRng;
use reports::text::{counted, number};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Done, FaultError, OnFiles, Root,
        bytes::{hex, overwrite, size},
        files::changed,
    },
    scenario::{Fault, Hex, Kind, Needs, Selection, plural},
};

/// Lengthens a file by given bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendBytes {
    /// The bytes as hexadecimal digits: "de ad be ef".
    pub hex: Hex,
}

impl Kind for AppendBytes {
    fn name() -> &'static str {
        "append-bytes"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        format!(
            "appends {} to {} of {}",
            plural(self.hex.0.len() as u64, "byte"),
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for AppendBytes {
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let Hex(content) = &self.hex;
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            let file = root.open_file(&entry)?;
            let before = size(&entry, &file)?;
            overwrite(&entry, &file, before, content)?;
            let after = before + content.len() as u64;
            touched.push(format!(
                "{}: {} → {}, appended {}",
                entry.name,
                number(before),
                counted(after, "byte"),
                hex(content)
            ));
        }
        changed(Self::name(), "lengthened", touched, "nothing was to be appended")
    }
}
