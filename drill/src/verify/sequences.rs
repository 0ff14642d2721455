//! `sequences`: each sequence is past every number that was ever handed out.
//!
//! The next number must lie beyond every number in the columns that the sequence feeds, in every database, and, where a
//! ledger is given, beyond the largest number that a client was told of: `nextval ≥ max(id)` is not enough when rows were
//! lost. Where the next number was in use already on both sides of the point that was reached, the service itself chose to work
//! so: that is a remark. A sequence that cannot be read is a failure, unless it is unlogged: recovery empties those, so that
//! every restore leaves them unreadable in some versions; they are named. What it cannot see: numbers that were handed out and
//! neither stored, acknowledged nor recorded; of a dump, those of sequences that feed no column.

use postgres_protocol::escape::escape_literal;
use reports::text::counted;
use reports::{CheckId, CheckResult};
use tokio_postgres::Client;

use super::{Subject, databases};
use crate::{
    record::check::{Found, first_few, timed},
    reference::{
        Truth,
        sequences::{self, Asked, FEEDING, Feeding, Look, Next, asked, last_value},
    },
    service::Service,
};

/// The check. `largest_acknowledged` is the largest script id that the ledger promised to anybody.
pub async fn check(subject: &Subject<'_>, largest_acknowledged: Option<i64>) -> CheckResult {
    timed(CheckId::Sequences, subject.phase, subject.name, async {
        let looks = databases::each_with_relations(subject, |database, client| {
            look(subject.service, database, client, largest_acknowledged)
        })
        .await?;
        let mut sequences = 0;
        let (mut problems, mut remarks, mut known, mut unlogged) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (database, look) in looks.found {
            let place = databases::place(subject, &database);
            sequences += look.sequences;
            problems.extend(look.problems.into_iter().map(|text| format!("{place}{text}")));
            let is_behind = |next: &Next| subject.truth.and_then(|truth| handed_out(next, truth, &database));
            problems.extend(
                look.next
                    .iter()
                    .filter_map(is_behind)
                    .map(|text| format!("{place}{text}")),
            );
            for (sequence, text) in look.behind {
                let was_so = subject
                    .truth
                    .is_some_and(|truth| truth.was_behind(&database, &sequence));
                let list = if was_so { &mut known } else { &mut problems };
                list.push(format!("{place}{text}"));
            }
            remarks.extend(look.remarks.into_iter().map(|text| format!("{place}{text}")));
            unlogged.extend(look.unlogged.into_iter().map(|text| format!("{place}{text}")));
        }
        let mut details = Vec::new();
        if !problems.is_empty() {
            details.push(first_few(&problems));
        }
        if !known.is_empty() {
            details.push(format!("as it was in the service: {}", first_few(&known)));
        }
        if !remarks.is_empty() {
            details.push(first_few(&remarks));
        }
        if !unlogged.is_empty() {
            details.push(format!(
                "unlogged, and without its row since recovery, so that nextval fails (no restore brings it back): {}",
                first_few(&unlogged)
            ));
        }
        let acknowledged = largest_acknowledged.map_or_else(String::new, |id| {
            format!(", and past script {id}, the largest acknowledged")
        });
        let expected = format!("each sequence past every number in its column{acknowledged}");
        let actual = format!(
            "{}, {}",
            counted(sequences, "sequence"),
            counted(problems.len(), "problem")
        );
        let found = Found::judge(problems.is_empty(), expected, actual).detail(details.join("; "));
        databases::unless_failed::<tokio_postgres::Error>(found, looks.failed)
    })
    .await
}

/// The largest acknowledged number, if it is one of this table.
fn acknowledged(service: &dyn Service, database: &str, table: &str, largest: Option<i64>) -> Option<i64> {
    largest.filter(|_| database == service.database() && Some(table) == service.numbered_table())
}

/// What is wrong with a sequence, if it gives numbers that were handed out when it was recorded.
fn handed_out(next: &Next, truth: &Truth, database: &str) -> Option<String> {
    let recorded = truth.next_numbers(database, &next.qualified);
    let (least, most) = (recorded.iter().min()?, recorded.iter().max()?);
    let (bound, is_behind) = if next.descends {
        (most, next.number > *most)
    } else {
        (least, next.number < *least)
    };
    let (sequence, number) = (&next.qualified, next.number);
    is_behind.then(|| format!("{sequence} gives {number} next, but {bound} was next when it was recorded"))
}

async fn look(
    service: &dyn Service,
    database: String,
    client: Client,
    largest_acknowledged: Option<i64>,
) -> Result<Look, tokio_postgres::Error> {
    // An index on the column may be what is damaged.
    let settings = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET row_security = off";
    client.batch_execute(settings).await?;
    sequences::read(&client, |table| {
        acknowledged(service, &database, table, largest_acknowledged)
    })
    .await
}

/// The repair, as statements with the database that each belongs to: a `setval` for each sequence that is behind the
/// numbers in its column, or, where the ledger knows them, behind the largest that was acknowledged. One that counts down,
/// that has no room left, that cannot be read, or that was behind in the service already, is left alone.
///
/// # Errors
/// If a database cannot be asked.
pub async fn cures(
    subject: &Subject<'_>,
    largest_acknowledged: Option<i64>,
) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    let cures = databases::each(subject, |database, client| async move {
        let was_so = |sequence: &str| subject.truth.is_some_and(|truth| truth.was_behind(&database, sequence));
        database_cures(subject.service, &database, &client, largest_acknowledged, was_so).await
    })
    .await?;
    let cures = cures.all()?.into_iter();
    Ok(cures
        .flat_map(|(database, statements)| statements.into_iter().map(move |one| (database.clone(), one)))
        .collect())
}

async fn database_cures(
    service: &dyn Service,
    database: &str,
    client: &Client,
    largest_acknowledged: Option<i64>,
    was_so: impl Fn(&str) -> bool,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut statements = Vec::new();
    for row in client.query(FEEDING, &[]).await? {
        let feeding = Feeding::of(&row)?;
        let Asked::Told(used) = asked(feeding.used(client).await)? else {
            continue;
        };
        let Asked::Told(Some(last)) = asked(last_value(client, &feeding.sequence).await)? else {
            continue;
        };
        let used = used.filter(|_| !was_so(&feeding.qualified));
        let largest = used.max(acknowledged(service, database, &feeding.table, largest_acknowledged));
        if let (Some(largest), Some(next)) = (largest, last.next(feeding.increment))
            && feeding.increment > 0
            && next <= largest
            && largest < feeding.most
        {
            statements.push(format!(
                "SELECT setval({}, {largest})",
                escape_literal(&feeding.sequence)
            ));
        }
    }
    Ok(statements)
}
