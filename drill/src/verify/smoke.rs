//! `smoke` and `app-identity`: what the application serves is what was restored (steps 11 to 13).
//!
//! A 200 alone proves little: an application pointed at an empty database answers 200 as well. The smoke test
//! compares what the endpoint returns with the database that was validated and with the ledger.

use std::time::{Duration, Instant};

use reports::{
    CheckId, CheckResult, Phase,
    text::{counted, plural},
};
use serde_json::Value;

use crate::{
    record::check::{Found, timed},
    service::{Identity, Served, Serves},
};

/// The smoke test, of what the application answers; hands out how long the request took. On the failed source nobody knows yet
/// what is expected, and any answer will do.
pub async fn smoke<E: std::fmt::Display>(
    serves: &dyn Serves,
    asked: impl Future<Output = Result<Value, E>>,
    expected: Option<&Served>,
    phase: Phase,
) -> (CheckResult, Duration) {
    let mut took = Duration::ZERO;
    let result = timed(CheckId::Smoke, phase, "application", async {
        let began = Instant::now();
        let answer = asked.await;
        took = began.elapsed();
        let wanted = match expected {
            Some(expected) => format!(
                "200 OK and {}, the first page as validated",
                counted(expected.total, serves.called())
            ),
            None => "200 OK".to_owned(),
        };
        let body = match answer {
            Ok(body) => body,
            Err(error) => return Ok::<_, std::convert::Infallible>(Found::fail(wanted, error.to_string())),
        };
        let Some(expected) = expected else {
            return Ok(match phase {
                Phase::Source => Found::pass(wanted, "200 OK"),
                _ => Found::unknown(wanted, "200 OK, and what it should have served is not known"),
            });
        };
        let served = serves.served(&body);
        let actual = match &served {
            None => format!("200 OK, without a count of {}", plural(serves.called())),
            Some(served) => format!(
                "200 OK and {}, {} on the first page",
                counted(served.total, serves.called()),
                served.first_page.len()
            ),
        };
        Ok(Found::judge(served.as_ref() == Some(expected), wanted, actual))
    })
    .await;
    (result, took)
}

/// The application is connected to the database that was validated: by system identifier and timeline of the cluster, and
/// by the database's own number, since another one may have been given its name. A copy has all of that as well, and another
/// moment at which its server was started.
pub async fn identity(ready: &Identity, validated: &Identity) -> CheckResult {
    timed(CheckId::AppIdentity, Phase::Cutover, "application", async {
        Ok::<_, std::convert::Infallible>(Found::judge(
            ready == validated,
            validated.to_string(),
            ready.to_string(),
        ))
    })
    .await
}

#[cfg(test)]
mod tests {
    use reports::Verdict;

    use super::{Identity, identity};

    #[tokio::test]
    async fn an_application_on_another_cluster_is_told_apart() {
        let at = |system: &str, timeline_id, database_oid, postmaster_started_us| Identity {
            system_identifier: system.into(),
            timeline_id,
            database_oid,
            postmaster_started_us,
        };
        let validated = at("7711", 2, 16_384, 1_000_000);
        assert_eq!(identity(&validated, &validated).await.verdict, Verdict::Pass);
        for other in [
            at("7712", 2, 16_384, 1_000_000),
            at("7711", 1, 16_384, 1_000_000),
            at("7711", 2, 24_576, 1_000_000),
            at("7711", 2, 16_384, 1_000_001),
        ] {
            assert_eq!(identity(&other, &validated).await.verdict, Verdict::Fail, "{other}");
        }
    }
}
