//! The verdict of a drill in one sentence that needs no other knowledge. What a sentence has no room for is a list of its own
//! ([`DrillEvidence::particulars`]).

use std::collections::HashSet;

use crate::event::LedgerComparison;
use crate::text::{capital, counted, in_brief, listed, millis, number, seconds, sentence, share, window};
use crate::{Outcome, Verdict};

use super::judge::{self, Told};
use super::{DrillEvidence, Particular, StepVerdict};

impl DrillEvidence {
    /// What came of the drill, for someone who reads nothing else: the outcome with its numbers, then whether that is
    /// what the scenario expects, or what keeps it from passing. Always one sentence.
    pub fn headline(&self) -> String {
        let mut clauses = self.what_happened();
        if self.was_carried_out() {
            clauses.extend(self.how_it_compares());
        }
        capital(&sentence(&clauses.join("; ")))
    }

    /// What the headline only hints at, each once: the particulars of the reason, and what is held against the drill.
    pub fn particulars(&self) -> Vec<Particular> {
        let (_, reasons) = in_brief(&self.reason);
        let reasons = reasons.into_iter().map(|text| Particular { verdict: None, text });
        let against = self.against();
        let is_told = matches!(against.as_slice(), [(_, only)] if only.is_whole);
        let held = if is_told || !self.was_carried_out() {
            Vec::new()
        } else {
            self.held_against()
        };
        let mut known = HashSet::new();
        reasons
            .chain(held)
            .filter(|one| known.insert(one.text.clone()))
            .collect()
    }

    /// What is not as expected, then what else keeps the verdict from `Pass`, each once.
    pub fn held_against(&self) -> Vec<Particular> {
        let against = self.against().into_iter();
        let particular = |(verdict, told): (Verdict, Told)| Particular {
            verdict: Some(verdict),
            text: told.text,
        };
        against.map(particular).collect()
    }

    /// Mismatches, then objections, the worst first; what several say of the same check is told once.
    fn against(&self) -> Vec<(Verdict, Told)> {
        let mismatches = judge::mismatches(self).into_iter().map(|told| (Verdict::Fail, told));
        let mut objections = judge::objections(self);
        objections.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
        let mut checks = HashSet::new();
        let mut all: Vec<(Verdict, Told)> = Vec::new();
        for (verdict, told) in mismatches {
            checks.extend(told.check);
            all.push((verdict, told));
        }
        all.extend(
            objections
                .into_iter()
                .filter(|(_, told)| told.check.is_none_or(|check| !checks.contains(&check))),
        );
        all
    }

    fn what_happened(&self) -> Vec<String> {
        let nothing = |what: &str| format!("{what}, so that nothing is proven");
        if let Some(error) = &self.error {
            return vec![format!("{}: {error}", nothing("the drill could not be carried out"))];
        }
        if !self.finished {
            return vec![nothing("the drill did not finish"), self.until_then()];
        }
        let with_reason = |what: &str| match in_brief(&self.reason) {
            (reason, _) if reason.is_empty() => what.to_owned(),
            (reason, _) => format!("{what}: {reason}"),
        };
        match self.outcome {
            None => vec![nothing("the drill ended without an outcome")],
            Some(Outcome::NotRecovered) => vec![with_reason("service not restored")],
            Some(Outcome::Refused) => vec![with_reason("the recovery was refused")],
            Some(Outcome::FalseAlarm) => vec![with_reason("false alarm, nothing was restored")],
            _ => self.restored(),
        }
    }

    /// What a drill that was broken off had shown.
    fn until_then(&self) -> String {
        let begun = self.steps.iter().rfind(|row| row.started.is_some());
        let Some(last) = begun else {
            return "it was broken off before its first step".to_owned();
        };
        let steps = self.steps.iter().filter(|row| row.verdict == StepVerdict::Pass).count();
        let checks = self
            .checks
            .iter()
            .filter(|row| row.result.verdict == Verdict::Pass)
            .count();
        let when = if last.duration_ms.is_none() { "in" } else { "after" };
        let passed = [counted(steps, "step"), counted(checks, "check")];
        format!(
            "it was broken off {when} step {}, until when {} had passed",
            last.step,
            listed(passed)
        )
    }

