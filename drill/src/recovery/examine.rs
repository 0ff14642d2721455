//! A look at the failed database, as step 2 takes it: is it reachable, does it serve, does it hold what was promised, and
//! is what it holds sound?

use std::time::{Duration, Instant};

use reports::{CheckId, CheckResult, Phase, Verdict};

use super::{Stop, validate::connect};
use crate::{
    backup::catalogue,
    record::nanoseconds,
    stage::Drill,
    verify::{
        Found, catalog_inventory, chain,
        content_fingerprint::{self, Against},
        content_hash, index_integrity,
        ledger::{self, Comparison},
        ledger_prefix, page_checksums, referential_integrity,
        replay::Replayed,
        server_start,
        server_start::Diagnosis,
        smoke, timed,
    },
    workload::{Hold, ledger::History, writer::SHARE},
};

/// How long live writers may get nothing through on a database that serves.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// So many writes in a row without a refusal tell that all of them get through.
const ANSWERS: u64 = 50;

/// What a look at the failed database found.
#[derive(Default)]
pub(super) struct Look {
    /// What is wrong with it.
    pub(super) symptoms: Vec<Symptom>,
    passed: Vec<CheckId>,
    /// What of the ledger is there; `None` if it could not be compared.
    pub(super) promises: Option<Comparison>,
}

/// Something wrong, and the check that says so, if one does.
pub(super) struct Symptom {
    check: Option<CheckId>,
    text: String,
}

impl Look {
    /// It serves, and what it serves is right and complete.
    pub(super) fn is_clean(&self) -> bool {
        self.symptoms.is_empty() && self.tail().is_none()
    }

    /// The ledger's comparison, if what is there is right and the last acknowledged commits are not there.
    pub(super) fn tail(&self) -> Option<&Comparison> {
        let is_tail = |promises: &&Comparison| promises.verdict() == Verdict::Pass && promises.lost.count > 0;
        self.promises.as_ref().filter(is_tail)
    }

    pub(super) fn add(&mut self, check: impl Into<Option<CheckId>>, text: String) {
        let check = check.into();
        self.symptoms.push(Symptom { check, text });
    }

    /// Everything that is wrong, in words.
    pub(super) fn said(&self) -> String {
        let texts: Vec<_> = self.symptoms.iter().map(|symptom| symptom.text.as_str()).collect();
        texts.join("; ")
    }

    /// The checks that failed; none if something else is wrong as well.
    pub(super) fn failed_checks(&self) -> Option<Vec<CheckId>> {
        let checks = self.symptoms.iter().map(|symptom| symptom.check).collect();
        if self.tail().is_some() { None } else { checks }
    }

    /// After a repair: what failed `before` must be seen to be well, not merely not be seen.
    pub(super) fn must_have_passed(&mut self, before: &Self) {
        for check in before.symptoms.iter().filter_map(|symptom| symptom.check) {
            if self.symptoms.is_empty() && !self.passed.contains(&check) {
                self.add(check, format!("{check} could not be verified after the repair"));
            }
        }
    }

    fn noted(&mut self, drill: &Drill, check: CheckResult) {
        if check.verdict == Verdict::Pass {
            self.passed.push(check.check);
        }
        if check.verdict == Verdict::Fail {
            self.add(
                check.check,
                format!("{}: {}; {}", check.check, check.actual, check.detail),
            );
        }
        drill.check(check);
    }
}

/// Looks at the database and at the application. The writers may be `held` until what was promised is compared.
pub(super) async fn examined(drill: &mut Drill, held: Option<Hold>) -> Result<Look, Stop> {
    let (check, diagnosis) = server_start::check(&drill.as_application(), Phase::Source, "source").await;
    drill.check(check);
    let mut look = Look::default();
    if diagnosis != Diagnosis::Healthy {
        look.add(None, diagnosis.to_string());
    }
    if !matches!(diagnosis, Diagnosis::Unreachable(_)) {
        let recorded = newest_inventory(drill);
        let inventory = catalog_inventory::check(&drill.source, recorded.as_ref(), Phase::Source, "source").await;
        look.noted(drill, inventory);
        if let Some((check, comparison)) = promises_kept(drill).await? {
            look.promises = comparison;
            if look.tail().is_some() {
                drill.check(check); // for whoever decides: it may be the price of a restart
            } else {
                look.noted(drill, check);
            }
        }
        drop(held);
        for check in Box::pin(read_through(drill)).await {
            look.noted(drill, check);
        }
    }
    let (check, _) = smoke::smoke(&drill.application, &drill.admin_token, None, Phase::Source).await;
    if check.verdict == Verdict::Fail {
        look.add(None, format!("the application: {}", check.actual));
    }
    drill.check(check);
    if look.symptoms.is_empty()
        && let Some(text) = writers_stand_still(drill).await
    {
        look.add(None, text);
    }
    if look.symptoms.is_empty() {
        // It answers every question, and yet there was an alarm: an index that misses rows hides them from whoever uses
        // it, and from nobody else. This reads everything, so it comes last.
        let check = index_integrity::check(&drill.subject(&drill.source, Phase::Source, None)).await;
        look.noted(drill, check);
    }
    Ok(look)
}

