//! `page-checksums`: every page of every relation carries a valid checksum, and what pages say of each other is true.
//!
//! Reads the relation files itself, on a running server as well as in a stopped data directory or a base backup, with
//! the algorithm of PostgreSQL's `storage/checksum_impl.h`. On a running server it also checks in every database that each
//! relation has its file; that no index entry points into a page that is zero or missing, which no crash causes (a crash may
//! leave zero pages to which nothing points: they are remarked on); and that no page is visible to all by the visibility map
//! but not by its own header (`relations`). What it cannot see: pages that are wrong in themselves (an older copy of a page,
//! damage that was written with a checksum), and pages that so far are only in the server's memory.

mod content;
mod files;
mod page;
mod relations;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reports::{
    CheckId, CheckResult, Phase,
    text::{counted, number},
};
use tokio_postgres::{Client, error::SqlState};

use content::Blocks;
use files::{Fork, RelationFile, relation_files};
use page::{State, state};
use relations::Pages;

use super::Subject;
use crate::{
    errors::damage,
    postgres::{ControlData, ControlError, Installation},
    record::check::{Found, first_few, timed},
};

pub use page::checksum;

/// Size of a page; what every build in practice uses.
const PAGE: usize = 8192;
/// Pages of a segment file (1 GiB).
const SEGMENT_PAGES: u32 = 131_072;
/// Pages that one thread takes at a time.
const CHUNK_PAGES: u32 = 2048;
/// Threads that read and compute.
const THREADS: usize = 2;
const EXPECTED: &str = "a valid checksum on every page that is not new, and a page wherever one is spoken of";

/// A page of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    /// Path below the data directory.
    pub file: String,
    /// Block number within the relation's fork.
    pub block: u32,
    /// What is the matter with it.
    pub problem: String,
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} block {}: {}", self.file, self.block, self.problem)
    }
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Relation files.
    pub files: usize,
    /// Pages looked at.
    pub pages: u64,
    /// Pages that are not as they should be, by file and block.
    pub bad: Vec<Page>,
    /// All-zero pages of main forks that are followed by others. The server and its checksums accept them.
    pub zeroed: Vec<Page>,
    /// What the pages of each relation say.
    relations: BTreeMap<String, Pages>,
}

/// Why a data directory could not be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control file could not be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The server could not be asked.
    #[error("cannot ask the server for its relations")]
    Query(#[from] tokio_postgres::Error),
    /// There is no room for the checkpoint before a second look, which would then bring the server down.
    #[error("index and table differ on disk, and there is no room for a checkpoint that would tell more")]
    NoRoom,
    /// A thread died.
    #[error("a scanning thread ended early")]
    Thread(#[from] tokio::task::JoinError),
}

/// The check of a running cluster.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::PageChecksums, subject.phase, subject.name, async {
        let client = subject.superuser().await?;
        let settings = "SELECT current_setting('data_checksums') = 'on', current_setting('block_size')";
        let row = client.query_one(settings, &[]).await?;
        let (checksums, block_size): (bool, &str) = (row.try_get(0)?, row.try_get(1)?);
        let mut scan = if checksums && block_size == "8192" {
            scan(subject.cluster.data_directory(), true).await?
        } else {
            Scan::default()
        };
        match relations::problems(subject, &scan).await {
            Ok(problems) => scan.bad.extend(problems),
            Err(ScanError::Query(error)) if is_missing_database_files(&error) => {
                let reason = format!("a database lets nobody in: {error}");
                return Ok(Found::fail(EXPECTED, reason).detail(super::chain(&error)));
            }
            Err(ScanError::NoRoom) if !scan.bad.is_empty() => {}
            Err(error) => return Err(error),
        }
        if !scan.bad.is_empty() || scan.files > 0 {
            return Ok(judged(scan, Some(&client)).await);
        }
        let reason = if checksums {
            "this server's pages are not of 8192 bytes"
        } else {
            "this cluster was made without data checksums"
        };
        Ok(Found::unknown(EXPECTED, reason))
    })
    .await
}

/// Whether an error says that a database which is in the catalogue has lost its files.
fn is_missing_database_files(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_DATABASE) || damage(error).is_some()
}

/// The check of a stopped data directory or of a base backup.
pub async fn check_directory(installation: &Installation, data: &Path, phase: Phase, subject: &str) -> CheckResult {
    timed(CheckId::PageChecksums, phase, subject, async {
        if ControlData::read(installation, data).await?.data_checksum_version == 0 {
            return Ok::<_, ScanError>(Found::unknown(EXPECTED, "this cluster was made without data checksums"));
        }
        Ok(judged(scan(data, false).await?, None).await)
    })
    .await
}

