//! What was done and found: steps, checks, backups and plans, faults, findings, detection.

use std::cmp::Reverse;

use crate::evidence::{ActionRow, CheckRow, DrillEvidence, StepRow};
use crate::text::{bytes, duration, listed, millis, utc, yes_no};
use crate::{CheckResult, Verdict};

use super::{Page, Spans, cell, code, codes, plain, verdict};

pub(super) fn checks(page: &mut Page, drill: &DrillEvidence) {
    if drill.checks.is_empty() {
        page.say("No check ran.");
    }
    check_table(page, drill, &drill.checks.iter().collect::<Vec<_>>());
}

pub(super) fn check_table(page: &mut Page, drill: &DrillEvidence, rows: &[&CheckRow]) {
    let rows = rows.iter().map(|row| {
        let result = &row.result;
        let mut check = vec![code(result.check.id())];
        if !result.subject.is_empty() {
            check.extend([plain(" on "), code(&result.subject)]);
        }
        let found = match (result.actual.as_str(), result.detail.as_str()) {
            (actual, "") => actual.to_owned(),
            ("", detail) => detail.to_owned(),
            (actual, detail) => format!("{actual} ({detail})"),
        };
        let meant_to_fail = drill
            .detection
            .iter()
            .any(|row| row.check == result.check && row.should_detect);
        let mut came_to = vec![verdict(result.verdict)];
        if result.verdict == Verdict::Fail && meant_to_fail {
            came_to.push(plain(", as it must"));
        }
        vec![
            cell(result.phase.to_string()),
            check,
            came_to,
            cell(&result.expected),
            cell(found),
            cell(duration(result.duration_ms)),
        ]
    });
    page.table(
        &["Phase", "Check", "Verdict", "Expected", "Found", "#Took"],
        rows.collect(),
    );
}

/// What is worst comes first: a failure that nobody expects, then what could not be verified, then what fails as it must.
pub(super) fn severity(drill: &DrillEvidence, result: &CheckResult) -> u8 {
    let must_fail = |check| {
        drill
            .detection
            .iter()
            .any(|row| row.check == check && row.should_detect)
    };
    match result.verdict {
        Verdict::Fail if !must_fail(result.check) => 0,
        Verdict::Unknown => 1,
        Verdict::Fail => 2,
        Verdict::Pass => 3,
    }
}

pub(super) fn backups(page: &mut Page, drill: &DrillEvidence) {
    let rows = drill.backups.iter().map(|backup| {
        let lsn = |lsn: &Option<String>| lsn.clone().unwrap_or_else(|| "?".to_owned());
        vec![
            vec![code(&backup.id)],
            cell(&backup.method),
            cell(utc(backup.taken_at_utc)),
            cell(bytes(backup.bytes)),
            cell(match (&backup.start_lsn, &backup.stop_lsn) {
                (None, None) => String::new(),
                (start, stop) => format!("{} to {}", lsn(start), lsn(stop)),
            }),
            cell(backup.timeline.map(|timeline| timeline.to_string()).unwrap_or_default()),
        ]
    });
    page.table(
        &["Backup", "Method", "Complete", "#Size", "WAL", "#Timeline"],
        rows.collect(),
    );
    rejected(page, drill);
    for (number, plan) in (1..).zip(&drill.plans) {
        let which = if drill.plans.len() > 1 {
            format!("Plan {number}: backup ")
        } else {
            "Plan: backup ".to_owned()
        };
        let reach = plan
            .provable_lsn
            .as_ref()
            .map(|lsn| format!(", provably reaching {lsn}"))
            .unwrap_or_default();
        let age = plan
            .provable_age_ms
            .map(|ms| format!(", {} before the failure", millis(ms)))
            .unwrap_or_default();
        let rpo = if plan.within_rpo {
            "within the RPO"
        } else {
            "outside the RPO"
        };
        page.paragraph([
            plain(which),
            code(&plan.backup.id),
            plain(format!(", recovery to {}{reach}{age}; {rpo}.", plan.target)),
        ]);
    }
    if drill.plans.is_empty() {
        page.say("No plan was chosen.");
    }
    let jobs = drill.restore_jobs.iter().map(|job| {
        vec![
            vec![code(&job.job_id)],
            cell(job.status.to_string()),
            cell(duration(job.updated.ms_since(job.accepted))),
            cell(bytes(job.restored_bytes)),
            cell(&job.reason),
        ]
    });
    page.table(
        &["Restore job", "Last status", "#After", "#Restored", "Reason"],
        jobs.collect(),
    );
}

pub(super) fn rejected(page: &mut Page, drill: &DrillEvidence) {
    let mut rejected: Vec<_> = drill.rejected.iter().collect();
    rejected.sort_by_key(|candidate| !candidate.unusable);
    let rows = rejected.into_iter().map(|candidate| {
        vec![
            vec![code(&candidate.backup_id)],
            cell(if candidate.unusable { "unusable" } else { "passed over" }),
            codes(candidate.check),
            cell(&candidate.reason),
        ]
    });
    page.table(&["Not used", "As", "By check", "Reason"], rows.collect());
}

