//! `sequences`: each sequence is past every number that was ever handed out.
//!
//! The next number must lie beyond every number in the columns that the sequence feeds, in every database, and, where a
//! ledger is given, beyond the largest number that a client was told of: `nextval ≥ max(id)` is not enough when rows were
//! lost. A sequence that cannot be read is a failure by itself, unless it is unlogged: recovery empties those, some versions
//! leave nothing to read, and every restore does the same; it is named. What it cannot see: numbers that were handed out and
//! neither stored nor acknowledged, and sequences that feed no column.

use postgres_protocol::escape::escape_literal;
use reports::{CheckId, CheckResult};
use tokio_postgres::{Client, Row, error::SqlState};

use super::{Found, Subject, damage, databases, first_few, timed};

/// Table whose ids the ledger knows.
const LEDGER_TABLE: &str = r#""TransformationScripts""#;

/// Sequences with the columns that they feed, quoted: as identity or serial, which own the sequence, or by a default that
/// names it and nothing else, which depends on it. Columns of other types than integers are left out.
const FEEDING: &str = r"
WITH fed AS (
  SELECT objid AS sequence, refobjid AS relation, refobjsubid AS number FROM pg_depend
   WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND refobjsubid > 0
  UNION
  SELECT d.refobjid, a.adrelid, a.adnum FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
   WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
     AND pg_get_expr(a.adbin, a.adrelid) ~ '^nextval\(''.*''::regclass\)$')
SELECT s.seqrelid::regclass::text, f.relation::regclass::text, quote_ident(a.attname), s.seqincrement, s.seqmax, s.seqmin, s.seqcycle
  FROM fed f
  JOIN pg_sequence s ON s.seqrelid = f.sequence
  JOIN pg_class q ON q.oid = s.seqrelid AND q.relpersistence <> 't'
  JOIN pg_class t ON t.oid = f.relation AND t.relkind IN ('r', 'p')
  JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.number AND NOT a.attisdropped
  JOIN pg_type y ON y.oid = a.atttypid AND coalesce(nullif(y.typbasetype, 0), y.oid) IN (20, 21, 23)
 ORDER BY 1, 2, 3";

/// Every sequence, whether it feeds a column or not.
const ALL: &str = "SELECT oid::regclass::text, relpersistence = 'u' FROM pg_class WHERE relkind = 'S' AND relpersistence <> 't' ORDER BY 1";

/// A sequence and a column that it feeds.
struct Feeding {
    sequence: String,
    table: String,
    column: String,
    increment: i64,
    most: i64,
    least: i64,
    cycles: bool,
}

impl Feeding {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            sequence: row.try_get(0)?,
            table: row.try_get(1)?,
            column: row.try_get(2)?,
            increment: row.try_get(3)?,
            most: row.try_get(4)?,
            least: row.try_get(5)?,
            cycles: row.try_get(6)?,
        })
    }

    /// The number furthest along in its column.
    async fn used(&self, client: &Client) -> Result<Option<i64>, tokio_postgres::Error> {
        let extreme = if self.increment > 0 { "max" } else { "min" };
        let sql = format!("SELECT {extreme}({})::bigint FROM {}", self.column, self.table);
        client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// The largest acknowledged number, if it is one of its column.
    fn acknowledged(&self, database: &str, largest: Option<i64>) -> Option<i64> {
        largest.filter(|_| database == fixtures::DATABASE && self.table == LEDGER_TABLE)
    }

    fn passed(&self, next: Option<i64>, number: i64) -> bool {
        next.is_some_and(|next| {
            if self.increment > 0 {
                next > number
            } else {
                next < number
            }
        })
    }
}

