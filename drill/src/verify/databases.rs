//! Every database of a cluster: what is wrong in one that the service does not use is wrong with the cluster.

use futures_util::{StreamExt as _, stream};
use reports::Verdict;
use tokio_postgres::Client;

use super::Subject;
use crate::record::check::Found;

/// Databases that a check looks at at the same time: checks run side by side themselves, and a server has only so many
/// connections to give.
const SIDE_BY_SIDE: usize = 2;

/// What was found in each database, and why one could not be looked at.
pub struct Looks<T, E> {
    /// By database; the service's own comes first, the others follow by name.
    pub found: Vec<(String, T)>,
    /// The first reason, where a database could not be looked at.
    pub failed: Option<E>,
}

impl<T, E> Looks<T, E> {
    /// For whoever needs every database.
    ///
    /// # Errors
    /// If one could not be looked at.
    pub fn all(self) -> Result<Vec<(String, T)>, E> {
        self.failed.map_or(Ok(self.found), Err)
    }
}

/// What a check found, where a part of it may have failed: damage that was seen is damage, whatever could not be seen beside it.
///
/// # Errors
/// What failed, unless damage was seen.
pub fn unless_failed<E>(found: Found, failed: Option<E>) -> Result<Found, E> {
    match failed {
        Some(error) if found.verdict() != Verdict::Fail => Err(error),
        _ => Ok(found),
    }
}

/// Does `work` in every database that lets connections in, some side by side. One that is dropped meanwhile is left out.
///
/// # Errors
/// If the server does not tell which databases there are.
pub async fn each<T, E, W, F>(subject: &Subject<'_>, work: W) -> Result<Looks<T, E>, E>
where
    E: From<tokio_postgres::Error>,
    W: Fn(String, Client) -> F,
    F: Future<Output = Result<T, E>>,
{
    let names = names(&subject.superuser().await?).await?;
    let work = &work;
    let all: Vec<_> = stream::iter(names)
        .map(|database| async move {
            let client = match subject.database(&database).await {
                Err(_) if !exists(subject, &database).await? => return Ok::<_, E>(None),
                client => client?,
            };
            let found = work(database.clone(), client).await?;
            Ok(Some((database, found)))
        })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut looks = Looks {
        found: Vec::new(),
        failed: None,
    };
    for look in all {
        match look {
            Ok(found) => looks.found.extend(found),
            Err(error) => {
                looks.failed.get_or_insert(error);
            }
        }
    }
    Ok(looks)
}

/// As [`each`], but only in databases that have relations of their own: for what the server's own catalogues have none of.
///
/// # Errors
/// As [`each`].
pub async fn each_with_relations<T, E, W, F>(subject: &Subject<'_>, work: W) -> Result<Looks<T, E>, E>
where
    E: From<tokio_postgres::Error>,
    W: Fn(String, Client) -> F,
    F: Future<Output = Result<T, E>>,
{
    let work = &work;
    let looks = each(subject, |database, client| async move {
        let sql = "SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)";
        let has_some: bool = client.query_one(sql, &[]).await?.try_get(0)?;
        Ok::<_, E>(if has_some {
            Some(work(database, client).await?)
        } else {
            None
        })
    });
    let Looks { found, failed } = looks.await?;
    let found = found.into_iter();
    Ok(Looks {
        found: found.filter_map(|(database, found)| Some((database, found?))).collect(),
        failed,
    })
}

/// Names of the databases that let connections in. One whose DROP was interrupted (`datconnlimit` -2) lets nobody in.
async fn names(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let sql = "SELECT datname::text FROM pg_database WHERE datallowconn AND datconnlimit <> -2
                ORDER BY datname <> current_database(), datname";
    client.query(sql, &[]).await?.iter().map(|row| row.try_get(0)).collect()
}

async fn exists(subject: &Subject<'_>, database: &str) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT 1 FROM pg_database WHERE datname = $1 AND datallowconn";
    Ok(subject.superuser().await?.query_opt(sql, &[&database]).await?.is_some())
}

/// How a report says in which database something is: nothing for the service's own.
pub fn place(subject: &Subject<'_>, database: &str) -> String {
    if database == subject.service.database() {
        String::new()
    } else {
        format!("in database {database}: ")
    }
}

#[cfg(test)]
mod tests {
    use reports::Verdict;

    use super::{Found, unless_failed};

    #[test]
    fn damage_that_was_seen_stands_whatever_could_not_be_looked_at() {
        let verdict = |found, failed| unless_failed(found, failed).map(|found: Found| found.verdict());
        assert_eq!(verdict(Found::fail("", "damage"), Some("no answer")), Ok(Verdict::Fail));
        assert_eq!(verdict(Found::pass("", "well"), Some("no answer")), Err("no answer"));
        assert_eq!(verdict(Found::pass("", "well"), None), Ok(Verdict::Pass));
    }
}
