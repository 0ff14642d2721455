//! Nothing is declared on the strength of what was true some time ago. Between the smoke test and the declaration it is
//! proven that nobody wrote since validation; where somebody did, content, ledger and inventory are looked at once more.
//!
//! Transaction ids tell: every change of a row, a definition or a sequence needs one. WAL positions would not, as they move
//! by mere reading.

use futures_util::future::OptionFuture;
use reports::{CheckId, CheckResult, Outcome, Phase, Verdict, What};
use tokio_postgres::Client;

use super::{Sound, Stop, Validated, ended};
use crate::{
    ledger::History,
    postgres::Cluster,
    record::check::{Found, timed},
    reference::Scope,
    service::Role,
    state::Drill,
    verify::{
        connect,
        content_fingerprint::{self, Against},
        content_hash, ledger_prefix, plan,
    },
};

/// What is looked at, or need not be.
const LOOKED_AT: [CheckId; 3] = [
    CheckId::ContentFingerprint,
    CheckId::LedgerPrefix,
    CheckId::CatalogInventory,
];

/// Where a server stands. Each look takes a transaction id, so that what is still open is seen as well as what has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// When the server was started, in microseconds since 1970: numbers of another server prove nothing.
    started_us: i64,
    /// The transaction id that the look took.
    xid: i64,
    /// The oldest one that was not over, prepared ones among them.
    oldest_open: i64,
}

