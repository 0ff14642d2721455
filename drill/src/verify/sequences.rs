//! `sequences`: each sequence is past every number that was ever handed out.
//!
//! The next number must lie beyond every number in the columns that the sequence feeds, in every database, and, where a
//! ledger is given, beyond the largest number that a client was told of: `nextval ≥ max(id)` is not enough when rows were
//! lost. Where a sequence was behind already when the service was recorded on both sides of the point that was reached, the
//! service gives its numbers otherwise: that is a remark. A sequence that cannot be read is a failure by itself, unless it is
//! unlogged: recovery empties those, some versions leave nothing to read, and every restore does the same; it is named. What it
//! cannot see: numbers that were handed out and neither stored, acknowledged nor recorded; of a dump, those of sequences that
//! feed no column.

use postgres_protocol::escape::escape_literal;
use reports::text::counted;
use reports::{CheckId, CheckResult};
use tokio_postgres::{Client, Row, error::SqlState};

use super::{Found, Subject, damage, databases, first_few, timed};
use crate::reference::{Truth, content::Sequences};

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
SELECT s.seqrelid::regclass::text, f.relation::regclass::text, quote_ident(a.attname), s.seqincrement, s.seqmax, s.seqmin, s.seqcycle,
       format('%I.%I', q.relnamespace::regnamespace, q.relname)
  FROM fed f
  JOIN pg_sequence s ON s.seqrelid = f.sequence
  JOIN pg_class q ON q.oid = s.seqrelid AND q.relpersistence <> 't'
  JOIN pg_class t ON t.oid = f.relation AND t.relkind IN ('r', 'p')
  JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.number AND NOT a.attisdropped
  JOIN pg_type y ON y.oid = a.atttypid AND coalesce(nullif(y.typbasetype, 0), y.oid) IN (20, 21, 23)
 ORDER BY 1, 2, 3";

/// Every sequence, whether it feeds a column or not.
const ALL: &str = "
SELECT c.oid::regclass::text, c.relpersistence = 'u', format('%I.%I', c.relnamespace::regnamespace, c.relname), s.seqincrement, s.seqcycle
  FROM pg_class c LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' ORDER BY 1";

/// A sequence and a column that it feeds.
struct Feeding {
    sequence: String,
    table: String,
    column: String,
    increment: i64,
    most: i64,
    least: i64,
    cycles: bool,
    /// The sequence with its schema, whatever the search path.
    qualified: String,
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
            qualified: row.try_get(7)?,
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