async fn judged(scan: Scan, client: Option<&Client>) -> Found {
    let actual = format!(
        "{} in {}, {} bad",
        counted(scan.pages, "page"),
        counted(scan.files, "file"),
        number(scan.bad.len() as u64)
    );
    let mut details = Vec::new();
    if !scan.bad.is_empty() {
        details.push(first_few(&named(&scan.bad, client, false).await));
    }
    let zeroed = named(&scan.zeroed, client, true).await;
    if !zeroed.is_empty() {
        details.push(format!(
            "zero pages amid others, which checksums accept: {}",
            first_few(&zeroed)
        ));
    }
    Found::judge(scan.bad.is_empty(), EXPECTED, actual).detail(details.join("; "))
}

/// The pages with the names of their relations, as far as the server can tell; with `tables_only`, others are left out
/// (a hash index or a free space map has zero pages by nature).
async fn named(pages: &[Page], client: Option<&Client>, tables_only: bool) -> Vec<String> {
    const LOOK_UPS: usize = 200;
    let sql = "SELECT c.oid::regclass::text, c.relkind IN ('r', 't', 'm') FROM pg_class c, pg_database d
                WHERE d.datname = current_database() AND c.oid = pg_filenode_relation($1, $2)
                  AND $3::oid IN (0, d.oid)";
    let mut texts = Vec::new();
    for page in pages.iter().take(LOOK_UPS) {
        let row = match (client, relation_of(&page.file)) {
            (Some(client), Some((tablespace, database, node))) => client
                .query_opt(sql, &[&tablespace, &node, &database])
                .await
                .ok()
                .flatten()
                .and_then(|row| Some((row.try_get::<_, String>(0).ok()?, row.try_get(1).ok()?))),
            _ => None,
        };
        match row {
            Some((_, false)) if tables_only => {}
            Some((relation, _)) => texts.push(format!("{page} ({relation})")),
            None => texts.push(page.to_string()),
        }
    }
    texts.extend(pages.iter().skip(LOOK_UPS).map(ToString::to_string));
    texts
}

/// Tablespace, database and file node of a relation file, as `pg_filenode_relation` wants them.
fn relation_of(file: &str) -> Option<(u32, u32, u32)> {
    let parts: Vec<&str> = file.split('/').collect();
    let node = |name: &str| name.split(['.', '_']).next()?.parse().ok();
    match parts[..] {
        ["global", name] => Some((1664, 0, node(name)?)),
        ["base", database, name] => Some((0, database.parse().ok()?, node(name)?)),
        ["pg_tblspc", space, _, database, name] => Some((space.parse().ok()?, database.parse().ok()?, node(name)?)),
        _ => None,
    }
}

/// Reads every relation file below a data directory. On a `live` server a page that looks bad is read again, because
/// the server may just be writing it, and files that vanish meanwhile do not count.
///
/// # Errors
/// If a file cannot be read.
pub async fn scan(data: &Path, live: bool) -> Result<Scan, ScanError> {
    let files: Arc<Vec<RelationFile>> = Arc::new(relation_files(data)?);
    let chunks: Arc<Vec<(usize, u32)>> = Arc::new(
        files
            .iter()
            .enumerate()
            .flat_map(|(index, file)| {
                (0..file.pages)
                    .step_by(CHUNK_PAGES as usize)
                    .map(move |page| (index, page))
            })
            .collect(),
    );
    let next = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (files, chunks, next) = (files.clone(), chunks.clone(), next.clone());
            tokio::task::spawn_blocking(move || {
                let mut part = Part::default();
                while let Some(&(file, first)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    part.read(file, &files[file], first, live)?;
                }
                Ok::<_, ScanError>(part)
            })
        })
        .collect();
    let mut scan = Scan {
        files: files.len(),
        ..Scan::default()
    };
    let (mut zeros, mut last) = (Vec::new(), vec![None; files.len()]);
    for thread in threads {
        let part = thread.await??;
        scan.pages += part.pages;
        scan.bad.extend(part.bad);
        zeros.extend(part.zeros);
        for (file, page) in part.last_used {
            last[file] = last[file].max(Some(page));
        }
        for (file, blocks) in part.pointed_to {
            scan.pages_of(&files[file]).pointed_to.add(&blocks);
        }
        for (file, blocks) in part.not_all_visible {
            scan.pages_of(&files[file]).not_all_visible.add(&blocks);
        }
        for (file, blocks) in part.marked {
            scan.pages_of(&files[file]).marked.add(&blocks);
        }
    }
    for (file, page) in &zeros {
        let file = &files[*file];
        if file.fork == Fork::Main {
            let block = file.segment * SEGMENT_PAGES + page;
            scan.pages_of(file).zero.insert(block);
        }
    }
    for file in files.iter().filter(|file| file.fork == Fork::Main) {
        scan.pages_of(file).segments.insert(file.segment, file.pages);
    }
    scan.bad.extend(
        files
            .iter()
            .filter(|file| file.torn && !live)
            .map(|file| file.page(file.pages, "the file ends within this page".into())),
    );
    scan.bad.sort();
    zeros.sort_unstable();
    let amid = zeros
        .into_iter()
        .filter(|(file, page)| files[*file].fork == Fork::Main && last[*file] > Some(*page));
    scan.zeroed = amid
        .map(|(file, page)| files[file].page(page, "zeroed".into()))
        .collect();
    Ok(scan)
}

