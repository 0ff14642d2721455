//! The live table of one drill: what went before the alert in a few rows, then a row a step. Each is printed when it is
//! over; below them is what runs.

use std::time::Instant;

use crate::service::Progress;
use reports::{Event, What, text::number};

use super::{since, words};

/// Width of the bar of the seed.
const BAR: usize = 24;

/// What runs in one drill.
pub(super) struct Table {
    part: &'static str,
    step: Option<String>,
    seeding: Option<String>,
    began: Instant,
    ended: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            part: "looking for PostgreSQL",
            step: None,
            seeding: None,
            began: Instant::now(),
            ended: false,
        }
    }

    /// Takes note of an event. The rows that it returns are finished, and are printed.
    pub(super) fn event(&mut self, event: &Event) -> Vec<String> {
        match &event.what {
            What::PartStarted { part } => {
                self.part = words::part_name(*part);
                self.began = Instant::now();
            }
            What::StepStarted { step, attempt } => {
                let again = words::attempt(*attempt);
                self.step = Some(format!("{:>2} {}{again}", step.number(), step.name()));
                self.began = Instant::now();
            }
            What::Seeded(_) => self.seeding = None,
            What::StepFinished { .. } => {
                self.step = None;
                self.began = Instant::now();
                return words::line(event).into_iter().collect();
            }
            What::DrillFinished { .. } => self.ended = true,
            _ => {}
        }
        let row = match &event.what {
            What::Seeded(_)
            | What::BackupTaken(_)
            | What::FaultInjected(_)
            | What::CandidateRejected { .. }
            | What::Undone { .. } => words::line(event),
            _ => None,
        };
        row.map(|row| format!("   {row}")).into_iter().collect()
    }

    pub(super) fn seeding(&mut self, progress: &Progress) {
        let Progress {
            rows,
            total_rows,
            bytes,
            ..
        } = *progress;
        let full = (rows * BAR as u64)
            .checked_div(total_rows)
            .map_or(BAR, |full| BAR.min(full as usize));
        let (full, left) = ("█".repeat(full), "░".repeat(BAR - full));
        let size = reports::text::bytes(bytes);
        self.seeding = Some(format!(
            "{full}{left} {} of {} rows, {size}",
            number(rows),
            number(total_rows)
        ));
    }

    /// What runs, and for how long.
    pub(super) fn live(&self) -> Vec<String> {
        if self.ended {
            return Vec::new();
        }
        let spinner = words::spinner();
        vec![match (&self.step, &self.seeding) {
            (Some(step), _) => {
                let passed = self.began.elapsed().as_secs_f64();
                format!("{spinner} {step:<29} {passed:>8.1} s")
            }
            (None, Some(seeding)) => format!("{spinner}  {} {seeding}", self.part),
            (None, None) => format!("{spinner}  {}, {}", self.part, since(self.began)),
        }]
    }
}
