//! The scans: several connections that see one snapshot, each reading one section after the other.
//!
//! Plans are forced to parallel sequential scans: an index that lost an entry must not hide a row. `OFFSET 0` is a
//! fence: without it the planner would copy the hash into each aggregate's argument, and every row would be hashed
//! three times. Behind it rows are hashed by the workers and added up by the leader, which costs less than a lateral
//! subquery with partial aggregates (0.6 against 1.0 µs a row on narrow rows; on rows of some kB neither matters).
//! Aggregates over halves of 32 bits or `bit_xor` are not quicker than `sum(bigint)`, which adds in 128 bits.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{TryStreamExt as _, future::join_all};
use postgres_protocol::escape::escape_literal;
use tokio_postgres::{Client, Config, Row};

use super::{FingerprintError, Section, Sums};
use crate::postgres::connection;

/// How finely a section is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// All rows in one.
    Whole,
    /// By `key >> shift`; a section without a key is one range, 0.
    Ranges(u32),
    /// Each row with its hash, by key.
    Rows,
}

/// Which rows of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within {
    /// Keys up to this.
    pub max_key: Option<i64>,
    /// Not the rows with one of these values of `key >> shift`.
    pub except: Vec<i64>,
    /// Only the rows with one of these values of `key >> shift`.
    pub only: Option<Vec<i64>>,
    /// The shift of `except`.
    pub except_shift: u32,
    /// The shift of `only`.
    pub only_shift: u32,
}

/// One scan.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// What to read.
    pub section: &'a Section,
    /// Which rows of it.
    pub within: Within,
    /// How finely.
    pub grain: Grain,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanned {
    /// For [`Grain::Whole`].
    Whole(Sums),
    /// For [`Grain::Ranges`]: `key >> shift` and its sums, ascending; ranges without rows are left out.
    Ranges(Vec<(i64, Sums)>),
    /// For [`Grain::Rows`]: key and hash, ascending.
    Rows(Vec<(i64, i64)>),
}

impl Scanned {
    /// The sums of everything that was read.
    pub fn total(&self) -> Sums {
        match self {
            Self::Whole(sums) => *sums,
            Self::Ranges(ranges) => ranges.iter().map(|(_, sums)| *sums).sum(),
            Self::Rows(rows) => rows.iter().map(|(_, hash)| Sums::of(*hash)).sum(),
        }
    }
}

impl Task<'_> {
    /// The statement.
    pub fn sql(&self) -> String {
        let Self { section, within, grain } = self;
        let key = section.key.as_deref().unwrap_or("0::bigint");
        let mut conditions = Vec::new();
        if section.key.is_some() {
            conditions.extend(within.max_key.map(|max| format!("{key} <= {max}")));
            if !within.except.is_empty() {
                let (except, shift) = (array(&within.except), within.except_shift);
                conditions.push(format!("{key} >> {shift} <> ALL ({except})"));
            }
            if let Some(only) = &within.only {
                conditions.push(format!("{key} >> {} = ANY ({})", within.only_shift, array(only)));
            }
        }
        let condition = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let (hash, from) = (&section.hash, &section.from);
        let rows = format!("(SELECT {key} AS k, {hash} AS h FROM {from}{condition} OFFSET 0) AS hashed");
        match grain {
            Grain::Whole => format!("SELECT {SUMS} FROM {rows}"),
            Grain::Ranges(shift) => format!("SELECT {SUMS}, k >> {shift} FROM {rows} GROUP BY 4"),
            Grain::Rows => format!("SELECT k, h FROM {rows}"),
        }
    }

    async fn run(&self, client: &Client) -> Result<Scanned, tokio_postgres::Error> {
        let sql = self.sql();
        let statement = client.prepare(&sql).await?;
        let mut stream = pin!(client.query_raw(&statement, std::iter::empty::<i64>()).await?);
        let (mut ranges, mut rows) = (Vec::new(), Vec::new());
        while let Some(row) = stream.try_next().await? {
            match self.grain {
                Grain::Whole => return Ok(Scanned::Whole(sums(&row)?)),
                Grain::Ranges(_) => ranges.push((row.try_get(3)?, sums(&row)?)),
                Grain::Rows => rows.push((row.try_get(0)?, row.try_get(1)?)),
            }
        }
        // Sorted here: the server need not sort, and equal keys (a damaged primary key) stay side by side.
        ranges.sort_unstable_by_key(|(range, _)| *range);
        rows.sort_unstable();
        Ok(if self.grain == Grain::Rows {
            Scanned::Rows(rows)
        } else {
            Scanned::Ranges(ranges)
        })
    }
}

/// Count and both sums, the latter modulo 2^64 as bigint (a sum of bigint is numeric, and modulo keeps its sign).
const SUMS: &str = "count(*), \
     (mod(coalesce(sum(h), 0) + 170141183460469231731687303715884105728, 18446744073709551616) - 9223372036854775808)::bigint, \
     (mod(coalesce(sum((h >> 32) * (h & 4294967295)), 0) + 170141183460469231731687303715884105728, 18446744073709551616) \
      - 9223372036854775808)::bigint";

