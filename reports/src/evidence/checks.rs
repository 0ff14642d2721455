//! Results of checks with their weight, and the row of the detection matrix that they make.

use std::collections::HashSet;

use crate::event::{Event, What};
use crate::{CheckId, Phase, Step, Verdict};

use super::fold::moment;
use super::{CheckRow, DetectionRow};

/// All results in their order. Which of them decide is told in [`CheckRow::deciding`].
pub(super) fn rows(events: &[Event]) -> Vec<CheckRow> {
    let last_attempt = events
        .iter()
        .rposition(|event| matches!(event.what, What::StepStarted { step, .. } if step <= Step::RestoreData))
        .unwrap_or(0);
    let mut rows: Vec<CheckRow> = events
        .iter()
        .enumerate()
        .filter_map(|(index, event)| {
            let What::CheckFinished(result) = &event.what else {
                return None;
            };
            let deciding = index >= last_attempt && result.phase >= Phase::Restored;
            Some(CheckRow {
                finished: moment(event),
                deciding,
                result: result.clone(),
            })
        })
        .collect();
    let mut seen = HashSet::new();
    for row in rows.iter_mut().rev().filter(|row| row.deciding) {
        row.deciding = seen.insert((row.result.check, row.result.phase, row.result.subject.clone()));
    }
    rows
}

/// One row for each check there is.
pub(super) fn detection(events: &[Event], detected_by: &[CheckId]) -> Vec<DetectionRow> {
    let failed: HashSet<CheckId> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::CheckFinished(result) if result.verdict == Verdict::Fail => Some(result.check),
            _ => None,
        })
        .collect();
    CheckId::ALL
        .iter()
        .map(|&check| DetectionRow {
            check,
            should_detect: detected_by.contains(&check),
            detected: failed.contains(&check),
        })
        .collect()
}
