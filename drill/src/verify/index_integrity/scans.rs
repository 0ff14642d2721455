//! The probes of every index of a database, carried out.
//!
//! Those that only walk are put together, many in a statement: the catalogues have hundreds of indexes and few rows. What
//! fails or proves nothing together is tried again alone, and then with the other indexes of its table hidden from the
//! planner, in a transaction that is rolled back.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};

use super::{
    super::Subject,
    Problem, Tally,
    amcheck::SMALL_BYTES,
    index::Index,
    plan::Parts,
    probe::{self, Probe},
};
use crate::{errors::damage, reference::fingerprint::scan::cores};

/// Walks in one statement.
const TOGETHER: usize = 24;

/// Nothing waits for a lock for long, and the plans are what the probes ask for.
const SETTINGS: &str =
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on;
    SET LOCAL enable_bitmapscan = on; SET LOCAL enable_tidscan = off; SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off; SET LOCAL enable_memoize = off;
    SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off; SET LOCAL enable_hashagg = on;
    SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL work_mem = '64MB';
    SET LOCAL row_security = off; SET LOCAL lock_timeout = '5s'";

/// A probe of an index.
struct Planned<'a> {
    index: &'a Index,
    probe: Probe,
}

/// Something that a probe found wrong.
struct Wrong {
    probe: usize,
    what: String,
    whose: String,
}

/// What came of a statement.
enum Answer {
    /// Every probe in it proves what it says.
    Proven(Vec<Wrong>),
    /// Some do not use their index.
    NotUsed,
    /// The server says that something is damaged.
    Damaged(String),
    /// It cannot be asked: SQLSTATE, for a message may quote a row.
    Refused(String),
}

/// Compares every index of a database with sequential scans, those of a large one in several sessions side by side; answers
/// how many there are.
pub(super) async fn compare(
    subject: &Subject<'_>,
    database: &str,
    first: Client,
) -> Result<(Tally, usize), tokio_postgres::Error> {
    let indexes = Index::all(&first, subject.service.database()).await?;
    let bytes: i64 = indexes.iter().map(|index| index.bytes).sum();
    let sessions = if bytes < SMALL_BYTES { 1 } else { cores() };
    let first = Mutex::new(Some(first));
    let looks = shares(&indexes, sessions).into_iter().map(async |share| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut client = match first {
            Some(client) => client,
            None => subject.database(database).await?,
        };
        compare_share(&mut client, &share).await
    });
    let mut all = Tally::default();
    for tally in try_join_all(looks).await? {
        all.problems.extend(tally.problems);
        all.not_planned.extend(tally.not_planned);
        all.remarks.extend(tally.remarks);
        all.sampled += tally.sampled;
    }
    Ok((all, indexes.len()))
}

