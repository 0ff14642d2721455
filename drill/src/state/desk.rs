//! Where a drill is decided and written down.

use std::{path::PathBuf, time::Duration};

use reports::{CheckResult, Verdict, What};

use super::Options;
use crate::{errors::chain, ledger::LedgerHeader, operator::Operator, record::Recorder, scenario::Scenario};

/// Who decides, by what, and where everything is recorded.
pub struct Desk {
    /// What the command line decides.
    pub options: Options,
    /// What is drilled.
    pub scenario: Scenario,
    /// The objectives that hold for this drill.
    pub objectives: Objectives,
    /// Who takes the decisions, and in which roles.
    pub operator: Operator,
    /// Where everything is recorded.
    pub recorder: Recorder,
    /// The file of what writers were promised.
    pub ledger: PathBuf,
    /// Whose ledger it is.
    pub ledger_header: LedgerHeader,
}

impl Desk {
    /// Records a check's result.
    pub fn check(&self, result: CheckResult) {
        self.recorder.record(What::CheckFinished(result));
    }

    /// Records that something was taken back, or that it could not be.
    pub fn undone<E: std::error::Error + 'static>(&self, what: &str, result: Result<&str, E>) {
        let (verdict, detail) = match result {
            Ok(detail) => (Verdict::Pass, detail.to_owned()),
            Err(error) => (Verdict::Fail, chain(&error)),
        };
        self.recorder.record(What::Undone {
            what: what.to_owned(),
            verdict,
            detail,
        });
    }

    /// How many commits are asked for before the failure.
    pub fn commits(&self) -> u64 {
        self.scenario.given.commits.unwrap_or(self.options.commits)
    }

    /// How many writers there are: none where no commits are asked for.
    pub fn writers(&self) -> u32 {
        match self.commits() {
            0 => 0,
            _ => self.scenario.given.writers.unwrap_or(self.options.writers).max(1),
        }
    }
}

/// Recovery objectives of one drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objectives {
    /// At most this much acknowledged work may be lost.
    pub rpo: Duration,
    /// The service must be back within this time.
    pub rto: Duration,
}

impl Objectives {
    /// The scenario's own where it has them, else the service's.
    pub fn of(scenario: &Scenario, options: &Options) -> Self {
        Self {
            rpo: scenario.objectives.rpo.unwrap_or(options.rpo),
            rto: scenario.objectives.rto.unwrap_or(options.rto),
        }
    }

    /// As evidence states them.
    pub fn for_evidence(self, scenario: &Scenario) -> reports::event::Objectives {
        reports::event::Objectives {
            rpo_s: self.rpo.as_secs_f64(),
            rto_s: self.rto.as_secs_f64(),
            from_scenario: scenario.objectives.rpo.is_some() || scenario.objectives.rto.is_some(),
        }
    }
}
