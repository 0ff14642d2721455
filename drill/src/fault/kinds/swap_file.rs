//! An older copy in place of a file: what a write that was acknowledged and never reached the disk leaves behind.

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf};

use rand::rngs::StdRng;
use reports::text::{counted, number};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{
        Deed, Doing, Done, FaultError, Root, World,
        files::{changed, on_files, unverified},
    },
    scenario::{Fault, FaultTarget, Kind, Needs, OneBackup, Pick, Scenario, Selection},
};

/// Gives a file the content that it had when a backup was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapFile {
    /// The backup that the older copy comes from.
    pub from: OneBackup,
    /// Whether what the file has gained since then stays behind the older content.
    #[serde(default)]
    pub keep_tail: bool,
}

impl Kind for SwapFile {
    fn name() -> &'static str {
        "swap-file"
    }

    fn needs() -> Needs {
        Needs::Files
    }

    fn in_words(&self, fault: &Fault) -> String {
        let tail = if self.keep_tail {
            ", with what it has gained since behind it"
        } else {
            ""
        };
        let from = FaultTarget::Backup(self.from.0);
        format!(
            "gives {} of {} its older content from {from}{tail}",
            fault.file_in_words(),
            fault.whose()
        )
    }

    fn suits(&self, fault: &Fault, _: &Scenario) -> Result<(), String> {
        if fault.target.is_cluster() {
            return Ok(());
        }
        Err("`swap-file` puts an older copy into a cluster; aim at cluster or restored".to_owned())
    }
}

/// Bytes of a page.
const PAGE: usize = 8192;

/// The page with that number, from 0; none where the file is shorter.
fn page(content: &[u8], number: usize) -> Option<&[u8]> {
    content.chunks(PAGE).nth(number)
}

impl Deed for SwapFile {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        let keys = self.clone();
        let older = world.backup(self.from.0);
        Box::pin(on_files(fault, world, move |root, files, random| {
            keys.act(root, files, older.as_ref(), random)
        }))
    }
}

impl SwapFile {
    /// Gives files below `root` the content that they have in the backup `older`, a name and a directory. The copy is the
    /// file of the backup whose path ends with the path of the file.
    pub(in crate::fault) fn act(
        &self,
        root: &Root,
        files: &Selection,
        older: Option<&(String, PathBuf)>,
        random: &mut StdRng,
    ) -> Result<Done, FaultError> {
        let (backup, directory) = older.ok_or_else(|| FaultError::NoEffect {
            kind: Self::name(),
            why: "there is no such backup to take the older copy from".to_owned(),
        })?;
        let backups = Root::open(directory)?;
        let mut touched = Vec::new();
        for entry in root.select(files, random)? {
            let escaped = glob::Pattern::escape(&entry.name);
            let path = glob::Pattern::new(&format!("**/{escaped}")).unwrap_or_default();
            let copy = Selection::of(path, Some(Pick::First));
            let copies = backups.select(&copy, random)?;
            let Some(copy) = copies.first() else {
                return Err(backups.no_match(&copy.path));
            };
            backups.confine(copy)?;
            let mut content = fs::read(&copy.path).map_err(FaultError::io("read", &copy.path))?;
            let before = fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))?;
            let older = content.len();
            if self.keep_tail {
                content.extend(before.get(older..).unwrap_or_default());
            }
            if content == before {
                continue;
            }
            let pages = before.len().max(content.len()).div_ceil(PAGE);
            let differ = (0..pages).filter(|n| page(&before, *n) != page(&content, *n)).count();
            let file = root.open_file(&entry)?;
            file.set_len(content.len() as u64)
                .and_then(|()| file.write_all_at(&content, 0))
                .map_err(FaultError::io("write", &entry.path))?;
            if fs::read(&entry.path).map_err(FaultError::io("read", &entry.path))? != content {
                return Err(unverified(&entry, "it does not have its older content"));
            }
            touched.push(format!(
                "{}: as in {backup}: {} → {}, {} older",
                entry.name,
                number(before.len() as u64),
                counted(content.len(), "byte"),
                counted(differ, "page")
            ));
        }
        changed(Self::name(), "swapped", touched, "the backup holds the same content")
    }
}
