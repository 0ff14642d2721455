//! The result of the comparison.

use reports::{
    Verdict,
    event::LedgerComparison,
    text::{counted, left_out, number, window},
};

use super::verdicts::Classes;

/// How many examples of each kind are kept.
const EXAMPLES: usize = 10;

/// How often something was found, and the first few of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// The first ten, each naming its operation or row.
    pub examples: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// What is wrong, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) holes: Tally,
    pub(super) torn: Tally,
    pub(super) overshot: Tally,
    pub(super) unexpected: Tally,
    pub(super) altered: Tally,
    pub(super) missing_seeded: Tally,
    pub(super) duplicated: Tally,
    pub(super) lost: Tally,
    pub(super) sequences_behind: Vec<String>,
}

/// What the ledger proves about the recovered rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// For the event log and the reports. Its `holes` are [`Comparison::holes`] and [`Comparison::torn`], its
    /// `unexpected_rows` [`Comparison::unexpected`], [`Comparison::overshot`] and [`Comparison::duplicated`], its
    /// `altered_rows` [`Comparison::altered`] and [`Comparison::missing_seeded`]. `lost_commits` are the lost tail:
    /// holes are not among them.
    pub summary: LedgerComparison,
    /// Acknowledged commits that are wholly there and should be.
    pub recovered_commits: u64,
    /// Operations that the server refused.
    pub rejected_operations: u64,
    /// Acknowledged commits that are gone, with nothing left that was sent after their acknowledgement: data loss.
    pub lost: Tally,
    /// Acknowledged commits that are gone although one that was sent after their acknowledgement survived: corruption.
    pub holes: Tally,
    /// Operations of which only a part is there: corruption.
    pub torn: Tally,
    /// Commits certainly at or after the recovery target that are there all the same, one an operation.
    pub overshot: Tally,
    /// Rows nobody wrote, or that belong to a rejected operation.
    pub unexpected: Tally,
    /// Rows that do not say what was written, and keys whose state does not follow from their operations.
    pub altered: Tally,
    /// Seeded rows that are gone.
    pub missing_seeded: Tally,
    /// Further copies of a row.
    pub duplicated: Tally,
    /// Sequences that would give out an id that was already given: each with its numbers.
    pub sequences_behind: Vec<String>,
    /// Rows that an operation in the unreadable part of the ledger may have written: neither right nor wrong.
    pub unexplained_rows: u64,
    /// What was wrong with the ledger; empty if it could be read completely.
    pub damage: Vec<String>,
}

impl Comparison {
    pub(super) fn new(classes: Classes, findings: Findings, unexplained_rows: u64, damage: &[String]) -> Self {
        let mut comparison = Self {
            summary: classes.summary,
            recovered_commits: classes.recovered_commits,
            rejected_operations: classes.rejected_operations,
            lost: findings.lost,
            holes: findings.holes,
            torn: findings.torn,
            overshot: findings.overshot,
            unexpected: findings.unexpected,
            altered: findings.altered,
            missing_seeded: findings.missing_seeded,
            duplicated: findings.duplicated,
            sequences_behind: findings.sequences_behind,
            unexplained_rows,
            damage: damage.to_vec(),
        };
        let anomalies = comparison
            .anomalies()
            .into_iter()
            .flat_map(|(_, tally)| &tally.examples);
        let examples = anomalies
            .chain(&comparison.sequences_behind)
            .chain(&comparison.lost.examples);
        let mut examples: Vec<String> = examples.cloned().collect();
        let counts = comparison.anomalies().map(|(_, tally)| tally.count);
        let all = counts.iter().sum::<u64>() + comparison.sequences_behind.len() as u64 + comparison.lost.count;
        examples.extend(left_out(all - examples.len() as u64));
        let summary = &mut comparison.summary;
        summary.lost_commits = comparison.lost.count;
        summary.holes = comparison.holes.count + comparison.torn.count;
        summary.unexpected_rows = comparison.unexpected.count + comparison.overshot.count + comparison.duplicated.count;
        summary.altered_rows = comparison.altered.count + comparison.missing_seeded.count;
        summary.examples = examples;
        comparison
    }

    /// Whether parts of the ledger could not be read, so that finding nothing proves nothing.
    pub fn truth_is_partial(&self) -> bool {
        !self.damage.is_empty()
    }

    /// Whether what survived is what was acknowledged up to some moment: nothing is missing before something that is
    /// there, and nothing is there in part.
    pub fn is_prefix(&self) -> bool {
        self.holes.count == 0 && self.torn.count == 0
    }

    /// Whether nothing is wrong beside what [`Comparison::lost`] says.
    pub fn is_sound(&self) -> bool {
        self.anomalies().iter().all(|(_, tally)| tally.count == 0) && self.sequences_behind.is_empty()
    }

    /// Whether sequences that are behind are all that is wrong: what a repair cures.
    pub fn only_sequences_are_behind(&self) -> bool {
        self.anomalies().iter().all(|(_, tally)| tally.count == 0) && !self.sequences_behind.is_empty()
    }

    /// Fail if anything is there that should not be, is not what was written, or is missing in the middle. A lost tail
    /// alone is no failure of this check: it is data loss, for the recovery point to judge. Unknown if nothing was
    /// found in a ledger that could only be read in part.
    pub fn verdict(&self) -> Verdict {
        match (self.is_sound(), self.truth_is_partial()) {
            (false, _) => Verdict::Fail,
            (true, true) => Verdict::Unknown,
            (true, false) => Verdict::Pass,
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let LedgerComparison {
            acknowledged_commits,
            indeterminate_commits,
            indeterminate_present,
            ..
        } = self.summary;
        let mut parts = vec![format!(
            "{} of {} recovered",
            number(self.recovered_commits),
            counted(acknowledged_commits, "acknowledged commit")
        )];
        if self.lost.count > 0 {
            parts.push(format!(
                "{} lost, a window of {}",
                number(self.lost.count),
                window(self.summary.data_loss_window_ms())
            ));
        }
        if self.summary.commits_beyond_target > 0 {
            parts.push(format!(
                "{} after the recovery target",
                number(self.summary.commits_beyond_target)
            ));
        }
        if indeterminate_commits > 0 {
            parts.push(format!(
                "{} of {} present",
                number(indeterminate_present),
                counted(indeterminate_commits, "unanswered one")
            ));
        }
        let anomalies = self.anomalies().into_iter().filter(|(_, tally)| tally.count > 0);
        parts.extend(anomalies.map(|(what, tally)| match what.strip_suffix("rows") {
            Some(kind) => counted(tally.count, &format!("{kind}row")),
            None => format!("{} {what}", number(tally.count)),
        }));
        if !self.sequences_behind.is_empty() {
            parts.push(format!("{} behind", counted(self.sequences_behind.len(), "sequence")));
        }
        if self.is_sound() {
            parts.push("no anomaly".to_owned());
        }
        if let Some(damage) = self.damage.first() {
            parts.push(format!("the ledger could only be read in part ({damage})"));
        }
        parts.join("; ")
    }

    /// Everything that makes the check fail, worst first.
    fn anomalies(&self) -> [(&'static str, &Tally); 7] {
        [
            ("missing in the middle", &self.holes),
            ("torn", &self.torn),
            ("present although after the recovery target", &self.overshot),
            ("unexpected rows", &self.unexpected),
            ("altered rows", &self.altered),
            ("missing seeded rows", &self.missing_seeded),
            ("duplicated rows", &self.duplicated),
        ]
    }
}
