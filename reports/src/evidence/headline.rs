//! The verdict of a drill in one or two sentences that need no other knowledge.

use crate::event::LedgerComparison;
use crate::text::{capital, counted, millis, seconds, sentence, window};
use crate::{Outcome, Verdict};

use super::DrillEvidence;

impl DrillEvidence {
    /// What came of the drill, for someone who reads nothing else: the outcome with its numbers, then whether that is
    /// what the scenario expects, then what could not be verified.
    pub fn headline(&self) -> String {
        let mut sentences = vec![self.what_happened()];
        if self.was_carried_out() {
            sentences.extend(self.how_it_compares());
        }
        sentences.join(" ")
    }

    fn what_happened(&self) -> String {
        if let Some(error) = &self.error {
            return format!(
                "{} Nothing is proven.",
                sentence(&format!("The drill could not be carried out: {error}"))
            );
        }
        if !self.finished {
            return "The drill did not finish; nothing is proven.".to_owned();
        }
        match self.outcome {
            None => "The drill ended without an outcome; nothing is proven.".to_owned(),
            Some(Outcome::NotRecovered) => sentence(&with_reason("Service not restored", &self.reason)),
            Some(Outcome::Refused) => sentence(&with_reason("The recovery was refused", &self.reason)),
            Some(Outcome::FalseAlarm) => sentence(&with_reason("False alarm, nothing was restored", &self.reason)),
            _ => self.restored(),
        }
    }

    fn restored(&self) -> String {
        let after = match self.recovery_time {
            Some(time) => format!("Service restored {} after the failure", millis(time.total_ms)),
            None => "Restored".to_owned(),
        };
        let mut parts = vec![after];
        if let Some(ledger) = &self.ledger {
            let ledger = &ledger.comparison;
            parts.push(format!(
                "{} of {} acknowledged commits lost",
                ledger.lost_commits, ledger.acknowledged_commits
            ));
            if ledger.commits_beyond_target > 0 {
                let given_up = counted(ledger.commits_beyond_target, "commit");
                parts.push(format!("{given_up} after the recovery target given up on purpose"));
            }
            if ledger.holes + ledger.unexpected_rows + ledger.altered_rows > 0 {
                parts.push(format!(
                    "the data is damaged ({}, {}, {})",
                    counted(ledger.holes, "hole"),
                    counted(ledger.unexpected_rows, "unexpected row"),
                    counted(ledger.altered_rows, "altered row")
                ));
            }
        }
        parts.push(self.objectives());
        format!("{}.", parts.join("; "))
    }

    fn objectives(&self) -> String {
        let objectives = &self.header.objectives;
        let (rpo, rto) = (seconds(objectives.rpo_s), seconds(objectives.rto_s));
        let noun = if objectives.from_scenario {
            "the scenario's own objectives"
        } else {
            "objectives"
        };
        let gone = self
            .ledger
            .as_ref()
            .map(|ledger| ledger.comparison.gone())
            .unwrap_or_default();
        match (self.rpo_met, self.rto_met) {
            (Some(true), Some(true)) => format!("{noun} RPO {rpo}, RTO {rto} met"),
            (Some(false), Some(false)) => format!("{noun} RPO {rpo} ({gone}) and RTO {rto} missed"),
            (Some(false), Some(true)) => format!("{noun}: RPO {rpo} missed ({gone}), RTO {rto} met"),
            (Some(true), Some(false)) => format!("{noun}: RPO {rpo} met, RTO {rto} missed"),
            (None, Some(met)) => format!("{noun}: RPO {rpo} not measured, RTO {rto} {}", met_or_missed(met)),
            (Some(met), None) => format!("{noun}: RPO {rpo} {}, RTO {rto} not measured", met_or_missed(met)),
            (None, None) => format!("{noun} RPO {rpo}, RTO {rto} not measured"),
        }
    }

    fn how_it_compares(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(first) = self.mismatches.first() {
            sentences.push(sentence(&format!(
                "Not as expected: {first}{}",
                and_more(self.mismatches.len())
            )));
        } else if self.outcome != Some(Outcome::Recovered) {
            sentences.push("This is what the scenario expects.".to_owned());
        }
        let by_weight = |verdict| {
            self.objections
                .iter()
                .filter(move |objection| objection.verdict == verdict)
        };
        if let Some(first) = by_weight(Verdict::Fail).next() {
            let more = and_more(by_weight(Verdict::Fail).count());
            sentences.push(sentence(&format!("It does not pass: {}{more}", first.text)));
        }
        if let Some(first) = by_weight(Verdict::Unknown).next() {
            let more = and_more(by_weight(Verdict::Unknown).count());
            sentences.push(sentence(&format!(
                "Not everything could be verified: {}{more}",
                first.text
            )));
        }
        sentences
    }
}

impl LedgerComparison {
    /// What the RPO is judged by, in words: the larger of loss and work given up.
    pub(super) fn gone(&self) -> String {
        if self.given_up_window_ns > self.data_loss_window_ns {
            format!("{} of work given up", window(self.given_up_window_ms()))
        } else {
            format!("loss of {}", window(self.data_loss_window_ms()))
        }
    }
}

fn with_reason(what: &str, reason: &str) -> String {
    if reason.is_empty() {
        what.to_owned()
    } else {
        format!("{}: {reason}", capital(what))
    }
}

fn met_or_missed(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

fn and_more(count: usize) -> String {
    if count > 1 {
        format!(" (and {} more)", count - 1)
    } else {
        String::new()
    }
}