impl Scan {
    fn pages_of(&mut self, file: &RelationFile) -> &mut Pages {
        self.relations.entry(file.relation.clone()).or_default()
    }
}

/// What one thread found, by the number of the file.
#[derive(Default)]
struct Part {
    pages: u64,
    bad: Vec<Page>,
    zeros: Vec<(usize, u32)>,
    last_used: Vec<(usize, u32)>,
    pointed_to: BTreeMap<usize, Blocks>,
    not_all_visible: BTreeMap<usize, Blocks>,
    marked: BTreeMap<usize, Blocks>,
}

impl Part {
    fn read(&mut self, index: usize, file: &RelationFile, first: u32, live: bool) -> Result<(), ScanError> {
        let failed = |source| ScanError::Io {
            path: file.path.clone(),
            source,
        };
        let open = match File::open(&file.path) {
            Err(error) if live && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            open => open.map_err(failed)?,
        };
        let count = CHUNK_PAGES.min(file.pages - first);
        let mut bytes = vec![0; count as usize * PAGE];
        match open.read_exact_at(&mut bytes, u64::from(first) * PAGE as u64) {
            Err(error) if live && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()), // truncated meanwhile
            read => read.map_err(failed)?,
        }
        for (number, page) in (first..).zip(bytes.chunks_exact(PAGE)) {
            self.pages += 1;
            let block = file.segment * SEGMENT_PAGES + number;
            match state(page, block) {
                State::Valid => {
                    self.last_used.push((index, number));
                    self.collect_references(index, file, page, block);
                }
                State::Zero => self.zeros.push((index, number)),
                State::Bad(_) if live && settles(&open, number, block) => self.last_used.push((index, number)),
                State::Bad(problem) => self.bad.push(file.page(number, problem)),
            }
        }
        let newest = self
            .last_used
            .iter()
            .rposition(|(file, _)| *file == index)
            .map(|at| self.last_used.swap_remove(at));
        self.last_used.retain(|(file, _)| *file != index);
        self.last_used.extend(newest);
        Ok(())
    }

    /// What a page says of others.
    fn collect_references(&mut self, index: usize, file: &RelationFile, page: &[u8], block: u32) {
        match file.fork {
            Fork::Main if content::not_all_visible(page) => {
                self.not_all_visible.entry(index).or_default().insert(block);
            }
            Fork::Main => {
                let pointed_to = &mut self.pointed_to;
                content::pointed_to(page, |to| pointed_to.entry(index).or_default().insert(to));
            }
            Fork::VisibilityMap => {
                let marked = self.marked.entry(index).or_default();
                content::marked(page, block).for_each(|block| marked.insert(block));
            }
            Fork::Other => {}
        }
    }
}

/// Whether a page that looked bad was only being written: it is fine when read again a little later.
fn settles(file: &File, number: u32, block: u32) -> bool {
    let mut page = vec![0; PAGE];
    (1..=4).any(|attempt| {
        std::thread::sleep(Duration::from_millis(5 * attempt)); // back-off of a bounded retry
        let read = file.read_exact_at(&mut page, u64::from(number) * PAGE as u64);
        read.is_err() || !matches!(state(&page, block), State::Bad(_))
    })
}
