//! Bytes that a medium has lost.

use rand::{RngExt as _, rngs::StdRng};
use reports::text::counted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Done, FaultError, OnFiles, Root,
        bytes::{before, fits, hex, overwrite, read, size},
        files::changed,
    },
    scenario::{AtLeast, Fault, Kind, Needs, Selection, plural},
};

/// Changes bytes at random places of a file, or from an offset on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlipBytes {
    /// How many bytes; each becomes another one.
    pub bytes: AtLeast<1>,
    /// Where in the file they begin; absent: spread over it at random.
    pub offset: Option<u64>,
}

impl Kind for FlipBytes {
    fn name() -> &'static str {
        "flip-bytes"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        let place = self.offset.map_or("at random places".to_owned(), |offset| {
            format!("from offset {offset} on")
        });
        format!(
            "changes {} {place} in {} of {}",
            plural(self.bytes.get(), "byte"),
            fault.file_in_words(),
            fault.whose()
        )
    }
}

impl OnFiles for FlipBytes {
    /// Changes bytes, each into another one: spread over the file, or from `offset` on.
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError> {
        let (bytes, offset) = (self.bytes.get(), self.offset);
        let mut touched = Vec::new();
        let (mut flipped, mut in_files) = (0, 0);
        for entry in root.select(files, random)? {
            let file = root.open_file(&entry)?;
            fits(&entry, &file, offset.unwrap_or(0), bytes)?;
            let offsets = match offset {
                Some(offset) => (offset..offset + bytes).collect(),
                None => spread(size(&entry, &file)?, bytes, random),
            };
            for offset in offsets {
                let old = read(&entry, &file, offset, 1)?;
                let new: Vec<u8> = old.iter().map(|byte| byte ^ random.random_range(1..=u8::MAX)).collect();
                overwrite(&entry, &file, offset, &new)?;
                touched.push(format!("{} at {offset}: {} → {}", entry.name, before(&old), hex(&new)));
                flipped += 1;
            }
            in_files += 1;
        }
        let mut done = changed(Self::name(), "changed", touched, "no byte was to be changed")?;
        if flipped > 1 {
            done.summary = match done.touched.first().and_then(|line| line.rsplit_once(" at ")) {
                Some((name, _)) if in_files == 1 => format!("{name}: {} changed", counted(flipped, "byte")),
                _ => format!("{} changed in {}", counted(flipped, "byte"), counted(in_files, "file")),
            };
        }
        Ok(done)
    }
}

/// `count` different offsets below `size`, ascending: one at random in each of `count` equal parts.
pub fn spread(size: u64, count: u64, random: &mut StdRng) -> Vec<u64> {
    let edge = |part: u64| (u128::from(size) * u128::from(part) / u128::from(count)) as u64;
    (0..count)
        .map(|part| random.random_range(edge(part)..edge(part + 1)))
        .collect()
}