/// The inventory recorded with the newest backup.
pub(super) fn newest_inventory(drill: &Drill) -> Option<catalog_inventory::Inventory> {
    let listing = catalogue::list(&drill.site.repository).ok()?;
    listing.backups.last()?.inventory.clone()
}

/// Reading says nothing about writing: on a full disk every query is answered, and what finds room in a page that
/// exists is even committed. The writers never rest, so they tell at once whether what they do gets through.
async fn writers_stand_still(drill: &Drill) -> Option<String> {
    let workload = drill.workload.as_ref()?;
    let (before, began) = (workload.counts(), Instant::now());
    let mut last_refusal = before;
    loop {
        let now = workload.counts();
        let (done, refused) = (now.acknowledged - before.acknowledged, now.rejected - before.rejected);
        if now.rejected > last_refusal.rejected {
            last_refusal = now;
        }
        let (in_a_row, within) = (now.acknowledged - last_refusal.acknowledged, began.elapsed());
        let slowly = within >= WRITE_PATIENCE && done > 0 && refused == 0;
        if in_a_row >= ANSWERS || slowly {
            return None;
        }
        if within >= WRITE_PATIENCE || refused >= ANSWERS {
            return Some(format!(
                "writing: {done} commits were acknowledged and {refused} refused within {within:.1?}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // the answers come by themselves; this only looks
    }
}

/// `ledger-prefix` on a database that is still written to: what was promised before it was looked at must be there,
/// what is promised meanwhile may be there or not. `None` if it cannot be read as the validator.
async fn promises_kept(drill: &Drill) -> Result<Option<(CheckResult, Option<Comparison>)>, Stop> {
    let login = drill.login(&drill.source, fixtures::Role::DrillValidator);
    let Ok(mut validator) = connect(&login).await else {
        return Ok(None);
    };
    // What crash recovery replayed must be there; a server that began without one replayed nothing.
    let reached = match drill.source.connect("postgres", "postgres").await {
        Ok(superuser) => Replayed::of(&superuser, None, drill.timeline.0).await.ok(),
        Err(_) => None, // then what is missing is lost, as far as anybody can tell
    };
    let reached = reached.and_then(|replayed| replayed.along(drill.timeline));
    let looked_at_ns = nanoseconds(drill.recorder.offset());
    let read = ledger_prefix::read(&mut validator, theirs(drill), &drill.seed_facts(), &drill.seeded).await;
    let history = History::read_or_unusable(&drill.ledger, &drill.ledger_header)?.as_of(looked_at_ns);
    let mut comparison = None;
    let mut check = timed(CheckId::LedgerPrefix, Phase::Source, "source", async {
        let expected = "every commit acknowledged so far, and nothing that nobody wrote";
        if let Some(reason) = &history.unusable {
            return Ok(Found::unknown(expected, reason.clone()));
        }
        let recovered = match read {
            Ok((recovered, _)) => recovered,
            Err(error) => return Ok::<_, ledger::Unverifiable>(Found::unknown(expected, chain(&error))),
        };
        let recovery = ledger::Recovery {
            target: ledger::Target::End,
            reached,
            backup: None,
            failed_ns: nanoseconds(drill.failed_offset()),
        };
        let found = ledger::compare(&history, Some(&recovered), &drill.seed_facts(), recovery)?;
        let examples = found.summary.examples.join("; ");
        let (verdict, told) = (found.verdict(), found.describe());
        let complete = verdict == Verdict::Pass && found.lost.count == 0;
        comparison = Some(found);
        Ok(match verdict {
            Verdict::Unknown => Found::unknown(expected, examples),
            _ => Found::judge(complete, expected, told).detail(examples),
        })
    })
    .await;
    check.duration_ms += crate::record::milliseconds(drill.recorder.offset()) - looked_at_ns as f64 / 1e6;
    Ok(Some((check, comparison)))
}

/// What no probe sees: every page, every row that was seeded, every stored hash and every reference, side by side.
async fn read_through(drill: &Drill) -> [CheckResult; 4] {
    let subject = drill.subject(&drill.source, Phase::Source, None);
    let theirs = theirs(drill);
    let against = Against::Serving {
        reference: &drill.fingerprint,
        theirs: &theirs,
    };
    tokio::join!(
        page_checksums::check(&subject),
        content_fingerprint::check(&subject, against),
        content_hash::check(&subject),
        referential_integrity::check(&subject),
    )
    .into()
}

/// Seeded scripts that the writers may change at any moment, ascending.
fn theirs(drill: &Drill) -> Vec<i64> {
    let writers = drill.scenario.given.writers.unwrap_or(drill.options.writers).max(1);
    (1..=drill.seed_facts().max_script_id)
        .take(SHARE * writers as usize)
        .collect()
}
