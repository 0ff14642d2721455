//! `manifest.json`: SHA-256 and size of every file of a run's directory, and checking them again later.
//!
//! It covers `evidence.json` too, although that file appears last: its hash is taken of the bytes about to be written,
//! the manifest is put in place, and only then is the evidence renamed into place (see [`mod@crate::write`]).
//! A run that has `evidence.json` therefore always has the manifest that belongs to it. The manifest does not list
//! itself, nor what is named after one of the two, such as a detached signature (`manifest.json.sig`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::json;

/// Name of the file.
pub const FILE_NAME: &str = "manifest.json";

/// The manifest of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this shape, 1.
    pub schema_version: u32,
    /// The run that it belongs to.
    pub run_id: String,
    /// The files by their path below the run's directory, with `/` between folders.
    pub files: BTreeMap<String, FileHash>,
}

/// What is recorded of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, lower-case hexadecimal.
    pub sha256: String,
}

/// What is wrong with a file or the manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestProblem {
    /// The manifest is not there or cannot be read.
    #[error("cannot read {FILE_NAME}")]
    NoManifest(#[source] io::Error),
    /// The manifest is not one.
    #[error("{FILE_NAME} is not a manifest")]
    NotAManifest(#[source] serde_json::Error),
    /// The directory or a file in it cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The path, as the manifest has it; empty for the directory itself.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest lists a path that leads out of the run's directory.
    #[error("{path} leads out of the directory: the manifest was not written by drill")]
    Outside {
        /// The path.
        path: String,
    },
    /// A listed file is gone.
    #[error("{path} is gone")]
    Missing {
        /// The path.
        path: String,
    },
    /// A listed file has another content.
    #[error(
        "{path} was changed: {bytes} bytes with SHA-256 {sha256}, listed with {listed_bytes} bytes and {listed_sha256}"
    )]
    Changed {
        /// The path.
        path: String,
        /// Its size now.
        bytes: u64,
        /// Its hash now.
        sha256: String,
        /// Its size in the manifest.
        listed_bytes: u64,
        /// Its hash in the manifest.
        listed_sha256: String,
    },
    /// A file is there that the manifest does not list.
    #[error("{path} was added: the manifest does not list it")]
    Added {
        /// The path.
        path: String,
    },
}

/// Hashes every file below `run_dir`, with `evidence` for the content of `evidence.json`, whatever is there now.
/// Symbolic links, sockets and the like are left out, and so is what [`verify`] leaves out.
///
/// # Errors
/// If a directory or a file cannot be read.
pub fn build(run_dir: &Path, run_id: &str, evidence: &[u8]) -> io::Result<Manifest> {
    let mut files = BTreeMap::new();
    for name in files_below(run_dir)? {
        let hash = hash_file(&run_dir.join(&name))?;
        files.insert(name, hash);
    }
    let sha256 = hex::encode(Sha256::digest(evidence));
    files.insert(
        json::FILE_NAME.to_owned(),
        FileHash {
            bytes: evidence.len() as u64,
            sha256,
        },
    );
    Ok(Manifest {
        schema_version: 1,
        run_id: run_id.to_owned(),
        files,
    })
}

/// Renders a manifest, indented, with a newline at the end.
///
/// # Errors
/// None that occur; the serializer's type has them.
pub fn render(manifest: &Manifest) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(manifest)?;
    text.push('\n');
    Ok(text)
}

/// Compares a run's directory with its manifest. Nothing is returned if every file is as it was and none was added.
///
/// It proves that files and manifest agree. Whether the manifest is the original one, only a signature can tell.
pub fn verify(run_dir: &Path) -> Vec<ManifestProblem> {
    let manifest: Manifest = match fs::read(run_dir.join(FILE_NAME)) {
        Err(source) => return vec![ManifestProblem::NoManifest(source)],
        Ok(content) => match serde_json::from_slice(&content) {
            Err(source) => return vec![ManifestProblem::NotAManifest(source)],
            Ok(manifest) => manifest,
        },
    };
    let mut problems: Vec<_> = manifest
        .files
        .iter()
        .filter_map(|(path, listed)| compare(run_dir, path, listed))
        .collect();
    match files_below(run_dir) {
        Err(source) => problems.push(ManifestProblem::Unreadable {
            path: String::new(),
            source,
        }),
        Ok(present) => {
            let added = present.into_iter().filter(|path| !manifest.files.contains_key(path));
            problems.extend(added.map(|path| ManifestProblem::Added { path }));
        }
    }
    problems
}

fn compare(run_dir: &Path, path: &str, listed: &FileHash) -> Option<ManifestProblem> {
    let path = path.to_owned();
    if path.is_empty()
        || !Path::new(&path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    {
        return Some(ManifestProblem::Outside { path });
    }
    let file = run_dir.join(&path);
    if fs::symlink_metadata(&file).is_ok_and(|meta| !meta.is_file()) {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no longer a regular file");
        return Some(ManifestProblem::Unreadable { path, source });
    }
    match hash_file(&file) {
        Ok(now) if now == *listed => None,
        Ok(FileHash { bytes, sha256 }) => Some(ManifestProblem::Changed {
            path,
            bytes,
            sha256,
            listed_bytes: listed.bytes,
            listed_sha256: listed.sha256.clone(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(ManifestProblem::Missing { path }),
        Err(source) => Some(ManifestProblem::Unreadable { path, source }),
    }
}

fn hash_file(path: &Path) -> io::Result<FileHash> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => {
                return Ok(FileHash {
                    bytes,
                    sha256: hex::encode(hasher.finalize()),
                });
            }
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Regular files below a directory, relative to it, sorted; without the manifest and the companions of the two.
fn files_below(run_dir: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(run_dir.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(
                    path.components()
                        .map(|part| part.as_os_str().to_string_lossy())
                        .collect::<Vec<_>>()
                        .join("/"),
                );
            }
        }
    }
    found.retain(|path| !path.starts_with("manifest.json") && !path.starts_with("evidence.json."));
    found.sort();
    Ok(found)
}
