//! Permissions that were set in haste.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Done, EntryKind, FaultError, OnFiles, Root,
        files::{changed, unverified},
    },
    scenario::{Fault, Kind, Needs, Selection},
};

/// Sets the permissions of a file or directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chmod {
    /// The permissions, octal: "0000".
    pub mode: Mode,
}

/// Permission bits, written as octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-7]+$"))]
pub struct Mode(pub(in crate::fault) u32);

impl TryFrom<String> for Mode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.map(Self)
            .ok_or("write permissions as an octal number in quotes: \"0600\"")
    }
}

impl From<Mode> for String {
    fn from(Mode(mode): Mode) -> Self {
        format!("{mode:04o}")
    }
}

impl Kind for Chmod {
    fn name() -> &'static str {
        "chmod"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        let Mode(mode) = self.mode;
        format!(
            "sets the permissions of {} of {} to {mode:04o}",
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for Chmod {
    /// Sets permissions of files and directories.
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let Mode(mode) = self.mode;
        let mut touched = Vec::new();
        // Deepest first: a directory that is closed hides what is in it.
        for entry in root
            .select_of(files, random, |kind| kind != EntryKind::Other)?
            .iter()
            .rev()
        {
            root.confine(entry)?;
            let bits = || -> Result<u32, FaultError> {
                let metadata = fs::symlink_metadata(&entry.path).map_err(FaultError::io("examine", &entry.path))?;
                Ok(metadata.permissions().mode() & 0o7777)
            };
            let before = bits()?;
            if before == mode {
                continue;
            }
            fs::set_permissions(&entry.path, fs::Permissions::from_mode(mode))
                .map_err(FaultError::io("set the permissions of", &entry.path))?;
            let after = bits()?;
            if after != mode {
                return Err(unverified(
                    entry,
                    &format!("its permissions are {after:04o} and not {mode:04o}"),
                ));
            }
            touched.push(format!("{}: permissions {before:04o} → {mode:04o}", entry.name));
        }
        changed(
            Self::name(),
            "changed",
            touched,
            "everything that was meant has these permissions already",
        )
    }
}