impl Position {
    /// Reads it, as superuser.
    ///
    /// # Errors
    /// If the server does not tell, or gives out no transaction id.
    pub(super) async fn read(client: &mut Client) -> Result<Self, tokio_postgres::Error> {
        let transaction = client.transaction().await?;
        let xid = transaction
            .query_one("SELECT pg_current_xact_id()::text::bigint", &[])
            .await?
            .try_get(0)?;
        let open = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                           (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
        let row = transaction.query_one(open, &[]).await?;
        let position = Self {
            xid,
            oldest_open: row.try_get(0)?,
            started_us: row.try_get(1)?,
        };
        transaction.rollback().await?;
        Ok(position)
    }

    /// Reads it on a cluster; none where that cannot be had, and then nothing is proven.
    pub(super) async fn of(drill: &Drill, cluster: &Cluster) -> Option<Self> {
        let mut client = cluster
            .connect("postgres", drill.estate.site.service.database())
            .await
            .ok()?;
        Self::read(&mut client).await.ok()
    }

    /// Whether nothing was written since `before`: the same server, no transaction open or prepared then, and none since.
    pub(super) fn proves_silence_since(self, before: Self) -> bool {
        let is_quiet = |position: Self| position.oldest_open == position.xid;
        self.started_us == before.started_us && is_quiet(before) && is_quiet(self) && self.xid == before.xid + 1
    }
}

/// Between steps 13 and 14: what was validated is still there.
pub(super) async fn still_sound(drill: &Drill, validated: &Validated) -> Result<(), Stop> {
    let before = validated.known.position;
    let now = Position::of(drill, &validated.restored.cluster).await;
    if let (Some(before), Some(now)) = (before, now)
        && now.proves_silence_since(before)
    {
        // What was not known then is not known now either.
        for check in LOOKED_AT
            .into_iter()
            .filter(|check| validated.known.passed.contains(check))
        {
            let found = Found::pass(
                "as validated",
                format!("nothing was written since: transaction {} was the next", now.xid),
            );
            let proven = async { Ok::<_, std::convert::Infallible>(found) };
            drill
                .desk
                .check(timed(check, Phase::Cutover, validated.restored.cluster.name(), proven).await);
        }
        return Ok(());
    }
    match Box::pin(looked_at(
        drill,
        &validated.restored.cluster,
        &validated.known,
        Phase::Cutover,
    ))
    .await?
    {
        None => Ok(()),
        Some(reason) => Err(ended(
            Outcome::NotRecovered,
            format!("what was validated is no longer there: {reason}"),
        )),
    }
}

/// Content, ledger and inventory once more; what is wrong, if anything is.
pub(super) async fn looked_at(
    drill: &Drill,
    cluster: &Cluster,
    known: &Sound,
    phase: Phase,
) -> Result<Option<String>, Stop> {
    let began = drill.desk.recorder.offset();
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?;
    let subject = drill.estate.subject(cluster, phase, known.truth.as_ref());
    let seed = Against::Seed {
        reference: &drill.estate.fingerprint,
        history: &history,
    };
    // What a dump's own snapshot holds is compared to the last row, until the service is written to again.
    let is_dump = known
        .truth
        .as_ref()
        .is_some_and(|truth| matches!(truth.scope, Scope::Database(_)));
    let tables = (!is_dump || history.resumed_ns.is_none()).then(|| content_fingerprint::check_tables(&subject));
    let (inventory, rights) = plan::inventory(&subject).await;
    let mut checks = vec![inventory, rights];
    let (seed, tables, hash, ledger) = tokio::join!(
        Box::pin(content_fingerprint::check(&subject, seed)),
        Box::pin(OptionFuture::from(tables)),
        content_hash::check(&subject),
        promises(drill, cluster, known, phase, &history)
    );
    checks.push(seed);
    checks.extend(ledger.into_iter().chain(tables).chain(hash));
    drill.desk.recorder.external_since("validation queries", began);
    let wrong: Vec<String> = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .map(|check| format!("{}: {}", check.check, check.actual))
        .collect();
    for check in checks {
        drill.desk.check(check);
    }
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

/// The ledger alone: where nothing else was written, the first commit of the service that runs again must be there. What is
/// wrong, if anything is.
pub(super) async fn still_promised(drill: &Drill, cluster: &Cluster, known: &Sound) -> Result<Option<String>, Stop> {
    let began = drill.desk.recorder.offset();
    let history = History::read_or_unusable(&drill.desk.ledger, &drill.desk.ledger_header)?;
    let check = promises(drill, cluster, known, Phase::AfterCutover, &history).await;
    drill.desk.recorder.external_since("validation queries", began);
    let Some(check) = check else { return Ok(None) };
    let wrong = (check.verdict == Verdict::Fail).then(|| format!("{}: {}", check.check, check.actual));
    drill.desk.check(check);
    Ok(wrong)
}

/// `ledger-prefix`, as in step 8; the comparison becomes the drill's.
/// `None` where no ledger tells.
async fn promises(
    drill: &Drill,
    cluster: &Cluster,
    known: &Sound,
    phase: Phase,
    history: &History,
) -> Option<CheckResult> {
    let writes = drill.estate.site.service.writes()?;
    let name = cluster.name();
    let mut validator = match connect(&drill.estate.login(cluster, Role::DrillValidator)).await {
        Ok(validator) => validator,
        Err(reason) => {
            let found = Found::fail("the validator can read the data", reason);
            let cannot = async { Ok::<_, std::convert::Infallible>(found) };
            return Some(timed(CheckId::LedgerPrefix, phase, name, cannot).await);
        }
    };
    let verdict = ledger_prefix::check(&mut validator, history, writes, known.recovery, name).await;
    if let Some(summary) = verdict.summary() {
        drill.desk.recorder.record(What::LedgerCompared(summary));
    }
    Some(CheckResult {
        phase,
        ..verdict.result
    })
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn only_the_next_number_of_the_same_server_with_nothing_open_proves_silence() {
        let at = |started_us, xid, oldest_open| Position {
            started_us,
            xid,
            oldest_open,
        };
        let before = at(5, 800, 800);
        assert!(at(5, 801, 801).proves_silence_since(before));
        assert!(
            !at(5, 802, 802).proves_silence_since(before),
            "somebody wrote, or tried to"
        );
        assert!(!at(5, 801, 700).proves_silence_since(before), "prepared, or under way");
        assert!(
            !at(5, 801, 801).proves_silence_since(at(5, 800, 799)),
            "what was open then may have ended since"
        );
        assert!(!at(6, 801, 801).proves_silence_since(before), "another server");
    }
}
