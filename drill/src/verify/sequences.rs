//! `sequences`: each sequence is past every number that was ever handed out.
//!
//! The next number must lie beyond every number in the column that the sequence feeds, and, where a ledger is given,
//! beyond the largest number that a client was told of: `nextval ≥ max(id)` is not enough when rows were lost. What it
//! cannot see: numbers that were handed out and neither stored nor acknowledged, and sequences that no column owns.

use postgres_protocol::escape::escape_literal;
use reports::{CheckId, CheckResult};
use tokio_postgres::Client;

use super::{Found, Subject, first_few, timed};

/// Table whose ids the ledger knows.
const LEDGER_TABLE: &str = r#""TransformationScripts""#;

/// Sequences with the column that they feed (identity or serial), quoted.
const OWNED: &str = r"
SELECT s.seqrelid::regclass::text, d.refobjid::regclass::text, quote_ident(a.attname), s.seqincrement, s.seqmax, s.seqmin, s.seqcycle
  FROM pg_sequence s
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass
                  AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 ORDER BY 1";

/// The check. `largest_acknowledged` is the largest script id that the ledger promised to anybody.
pub async fn check(subject: &Subject<'_>, largest_acknowledged: Option<i64>) -> CheckResult {
    timed(CheckId::Sequences, subject.phase, subject.name, async {
        let client = subject.superuser().await?;
        // An index on the column may be what is damaged.
        client
            .batch_execute("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
            .await?;
        let owned = client.query(OWNED, &[]).await?;
        let mut problems = Vec::new();
        for row in &owned {
            let (sequence, table, column): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let (increment, most, least, cycles): (i64, i64, i64, bool) =
                (row.get(3), row.get(4), row.get(5), row.get(6));
            let up = increment > 0;
            let next = next_number(&client, sequence, increment).await?;
            let extreme = if up { "max" } else { "min" };
            let used = client
                .query_one(&format!("SELECT {extreme}({column})::bigint FROM {table}"), &[])
                .await?;
            let used: Option<i64> = used.get(0);
            let acknowledged = largest_acknowledged.filter(|_| table == LEDGER_TABLE);
            for (number, what) in [(used, "is in use"), (acknowledged, "was acknowledged")] {
                let Some(number) = number else { continue };
                let passed = next.is_some_and(|next| if up { next > number } else { next < number });
                if !passed {
                    let next = next.map_or_else(|| "nothing".to_owned(), |next| next.to_string());
                    problems.push(format!(
                        "{sequence} gives {next} next, but {number} {what} in {table}.{column}"
                    ));
                }
            }
            let exhausted = next.is_none_or(|next| next > most || next < least);
            if exhausted {
                problems.push(format!(
                    "{sequence} is exhausted{}",
                    if cycles { " and starts over" } else { "" }
                ));
            }
        }
        let acknowledged = largest_acknowledged.map_or_else(String::new, |id| {
            format!(", and past script {id}, the largest acknowledged")
        });
        let expected = format!("each sequence past every number in its column{acknowledged}");
        let actual = format!("{} sequences, {} problems", owned.len(), problems.len());
        Ok::<_, tokio_postgres::Error>(Found::judge(problems.is_empty(), expected, actual).detail(first_few(&problems)))
    })
    .await
}

/// What `nextval` would give, without taking it. None beyond 64 bits.
async fn next_number(client: &Client, sequence: &str, increment: i64) -> Result<Option<i64>, tokio_postgres::Error> {
    let row = client
        .query_one(&format!("SELECT last_value, is_called FROM {sequence}"), &[])
        .await?;
    let (last, called): (i64, bool) = (row.get(0), row.get(1));
    Ok(if called {
        last.checked_add(increment)
    } else {
        Some(last)
    })
}

/// The repair: a `setval` for each sequence that is behind the numbers in its column, or, where the ledger knows them,
/// behind the largest that was acknowledged. One that counts down, or that has no room left, is left alone.
///
/// # Errors
/// If a sequence or its column cannot be read.
pub async fn cures(client: &Client, largest_acknowledged: Option<i64>) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut statements = Vec::new();
    for row in client.query(OWNED, &[]).await? {
        let (sequence, table, column): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let (increment, most): (i64, i64) = (row.get(3), row.get(4));
        let used: Option<i64> = client
            .query_one(&format!("SELECT max({column})::bigint FROM {table}"), &[])
            .await?
            .get(0);
        let largest = used.max(largest_acknowledged.filter(|_| table == LEDGER_TABLE));
        let next = next_number(client, sequence, increment).await?;
        if let (Some(largest), Some(next)) = (largest, next)
            && increment > 0
            && next <= largest
            && largest < most
        {
            statements.push(format!("SELECT setval({}, {largest})", escape_literal(sequence)));
        }
    }
    Ok(statements)
}
