//! Several drills, live: how many have ended and how, how long it has taken, and what runs.

use std::time::Instant;

use reports::{DrillEvidence, Event, Verdict, What};

use super::{since, words};

/// No name of a drill takes more of a row than this.
const WIDEST_NAME: usize = 32;

/// The drills of a run.
pub(super) struct Board {
    drills: usize,
    began: Instant,
    running: Vec<Running>,
    as_expected: usize,
    not_expected: usize,
    unverified: usize,
}

struct Running {
    drill: String,
    does: String,
    began: Instant,
}

impl Board {
    pub(super) fn new(drills: usize) -> Self {
        Self {
            drills,
            began: Instant::now(),
            running: Vec::new(),
            as_expected: 0,
            not_expected: 0,
            unverified: 0,
        }
    }

    pub(super) fn begins(&mut self, drill: &str) {
        self.running.push(Running {
            drill: drill.to_owned(),
            does: "is about to begin".to_owned(),
            began: Instant::now(),
        });
    }

    pub(super) fn event(&mut self, drill: &str, event: &Event) {
        let does = match &event.what {
            What::PartStarted { part } => words::part_name(*part).to_owned(),
            What::StepStarted { step, attempt } => format!("{step}{}", words::attempt(*attempt)),
            _ => return,
        };
        if let Some(running) = self.running.iter_mut().find(|running| running.drill == drill) {
            running.does = does;
        }
    }

    /// Counts a drill that has ended. The lines that it returns are printed: whatever was not as expected.
    pub(super) fn ended(&mut self, drill: &str, evidence: Option<&DrillEvidence>) -> Vec<String> {
        self.running.retain(|running| running.drill != drill);
        let told = evidence.map_or_else(|| "its events cannot be read".to_owned(), DrillEvidence::headline);
        match evidence.map_or(Verdict::Unknown, |evidence| evidence.verdict) {
            Verdict::Pass => {
                self.as_expected += 1;
                Vec::new()
            }
            Verdict::Fail => {
                self.not_expected += 1;
                vec![format!("✗ {drill}: {told}")]
            }
            Verdict::Unknown => {
                self.unverified += 1;
                vec![format!("? {drill}: {told}")]
            }
        }
    }

    /// `12 of 98 · 1 min 3 s · 11 as expected, 1 not`
    pub(super) fn tally(&self) -> String {
        let ended = self.as_expected + self.not_expected + self.unverified;
        let mut counts = Vec::new();
        if ended > 0 {
            counts.push(format!("{} as expected", self.as_expected));
        }
        if self.not_expected > 0 {
            counts.push(format!("{} not", self.not_expected));
        }
        if self.unverified > 0 {
            counts.push(format!("{} unverified", self.unverified));
        }
        let tally = format!("{ended} of {} · {}", self.drills, since(self.began));
        if counts.is_empty() {
            return tally;
        }
        format!("{tally} · {}", counts.join(", "))
    }

    /// The tally, and a row for each drill that runs; on a terminal that is too low for these, their names behind it.
    pub(super) fn live(&self, rows: usize) -> Vec<String> {
        let names = self.running.iter().map(|running| running.drill.as_str());
        if self.running.len() + 2 > rows {
            let names: Vec<_> = names.collect();
            return vec![format!("{} · runs: {}", self.tally(), names.join(", "))];
        }
        let width = names.map(|name| name.chars().count()).max().unwrap_or_default();
        let width = width.min(WIDEST_NAME);
        let spinner = words::spinner();
        let runs = self.running.iter().map(|Running { drill, does, began }| {
            let passed = since(*began);
            format!("{spinner} {drill:<width$}  {passed:>9}  {does}")
        });
        std::iter::once(self.tally()).chain(runs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Board;

    #[test]
    fn what_runs_is_told_by_rows_where_there_is_room_and_by_names_elsewhere() {
        let mut board = Board::new(3);
        board.begins("drop-table");
        board.begins("false-alarm");
        let rows = board.live(24);
        assert_eq!(rows[0], "0 of 3 · 0 s");
        assert_eq!(rows.len(), 3);
        assert!(
            rows[1].ends_with(" drop-table         0 s  is about to begin"),
            "{rows:?}"
        );
        assert_eq!(board.live(3), ["0 of 3 · 0 s · runs: drop-table, false-alarm"]);
        let printed = board.ended("drop-table", None);
        assert_eq!(printed, ["? drop-table: its events cannot be read"]);
        assert_eq!(board.live(3)[0], "1 of 3 · 0 s · 0 as expected, 1 unverified");
    }
}