/// The check. `largest_acknowledged` is the largest script id that the ledger promised to anybody.
pub async fn check(subject: &Subject<'_>, largest_acknowledged: Option<i64>) -> CheckResult {
    timed(CheckId::Sequences, subject.phase, subject.name, async {
        let looks =
            databases::each_with_relations(subject, |database, client| look(database, client, largest_acknowledged))
                .await?;
        let (mut sequences, mut problems, mut unlogged) = (0, Vec::new(), Vec::new());
        for (database, look) in looks {
            let place = databases::place(&database);
            sequences += look.sequences;
            problems.extend(look.problems.into_iter().map(|text| format!("{place}{text}")));
            unlogged.extend(look.unlogged.into_iter().map(|text| format!("{place}{text}")));
        }
        let mut details = Vec::new();
        if !problems.is_empty() {
            details.push(first_few(&problems));
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
        let actual = format!("{sequences} sequences, {} problems", problems.len());
        Ok::<_, tokio_postgres::Error>(Found::judge(problems.is_empty(), expected, actual).detail(details.join("; ")))
    })
    .await
}

/// What was seen of the sequences of one database.
#[derive(Default)]
struct Look {
    sequences: usize,
    problems: Vec<String>,
    /// Unlogged sequences that recovery left without their row.
    unlogged: Vec<String>,
}

async fn look(
    database: String,
    client: Client,
    largest_acknowledged: Option<i64>,
) -> Result<Look, tokio_postgres::Error> {
    // An index on the column may be what is damaged.
    let settings = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET row_security = off";
    client.batch_execute(settings).await?;
    let mut look = Look::default();
    // The columns first: whatever is written meanwhile, its numbers were handed out before they were seen.
    let mut feedings = Vec::new();
    for row in client.query(FEEDING, &[]).await? {
        let feeding = Feeding::of(&row)?;
        match asked(feeding.used(&client).await)? {
            Asked::Told(used) => feedings.push((feeding, used)),
            Asked::Damaged(reason) => look
                .problems
                .push(format!("{} cannot be read: {reason}", feeding.table)),
            Asked::Gone => {}
        }
    }
    for row in client.query(ALL, &[]).await? {
        let (sequence, unlogged): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        let last = match asked(last_value(&client, &sequence).await)? {
            Asked::Told(Some(last)) => last,
            Asked::Told(None) if unlogged => {
                look.unlogged.push(sequence);
                continue;
            }
            Asked::Told(None) => {
                look.problems
                    .push(format!("{sequence} cannot be read: its row is not there"));
                continue;
            }
            Asked::Damaged(reason) => {
                look.problems.push(format!("{sequence} cannot be read: {reason}"));
                continue;
            }
            Asked::Gone => continue,
        };
        look.sequences += 1;
        for (feeding, used) in feedings.iter().filter(|(feeding, _)| feeding.sequence == sequence) {
            let acknowledged = feeding.acknowledged(&database, largest_acknowledged);
            compare(
                feeding,
                *used,
                acknowledged,
                last.next(feeding.increment),
                &mut look.problems,
            );
        }
    }
    Ok(look)
}

/// What is wrong with a sequence that can be read.
fn compare(
    feeding: &Feeding,
    used: Option<i64>,
    acknowledged: Option<i64>,
    next: Option<i64>,
    problems: &mut Vec<String>,
) {
    let Feeding {
        sequence,
        table,
        column,
        ..
    } = feeding;
    for (number, what) in [(used, "is in use"), (acknowledged, "was acknowledged")] {
        let Some(number) = number else { continue };
        if !feeding.passed(next, number) {
            let next = next.map_or_else(|| "nothing".to_owned(), |next| next.to_string());
            problems.push(format!(
                "{sequence} gives {next} next, but {number} {what} in {table}.{column}"
            ));
        }
    }
    if next.is_none_or(|next| next > feeding.most || next < feeding.least) {
        let cycles = if feeding.cycles { " and starts over" } else { "" };
        problems.push(format!("{sequence} is exhausted{cycles}"));
    }
}

/// What came of a question about something that may be damaged, or be dropped meanwhile.
enum Asked<T> {
    Told(T),
    Damaged(String),
    Gone,
}

fn asked<T>(answer: Result<T, tokio_postgres::Error>) -> Result<Asked<T>, tokio_postgres::Error> {
    match answer {
        Ok(answer) => Ok(Asked::Told(answer)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(Asked::Gone),
        Err(error) => damage(&error).map(Asked::Damaged).ok_or(error),
    }
}

/// The state of a sequence.
#[derive(Clone, Copy)]
struct Last {
    value: i64,
    called: bool,
}

impl Last {
    /// What `nextval` would give, without taking it. None beyond 64 bits.
    fn next(self, increment: i64) -> Option<i64> {
        if self.called {
            self.value.checked_add(increment)
        } else {
            Some(self.value)
        }
    }
}

/// The state of a sequence; none if it has lost its only row: its page is empty, and `nextval` fails with *bad magic
/// number in sequence*.
async fn last_value(client: &Client, sequence: &str) -> Result<Option<Last>, tokio_postgres::Error> {
    let sql = format!("SELECT last_value, is_called FROM {sequence}");
    let Some(row) = client.query_opt(&sql, &[]).await? else {
        return Ok(None);
    };
    Ok(Some(Last {
        value: row.try_get(0)?,
        called: row.try_get(1)?,
    }))
}

/// The repair, as statements with the database that each belongs to: a `setval` for each sequence that is behind the
/// numbers in its column, or, where the ledger knows them, behind the largest that was acknowledged. One that counts down,
/// that has no room left, or that cannot be read, is left alone.
///
/// # Errors
/// If a database cannot be asked.
pub async fn cures(
    subject: &Subject<'_>,
    largest_acknowledged: Option<i64>,
) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    let cures = databases::each(subject, |database, client| {
        database_cures(database, client, largest_acknowledged)
    })
    .await?;
    let cures = cures.into_iter();
    Ok(cures
        .flat_map(|(database, statements)| statements.into_iter().map(move |one| (database.clone(), one)))
        .collect())
}

async fn database_cures(
    database: String,
    client: Client,
    largest_acknowledged: Option<i64>,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut statements = Vec::new();
    for row in client.query(FEEDING, &[]).await? {
        let feeding = Feeding::of(&row)?;
        let Asked::Told(used) = asked(feeding.used(&client).await)? else {
            continue;
        };
        let Asked::Told(Some(last)) = asked(last_value(&client, &feeding.sequence).await)? else {
            continue;
        };
        let largest = used.max(feeding.acknowledged(&database, largest_acknowledged));
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
