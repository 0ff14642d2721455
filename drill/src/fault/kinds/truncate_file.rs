//! Files that are cut short: what a crash or a full disk leaves of them.

use rand::rngs::StdRng;
use reports::text::{counted, number};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Done, FaultError, OnFiles, Root,
        files::{changed, unverified},
    },
    scenario::{Between, Fault, Kind, Needs, Selection, Wrong, plural},
};

/// Cuts a file short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [{ "oneOf": [{ "required": ["keep_bytes"] }, { "required": ["keep_percent"] }] }]))]
pub struct TruncateFile {
    /// How many bytes stay.
    pub keep_bytes: Option<u64>,
    /// How many hundredths of its size stay.
    pub keep_percent: Option<Between<0, 99>>,
}

impl Kind for TruncateFile {
    fn name() -> &'static str {
        "truncate-file"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        let keep = match self.keep_percent {
            Some(percent) => format!("{} %", percent.get()),
            None => plural(self.keep_bytes.unwrap_or(0), "byte"),
        };
        format!("cuts {} of {} down to {keep}", fault.file_in_words(), fault.whose())
    }

    fn check(&self) -> Result<(), Wrong> {
        match (self.keep_bytes, self.keep_percent) {
            (Some(_), Some(_)) => Err(Wrong::Bad(
                "keep_percent",
                "`keep_bytes` says already how much stays; remove one of them",
            )),
            (None, None) => Err(Wrong::Missing("keep_bytes")),
            _ => Ok(()),
        }
    }
}

impl OnFiles for TruncateFile {
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            let file = root.open_file(&entry)?;
            let before = file.metadata().map_err(FaultError::io("examine", &entry.path))?.len();
            let keep = match self.keep_percent {
                Some(percent) => (u128::from(before) * u128::from(percent.get()) / 100) as u64,
                None => self.keep_bytes.unwrap_or(0),
            };
            if keep >= before {
                continue;
            }
            file.set_len(keep).map_err(FaultError::io("truncate", &entry.path))?;
            let after = file.metadata().map_err(FaultError::io("examine", &entry.path))?.len();
            if after != keep {
                return Err(unverified(
                    &entry,
                    &format!("it has {} and not {}", counted(after, "byte"), number(keep)),
                ));
            }
            touched.push(format!(
                "{}: {} → {}",
                entry.name,
                number(before),
                counted(keep, "byte")
            ));
        }
        changed(
            Self::name(),
            "truncated",
            touched,
            "no file that was meant is longer than what shall stay",
        )
    }
}
