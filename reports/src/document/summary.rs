//! What stands above the sections of several drills: one sentence, the drills worst first, who noticed what.

use crate::evidence::DrillEvidence;
use crate::run::NEVER_BEGAN;
use crate::text::{counted, millis, number, utc, window};
use crate::{CheckId, RunEvidence, Verdict};

use super::{Page, Span, Spans, cell, code, drill, in_words, limits, plain, strong, verdict};

pub(super) fn of_several(page: &mut Page, run: &RunEvidence) {
    page.heading(1, format!("Recovery drills: run {}", run.run_id).trim_end());
    page.paragraph([
        strong(format!("{}.", in_words(run.verdict))),
        plain(" "),
        plain(sentence(run)),
    ]);
    if let (Some(start), Some(end)) = (run.started_at_utc, run.ended_at_utc) {
        let took = millis((end - start).num_milliseconds().max(0).cast_unsigned());
        page.say(format!("From {} to {} ({took}).", utc(start), utc(end)));
    }
    unproven(page, run);
    if run.drills.is_empty() {
        return;
    }
    page.heading(2, "Summary, worst first");
    table(page, run);
    if run.drills.iter().any(|drill| drill.beyond_reach().is_some()) {
        page.say("Beyond reach: the whole workload was shorter than the RPO, so that it could not be missed.");
    }
    matrix(page, run);
    for one in run.worst_first() {
        drill::in_short(page, one);
    }
    page.heading(2, "What this does not show");
    page.list(limits::of_several(&run.drills).into_iter().map(cell).collect());
}

fn sentence(run: &RunEvidence) -> String {
    let drills = counted(run.drills.len(), "drill");
    let (failed, unknown) = (run.count(Verdict::Fail), run.count(Verdict::Unknown));
    let restored = run.drills.iter().filter(|drill| drill.recovery_time.is_some()).count();
    let mut text = match (failed, unknown) {
        _ if run.drills.is_empty() => "No drill was run".to_owned(),
        (0, 0) => format!("{drills}, all as expected"),
        (0, _) => format!("{drills}: {unknown} could not be carried out or verified, the others ended as expected"),
        (_, 0) => format!("{drills}: {failed} did not pass, the others ended as expected"),
        _ => format!("{drills}: {failed} did not pass, {unknown} could not be carried out or verified"),
    };
    let slowest = run
        .drills
        .iter()
        .filter_map(|drill| drill.recovery_time)
        .map(|time| time.total_ms)
        .max();
    if let Some(slowest) = slowest {
        text = format!(
            "{text}; {restored} restored the service, the slowest in {}",
            millis(slowest)
        );
    }
    if !run.unreadable.is_empty() {
        text = format!(
            "{text}; {} could not be read",
            counted(run.unreadable.len(), "event log")
        );
    }
    if !run.never_began.is_empty() {
        text = format!("{text}; {} never began", counted(run.never_began.len(), "drill"));
    }
    if !run.skipped.is_empty() {
        text = format!("{text}; {} left out", counted(run.skipped.len(), "drill"));
    }
    if run.finished {
        format!("{text}.")
    } else {
        format!("The run did not finish: nothing vouches for it as a whole. {text}.")
    }
}

/// Drills of which nothing is known but why.
fn unproven(page: &mut Page, run: &RunEvidence) {
    let rows = run.never_began.iter();
    let rows = rows.map(|planned| {
        vec![
            vec![code(&planned.drill)],
            vec![code(planned.expected_outcome.to_string())],
            vec![verdict(Verdict::Unknown)],
            cell(NEVER_BEGAN),
        ]
    });
    page.table(
        &["Drill that never began", "Expected", "Verdict", "Why"],
        rows.collect(),
    );
    let rows = run.skipped.iter().map(|planned| {
        vec![
            vec![code(&planned.drill)],
            cell(planned.skipped.clone().unwrap_or_default()),
        ]
    });
    page.table(&["Left out: this machine cannot carry it out", "Why"], rows.collect());
    let rows = run
        .unreadable
        .iter()
        .map(|log| vec![vec![code(&log.drill)], cell(&log.problem)]);
    page.table(&["Log that could not be read", "Why"], rows.collect());
}

fn table(page: &mut Page, run: &RunEvidence) {
    let rows = run.worst_first().into_iter().map(|drill| {
        let loss = drill
            .ledger
            .as_ref()
            .map(|ledger| window(ledger.comparison.data_loss_window_ms()));
        let given_up = drill
            .ledger
            .as_ref()
            .map(|ledger| window(ledger.comparison.given_up_window_ms()));
        let lost = drill
            .ledger
            .as_ref()
            .map(|ledger| number(ledger.comparison.lost_commits));
        vec![
            vec![Span::Link(drill.header.drill.clone())],
            vec![verdict(drill.verdict)],
            drill
                .outcome
                .map(|outcome| vec![code(outcome.to_string())])
                .unwrap_or_default(),
            vec![code(drill.header.expected.outcome.to_string())],
            cell(
                drill
                    .recovery_time
                    .map(|time| millis(time.total_ms))
                    .unwrap_or_default(),
            ),
            cell(met(drill.rto_met)),
            cell(loss.unwrap_or_default()),
            cell(given_up.unwrap_or_default()),
            cell(if drill.beyond_reach().is_some() {
                "beyond reach"
            } else {
                met(drill.rpo_met)
            }),
            cell(lost.unwrap_or_default()),
            cell(drill.rejected_unusable.to_string()),
        ]
    });
    let columns = [
        "Drill",
        "Verdict",
        "Outcome",
        "Expected",
        "#Recovery time",
        "RTO",
        "#Loss window",
        "#Given up",
        "RPO",
        "#Lost commits",
        "#Rejected",
    ];
    page.table(&columns, rows.collect());
}

fn met(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    }
}

fn matrix(page: &mut Page, run: &RunEvidence) {
    let telling = |check: CheckId| {
        let rows = run.drills.iter().flat_map(|drill| &drill.detection);
        rows.filter(|row| row.check == check)
            .any(|row| row.should_detect || row.detected)
    };
    let checks: Vec<CheckId> = CheckId::ALL.iter().copied().filter(|&check| telling(check)).collect();
    page.heading(2, "Who noticed what");
    if checks.is_empty() {
        return page.say("No check had to notice anything, and none did.");
    }
    page.say(
        "● noticed, as it had to; ◐ noticed, though it need not have; ○ had to notice and did not; · neither; ? not judged",
    );
    let titles: Vec<&str> = ["Drill"]
        .into_iter()
        .chain(checks.iter().map(|check| check.id()))
        .collect();
    let rows = run.drills.iter().map(|drill| {
        let marks = checks.iter().map(|&check| cell(mark(drill, check)));
        [vec![Span::Link(drill.header.drill.clone())]]
            .into_iter()
            .chain(marks)
            .collect::<Vec<Spans>>()
    });
    page.table(&titles, rows.collect());
}

fn mark(drill: &DrillEvidence, check: CheckId) -> &'static str {
    let row = drill.detection.iter().find(|row| row.check == check);
    match row.map(|row| (row.should_detect, row.detected)) {
        Some((true, true)) => "●",
        Some((false, true)) => "◐",
        Some((true, false)) if !drill.was_carried_out() => "?",
        Some((true, false)) => "○",
        _ => "·",
    }
}
