//! Files with another content, as somebody wrote it who knew better. Owner and mode stay.

use std::{fs, os::unix::fs::FileExt as _};

use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Done, FaultError, OnFiles, Root, bytes,
        files::{changed, unverified},
    },
    scenario::{Fault, Glob, Kind, Needs, Pick, Selection, plural},
};

/// Gives a file another content: a text, or that of another file of the same target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceFile {
    /// The new content.
    pub with: Replacement,
}

/// A file's new content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// That of another file of the same target: the first match.
    Path(Glob),
    /// A text.
    Text(String),
}

impl Kind for ReplaceFile {
    fn name() -> &'static str {
        "replace-file"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        let with = match &self.with {
            Replacement::Path(Glob(path)) => format!("that of {path}"),
            Replacement::Text(text) => plural(text.len() as u64, "byte") + " of text",
        };
        format!(
            "replaces the content of {} of {} by {with}",
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for ReplaceFile {
    /// Gives files another content, in place.
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let (content, from) = match &self.with {
            Replacement::Text(text) => (text.clone().into_bytes(), "a text".to_owned()),
            Replacement::Path(Glob(path)) => {
                let first = Selection::of(path.clone(), Some(Pick::First));
                let chosen = root.select(&first, random)?;
                let source = chosen.first().ok_or_else(|| root.no_match(path))?;
                root.confine(source)?;
                (
                    fs::read(&source.path).map_err(FaultError::io("read", &source.path))?,
                    source.name.clone(),
                )
            }
        };
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            let before = fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))?;
            if before == content {
                continue;
            }
            let file = root.open_file(&entry)?;
            file.set_len(content.len() as u64)
                .and_then(|()| file.write_all_at(&content, 0))
                .map_err(FaultError::io("write", &entry.path))?;
            if fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))? != content {
                return Err(unverified(&entry, "it does not have its new content"));
            }
            touched.push(format!(
                "{}: replaced by {from}: {} → {}",
                entry.name,
                bytes::before(&before),
                match self.with {
                    Replacement::Text(_) => bytes::hex(&content),
                    Replacement::Path(_) => bytes::before(&content),
                }
            ));
        }
        changed(
            Self::name(),
            "replaced",
            touched,
            "every file that was meant has that content already",
        )
    }
}