    fn restored(&self) -> Vec<String> {
        let mut clauses = vec![match self.recovery_time {
            Some(time) => format!("service restored {} after the failure", millis(time.total_ms)),
            None => "restored".to_owned(),
        }];
        if let Some(ledger) = &self.ledger {
            let ledger = &ledger.comparison;
            clauses.push(ledger.loss());
            if ledger.commits_beyond_target > 0 {
                let given_up = counted(ledger.commits_beyond_target, "commit");
                let share = share(ledger.commits_beyond_target, ledger.acknowledged_commits);
                clauses.push(format!(
                    "{given_up} ({share}) after the recovery target given up on purpose"
                ));
            }
            if ledger.holes + ledger.unexpected_rows + ledger.altered_rows > 0 {
                let damages = [
                    (ledger.holes, "hole"),
                    (ledger.altered_rows, "altered row"),
                    (ledger.unexpected_rows, "unexpected row"),
                ];
                let damages = damages.into_iter().filter(|(count, _)| *count > 0);
                let damages = listed(damages.map(|(count, noun)| counted(count, noun)));
                clauses.push(format!("the data is damaged ({damages})"));
            }
        }
        clauses.push(self.objectives());
        clauses
    }

    fn objectives(&self) -> String {
        let objectives = &self.header.objectives;
        let (rpo, rto) = (seconds(objectives.rpo_s), seconds(objectives.rto_s));
        let rto_told = format!("RTO {rto} {}", met_or_missed(self.rto_met));
        let told = match self.beyond_reach() {
            Some(beyond) => format!("{rto_told}; {beyond}"),
            None => match (self.rpo_met, self.rto_met) {
                (Some(true), Some(true)) => format!("RPO {rpo} and RTO {rto} met"),
                (Some(false), rto_met) => {
                    let gone = self.ledger.as_ref().map(|ledger| ledger.comparison.gone());
                    let gone = gone.unwrap_or_default();
                    match rto_met {
                        Some(false) => format!("RPO {rpo} missed ({gone}), RTO {rto} missed as well"),
                        _ => format!("RPO {rpo} missed ({gone}), {rto_told}"),
                    }
                }
                (rpo_met, _) => format!("RPO {rpo} {}, {rto_told}", met_or_missed(rpo_met)),
            },
        };
        if objectives.from_scenario {
            format!("the scenario's own objectives: {told}")
        } else {
            told
        }
    }

    /// That the RPO could not be missed, however much was lost, because the whole workload was shorter.
    pub fn beyond_reach(&self) -> Option<String> {
        let run_ms = self.workload_ms().filter(|_| self.rpo_met == Some(true))?;
        let rpo_s = self.header.objectives.rpo_s;
        let (rpo, run) = (seconds(rpo_s), millis(run_ms));
        ((run_ms as f64) < rpo_s * 1e3).then(|| format!("RPO {rpo} could not be missed in a run of {run}"))
    }

    /// How long writers were at work until the failure; longer where something later was lost.
    fn workload_ms(&self) -> Option<u64> {
        let (began, failed) = (self.times.workload_started?, self.times.failed?);
        let until_failure = failed.offset_ns.saturating_sub(began.offset_ns).div_ceil(1_000_000);
        let gone = self.ledger.as_ref().map(|ledger| &ledger.comparison);
        let gone = gone.map_or(0, |found| found.data_loss_window_ms().max(found.given_up_window_ms()));
        Some(until_failure.max(gone))
    }

    fn how_it_compares(&self) -> Option<String> {
        let against = self.against();
        let more = match against.len() {
            0 | 1 => String::new(),
            several => format!(" (and {} more)", number(several as u64 - 1)),
        };
        let clause = against.into_iter().next().map(|(verdict, told)| {
            let what = match verdict {
                _ if !self.as_expected => "not as expected",
                Verdict::Fail => "it does not pass",
                _ => "not everything could be verified",
            };
            format!("{what}: {}{more}", told.short)
        });
        clause.or_else(|| (self.outcome != Some(Outcome::Recovered)).then(|| "as the scenario expects".to_owned()))
    }
}

impl LedgerComparison {
    /// How many of the acknowledged commits are lost, and which share that is.
    pub(crate) fn loss(&self) -> String {
        let (lost, all) = (self.lost_commits, self.acknowledged_commits);
        let commits = counted(all, "acknowledged commit");
        match lost {
            0 => format!("0 of {commits} lost"),
            _ if self.is_total_loss() && all > 1 => format!("all {commits} lost"),
            _ => format!("{} of {commits} lost ({})", number(lost), share(lost, all)),
        }
    }

    /// Whether not one acknowledged commit is left of all that there were.
    pub fn is_total_loss(&self) -> bool {
        self.lost_commits > 0 && self.lost_commits >= self.acknowledged_commits
    }

    /// What the RPO is judged by, in words: the larger of loss and work given up.
    pub(super) fn gone(&self) -> String {
        if self.given_up_window_ns > self.data_loss_window_ns {
            format!("{} of work given up", window(self.given_up_window_ms()))
        } else {
            format!("loss of {}", window(self.data_loss_window_ms()))
        }
    }
}

fn met_or_missed(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "not measured",
    }
}
