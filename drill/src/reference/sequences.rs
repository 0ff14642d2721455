//! The state of sequences: which column each feeds, which number it gives next, and whether that is in use already.
//!
//! A record keeps what it says (`recorded`); a check judges it ([`crate::verify::sequences`]).

use tokio_postgres::{Client, Row, error::SqlState};

use super::content::Sequences;
use crate::errors::damage;

/// Sequences with the columns that they feed, quoted: as identity or serial, which own the sequence, or by a default that
/// names it and nothing else, which depends on it. Columns of other types than integers are left out.
pub(crate) const FEEDING: &str = r"
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
pub(crate) struct Feeding {
    pub(crate) sequence: String,
    pub(crate) table: String,
    pub(crate) column: String,
    pub(crate) increment: i64,
    pub(crate) most: i64,
    pub(crate) least: i64,
    pub(crate) cycles: bool,
    /// The sequence with its schema, whatever the search path.
    pub(crate) qualified: String,
}

impl Feeding {
    pub(crate) fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
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

    /// The number in its column that is furthest in the direction of the sequence.
    pub(crate) async fn used(&self, client: &Client) -> Result<Option<i64>, tokio_postgres::Error> {
        let extreme = if self.increment > 0 { "max" } else { "min" };
        let sql = format!("SELECT {extreme}({})::bigint FROM {}", self.column, self.table);
        client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// Whether so few numbers were left that a crash skips them all: WAL is written for so many numbers at once (`SEQ_LOG_VALS`),
    /// and recovery continues after them. No restore can avoid that.
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

/// What was seen of the sequences of one database.
#[derive(Default)]
pub(crate) struct Look {
    pub(crate) sequences: usize,
    pub(crate) problems: Vec<String>,
    /// Sequences that give numbers which are in use, or none any more, and what is wrong with each.
    pub(crate) behind: Vec<(String, String)>,
    /// The next number of each that WAL brings back and that does not start over.
    pub(crate) next: Vec<Next>,
    /// What is worth knowing of the others.
    pub(crate) remarks: Vec<String>,
    /// Unlogged sequences that recovery left without their row.
    pub(crate) unlogged: Vec<String>,
}

/// A sequence that goes one way only.
pub(crate) struct Next {
    /// With its schema.
    pub(crate) qualified: String,
    pub(crate) number: i64,
    pub(crate) descends: bool,
}

/// What a record keeps of the sequences of a database.
///
/// # Errors
/// If the server cannot be asked.
pub(crate) async fn recorded(client: &Client) -> Result<Sequences, tokio_postgres::Error> {
    let look = read(client, |_| None).await?;
    Ok(Sequences {
        behind: look.behind.into_iter().map(|(sequence, _)| sequence).collect(),
        next: look
            .next
            .into_iter()
            .map(|next| (next.qualified, next.number))
            .collect(),
    })
}

/// Looks at the sequences of a database. `promised` gives, by a table's name, the largest number that a client was told of.
///
/// # Errors
/// If the server cannot be asked.
pub(crate) async fn read(
    client: &Client,
    promised: impl Fn(&str) -> Option<i64>,
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
            compare(
                feeding,
                *used,
                promised(&feeding.table),
                last.next(feeding.increment),
                &mut look,
            );
        }
    }
    Ok(look)
}

/// What is wrong with a sequence that can be read.
fn compare(feeding: &Feeding, used: Option<i64>, promised: Option<i64>, next: Option<i64>, look: &mut Look) {
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
    if let Some(number) = promised.filter(|number| !feeding.passed(next, *number)) {
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

/// The answer to a question about something that may be damaged, or be dropped meanwhile.
pub(crate) enum Asked<T> {
    Told(T),
    Damaged(String),
    Gone,
}

pub(crate) fn asked<T>(answer: Result<T, tokio_postgres::Error>) -> Result<Asked<T>, tokio_postgres::Error> {
    match answer {
        Ok(answer) => Ok(Asked::Told(answer)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(Asked::Gone),
        Err(error) => damage(&error).map(Asked::Damaged).ok_or(error),
    }
}

/// The state of a sequence.
#[derive(Clone, Copy)]
pub(crate) struct Last {
    value: i64,
    called: bool,
}

impl Last {
    /// What `nextval` would give, without taking it. None beyond 64 bits.
    pub(crate) fn next(self, increment: i64) -> Option<i64> {
        if self.called {
            self.value.checked_add(increment)
        } else {
            Some(self.value)
        }
    }
}

/// The state of a sequence; none if it has lost its only row: its page is empty, and `nextval` fails with *bad magic
/// number in sequence*.
pub(crate) async fn last_value(client: &Client, sequence: &str) -> Result<Option<Last>, tokio_postgres::Error> {
    let sql = format!("SELECT last_value, is_called FROM {sequence}");
    let Some(row) = client.query_opt(&sql, &[]).await? else {
        return Ok(None);
    };
    Ok(Some(Last {
        value: row.try_get(0)?,
        called: row.try_get(1)?,
    }))
}
