//! What a check found, and how it becomes a row of evidence.

use std::{error::Error, time::Instant};

use reports::{CheckId, CheckResult, Phase, Verdict, text::shortened};

use super::milliseconds;
use crate::errors::chain;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    verdict: Verdict,
    expected: String,
    actual: String,
    detail: String,
}

impl Found {
    /// It found what it expected.
    pub fn pass(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Pass,
            expected: expected.into(),
            actual: actual.into(),
            detail: String::new(),
        }
    }

    /// It found something else.
    pub fn fail(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::pass(expected, actual)
        }
    }

    /// It ran and cannot tell.
    pub fn unknown(expected: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unknown,
            ..Self::pass(expected, "")
        }
        .detail(reason)
    }

    /// Pass if `holds`, else fail.
    pub fn judge(holds: bool, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::from_holds(holds),
            ..Self::pass(expected, actual)
        }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Adds details: first offending keys, or what the check cannot see.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Runs a check and times it; an error becomes Unknown with the whole chain of reasons.
pub async fn timed<E: Error + 'static>(
    check: CheckId,
    phase: Phase,
    subject: &str,
    work: impl Future<Output = Result<Found, E>>,
) -> CheckResult {
    let began = Instant::now();
    let mut found = work
        .await
        .unwrap_or_else(|error| Found::unknown(check.about(), chain(&error)));
    if found.detail == found.actual {
        found.detail.clear(); // once is enough
    }
    CheckResult {
        check,
        phase,
        subject: subject.to_owned(),
        verdict: found.verdict,
        expected: found.expected,
        actual: found.actual,
        duration_ms: milliseconds(began.elapsed()),
        detail: found.detail,
    }
}

/// The first few of many, and how many are left out.
pub fn first_few<T: std::fmt::Display>(all: &[T]) -> String {
    const FEW: usize = 5;
    shortened(all, FEW)
}
