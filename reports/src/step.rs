//! The fourteen steps of SEQ-RF-002: numbers, names, budgets and roles, as data.
//!
//! Nothing runs here; the steps are carried out by `recovery.rs` of the `drill` crate, in this order.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a step, 1 to 14. Steps never lose their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Step {
    /// 1: the alert is received.
    Alert = 1,
    /// 2: investigated, and confirmed unrecoverable in place.
    Confirm,
    /// 3: backups listed.
    ListBackups,
    /// 4: the latest valid backup within the RPO chosen.
    ChooseBackup,
    /// 5: restore job started; its id is returned at once.
    StartRestore,
    /// 6: data restored into a new instance.
    RestoreData,
    /// 7: completion notified.
    Notify,
    /// 8: restored data validated, read only.
    Validate,
    /// 9: connection string updated.
    UpdateConnection,
    /// 10: application restarted.
    RestartApplication,
    /// 11: application connected to the restored database.
    Connect,
    /// 12: readiness observed.
    Readiness,
    /// 13: smoke test.
    SmokeTest,
    /// 14: service declared restored.
    Declare,
}

/// Who may carry a step out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Lists backups and starts restores.
    RecoveryOperator,
    /// Changes the application's configuration and restarts it.
    AppAdmin,
    /// Reads the restored data, and only reads.
    Validator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RecoveryOperator => "RecoveryOperator",
            Self::AppAdmin => "AppAdmin",
            Self::Validator => "Validator",
        })
    }
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 14] = [
        Self::Alert,
        Self::Confirm,
        Self::ListBackups,
        Self::ChooseBackup,
        Self::StartRestore,
        Self::RestoreData,
        Self::Notify,
        Self::Validate,
        Self::UpdateConnection,
        Self::RestartApplication,
        Self::Connect,
        Self::Readiness,
        Self::SmokeTest,
        Self::Declare,
    ];

    /// 1 to 14.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// A short name for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert received",
            Self::Confirm => "confirmed unrecoverable",
            Self::ListBackups => "backups listed",
            Self::ChooseBackup => "backup chosen",
            Self::StartRestore => "restore started",
            Self::RestoreData => "data restored",
            Self::Notify => "completion notified",
            Self::Validate => "data validated",
            Self::UpdateConnection => "connection string updated",
            Self::RestartApplication => "application restarted",
            Self::Connect => "application connected",
            Self::Readiness => "readiness observed",
            Self::SmokeTest => "smoke test",
            Self::Declare => "declared restored",
        }
    }

    /// Budget in milliseconds (SEQ-RF-002); `None` where the step is only measured. Step 8's holds for each query,
    /// step 14's is the RTO, which belongs to the run and not to this table.
    pub fn budget_ms(self) -> Option<u64> {
        match self {
            Self::Alert | Self::Notify | Self::RestartApplication => Some(60_000),
            Self::ListBackups => Some(10_000),
            Self::StartRestore | Self::Validate | Self::Readiness => Some(5_000),
            Self::UpdateConnection => Some(30_000),
            Self::Connect => Some(1_000),
            Self::SmokeTest => Some(500),
            Self::Confirm | Self::ChooseBackup | Self::RestoreData | Self::Declare => None,
        }
    }

    /// The role that the requirement names for the step, if it names one.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::ListBackups | Self::StartRestore => Some(Role::RecoveryOperator),
            Self::Validate => Some(Role::Validator),
            Self::UpdateConnection | Self::RestartApplication => Some(Role::AppAdmin),
            _ => None,
        }
    }
}

impl From<Step> for u8 {
    fn from(step: Step) -> Self {
        step.number()
    }
}

impl TryFrom<u8> for Step {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|step| step.number() == number)
            .ok_or_else(|| format!("step {number} is not one of 1 to 14"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn numbers_run_from_one_to_fourteen() {
        let numbers: Vec<u8> = Step::ALL.iter().map(|step| step.number()).collect();
        assert_eq!(numbers, (1..=14).collect::<Vec<u8>>());
        assert!(Step::try_from(0).is_err() && Step::try_from(15).is_err());
    }
}
