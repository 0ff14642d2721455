//! Every database of a cluster: what is wrong in one that the service does not use is wrong with the cluster.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_postgres::Client;

use super::Subject;

/// Databases that a check looks at at the same time: checks run side by side themselves, and a server has only so many
/// connections to give.
const SIDE_BY_SIDE: usize = 2;

/// Does `work` in every database that lets connections in, some side by side, and answers what was found in each. The
/// service's own comes first, the others follow by name. One that is dropped meanwhile is left out.
///
/// # Errors
/// If the server lets nobody into one of them, or if `work` fails.
pub async fn each<T, E, W, F>(subject: &Subject<'_>, work: W) -> Result<Vec<(String, T)>, E>
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
        .try_collect()
        .await?;
    Ok(all.into_iter().flatten().collect())
}

/// As [`each`], but only in databases that have relations of their own: for what the server's own catalogues have none of.
///
/// # Errors
/// As [`each`].
pub async fn each_with_relations<T, E, W, F>(subject: &Subject<'_>, work: W) -> Result<Vec<(String, T)>, E>
where
    E: From<tokio_postgres::Error>,
    W: Fn(String, Client) -> F,
    F: Future<Output = Result<T, E>>,
{
    let work = &work;
    let all = each(subject, |database, client| async move {
        let sql = "SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)";
        let has_some: bool = client.query_one(sql, &[]).await?.try_get(0)?;
        Ok::<_, E>(if has_some {
            Some(work(database, client).await?)
        } else {
            None
        })
    });
    let all = all.await?.into_iter();
    Ok(all.filter_map(|(database, found)| Some((database, found?))).collect())
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
