//! The recovery time and its split into detection, decision, restore, validation and cutover.
//!
//! The events between the failure and the declaration are walked once and every nanosecond goes to exactly one part,
//! so that the parts add up to the whole. Nothing here compares with an objective.

use crate::Step;
use crate::event::{Event, What};

use super::RecoveryTime;
use super::cost::rounded_ms;

const DETECTION: usize = 0;
const DECISION: usize = 1;
const RESTORE: usize = 2;
const VALIDATION: usize = 3;
const CUTOVER: usize = 4;

/// Measures the recovery; `None` unless a failure and, after it, a declaration are among the events.
///
/// Until the alert is received all time is detection. Then a step's time goes to its part, over all attempts; time
/// between two steps goes to the one that follows; what is left before the declaration is cutover.
pub(super) fn measure(events: &[Event]) -> Option<RecoveryTime> {
    let failed = events.iter().position(|event| matches!(event.what, What::Failed))?;
    let length = events[failed..]
        .iter()
        .position(|event| matches!(event.what, What::Restored))?;
    let (recovery, restored) = (&events[failed..failed + length], &events[failed + length]);

    let mut walk = Walk {
        parts_ns: [0; 5],
        cursor_ns: began_ns(events, events[failed].offset_ns),
    };
    let mut open: Option<Step> = None;
    let mut alerted = false;
    for event in recovery {
        match event.what {
            What::AlertReceived { .. } if !alerted => {
                alerted = true;
                walk.up_to(event.offset_ns, DETECTION);
            }
            What::StepStarted { step, .. } => {
                if let Some(part) = open.and_then(|step| part_of(step, alerted)) {
                    walk.up_to(event.offset_ns, part);
                }
                open = Some(step);
            }
            What::StepFinished { step, .. } => {
                if let Some(part) = part_of(step, alerted) {
                    walk.up_to(event.offset_ns, part);
                }
                open = None;
            }
            _ => {}
        }
    }
    let rest = open.and_then(|step| part_of(step, alerted)).unwrap_or(CUTOVER);
    walk.up_to(restored.offset_ns, rest);
    Some(in_milliseconds(walk.parts_ns))
}

/// The outage began with the failure, or before it where the service had stopped answering already.
fn began_ns(events: &[Event], failed_ns: u64) -> u64 {
    let outage = events.iter().find_map(|event| match event.what {
        What::OutageBegan { began_ns, .. } => Some(began_ns),
        _ => None,
    });
    outage.map_or(failed_ns, |began_ns| began_ns.min(failed_ns))
}

/// The part that a step's time belongs to; `None` for what step 1 takes after the alert, which goes to what follows.
fn part_of(step: Step, alerted: bool) -> Option<usize> {
    match step.number() {
        1 if alerted => None,
        1 => Some(DETECTION),
        2..=4 => Some(DECISION),
        5..=7 => Some(RESTORE),
        8 => Some(VALIDATION),
        _ => Some(CUTOVER),
    }
}

struct Walk {
    parts_ns: [u64; 5],
    cursor_ns: u64,
}

impl Walk {
    fn up_to(&mut self, offset_ns: u64, part: usize) {
        self.parts_ns[part] += offset_ns.saturating_sub(self.cursor_ns);
        self.cursor_ns = self.cursor_ns.max(offset_ns);
    }
}

/// Rounds the running total and takes differences: each part is within a millisecond, and the sum is exact.
fn in_milliseconds(parts_ns: [u64; 5]) -> RecoveryTime {
    let (mut total_ns, mut total_ms) = (0, 0);
    let [detection_ms, decision_ms, restore_ms, validation_ms, cutover_ms] = parts_ns.map(|ns| {
        total_ns += ns;
        let before = std::mem::replace(&mut total_ms, rounded_ms(total_ns));
        total_ms - before
    });
    RecoveryTime {
        total_ms,
        detection_ms,
        decision_ms,
        restore_ms,
        validation_ms,
        cutover_ms,
    }
}
