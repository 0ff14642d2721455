//! `index-integrity`: indexes and tables agree, in every database, those of the server's own catalogues included.
//!
//! What each index finds is compared with what a sequential scan finds (`probe`, `scans`): how many rows, which, in which
//! order, under which keys, and, for a scan of the index alone, whether the visibility map tells the truth. A unique index
//! whose table has a key twice is found by sequential scan. Beside it amcheck, where it is there: `bt_index_check(…,
//! heapallindexed)` for every B-tree and `verify_heapam` for every table. An index that is invalid is not compared; whether
//! it was so before is for `catalog-inventory` to say. What it cannot see: keys that were not sampled; types that no
//! operator of the index finds; without amcheck, rows that are damaged in themselves.

mod amcheck;
mod index;
mod plan;
mod probe;
mod scans;

use std::collections::BTreeSet;

use futures_util::future::OptionFuture;
use reports::{CheckId, CheckResult, text::counted};

use self::index::Index;
use super::{
    Subject,
    databases::{self, Looks},
};
use crate::record::check::{Found, first_few, timed};

const EXPECTED: &str = "every valid index finding what a sequential scan finds";

/// Something that is wrong, and the statement that would put it right; none where no statement does.
struct Problem {
    text: String,
    cure: Option<String>,
}

impl Problem {
    fn of_named(index: &str, what: &str) -> Self {
        Self {
            text: format!("{index}: {what}"),
            cure: Some(format!("REINDEX INDEX {index}")),
        }
    }

    fn of_index(index: &Index, what: &str) -> Self {
        Self::of_named(&index.name, what)
    }

    fn of_visibility_map(index: &Index, what: &str) -> Self {
        Self {
            text: format!(
                "the visibility map of {} is wrong: {what} ({})",
                index.table, index.name
            ),
            cure: Some(format!("VACUUM (DISABLE_PAGE_SKIPPING) {}", index.table)),
        }
    }

