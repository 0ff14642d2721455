//! Damage of one page of a relation, with or without a checksum that gives it away.

use rand::rngs::StdRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Deed, Doing, Done, FaultError, Root, World,
        bytes::{before as shown_before, fits, hex, overwrite, read},
        files::{changed, on_files},
    },
    postgres::page::{CHECKSUM_AT, PAGE_BYTES, checksum},
    scenario::{Between, Fault, Hex, Kind, Needs, Selection, Wrong, named, plural},
};

/// Overwrites bytes of one page of a relation, or its checksum; the server must be stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "allOf" = [{
        "if": { "properties": { "checksum": { "const": "break" } }, "required": ["checksum"] },
        "else": { "required": ["offset"] },
    }],
    "dependentRequired" = { "offset": ["hex"], "hex": ["offset"] },
))]
pub struct CorruptPage {
    /// Which page of 8192 bytes, from 0.
    pub block: u32,
    /// Where in the page; may be absent, with `hex`, if only its checksum becomes wrong.
    pub offset: Option<Between<0, 8191>>,
    /// The bytes as hexadecimal digits: "de ad be ef".
    pub hex: Option<Hex>,
    /// What becomes of the page's checksum.
    #[serde(default)]
    pub checksum: PageChecksum,
}

named! {
    /// What becomes of a page's checksum when the page is damaged.
    #[derive(Default)]
    pub enum PageChecksum {
        /// It stays: a server with checksums notices.
        #[default]
        Keep = "keep",
        /// It is computed anew: checksums accept the damaged page.
        Mend = "mend",
        /// It is changed, so that it is wrong for certain.
        Break = "break",
    }
}

impl Kind for CorruptPage {
    fn name() -> &'static str {
        "corrupt-page"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        let checksum = match self.checksum {
            PageChecksum::Keep => "leaves its checksum",
            PageChecksum::Mend => "makes its checksum right again",
            PageChecksum::Break => "makes its checksum wrong",
        };
        let content = self.offset.zip(self.hex.as_ref());
        let content = content.map_or_else(String::new, |(offset, Hex(bytes))| {
            let bytes = plural(bytes.len() as u64, "byte");
            format!("overwrites {bytes} from offset {} on and ", offset.get())
        });
        format!(
            "{content}{checksum} in page {} of {} of {}",
            self.block,
            fault.file_in_words(),
            fault.whose()
        )
    }

    fn check(&self) -> Result<(), Wrong> {
        match (self.offset, &self.hex) {
            (Some(_), None) => Err(Wrong::Missing("hex")),
            (None, _) if self.checksum != PageChecksum::Break => Err(Wrong::Missing("offset")),
            (None, Some(_)) => Err(Wrong::Bad(
                "hex",
                "nothing says where in the page; write its `offset` as well",
            )),
            _ => Ok(()),
        }
    }
}

impl Deed for CorruptPage {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        let keys = self.clone();
        Box::pin(async move {
            if fault.target.is_cluster() && world.cluster(fault)?.is_running() {
                return Err(FaultError::ServerRuns { target: fault.target });
            }
            let act = move |root: &Root, files: &Selection, random: &mut StdRng| keys.act(root, files, random);
            on_files(fault, world, act).await
        })
    }
}

impl CorruptPage {
    /// Overwrites bytes of the block and deals with the page's checksum.
    pub(in crate::fault) fn act(
        &self,
        root: &Root,
        files: &Selection,
        random: &mut StdRng,
    ) -> Result<Done, FaultError> {
        let block = self.block;
        let content = self.offset.zip(self.hex.as_ref());
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            let file = root.open_file(&entry)?;
            let start = u64::from(block) * PAGE_BYTES as u64;
            fits(&entry, &file, start, PAGE_BYTES as u64)?;
            let before = read(&entry, &file, start, PAGE_BYTES as u64)?;
            let mut after = before.clone();
            if let Some((offset, Hex(bytes))) = content {
                let from = usize::try_from(offset.get()).unwrap_or(PAGE_BYTES);
                let room = after
                    .get_mut(from..from + bytes.len())
                    .ok_or_else(|| FaultError::OutOfRange {
                        path: entry.path.clone(),
                        size: PAGE_BYTES as u64,
                        offset: offset.get(),
                        bytes: bytes.len() as u64,
                    })?;
                room.copy_from_slice(bytes);
            }
            let right = checksum(&after, block).to_ne_bytes();
            let place = CHECKSUM_AT..CHECKSUM_AT + 2;
            match self.checksum {
                PageChecksum::Keep => {}
                PageChecksum::Mend => after[place].copy_from_slice(&right),
                PageChecksum::Break => after[place].copy_from_slice(&right.map(|byte| !byte)),
            }
            if after == before {
                continue;
            }
            overwrite(&entry, &file, start, &after)?;
            let sum = |page: &[u8]| hex(&page[CHECKSUM_AT..CHECKSUM_AT + 2]);
            let valid = after[CHECKSUM_AT..CHECKSUM_AT + 2] == checksum(&after, block).to_ne_bytes();
            let valid = if valid { "valid" } else { "wrong" };
            let sums = format!("checksum {} → {}, {valid}", sum(&before), sum(&after));
            touched.push(match content {
                None => format!("{} page {block}: {sums}", entry.name),
                Some((offset, Hex(bytes))) => {
                    let offset = offset.get();
                    let from = usize::try_from(offset).unwrap_or(PAGE_BYTES);
                    let (old, new) = (shown_before(&before[from..from + bytes.len()]), hex(bytes));
                    format!("{} page {block} at {offset}: {old} → {new}; {sums}", entry.name)
                }
            });
        }
        changed(Self::name(), "damaged", touched, "the page has these bytes already")
    }
}
