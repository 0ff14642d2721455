//! `collations`: the versions of collations that were recorded when indexes were built are those of this system.
//!
//! A restore onto another C library or ICU changes the order of texts: indexes built before find wrong rows and take
//! duplicates until they are rebuilt. What it cannot see: collations whose provider has no versions (`C`, `C.UTF-8`),
//! which never change, and changes that a provider made without a new version.

use reports::{CheckId, CheckResult, text::number};
use tokio_postgres::{Client, Row};

use super::{Subject, databases};
use crate::record::check::{Found, first_few, timed};

/// This database: name, recorded, actual. From PostgreSQL 15 on.
const OWN: &str = "SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
                    WHERE datname = current_database()";

/// Collations that a column or an index of this database uses, with the indexes that sort by them. 100 is the database's own.
const USED: &str = r"
WITH sorted AS (SELECT i.indexrelid, unnest(i.indcollation::oid[]) AS coll FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')),
     used AS (SELECT coll FROM sorted UNION SELECT a.attcollation FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))
SELECT c.collname::text, c.collversion, CASE WHEN c.oid <> 100 THEN pg_collation_actual_version(c.oid) END, c.oid = 100,
       ARRAY(SELECT DISTINCT s.indexrelid::regclass::text FROM sorted s WHERE s.coll = c.oid ORDER BY 1)
  FROM pg_collation c WHERE c.oid IN (SELECT coll FROM used) ORDER BY 1";

/// The repair in one database: what depends on a collation of another version is rebuilt, then the version is recorded
/// anew.
const CURES: &str = r"
WITH sorted AS (SELECT i.indexrelid, unnest(i.indcollation::oid[]) AS coll FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 WHERE c.relkind = 'i' AND c.relpersistence <> 't'),
     drifted AS (SELECT 100::oid AS coll, format('ALTER DATABASE %I REFRESH COLLATION VERSION', datname) AS refresh FROM pg_database
                  WHERE datname = current_database() AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
                    AND datcollversion IS NOT NULL
                  UNION ALL
                 SELECT oid, format('ALTER COLLATION %s REFRESH VERSION', oid::regcollation) FROM pg_collation
                  WHERE oid <> 100 AND collversion IS DISTINCT FROM pg_collation_actual_version(oid) AND collversion IS NOT NULL)
SELECT d.refresh, ARRAY(SELECT DISTINCT format('REINDEX INDEX %s', s.indexrelid::regclass) FROM sorted s WHERE s.coll = d.coll ORDER BY 1)
  FROM drifted d ORDER BY 1";

/// The repair, for the database that `client` is connected to: a REINDEX of what depends on a collation that has another
/// version here than recorded, then the recording of the new version. (The server refuses to record one where there was
/// none before, or none any more.) From PostgreSQL 15 on.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn cures(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut statements = Vec::new();
    for row in client.query(CURES, &[]).await? {
        statements.extend(row.try_get::<_, Vec<String>>(1)?);
        statements.push(row.try_get(0)?);
    }
    Ok(statements)
}

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::Collations, subject.phase, subject.name, async {
        let looks = databases::each(subject, |database, client| look(subject, database, client)).await?;
        let mut all = Look::default();
        for (_, look) in looks.found {
            all.drifted.extend(look.drifted);
            all.compared += look.compared;
            all.unversioned += look.unversioned;
        }
        let actual = format!(
            "{} as recorded, {} different, {} without a version",
            number(all.compared as u64),
            number(all.drifted.len() as u64),
            number(all.unversioned as u64)
        );
        let expected = "every collation in use has the version that it had when indexes were built";
        let found = Found::judge(all.drifted.is_empty(), expected, actual);
        databases::unless_failed::<tokio_postgres::Error>(found.detail(all.drifted.join("; ")), looks.failed)
    })
    .await
}

/// What was found in one database.
#[derive(Default)]
struct Look {
    drifted: Vec<String>,
    compared: usize,
    unversioned: usize,
}

/// The collation of a database, and those that its columns and indexes use.
async fn look(subject: &Subject<'_>, database: String, client: Client) -> Result<Look, tokio_postgres::Error> {
    let version = client.query_one("SELECT current_setting('server_version_num')::int", &[]);
    let version: i32 = version.await?.try_get(0)?;
    let own = if version >= 150_000 {
        client.query_opt(OWN, &[]).await?
    } else {
        None
    };
    let used = client.query(USED, &[]).await?;
    let mut look = Look::default();
    let mut indexes_of_default = Vec::new();
    let place = databases::place(subject, &database);
    for row in &used {
        let indexes: Vec<String> = row.try_get(4)?;
        if row.try_get(3)? {
            indexes_of_default = indexes;
        } else {
            look.compare(
                &format!("{place}collation {}", row.try_get::<_, &str>(0)?),
                row,
                &indexes,
            )?;
        }
    }
    if let Some(row) = &own {
        look.compare(&format!("database {database}"), row, &indexes_of_default)?;
    }
    Ok(look)
}

impl Look {
    /// Compares the version that was recorded (the second column) with the one here (the third).
    fn compare(&mut self, what: &str, row: &Row, indexes: &[String]) -> Result<(), tokio_postgres::Error> {
        let (recorded, actual): (Option<&str>, Option<&str>) = (row.try_get(1)?, row.try_get(2)?);
        match (recorded, actual) {
            (None, _) => self.unversioned += 1,
            (Some(recorded), Some(actual)) if recorded == actual => self.compared += 1,
            (Some(recorded), actual) => {
                let rebuild = match indexes {
                    [] => String::new(),
                    indexes => format!(", REINDEX {}", first_few(indexes)),
                };
                let here = actual.unwrap_or("none");
                self.drifted
                    .push(format!("{what}: recorded {recorded}, here {here}{rebuild}"));
            }
        }
        Ok(())
    }
}
