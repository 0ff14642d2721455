//! A look at the failed database, as step 2 takes it: is it reachable, does it serve, does it hold what was promised, and
//! is what it holds sound?

use std::time::{Duration, Instant};

use reports::{
    CheckId, CheckResult, Phase, Verdict,
    text::{counted, lasting, number},
};

use super::Stop;
use crate::{
    state::{Drill, promises},
    verify::{
        self, Knowledge,
        content_fingerprint::Against,
        ledger::Comparison,
        server_start::{self, Diagnosis},
    },
    workload::Hold,
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
        self.symptoms_in_words().join("; ")
    }

    /// The same, one by one.
    pub(super) fn symptoms_in_words(&self) -> Vec<String> {
        self.symptoms.iter().map(|symptom| symptom.text.clone()).collect()
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
        drill.desk.check(check);
    }
}

/// Looks at the database and at the application. The writers may be `held` until what was promised is compared.
pub(super) async fn examined(drill: &mut Drill, held: Option<Hold>) -> Result<Look, Stop> {
    let (check, diagnosis) = server_start::check(&drill.estate.probe(), Phase::Source, "source").await;
    drill.desk.check(check);
    let mut look = Look::default();
    if diagnosis != Diagnosis::Healthy {
        look.add(None, diagnosis.to_string());
    }
    if !matches!(diagnosis, Diagnosis::Unreachable(_)) {
        if let Some((check, comparison)) = promises::kept(drill).await? {
            look.promises = comparison;
            if look.tail().is_some() {
                drill.desk.check(check); // for whoever decides: it may be the price of a restart
            } else {
                look.noted(drill, check);
            }
        }
        drop(held);
        let truth = drill.estate.last_truth();
        let subject = drill
            .estate
            .subject(&drill.estate.source, Phase::Source, truth.as_ref());
        let theirs = promises::theirs(drill);
        let seed = Against::Serving {
            reference: &drill.estate.fingerprint,
            theirs: &theirs,
        };
        let known = Knowledge {
            service: drill.estate.site.service.as_ref(),
            seed: Some(seed),
            is_restored: false,
            production: None,
        };
        for check in Box::pin(verify::run(&verify::plan(&known), &subject, known)).await {
            look.noted(drill, check);
        }
    }
    if let Some((check, _)) = drill.estate.smoke(None, Phase::Source).await {
        if check.verdict == Verdict::Fail {
            look.add(None, format!("the application: {}", check.actual));
        }
        drill.desk.check(check);
    }
    if look.symptoms.is_empty()
        && let Some(text) = writers_stand_still(drill).await
    {
        look.add(None, text);
    }
    Ok(look)
}

/// Reading says nothing about writing: on a full disk every query is answered, and what finds room in a page that
/// exists is even committed. The writers never rest, so they tell at once whether what they do gets through.
async fn writers_stand_still(drill: &Drill) -> Option<String> {
    let workload = drill.estate.workload.as_ref()?;
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
                "writing: {} acknowledged and {} refused within {}",
                counted(done, "commit"),
                number(refused),
                lasting(within)
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // the answers come by themselves; this only looks
    }
}
