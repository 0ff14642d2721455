//! A step that is under way: its beginning and its end are events, and a budget that it broke is a finding.

use std::time::{Duration, Instant};

use reports::{Outcome, Step, Verdict, What, text::lasting};

use super::{Stop, ended};
use crate::record::{Recorder, milliseconds};

/// A step that has begun. It is over when it passes or fails.
pub(super) struct OpenStep {
    recorder: Recorder,
    step: Step,
    attempt: u32,
    began: Instant,
}

impl OpenStep {
    pub(super) fn begin(recorder: &Recorder, step: Step, attempt: u32) -> Self {
        recorder.record(What::StepStarted { step, attempt });
        Self {
            recorder: recorder.clone(),
            step,
            attempt,
            began: Instant::now(),
        }
    }

    /// It is over, and the recovery goes on.
    pub(super) fn end(self, verdict: Verdict, detail: impl Into<String>) {
        let took = self.took();
        self.end_after(verdict, detail, took, None);
    }

    /// It failed, and the recovery ends with it.
    pub(super) fn fail(self, outcome: Outcome, reason: impl Into<String>) -> Stop {
        let reason = reason.into();
        self.fail_with(outcome, reason.clone(), reason)
    }

    /// The same where the drill's reason says more, or less, than the step's.
    pub(super) fn fail_with(self, outcome: Outcome, detail: impl Into<String>, reason: impl Into<String>) -> Stop {
        self.end(Verdict::Fail, detail);
        ended(outcome, reason)
    }

    /// How long it has been under way.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same as [`OpenStep::end`] where something else than the whole step is its time, or is held against its budget.
    pub(super) fn end_after(
        self,
        verdict: Verdict,
        detail: impl Into<String>,
        took: Duration,
        against_budget: Option<Duration>,
    ) {
        let measured = match self.step {
            Step::Validate => against_budget, // its budget is one count's
            _ => Some(against_budget.unwrap_or(took)),
        };
        if let (Some(budget), Some(measured)) = (self.step.budget_ms().map(Duration::from_millis), measured)
            && measured > budget
        {
            let (step, attempt) = (self.step, self.attempt);
            self.recorder.finding(format!(
                "Step {step} took {} of its {} (attempt {attempt}).",
                lasting(measured),
                lasting(budget)
            ));
        }
        self.recorder.record(What::StepFinished {
            step: self.step,
            attempt: self.attempt,
            role: self.step.role(),
            verdict,
            duration_ms: milliseconds(took),
            against_budget_ms: against_budget.map(milliseconds),
            detail: detail.into(),
        });
    }
}