fn sums(row: &Row) -> Result<Sums, tokio_postgres::Error> {
    // Moved by 2^63, so that it fits a bigint: moved back here.
    let unsigned = |moved: i64| moved.cast_unsigned() ^ (1 << 63);
    Ok(Sums {
        rows: row.try_get::<_, i64>(0)?.cast_unsigned(),
        hashes: unsigned(row.try_get(1)?),
        products: unsigned(row.try_get(2)?),
    })
}

fn array(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("'{{{}}}'::bigint[]", numbers.join(","))
}

/// Connections that see the same snapshot, ready to scan.
pub struct Sessions {
    clients: Vec<Client>,
}

impl Sessions {
    /// Opens them with a snapshot that another transaction exported, or with one of their own.
    ///
    /// # Errors
    /// If the server lets none of them in, or the snapshot is gone.
    pub async fn open(config: &Config, snapshot: Option<&str>, connections: usize) -> Result<Self, FingerprintError> {
        let first = session(config, snapshot).await.map_err(FingerprintError::Connect)?;
        if connections <= 1 {
            return Ok(Self { clients: vec![first] });
        }
        let exported = if let Some(snapshot) = snapshot {
            snapshot.to_owned()
        } else {
            let exported = first.query_one("SELECT pg_export_snapshot()", &[]).await;
            exported
                .and_then(|row| row.try_get(0))
                .map_err(FingerprintError::Connect)?
        };
        let mut clients = vec![first];
        for _ in 1..connections {
            clients.push(
                session(config, Some(&exported))
                    .await
                    .map_err(FingerprintError::Connect)?,
            );
        }
        Ok(Self { clients })
    }

    /// Any of the connections, for what is asked before the scans.
    pub fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// Carries out all tasks, as many at a time as there are connections; results are in the tasks' order.
    pub async fn run(&self, tasks: &[Task<'_>]) -> Vec<Result<Scanned, FingerprintError>> {
        let next = AtomicUsize::new(0);
        let workers = self.clients.iter().map(|client| async {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(number) else { return done };
                done.push((number, attempt(client, task).await));
            }
        });
        let mut done: Vec<_> = join_all(workers).await.into_iter().flatten().collect();
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

/// One task in a subtransaction: a damaged table must not end the transaction that holds the snapshot.
async fn attempt(client: &Client, task: &Task<'_>) -> Result<Scanned, FingerprintError> {
    let scan = |source| FingerprintError::Scan {
        section: task.section.name.clone(),
        source,
    };
    client.batch_execute("SAVEPOINT scan").await.map_err(scan)?;
    let result = task.run(client).await;
    let end = if result.is_ok() {
        "RELEASE scan"
    } else {
        "ROLLBACK TO scan"
    };
    let ended = client.batch_execute(end).await;
    result.and_then(|scanned| ended.map(|()| scanned)).map_err(scan)
}

/// A connection in a read-only transaction, with every setting that plans and text forms depend on.
async fn session(config: &Config, snapshot: Option<&str>) -> Result<Client, tokio_postgres::Error> {
    let client = connection::verifying(config).await?;
    client.batch_execute(&settings(cores())).await?;
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    if let Some(snapshot) = snapshot {
        client
            .batch_execute(&format!("SET TRANSACTION SNAPSHOT {}", escape_literal(snapshot)))
            .await?;
    }
    Ok(client)
}

/// Settings for a parallel sequential scan with up to `workers` workers beside the leader. What a role or a database has
/// been given as a limit of time does not hold here; whoever holds a lock is not waited for much longer than a check takes.
pub fn settings(workers: usize) -> String {
    format!(
        "SET search_path = ''; SET jit = off; SET row_security = off;
         SET enable_seqscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
         SET enable_tidscan = off; SET max_parallel_workers_per_gather = {workers};
         SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         SET parallel_leader_participation = on; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD';
         SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmlbinary = 'base64';
         SET lc_monetary = 'C'; SET quote_all_identifiers = off; SET lock_timeout = '5s';
         SELECT set_config(name, '0', false) FROM pg_settings
          WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
    )
}

/// How many workers the planner gives a statement, by its plan.
///
/// # Errors
/// If the server cannot plan it.
pub async fn workers_planned(client: &Client, sql: &str) -> Result<u32, tokio_postgres::Error> {
    const MARK: &str = "Workers Planned: ";
    let plan = client.query(&format!("EXPLAIN {sql}"), &[]).await?;
    for line in &plan {
        let line: &str = line.try_get(0)?;
        if let Some(planned) = line.trim_start().strip_prefix(MARK).and_then(|rest| rest.parse().ok()) {
            return Ok(planned);
        }
    }
    Ok(0)
}

/// How many connections share the scans of one database.
pub fn connections() -> usize {
    cores().clamp(2, 4)
}

/// How many cores there are for server and harness together.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