    /// Whether what was left behind the number furthest along is no more than what a crash skips: WAL is written for so many
    /// numbers at once (`SEQ_LOG_VALS`), and recovery begins behind them. No restore does better.
    fn is_exhausted_by_a_crash(&self, used: Option<i64>) -> bool {
        const AT_ONCE: u64 = 32;
        let end = if self.increment > 0 { self.most } else { self.least };
        used.is_some_and(|used| end.abs_diff(used) <= self.increment.unsigned_abs().saturating_mul(AT_ONCE))
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
        let mut sequences = 0;
        let (mut problems, mut remarks, mut known, mut unlogged) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (database, look) in looks {
            let place = databases::place(&database);
            sequences += look.sequences;
            problems.extend(look.problems.into_iter().map(|text| format!("{place}{text}")));
            let handed_out = |next: &Next| subject.truth.and_then(|truth| next.handed_out(truth, &database));
            problems.extend(
                look.next
                    .iter()
                    .filter_map(handed_out)
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
        Ok::<_, tokio_postgres::Error>(Found::judge(problems.is_empty(), expected, actual).detail(details.join("; ")))
    })
    .await
}

/// What was seen of the sequences of one database.
#[derive(Default)]
struct Look {
    sequences: usize,
    problems: Vec<String>,
    /// Sequences that give numbers which are in use, or none any more, and what is wrong with each.
    behind: Vec<(String, String)>,
    /// The next number of each that WAL brings back and that does not start over.
    next: Vec<Next>,
    /// What is worth knowing of the others.
    remarks: Vec<String>,
    /// Unlogged sequences that recovery left without their row.
    unlogged: Vec<String>,
}

/// A sequence that goes one way only.
struct Next {
    /// With its schema.
    qualified: String,
    number: i64,
    descends: bool,
}

impl Next {
    /// What is wrong with it, if it gives numbers that were handed out when it was recorded.
    fn handed_out(&self, truth: &Truth, database: &str) -> Option<String> {
        let recorded = truth.next_numbers(database, &self.qualified);
        let (least, most) = (recorded.iter().min()?, recorded.iter().max()?);
        let (bound, is_behind) = if self.descends {
            (most, self.number > *most)
        } else {
            (least, self.number < *least)
        };
        let (sequence, number) = (&self.qualified, self.number);
        is_behind.then(|| format!("{sequence} gives {number} next, but {bound} was next when it was recorded"))
    }
}

async fn look(
    database: String,
    client: Client,
    largest_acknowledged: Option<i64>,
) -> Result<Look, tokio_postgres::Error> {
    // An index on the column may be what is damaged.
    let settings = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET row_security = off";
    client.batch_execute(settings).await?;
    read(&database, &client, largest_acknowledged).await
}

/// What a record keeps of the sequences of a database.
///
/// # Errors
/// If the server cannot be asked.
pub async fn recorded(client: &Client) -> Result<Sequences, tokio_postgres::Error> {
    let look = read("", client, None).await?;
    Ok(Sequences {
        behind: look.behind.into_iter().map(|(sequence, _)| sequence).collect(),
        next: look
            .next
            .into_iter()
            .map(|next| (next.qualified, next.number))
            .collect(),
    })
}

async fn read(
    database: &str,
    client: &Client,
    largest_acknowledged: Option<i64>,
) -> Result<Look, tokio_postgres::Error> {
    let mut look = Look::default();
    // The columns first: whatever is written meanwhile, its numbers were handed out before they were seen.
    let mut feedings = Vec::new();
    for row in client.query(FEEDING, &[]).await? {
        let feeding = Feeding::of(&row)?;
        match asked(feeding.used(client).await)? {
            Asked::Told(used) => feedings.push((feeding, used)),
            Asked::Damaged(reason) => look
                .problems
                .push(format!("{} cannot be read: {reason}", feeding.table)),
            Asked::Gone => {}
        }
    }
    for row in client.query(ALL, &[]).await? {
        let (sequence, unlogged): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        let last = match asked(last_value(client, &sequence).await)? {
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
        let (qualified, increment): (String, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
        let cycles = row.try_get::<_, Option<bool>>(4)?.unwrap_or_default();
        if let Some((increment, number)) = increment.and_then(|by| Some((by, last.next(by)?)))
            && !unlogged
            && !cycles
        {
            let descends = increment < 0;
            look.next.push(Next {
                qualified,
                number,
                descends,
            });
        }
        for (feeding, used) in feedings.iter().filter(|(feeding, _)| feeding.sequence == sequence) {
            let acknowledged = feeding.acknowledged(database, largest_acknowledged);
            compare(feeding, *used, acknowledged, last.next(feeding.increment), &mut look);
        }
    }
    Ok(look)
}

/// What is wrong with a sequence that can be read.
fn compare(feeding: &Feeding, used: Option<i64>, acknowledged: Option<i64>, next: Option<i64>, look: &mut Look) {
    let Feeding {
        sequence,
        table,
        column,
        qualified,
        ..
    } = feeding;
    let gives = next.map_or_else(|| "nothing".to_owned(), |next| next.to_string());
    let told =
        |number: i64, what: &str| format!("{sequence} gives {gives} next, but {number} {what} in {table}.{column}");
    if let Some(number) = used.filter(|number| !feeding.passed(next, *number)) {
        look.behind.push((qualified.clone(), told(number, "is in use")));
    }
    if let Some(number) = acknowledged.filter(|number| !feeding.passed(next, *number)) {
        look.problems.push(told(number, "was acknowledged"));
    }
    if next.is_none_or(|next| next > feeding.most || next < feeding.least) {
        let cycles = if feeding.cycles { " and starts over" } else { "" };
        let text = format!("{sequence} is exhausted{cycles}");
        if feeding.is_exhausted_by_a_crash(used) {
            let why = "recovery goes on up to 32 numbers further than was used, and there were no more";
            look.remarks.push(format!("{text}: {why}"));
        } else {
            look.behind.push((qualified.clone(), text));
        }
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
        database_cures(&database, &client, largest_acknowledged, was_so).await
    })
    .await?;
    let cures = cures.into_iter();
    Ok(cures
        .flat_map(|(database, statements)| statements.into_iter().map(move |one| (database.clone(), one)))
        .collect())
}

async fn database_cures(
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
        let largest = used.max(feeding.acknowledged(database, largest_acknowledged));
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