/// Shares indexes out, those of a table to the same session: one may hide a table's other indexes for a while.
fn shares(indexes: &[Index], sessions: usize) -> Vec<Vec<&Index>> {
    if sessions == 1 {
        return vec![indexes.iter().collect()];
    }
    let mut tables: BTreeMap<u32, (i64, Vec<&Index>)> = BTreeMap::new();
    for index in indexes {
        let (bytes, of_table) = tables.entry(index.table_oid).or_default();
        *bytes += index.bytes;
        of_table.push(index);
    }
    let mut tables: Vec<_> = tables.into_values().collect();
    tables.sort_by_key(|(bytes, _)| Reverse(*bytes));
    let mut shares: Vec<(i64, Vec<&Index>)> = (0..sessions.max(1)).map(|_| (0, Vec::new())).collect();
    for (bytes, of_table) in tables {
        if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += bytes;
            share.extend(of_table);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

async fn compare_share(client: &mut Client, indexes: &[&Index]) -> Result<Tally, tokio_postgres::Error> {
    let mut tally = Tally::default();
    let (mut walks, mut others) = (Vec::new(), Vec::new());
    for index in indexes.iter().copied() {
        if !index.valid {
            let remark = format!("{} is invalid and was not compared", index.name);
            tally.remarks.push(remark);
            continue;
        }
        let (probes, missing) = probe::probes(index);
        let missing = missing.into_iter().map(|why| format!("{}: {why}", index.name));
        tally.not_planned.extend(missing);
        for probe in probes {
            let together = matches!(probe, Probe::Walk);
            let list = if together { &mut walks } else { &mut others };
            list.push(Planned { index, probe });
        }
    }
    let mut transaction = client.transaction().await?;
    transaction.batch_execute(SETTINGS).await?;
    for together in walks.chunks(TOGETHER) {
        if let Answer::Proven(wrong) = ask(&mut transaction, together, false).await? {
            note(&mut tally, together, wrong);
        } else {
            for one in together {
                alone(&mut transaction, one, &mut tally).await?;
            }
        }
    }
    for one in &others {
        alone(&mut transaction, one, &mut tally).await?;
    }
    transaction.rollback().await?;
    Ok(tally)
}

/// One probe by itself.
async fn alone(
    transaction: &mut Transaction<'_>,
    planned: &Planned<'_>,
    tally: &mut Tally,
) -> Result<(), tokio_postgres::Error> {
    let together = std::slice::from_ref(planned);
    let mut answer = ask(transaction, together, false).await?;
    if matches!(answer, Answer::NotUsed) && !planned.index.system {
        answer = ask(transaction, together, true).await?;
    }
    if !matches!(answer, Answer::Proven(_)) && !still_there(transaction, planned.index).await? {
        return Ok(()); // dropped, or made invalid, since it was listed
    }
    let name = &planned.index.name;
    match answer {
        Answer::Proven(wrong) => note(tally, together, wrong),
        Answer::NotUsed if planned.index.young => tally.not_planned.push(format!(
            "{name}: transactions that are older than it may not use it yet"
        )),
        Answer::NotUsed => tally.not_planned.push(format!(
            "{name}: the planner does not use it for {}",
            planned.probe.asks()
        )),
        Answer::Damaged(reason) => tally.problems.push(Problem::of_index(planned.index, &reason)),
        Answer::Refused(code) => tally
            .not_planned
            .push(format!("{name}: {} is refused ({code})", planned.probe.asks())),
    }
    Ok(())
}

/// Asks several probes in one statement; with `hidden`, the other indexes of the table do not exist for the planner.
async fn ask(
    transaction: &mut Transaction<'_>,
    together: &[Planned<'_>],
    hidden: bool,
) -> Result<Answer, tokio_postgres::Error> {
    let savepoint = transaction.savepoint("drill_probe").await?;
    let answer = match run(&savepoint, together, hidden).await {
        Ok(answer) => answer,
        Err(error) => match (damage(&error), error.code()) {
            (Some(reason), _) => Answer::Damaged(reason),
            (None, Some(code)) => Answer::Refused(code.code().to_owned()),
            (None, None) => return Err(error),
        },
    };
    savepoint.rollback().await?;
    // It outlives the savepoint, unless it could not be prepared.
    let prepared = "SELECT 1 FROM pg_prepared_statements WHERE name = 'drill_probe'";
    if transaction.query_opt(prepared, &[]).await?.is_some() {
        transaction.batch_execute("DEALLOCATE drill_probe").await?;
    }
    Ok(answer)
}

async fn run(
    savepoint: &Transaction<'_>,
    together: &[Planned<'_>],
    hidden: bool,
) -> Result<Answer, tokio_postgres::Error> {
    if hidden {
        // Only this transaction sees it, and it is rolled back.
        let hide = "UPDATE pg_index SET indisvalid = false WHERE indrelid = $1 AND indexrelid <> $2 AND indisvalid";
        for Planned { index, .. } in together {
            savepoint.execute(hide, &[&index.table_oid, &index.oid]).await?;
        }
    }
    let numbered = together.iter().enumerate();
    let (parts, queries): (Vec<_>, Vec<_>) = numbered.map(|(n, planned)| planned.probe.sql(planned.index, n)).unzip();
    let sql = format!("WITH {} {}", parts.join(",\n"), queries.join("\nUNION ALL "));
    // Prepared, it is planned once: what is explained is what is executed.
    let prepare = format!("PREPARE drill_probe AS {sql}; EXPLAIN (FORMAT JSON) EXECUTE drill_probe");
    let explained = savepoint.simple_query(&prepare).await?;
    let plan = explained.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => serde_json::from_str::<Value>(row.get(0)?).ok(),
        _ => None,
    });
    let parts = plan.as_ref().map(Parts::of).unwrap_or_default();
    let mut numbered = together.iter().enumerate();
    if !numbered.all(|(n, planned)| parts.prove(n, &planned.index.bare_name)) {
        return Ok(Answer::NotUsed);
    }
    let mut wrong = Vec::new();
    for row in savepoint.query("EXECUTE drill_probe", &[]).await? {
        wrong.push(Wrong {
            probe: usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default(),
            what: row.try_get(1)?,
            whose: row.try_get(2)?,
        });
    }
    Ok(Answer::Proven(wrong))
}

/// What proven probes found.
fn note(tally: &mut Tally, together: &[Planned<'_>], wrong: Vec<Wrong>) {
    tally.sampled += together.iter().filter(|planned| planned.probe.samples()).count();
    for Wrong { probe, what, whose } in wrong {
        let Some(Planned { index, .. }) = together.get(probe) else {
            continue;
        };
        tally.problems.push(match whose.as_str() {
            "index" => Problem::of_index(index, &what),
            "map" => Problem::of_visibility_map(index, &what),
            _ => Problem::of_table(&index.name, &what),
        });
    }
}

async fn still_there(transaction: &Transaction<'_>, index: &Index) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT 1 FROM pg_index WHERE indexrelid = $1 AND indisvalid AND indisready AND indislive";
    Ok(transaction.query_opt(sql, &[&index.oid]).await?.is_some())
}
