//! The post-mortem section: required when the RTO was missed (SEQ-RF-002 step 14), and added when a drill ended
//! otherwise than expected. What the events tell is filled in; causes and actions are for people.

use crate::StepVerdict;
use crate::evidence::{DrillEvidence, StepRow};
use crate::text::{capital, duration, millis, seconds, sentence, share, utc};

use super::{Page, Spans, cell, code, plain, verdict};

pub(super) fn section(page: &mut Page, level: u8, drill: &DrillEvidence) {
    page.heading(level, "Post-mortem");
    page.say(match (drill.rto_met, drill.as_expected) {
        (Some(false), true) => "Required: the RTO was missed.",
        (Some(false), false) => "Required: the RTO was missed, and the drill did not end as expected.",
        _ => "Required: the drill did not end as expected.",
    });
    page.heading(level + 1, "What happened");
    page.list(turning_points(drill));
    page.room("What users noticed, and who was told when.");
    page.heading(level + 1, "Where the time went");
    longest_steps(page, drill);
    page.heading(level + 1, "What did not go as it should");
    let failed = failed_steps(drill);
    let mismatches = drill.mismatches.iter().map(|text| cell(capital(&sentence(text))));
    let over = over_rto(drill).map(cell);
    page.list(over.into_iter().chain(mismatches).chain(failed).collect());
    page.heading(level + 1, "Root cause");
    page.room("Why it happened; ask why until the answer is something that can be changed.");
    page.heading(level + 1, "What went well");
    page.room("What helped, and must not be lost.");
    page.heading(level + 1, "Actions");
    let blank: Vec<Vec<Spans>> = (1..=3)
        .map(|n| {
            [n.to_string(), String::new(), String::new(), String::new()]
                .map(cell)
                .into()
        })
        .collect();
    page.table(&["#No.", "Action", "Owner", "Due"], blank);
}

fn turning_points(drill: &DrillEvidence) -> Vec<Spans> {
    let times = &drill.times;
    let points = [
        ("failure", times.failed),
        ("alert", times.alerted),
        ("declared restored", times.restored),
    ];
    let told = points.into_iter().filter_map(|(name, moment)| {
        let moment = moment?;
        let after = times
            .failed
            .filter(|failed| *failed != moment)
            .map(|failed| duration(moment.ms_since(failed)));
        let after = after
            .map(|after| format!(", {after} after the failure"))
            .unwrap_or_default();
        Some(cell(format!("{}: {}{after}.", capital(name), utc(moment.at_utc))))
    });
    told.collect()
}

fn over_rto(drill: &DrillEvidence) -> Option<String> {
    let time = drill.recovery_time.filter(|_| drill.rto_met == Some(false))?;
    let over = time.total_ms as f64 / 1e3 - drill.header.objectives.rto_s;
    let rto = seconds(drill.header.objectives.rto_s);
    Some(format!(
        "The recovery took {}, {} more than the RTO of {rto}.",
        millis(time.total_ms),
        seconds(over)
    ))
}

/// The longest steps, without the last, whose duration is that of the whole recovery.
fn longest_steps(page: &mut Page, drill: &DrillEvidence) {
    const LONGEST: usize = 3;
    let mut timed: Vec<(&StepRow, f64)> = drill
        .steps
        .iter()
        .filter(|row| row.step.number() < 14)
        .filter_map(|row| Some((row, row.duration_ms?)))
        .collect();
    timed.sort_by(|a, b| b.1.total_cmp(&a.1));
    let whole = drill.recovery_time.map_or(0, |time| time.total_ms);
    let rows = timed.into_iter().take(LONGEST).map(|(row, ms)| {
        vec![
            cell(format!("{}, attempt {}", row.step, row.attempt)),
            cell(duration(ms)),
            cell(share(ms as u64, whole)),
            cell(row.budget_ms.map(duration).unwrap_or_default()),
        ]
    });
    page.table(
        &["Longest steps", "#Took", "#Of the recovery", "#Budget"],
        rows.collect(),
    );
    page.room("Why these took so long, and what would shorten them.");
}

fn failed_steps(drill: &DrillEvidence) -> impl Iterator<Item = Spans> {
    let failed = drill
        .steps
        .iter()
        .filter(|row| matches!(row.verdict, StepVerdict::Fail | StepVerdict::Unknown));
    failed.map(|row| {
        vec![
            plain("Step "),
            code(row.step.to_string()),
            plain(format!(", attempt {}: ", row.attempt)),
            verdict(row.verdict),
            plain(format!(", {}", sentence(&row.detail))),
        ]
    })
}
