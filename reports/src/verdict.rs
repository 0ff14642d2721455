//! Verdicts and outcomes, and the one rule that merges them.
//!
//! Three verdicts, merged `Fail > Unknown > Pass` everywhere, exit codes included. A check that could not run is
//! [`Verdict::Unknown`] with its reason, never a pass. See [`crate::evidence`] for where they are applied.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a check, a step or a whole drill came to.
///
/// The order is the order of severity: `Pass < Unknown < Fail`, so that merging is taking the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It ran and found what it expected.
    Pass,
    /// It could not be verified; the reason stands beside it.
    Unknown,
    /// It ran and found something else.
    Fail,
}

impl Verdict {
    /// The one rule: Fail beats Unknown beats Pass.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.max(other)
    }

    /// Merges any number of verdicts; of none at all nothing is known.
    pub fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().reduce(Self::merge).unwrap_or(Self::Unknown)
    }

    /// `Pass` if `holds`, else `Fail`.
    pub fn from_holds(holds: bool) -> Self {
        if holds { Self::Pass } else { Self::Fail }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        })
    }
}

/// How one drill ended (DESIGN: outcomes and exit codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Service restored within both objectives.
    Recovered,
    /// Restored, but more was lost than the RPO allows.
    RecoveredRpoMissed,
    /// Restored, but later than the RTO allows.
    RecoveredRtoMissed,
    /// Restored, with both objectives missed.
    RecoveredBothMissed,
    /// Not restored; the reason stands beside it.
    NotRecovered,
    /// It must not proceed, and did not.
    Refused,
    /// The database was healthy (or a restart sufficed): nothing was restored.
    FalseAlarm,
}

impl Outcome {
    /// The outcome of a service that was restored, from its two objectives.
    pub fn restored(rpo_met: bool, rto_met: bool) -> Self {
        match (rpo_met, rto_met) {
            (true, true) => Self::Recovered,
            (false, true) => Self::RecoveredRpoMissed,
            (true, false) => Self::RecoveredRtoMissed,
            (false, false) => Self::RecoveredBothMissed,
        }
    }

    /// Whether the service was restored, whatever the objectives say.
    pub fn is_restored(self) -> bool {
        matches!(
            self,
            Self::Recovered | Self::RecoveredRpoMissed | Self::RecoveredRtoMissed | Self::RecoveredBothMissed
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Recovered => "recovered",
            Self::RecoveredRpoMissed => "recovered-rpo-missed",
            Self::RecoveredRtoMissed => "recovered-rto-missed",
            Self::RecoveredBothMissed => "recovered-both-missed",
            Self::NotRecovered => "not-recovered",
            Self::Refused => "refused",
            Self::FalseAlarm => "false-alarm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Verdict};

    #[test]
    fn fail_beats_unknown_beats_pass() {
        use Verdict::{Fail, Pass, Unknown};
        assert_eq!(Verdict::of_all([Pass, Unknown, Pass]), Unknown);
        assert_eq!(Verdict::of_all([Unknown, Fail, Pass]), Fail);
        assert_eq!(Verdict::of_all([Pass, Pass]), Pass);
        assert_eq!(Verdict::of_all([]), Unknown, "nothing verified is nothing known");
    }

    #[test]
    fn restored_names_the_missed_objective() {
        assert_eq!(Outcome::restored(true, true), Outcome::Recovered);
        assert_eq!(Outcome::restored(false, true), Outcome::RecoveredRpoMissed);
        assert_eq!(Outcome::restored(true, false), Outcome::RecoveredRtoMissed);
        assert_eq!(Outcome::restored(false, false), Outcome::RecoveredBothMissed);
    }
}
