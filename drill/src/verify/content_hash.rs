//! `content-hash`: the SHA-256 stored with each version is the hash of its content.
//!
//! The server computes them again, in one parallel sequential scan. This needs neither ledger nor fingerprint: it also
//! sees damage that was there before either was made. A content that was changed together with its hash passes here;
//! that is for `content-fingerprint` and `ledger-prefix`.

use reports::{
    CheckId, CheckResult,
    text::{counted, left_out, number},
};
use tokio_postgres::Client;

use super::Subject;
use crate::{
    errors::chain,
    record::check::{Found, timed},
    reference::fingerprint::{FingerprintError, scan},
    service::{Role, StoredHashes},
    values,
};

const EXPECTED: &str = "every version's content has the SHA-256 stored with it";

/// The check, as the read-only role. `None` where no content is stored with its hash.
pub async fn check(subject: &Subject<'_>) -> Option<CheckResult> {
    let hashes = subject.service.stored_hashes()?;
    let check = timed(CheckId::ContentHash, subject.phase, subject.name, async {
        let client = subject
            .login(Role::DrillValidator)
            .await
            .map_err(FingerprintError::Connect)?;
        client
            .batch_execute(&scan::settings(scan::cores()))
            .await
            .map_err(FingerprintError::Connect)?;
        let section = hashes.table.to_owned();
        let compared = compare(&client, hashes)
            .await
            .map_err(|source| FingerprintError::Scan { section, source });
        match compared {
            Err(error) if error.is_finding() => Ok(Found::fail(EXPECTED, chain(&error))),
            compared => compared,
        }
    });
    Some(check.await)
}

async fn compare(client: &Client, hashes: &StoredHashes) -> Result<Found, tokio_postgres::Error> {
    let workers = scan::workers_planned(client, hashes.counts).await?;
    let row = client.query_one(hashes.counts, &[]).await?;
    let (versions, wrong): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let how = format!(
        "Computed in the server by {} and the leader",
        counted(workers, "parallel worker")
    );
    if versions == 0 {
        return Ok(Found::unknown(EXPECTED, "there is no version to look at"));
    }
    if wrong == 0 {
        return Ok(Found::pass(EXPECTED, counted(versions, "version")).detail(how));
    }
    let mut named = Vec::new();
    for row in client.query(hashes.mismatches, &[]).await? {
        let key: &str = row.try_get(0)?;
        let content = row.try_get::<_, Option<&str>>(1)?.filter(|_| values::are_shown());
        let content = content.map_or_else(String::new, |content| {
            format!(", its content is {:?}", values::shown(content))
        });
        named.push(format!("{key}{content}"));
    }
    named.extend(left_out(wrong.cast_unsigned().saturating_sub(named.len() as u64)));
    let wrong = number(wrong.cast_unsigned());
    let actual = format!("{wrong} of {} with another hash", counted(versions, "version"));
    Ok(Found::fail(EXPECTED, actual).detail(format!("{}. {how}", named.join("; "))))
}
