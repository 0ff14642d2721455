//! `content-hash`: the SHA-256 stored with each version is the hash of its content.
//!
//! The server computes them again, in one parallel sequential scan. This needs neither ledger nor fingerprint: it also
//! sees damage that was there before either was made. A content that was changed together with its hash passes here;
//! that is for `content-fingerprint` and `ledger-prefix`.

use reports::{CheckId, CheckResult};
use tokio_postgres::Client;

use super::{
    Found, Subject, chain,
    fingerprint::{FingerprintError, scan},
    first_few, timed,
};

const EXPECTED: &str = "every version's content has the SHA-256 stored with it";
/// Versions, and how many of them have a stored hash that is not their content's, in one scan. `convert_to` and not `"Content"::bytea`, which would read a backslash as an escape.
pub const COUNTS: &str = r#"SELECT count(*), count(*) FILTER (WHERE sha256(convert_to("Content", 'UTF8')) IS DISTINCT FROM "ContentSha256")
    FROM public."TransformationScriptVersions""#;
const MISMATCHES: &str = r#"SELECT "ScriptId", "VersionNumber" FROM public."TransformationScriptVersions"
    WHERE sha256(convert_to("Content", 'UTF8')) IS DISTINCT FROM "ContentSha256" ORDER BY 1, 2 LIMIT 5"#;

/// The check, as the read-only role.
pub async fn check(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::ContentHash, subject.phase, subject.name, async {
        let client = subject
            .login(fixtures::Role::DrillValidator)
            .await
            .map_err(FingerprintError::Connect)?;
        client
            .batch_execute(&scan::settings(scan::cores()))
            .await
            .map_err(FingerprintError::Connect)?;
        let section = "TransformationScriptVersions".to_owned();
        let compared = compare(&client)
            .await
            .map_err(|source| FingerprintError::Scan { section, source });
        match compared {
            Err(error) if error.is_finding() => Ok(Found::fail(EXPECTED, chain(&error))),
            compared => compared,
        }
    })
    .await
}

async fn compare(client: &Client) -> Result<Found, tokio_postgres::Error> {
    let workers = scan::workers_planned(client, COUNTS).await?;
    let row = client.query_one(COUNTS, &[]).await?;
    let (versions, wrong): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let how = format!("Computed in the server by {workers} parallel workers and the leader");
    if versions == 0 {
        return Ok(Found::unknown(EXPECTED, "there is no version to look at"));
    }
    if wrong == 0 {
        return Ok(Found::pass(EXPECTED, format!("{versions} versions")).detail(how));
    }
    let mut named = Vec::new();
    for row in client.query(MISMATCHES, &[]).await? {
        let (script, version): (i64, i32) = (row.try_get(0)?, row.try_get(1)?);
        named.push(format!("script {script} version {version}"));
    }
    let more = if wrong.cast_unsigned() > named.len() as u64 {
        "; …"
    } else {
        ""
    };
    let detail = format!("{}{more}. {how}", first_few(&named));
    Ok(Found::fail(EXPECTED, format!("{wrong} of {versions} versions have another")).detail(detail))
}
