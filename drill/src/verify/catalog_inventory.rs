//! `catalog-inventory`: everything that a restore can lose besides rows: each row of each catalogue of every database, and
//! the settings, against the log of references ([`crate::reference::inventory`]).
//!
//! What the service itself changed around the point that was reached is listed and never failed. Large objects are compared
//! with the rows that refer to them, because no foreign key does that. Roles and rights are recorded with it and judged by
//! [`super::privileges`]. What it cannot see: contents.

use postgres_protocol::escape::escape_identifier;
use reports::{
    CheckId, CheckResult,
    text::{counted, number, shortened},
};

use super::Subject;
use crate::{
    errors::{chain, damage},
    record::check::{Found, first_few, timed},
    reference::{
        Reading, ReferenceError, ReferringTable, Scope, Truth,
        inventory::{self, About, Compared, Cure, Difference, roundtrip},
    },
};

/// So many differences are named; of the others it is said how many there are.
const NAMED: usize = 60;
/// What this check judges.
const KINDS: [About; 3] = [About::Object, About::Setting, About::Server];

/// What a look at a cluster's inventory says; two checks judge it.
pub enum Look<'a> {
    /// How it differs from what is true.
    Compared(&'a Truth, Compared),
    /// It cannot be read, and the error reports damage.
    Damaged(String),
    /// It could not be compared: why not.
    Unknown(String),
}

/// Reads a cluster's inventory and compares it.
pub async fn look<'a>(subject: &'a Subject<'_>) -> Look<'a> {
    let Some(truth) = subject.truth.filter(|truth| truth.newest().is_some()) else {
        return Look::Unknown("nothing was recorded before the point that was reached".to_owned());
    };
    let reading = Reading {
        database: match &truth.scope {
            Scope::Database(database) => Some(database.clone()),
            Scope::Cluster | Scope::Source => None,
        },
        system_rows: !matches!(truth.scope, Scope::Database(_)),
        ..Reading::default()
    };
    let compared = async {
        let found = inventory::read(subject.cluster, &reading).await?;
        let compared = inventory::compare(truth, &found);
        roundtrip::without_equivalent_texts(subject.cluster, truth, compared).await
    };
    match compared.await {
        Ok(compared) => Look::Compared(truth, compared),
        Err(error) => match &error {
            ReferenceError::Query { source, .. } if damage(source).is_some() => Look::Damaged(chain(&error)),
            _ => Look::Unknown(chain(&error)),
        },
    }
}

/// Differences as texts: what people look for first comes first.
pub(super) fn named(differences: &[&Difference], more: &[String]) -> String {
    let mut differences: Vec<_> = differences.to_vec();
    differences.sort_by_key(|difference| match difference.catalogue.as_str() {
        "pg_database" => 0,
        "pg_class" => 1,
        "pg_depend" | "pg_shdepend" | "pg_description" => 3,
        _ => 2,
    });
    let texts = differences.iter().map(ToString::to_string);
    let all: Vec<String> = more.iter().cloned().chain(texts).collect();
    shortened(&all, NAMED)
}

/// What the service changed, for people.
fn changed(compared: &Compared) -> String {
    if compared.changed.is_empty() {
        return String::new();
    }
    format!(
        "changed by the service around that point: {}",
        first_few(&compared.changed)
    )
}

/// The check: nothing missing, nothing changed, nothing that was not there.
pub async fn check(subject: &Subject<'_>, look: &Look<'_>) -> CheckResult {
    timed(CheckId::CatalogInventory, subject.phase, subject.name, async {
        let expected = "every object and setting as it was, every attachment with its large object";
        let (truth, compared) = match look {
            Look::Compared(truth, compared) => (truth, compared),
            Look::Damaged(text) => {
                return Ok(Found::fail(expected, "the catalogues cannot be read").detail(text.clone()));
            }
            Look::Unknown(reason) => return Ok(Found::unknown(expected, reason.clone())),
        };
        let expected = format!(
            "every object and setting {}, every attachment with its large object",
            truth.moments()
        );
        let differences = compared.about(&KINDS);
        let attachments = without_large_object(subject).await?;
        let all = differences.len() + attachments.len();
        let actual = if all == 0 {
            format!("{} objects, rights and settings", number(compared.facts as u64))
        } else {
            counted(all, "difference")
        };
        let mut detail = named(&differences, &attachments);
        let changed = changed(compared);
        if !detail.is_empty() && !changed.is_empty() {
            detail.push_str("; ");
        }
        Ok::<_, tokio_postgres::Error>(Found::judge(all == 0, expected, actual).detail(detail + &changed))
    })
    .await
}

/// The repair: what is switched off is switched on again, settings of databases and roles are put back. `None` if that is
/// not all that differs. The server refuses to validate a constraint that a row violates. What a trigger would have done
/// meanwhile stays undone.
///
/// # Errors
/// If the database cannot be read.
pub async fn cures(subject: &Subject<'_>, look: &Look<'_>) -> Result<Option<Vec<Cure>>, tokio_postgres::Error> {
    let Look::Compared(_, compared) = look else {
        return Ok(None);
    };
    if !without_large_object(subject).await?.is_empty() {
        return Ok(None);
    }
    Ok(inventory::cures(&compared.about(&KINDS)))
}

/// Rows without the large object that they refer to, in the table that has such a column.
async fn without_large_object(subject: &Subject<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    let Some(ReferringTable { table, key, column }) = subject.service.large_objects() else {
        return Ok(Vec::new());
    };
    let client = subject.superuser().await?;
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('public.' || quote_ident($1)) AND attname IN ($2, $3)";
    if client
        .query_one(columns, &[table, key, column])
        .await?
        .try_get::<_, i64>(0)?
        < 2
    {
        return Ok(Vec::new()); // its absence is a difference of its own
    }
    let (key, column, from) = (
        escape_identifier(key),
        escape_identifier(column),
        escape_identifier(table),
    );
    let sql = format!(
        "SELECT format('row %s of {table} refers to large object %s, which is not there', a.{key}, a.{column})
           FROM public.{from} a LEFT JOIN pg_largeobject_metadata m ON m.oid = a.{column} WHERE m.oid IS NULL"
    );
    let rows = client.query(&sql, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
