//! Relations against their files: what the catalogue and other pages speak of must be there.
//!
//! Files lag behind the server's memory. What looks wrong is therefore looked at again after a checkpoint, which writes
//! everything that was changed before it: a row is entered into its page before it is entered into an index, and a page is
//! marked as visible to all before the map says so, so that a page which is missing then was lost. What is wrong must be
//! wrong each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use tokio_postgres::Client;

use super::{Page, SEGMENT_PAGES, Scan, ScanError, content::Blocks, scan};
use crate::{
    postgres::filesystem,
    verify::{Subject, databases},
};

/// Looks, each but the first after a checkpoint.
const LOOKS: usize = 3;

/// What the pages of a relation say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// Pages of each segment file.
    pub(super) segments: BTreeMap<u32, u32>,
    /// Pages that are zero.
    pub(super) zero: Blocks,
    /// Pages of a table that do not claim that every row is visible to all.
    pub(super) not_all_visible: Blocks,
    /// Pages that have a bit in its visibility map.
    pub(super) marked: Blocks,
    /// Pages of its table that its entries point to.
    pub(super) pointed_to: Blocks,
}

impl Pages {
    /// Pages up to the first segment that is not whole: the server reads no further.
    fn count(&self) -> u32 {
        let mut count = 0;
        for (expected, (segment, pages)) in (0..).zip(&self.segments) {
            if expected != *segment {
                break;
            }
            count += pages;
            if *pages < SEGMENT_PAGES {
                break;
            }
        }
        count
    }
}

/// A relation as the catalogue knows it.
struct Relation {
    name: String,
    path: String,
    /// The table of a B-tree whose entries must point to rows.
    table: Option<String>,
    /// Whether the file holds what is written before a checkpoint ends; it does not for what is unlogged.
    permanent: bool,
}

/// Relations with files, and for a B-tree that is valid the file of its table.
const RELATIONS: &str = r"
SELECT c.oid::regclass::text, pg_relation_filepath(c.oid), pg_relation_filepath(i.indrelid), c.relpersistence = 'p'
  FROM pg_class c
  LEFT JOIN pg_index i ON i.indexrelid = c.oid AND i.indisvalid AND i.indisready AND c.relam = 403
 WHERE c.relkind IN ('r', 'i', 't', 'm', 'S') AND c.relpersistence <> 't' AND pg_relation_filepath(c.oid) IS NOT NULL
   AND (NOT c.relisshared OR current_database() = $1)";

async fn relations(subject: &Subject<'_>) -> Result<Vec<Relation>, ScanError> {
    let all = databases::each(subject, |database, client: Client| async move {
        let home = subject.service.database();
        let place = if database == home {
            String::new()
        } else {
            format!(" of database {database}")
        };
        let mut relations = Vec::new();
        for row in client.query(RELATIONS, &[&home]).await? {
            // Dropped while the query ran: it has no path any more.
            let Some(path) = row.try_get::<_, Option<String>>(1)? else {
                continue;
            };
            relations.push(Relation {
                name: format!("{}{place}", row.try_get::<_, &str>(0)?),
                path,
                table: row.try_get(2)?,
                permanent: row.try_get(3)?,
            });
        }
        Ok::<_, ScanError>(relations)
    })
    .await?;
    Ok(all.all()?.into_iter().flat_map(|(_, relations)| relations).collect())
}

/// What is wrong with the relations of a running cluster, after a first look at their pages. Bits of visibility maps are
/// looked at before anybody writes: later the map and its table are never in the same state on disk, and
/// `index-integrity` asks the server.
pub(super) async fn problems(subject: &Subject<'_>, first: &Scan) -> Result<Vec<Page>, ScanError> {
    let data = subject.cluster.data_directory();
    let maps = subject.phase == reports::Phase::Restored;
    let mut problems = wrong(&relations(subject).await?, first, data, maps);
    for _ in 1..LOOKS {
        if problems.is_empty() {
            break;
        }
        if !has_room(data)? {
            return Err(ScanError::NoRoom);
        }
        subject.superuser().await?.batch_execute("CHECKPOINT").await?;
        let again = if first.files == 0 {
            Scan::default()
        } else {
            scan(data, true).await?
        };
        let again = wrong(&relations(subject).await?, &again, data, maps);
        problems.retain(|problem| again.contains(problem));
    }
    Ok(first_of_each(problems))
}

/// Whether a checkpoint finds room for its own small files. Where it does not, the checkpointer panics and the server goes
/// down (seen on 16.14: "could not write to file pg_logical/replorigin_checkpoint.tmp: No space left on device").
fn has_room(data: &Path) -> Result<bool, ScanError> {
    const ENOUGH: u64 = 1 << 20;
    let filesystem = filesystem(data).map_err(|source| ScanError::Io {
        path: data.to_owned(),
        source,
    })?;
    Ok(filesystem.available_bytes >= ENOUGH)
}

/// The first page of each kind of problem with a file, and how many more there are.
fn first_of_each(problems: BTreeSet<Page>) -> Vec<Page> {
    let mut kinds: BTreeMap<(String, String), (u32, usize)> = BTreeMap::new();
    for problem in problems {
        let kind = kinds
            .entry((problem.file, problem.problem))
            .or_insert((problem.block, 0));
        kind.1 += 1;
    }
    let pages = kinds.into_iter().map(|((file, problem), (block, count))| {
        let more = if count > 1 {
            format!(", as in {} more", count - 1)
        } else {
            String::new()
        };
        Page {
            file,
            block,
            problem: format!("{problem}{more}"),
        }
    });
    pages.collect()
}

/// What is wrong by one look.
fn wrong(relations: &[Relation], scan: &Scan, data: &Path, maps: bool) -> BTreeSet<Page> {
    let mut wrong = BTreeSet::new();
    for relation in relations {
        let mut add = |file: &str, block, problem| {
            wrong.insert(Page {
                file: file.to_owned(),
                block,
                problem,
            })
        };
        if !data.join(&relation.path).exists() {
            add(&relation.path, 0, format!("the file of {} is missing", relation.name));
            continue;
        }
        let Some(pages) = scan.relations.get(&relation.path).filter(|_| relation.permanent) else {
            continue;
        };
        if let Some((path, table)) = relation
            .table
            .as_ref()
            .and_then(|path| scan.relations.get_key_value(path))
        {
            let count = table.count();
            for block in pages.pointed_to.iter() {
                let how = match (block >= count, table.zero.contains(block)) {
                    (true, _) => "is not there",
                    (_, true) => "is zero",
                    _ => continue,
                };
                add(
                    path,
                    block,
                    format!("the page {how}, and {} points into it", relation.name),
                );
            }
        }
        if maps {
            let count = pages.count();
            let marked = pages.marked.iter().take_while(|block| *block < count);
            for block in marked.filter(|block| pages.not_all_visible.contains(*block) || pages.zero.contains(*block)) {
                let problem = format!("the visibility map of {} says more than its page", relation.name);
                add(&relation.path, block, problem);
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn pages_behind_a_segment_that_is_short_or_missing_are_not_there() {
        let count = |segments: &[(u32, u32)]| {
            let segments = segments.iter().copied().collect();
            Pages {
                segments,
                ..Pages::default()
            }
            .count()
        };
        assert_eq!(count(&[(0, 5)]), 5);
        assert_eq!(count(&[(0, 131_072), (1, 7)]), 131_079);
        assert_eq!(count(&[(0, 131_071), (1, 7)]), 131_071);
        assert_eq!(count(&[(0, 131_072), (2, 7)]), 131_072);
        assert_eq!(count(&[(1, 7)]), 0);
    }
}