    /// No index can be built from a table that is wrong itself.
    fn of_table(name: &str, what: &str) -> Self {
        Self {
            text: format!("{name}: {what}"),
            cure: None,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What became of the indexes of one database, or of all.
#[derive(Default)]
struct Tally {
    problems: Vec<Problem>,
    /// What was not compared, and why it cannot be.
    not_planned: Vec<String>,
    remarks: Vec<String>,
    /// Indexes of which only a sample was looked up.
    sampled: usize,
    /// B-trees that amcheck looked at.
    trees: usize,
}

/// A database's indexes, all together.
struct Look {
    tally: Tally,
    indexes: usize,
    amcheck: bool,
    /// Why one of the two ways came to no end.
    failed: Option<tokio_postgres::Error>,
}

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::IndexIntegrity, subject.phase, subject.name, async {
        let Looks {
            found: looks,
            mut failed,
        } = look(subject).await?;
        let (mut problems, mut not_planned, mut details) = (Vec::new(), Vec::new(), Vec::new());
        let (mut remarks, mut sampled, mut trees, mut indexes) = (Vec::new(), 0, 0, 0);
        let amcheck = looks.iter().all(|(_, look)| look.amcheck);
        for (database, look) in looks {
            let place = databases::place(subject, &database);
            let placed = |text: &dyn std::fmt::Display| format!("{place}{text}");
            problems.extend(look.tally.problems.iter().map(|one| placed(one)));
            not_planned.extend(look.tally.not_planned.iter().map(|one| placed(one)));
            remarks.extend(look.tally.remarks.iter().map(|one| placed(one)));
            sampled += look.tally.sampled;
            trees += look.tally.trees;
            indexes += look.indexes;
            failed = failed.or(look.failed);
        }
        if !problems.is_empty() {
            details.push(first_few(&problems));
        }
        if !remarks.is_empty() {
            details.push(first_few(&remarks));
        }
        if amcheck {
            details.push(format!(
                "amcheck looked at {} and at every table",
                counted(trees, "B-tree")
            ));
        } else {
            not_planned.insert(0, "the structure of each row (no amcheck on this server)".to_owned());
        }
        if sampled > 0 {
            details.push(format!(
                "up to {} were looked up in each of {}",
                counted(probe::SAMPLE, "key"),
                counted(sampled, "way")
            ));
        }
        if !not_planned.is_empty() {
            details.push(format!("not planned: {}", not_planned.join("; ")));
        }
        let actual = format!("{}, {}", counted(indexes, "index"), counted(problems.len(), "problem"));
        let found = Found::judge(problems.is_empty(), EXPECTED, actual).detail(details.join("; "));
        databases::unless_failed(found, failed)
    })
    .await
}

/// Every problem, for who wants more than the first few.
///
/// # Errors
/// If the server cannot be asked.
pub async fn problems(subject: &Subject<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut problems = Vec::new();
    for (_, look) in look(subject).await?.all()? {
        if let Some(error) = look.failed {
            return Err(error);
        }
        problems.extend(look.tally.problems.into_iter().map(|problem| problem.text));
    }
    Ok(problems)
}

/// The repair, as statements with the database that each belongs to: a REINDEX of each index that is wrong. `None` if a table
/// is wrong as well, which no statement puts right. Where nothing is wrong any more it was a visibility map: by looking at
/// the rows that it hid, the first look marked their index entries as dead, and no scan returns them again. A VACUUM that
/// skips no page puts every map right.
///
/// # Errors
/// If the server cannot be asked.
pub async fn cures(subject: &Subject<'_>) -> Result<Option<Vec<(String, String)>>, tokio_postgres::Error> {
    let mut cures = BTreeSet::new();
    let looks = look(subject).await?.all()?;
    for (database, look) in &looks {
        if look.failed.is_some() {
            return Ok(None);
        }
        for problem in &look.tally.problems {
            let Some(cure) = &problem.cure else {
                return Ok(None);
            };
            cures.insert((database.clone(), cure.clone()));
        }
    }
    if cures.is_empty() {
        let vacuum = "VACUUM (DISABLE_PAGE_SKIPPING)".to_owned();
        cures.extend(looks.into_iter().map(|(database, _)| (database, vacuum.clone())));
    }
    Ok(Some(cures.into_iter().collect()))
}

/// Whether a database holds no relation but those that came with the server.
async fn is_bare(client: &tokio_postgres::Client) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)";
    client.query_one(sql, &[]).await?.try_get(0)
}

/// Both ways side by side, in every database.
async fn look(subject: &Subject<'_>) -> Result<Looks<Look, tokio_postgres::Error>, tokio_postgres::Error> {
    databases::each(subject, |database, first| async move {
        let second = subject.database(&database).await?;
        // A database that holds nothing of its own has only copies of the server's catalogues: amcheck alone will do.
        let amcheck_is_enough = amcheck::is_available(&first).await? && is_bare(&second).await?;
        let scans = OptionFuture::from((!amcheck_is_enough).then(|| scans::compare(subject, &database, second)));
        let (checked, scanned) = tokio::join!(amcheck::look(subject, &database, first), scans);
        let (scanned, failed) = match scanned.transpose() {
            Ok(scanned) => (scanned, None),
            Err(error) => (Some((Tally::default(), 0)), Some(error)),
        };
        let (checked, failed) = match checked {
            Ok(checked) => (checked, failed),
            Err(error) => (Some(Tally::default()), failed.or(Some(error))),
        };
        let amcheck = checked.is_some();
        let checked = checked.unwrap_or_default();
        let (mut tally, indexes) = scanned.unwrap_or_else(|| {
            let text = "entries of catalogue indexes without a row, as the database holds nothing of its own";
            let not_planned = vec![text.to_owned()];
            (
                Tally {
                    not_planned,
                    ..Tally::default()
                },
                checked.trees,
            )
        });
        tally.problems.extend(checked.problems);
        tally.trees = checked.trees;
        Ok(Look {
            tally,
            indexes,
            amcheck,
            failed,
        })
    })
    .await
}