pub(super) fn faults(page: &mut Page, drill: &DrillEvidence) {
    if drill.faults.is_empty() {
        page.say("Nothing was damaged.");
    }
    for fault in &drill.faults {
        page.paragraph([
            code(&fault.kind),
            plain(format!(" at {} on ", fault.at)),
            code(&fault.target),
            plain(format!(": {}", crate::text::sentence(&fault.summary))),
        ]);
        page.list(fault.touched.iter().map(|touched| vec![code(touched)]).collect());
    }
}

pub(super) fn findings(page: &mut Page, drill: &DrillEvidence) {
    let mut found: Vec<_> = drill.findings.iter().collect();
    found.sort_by_key(|finding| Reverse(finding.severity));
    page.list(found.into_iter().map(|finding| cell(finding.to_string())).collect());
    let rows = |kind: &'static str, rows: &[ActionRow]| -> Vec<Vec<Spans>> {
        let row = |row: &ActionRow| {
            vec![
                cell(kind),
                cell(&row.what),
                vec![verdict(row.verdict)],
                cell(&row.detail),
            ]
        };
        rows.iter().map(row).collect()
    };
    let mut actions = rows("repaired", &drill.repairs);
    actions.extend(rows("undone", &drill.undos));
    page.table(&["Action", "What", "Verdict", "Detail"], actions);
}

pub(super) fn detection(page: &mut Page, drill: &DrillEvidence) {
    match &drill.header.expected.detected_by {
        None => page.say("The scenario does not say which checks must notice the damage."),
        Some(checks) if checks.is_empty() => page.say("Nothing is damaged: no check may fail."),
        Some(_) => {}
    }
    let rows = drill
        .detection
        .iter()
        .filter(|row| row.should_detect || row.detected)
        .map(|row| {
            let holds = match (row.should_detect, row.detected) {
                (true, detected) => Verdict::from_holds(detected),
                (false, _) if drill.header.expected.detected_by.as_ref().is_some_and(Vec::is_empty) => Verdict::Fail,
                (false, _) => Verdict::Pass,
            };
            vec![
                vec![code(row.check.id())],
                cell(row.check.about()),
                cell(yes_no(Some(row.should_detect))),
                cell(yes_no(Some(row.detected))),
                vec![verdict(holds)],
            ]
        });
    page.table(
        &["Check", "Looks at", "Must notice", "Noticed", "As expected"],
        rows.collect(),
    );
    for alert in &drill.alerts {
        let after = drill
            .times
            .failed
            .map(|failed| format!(" {} after the failure", duration(alert.received.ms_since(failed))));
        page.paragraph([
            plain("Alert "),
            code(&alert.alert),
            plain(format!(
                " ({}) by {}{}.",
                alert.severity,
                alert.via,
                after.unwrap_or_default()
            )),
        ]);
    }
}

pub(super) fn steps(page: &mut Page, drill: &DrillEvidence) {
    step_table(page, drill, &drill.steps.iter().collect::<Vec<_>>());
    let over: Vec<String> = drill
        .steps
        .iter()
        .filter(|row| row.within_budget == Some(false))
        .map(|row| format!("step {}", row.step))
        .collect();
    let budgeted = drill.steps.iter().filter(|row| row.within_budget.is_some()).count();
    if budgeted > 0 {
        page.say(if over.is_empty() {
            "Every step that was carried out and has a budget kept it.".to_owned()
        } else {
            format!("Over budget: {}.", listed(over))
        });
    }
}

pub(super) fn step_table(page: &mut Page, drill: &DrillEvidence, rows: &[&StepRow]) {
    let retried = drill.steps.iter().any(|row| row.attempt > 1);
    let rows = rows.iter().map(|row| {
        let name = if retried && row.attempt > 0 {
            format!("{} (attempt {})", row.step.name(), row.attempt)
        } else {
            row.step.name().to_owned()
        };
        let took = match (row.duration_ms, row.against_budget_ms) {
            (Some(ms), Some(against)) => format!("{} (at most {})", duration(ms), duration(against)),
            (Some(ms), None) => duration(ms),
            (None, _) => String::new(),
        };
        vec![
            cell(row.step.number().to_string()),
            cell(name),
            vec![verdict(row.verdict)],
            cell(took),
            cell(row.budget_ms.map(duration).unwrap_or_default()),
            cell(yes_no(row.within_budget)),
            cell(row.role.map(|role| role.to_string()).unwrap_or_default()),
            cell(&row.detail),
        ]
    });
    let columns = [
        "#Step", "Name", "Verdict", "#Took", "#Budget", "Within", "Role", "Detail",
    ];
    page.table(&columns, rows.collect());
}
