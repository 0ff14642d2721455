//! `collations`: the versions of collations that were recorded when indexes were built are those of this system.
//!
//! A restore onto another C library or ICU changes the order of texts: indexes built before find wrong rows and take
//! duplicates until they are rebuilt. What it cannot see: collations whose provider has no versions (`C`, `C.UTF-8`),
//! which never change, and changes that a provider made without a new version.

use reports::{CheckId, CheckResult};
use tokio_postgres::Client;

use super::{Found, Subject, first_few, timed};

/// Databases: name, recorded, actual. From PostgreSQL 15 on.
const DATABASES: &str =
    "SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
                          WHERE datallowconn ORDER BY 1";

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
        statements.extend(row.get::<_, Vec<String>>(1));
        statements.push(row.get(0));
    }
    Ok(statements)
}

/// The check.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::Collations, subject.phase, subject.name, async {
        let client = subject.superuser().await?;
        let collations = client.query(USED, &[]).await?;
        let dependents = |default: bool, name: &str| {
            let row = collations
                .iter()
                .find(|row| row.get::<_, bool>(3) == default && (default || row.get::<_, &str>(0) == name));
            row.map(|row| row.get::<_, Vec<String>>(4)).unwrap_or_default()
        };
        let versions: i32 = client
            .query_one("SELECT current_setting('server_version_num')::int", &[])
            .await?
            .get(0);
        let databases = if versions >= 150_000 {
            client.query(DATABASES, &[]).await?
        } else {
            Vec::new()
        };
        let (mut drifted, mut compared, mut unversioned) = (Vec::new(), 0, 0);
        let all = databases.iter().map(|row| ("database", row)).chain(
            collations
                .iter()
                .filter(|row| !row.get::<_, bool>(3))
                .map(|row| ("collation", row)),
        );
        for (kind, row) in all {
            let (name, recorded, actual): (&str, Option<&str>, Option<&str>) = (row.get(0), row.get(1), row.get(2));
            match (recorded, actual) {
                (None, _) => unversioned += 1,
                (Some(recorded), Some(actual)) if recorded == actual => compared += 1,
                (Some(recorded), actual) => {
                    let (default, here) = (kind == "database", name == fixtures::DATABASE);
                    let indexes = if default && !here {
                        Vec::new()
                    } else {
                        dependents(default, name)
                    };
                    let rebuild = if indexes.is_empty() {
                        String::new()
                    } else {
                        format!(", REINDEX {}", first_few(&indexes))
                    };
                    drifted.push(format!(
                        "{kind} {name}: recorded {recorded}, here {}{rebuild}",
                        actual.unwrap_or("none")
                    ));
                }
            }
        }
        let actual = format!(
            "{compared} as recorded, {} different, {unversioned} without a version",
            drifted.len()
        );
        let expected = "every collation in use has the version that it had when indexes were built";
        Ok::<_, tokio_postgres::Error>(Found::judge(drifted.is_empty(), expected, actual).detail(drifted.join("; ")))
    })
    .await
}
