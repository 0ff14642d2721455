//! Prepared transactions outlive every restart and every restore, and keep their locks. One that keeps the application from
//! writing is rolled back, and said; one that blocks nothing is left to whoever coordinates it, and said.

use std::fmt;

use postgres_protocol::escape::escape_literal;
use reports::{
    Step, Verdict, What,
    text::{counted, seconds},
};
use tokio_postgres::Client;

use crate::{errors::chain, postgres::Cluster, service::Role as AccountRole, state::Drill};

use super::questions;

const PREPARED: &str = "
SELECT gid::text, owner::text, database::text, transaction::text, extract(epoch FROM now() - prepared)::float8
  FROM pg_prepared_xacts WHERE NOT pg_is_in_recovery() ORDER BY prepared";

/// Locks of a transaction on what the application writes to that conflict with writing, and on the catalog that conflict
/// with reading. Its virtual id is that of its session while that server runs, and another after a restart: it is found by
/// the lock that every transaction holds on its own id.
const LOCKS: &str = "
SELECT format('%s on %s', l.mode, c.oid::regclass)
  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
 WHERE l.locktype = 'relation' AND l.pid IS NULL AND l.virtualtransaction IN
       (SELECT x.virtualtransaction FROM pg_locks x
         WHERE x.locktype = 'transactionid' AND x.pid IS NULL AND x.transactionid = $1::text::xid)
   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND (c.oid < 16384 AND l.mode = 'AccessExclusiveLock'
        OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $2
                      AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE')
                               ELSE has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE') END))
 ORDER BY 1";

/// Tables that the application writes to and that a transaction changed or locked rows of.
const ROWS: &str = "
SELECT DISTINCT c.oid::regclass::text
  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_roles r ON r.rolname = $2
 WHERE l.locktype = 'relation' AND l.pid IS NULL AND l.virtualtransaction IN
       (SELECT x.virtualtransaction FROM pg_locks x
         WHERE x.locktype = 'transactionid' AND x.pid IS NULL AND x.transactionid = $1::text::xid)
   AND l.mode IN ('RowShareLock', 'RowExclusiveLock') AND c.relkind = 'r' AND c.oid >= 16384
   AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE')
 ORDER BY 1";

/// A prepared transaction.
pub(super) struct Prepared {
    gid: String,
    owner: String,
    database: String,
    xid: String,
    age_s: f64,
}

impl Prepared {
    /// What it is called, by whoever coordinates it.
    pub(super) fn gid(&self) -> &str {
        &self.gid
    }
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gid, owner, age_s, .. } = self;
        write!(
            f,
            "prepared transaction {gid:?} of {owner}, {} old",
            seconds(age_s.round())
        )
    }
}

/// Rolls back what keeps the application from writing to a cluster, and says what else is prepared there. Whether anything was
/// rolled back. A server that does not answer is left to whoever looks at it next. `step` is the one that this belongs to.
pub(super) async fn cleared(drill: &Drill, cluster: &Cluster, step: Step) -> bool {
    let Ok(client) = cluster.connect("postgres", drill.estate.site.service.database()).await else {
        return false;
    };
    match clear(drill, cluster, step, &client).await {
        Ok(cleared) => cleared,
        Err(error) => {
            tracing::debug!(
                cluster = cluster.name(),
                error = chain(&error),
                "prepared transactions were not looked at"
            );
            false
        }
    }
}

async fn clear(drill: &Drill, cluster: &Cluster, step: Step, client: &Client) -> Result<bool, tokio_postgres::Error> {
    let found = client.query(PREPARED, &[]).await?;
    if found.is_empty() {
        return Ok(false);
    }
    // A rollback must not wait for a standby that is gone.
    client
        .batch_execute("SET lock_timeout = '2s'; SET synchronous_commit = local")
        .await?;
    let mut rest = Vec::new();
    let mut cleared = false;
    for row in &found {
        let prepared = Prepared {
            gid: row.try_get(0)?,
            owner: row.try_get(1)?,
            database: row.try_get(2)?,
            xid: row.try_get(3)?,
            age_s: row.try_get(4)?,
        };
        let here = prepared.database == drill.estate.site.service.database();
        match if here { locks(client, &prepared).await? } else { None } {
            Some(held) => cleared |= rolled_back(drill, cluster, step, client, &prepared, &held).await,
            None => rest.push((here, prepared)),
        }
    }
    // Rows are read only once no table is locked any more.
    for (here, prepared) in rest {
        match if here { rows(client, &prepared).await? } else { None } {
            Some(held) => cleared |= rolled_back(drill, cluster, step, client, &prepared, &held).await,
            None => drill.desk.recorder.finding(format!(
                "{} has {prepared} in database {}: it keeps nobody from writing and stays.",
                cluster.name(),
                prepared.database
            )),
        }
    }
    Ok(cleared)
}

/// The locks by which it keeps the application from a whole table.
async fn locks(client: &Client, prepared: &Prepared) -> Result<Option<String>, tokio_postgres::Error> {
    let application = AccountRole::TransformationApp.name();
    let rows = client.query(LOCKS, &[&prepared.xid, &application]).await?;
    let held: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok((!held.is_empty()).then(|| held.join(", ")))
}

/// The tables in which it keeps the application from some rows. What it merely inserted is in nobody's way.
async fn rows(client: &Client, prepared: &Prepared) -> Result<Option<String>, tokio_postgres::Error> {
    let application = AccountRole::TransformationApp.name();
    let mut held = Vec::new();
    for row in client.query(ROWS, &[&prepared.xid, &application]).await? {
        let table: String = row.try_get(0)?;
        let sql = format!("SELECT count(*) FROM {table} WHERE xmax = $1::text::xid");
        let count: i64 = client.query_one(&sql, &[&prepared.xid]).await?.try_get(0)?;
        if count > 0 {
            held.push(format!("{} of {table}", counted(count, "row")));
        }
    }
    Ok((!held.is_empty()).then(|| held.join(", ")))
}

/// Rolls it back, if whoever decides agrees; a repair and a critical finding.
async fn rolled_back(
    drill: &Drill,
    cluster: &Cluster,
    step: Step,
    client: &Client,
    prepared: &Prepared,
    held: &str,
) -> bool {
    let name = cluster.name();
    let told = format!("{prepared}: it keeps the application from writing ({held})");
    let question = questions::roll_back(step, name, prepared, &told);
    if cluster.authorise_destruction().is_err() || !drill.desk.operator.decides(question).await {
        drill
            .desk
            .recorder
            .finding(format!("Critical: {name} has {told}. It was not rolled back."));
        return false;
    }
    let sql = format!("ROLLBACK PREPARED {}", escape_literal(&prepared.gid));
    let done = client.batch_execute(&sql).await;
    drill.desk.recorder.record(What::Repaired {
        action: format!("roll back prepared transaction {:?} ({name})", prepared.gid),
        verdict: Verdict::from_holds(done.is_ok()),
        detail: match &done {
            Ok(()) => told.clone(),
            Err(error) => chain(error),
        },
    });
    let what_became = if done.is_ok() {
        "It was rolled back: what it did is lost, and whoever coordinates it must know."
    } else {
        "It could not be rolled back."
    };
    drill
        .desk
        .recorder
        .finding(format!("Critical: {name} had {told}. {what_became}"));
    done.is_ok()
}
