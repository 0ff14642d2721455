//! What was measured: recovery point, recovery time and its split, cost, wall time.

use crate::evidence::{DrillEvidence, RecoveryTime};
use crate::text::{bytes, counted, left_out, millis, number, seconds, share, utc, window};

use super::{Page, Spans, cell, drill};

pub(super) fn measured(page: &mut Page, level: u8, drill: &DrillEvidence) {
    page.heading(level, "Recovery point");
    recovery_point(page, drill);
    page.heading(level, "Recovery time");
    match drill.recovery_time {
        Some(time) => {
            let rto = seconds(drill.header.objectives.rto_s);
            page.say(format!(
                "{} from the failure to the declaration, against an RTO of {rto}: {}.",
                millis(time.total_ms),
                if drill.rto_met == Some(false) { "missed" } else { "met" }
            ));
            split(page, time);
        }
        None => page.say("Not measured: the service was not restored."),
    }
    page.heading(level, "Cost");
    cost(page, drill);
}

fn recovery_point(page: &mut Page, drill: &DrillEvidence) {
    let Some(ledger) = &drill.ledger else {
        page.say("Not measured: the ledger was not compared with any recovered rows.");
        if let Some(counts) = drill.workload {
            page.say(format!(
                "The writers counted {} acknowledged, {} refused and {} never answered.",
                counted(counts.acknowledged, "commit"),
                number(counts.rejected),
                number(counts.indeterminate)
            ));
        }
        return;
    };
    let found = &ledger.comparison;
    let mut rows: Vec<Vec<Spans>> = Vec::new();
    let mut row = |name: &str, value: String, meaning: &str| rows.push(vec![cell(name), cell(value), cell(meaning)]);
    row(
        "Data loss window",
        window(found.data_loss_window_ms()),
        "from the sending of the earliest lost commit to the failure, or to the last acknowledgement if that is later",
    );
    if found.commits_beyond_target > 0 {
        row(
            "Given up",
            window(found.given_up_window_ms()),
            "the same for the commits beyond the recovery target",
        );
    }
    row("RPO", seconds(drill.header.objectives.rpo_s), &drill::rpo(drill));
    let point = found.recovery_point_at_utc.map_or_else(|| "none".to_owned(), utc);
    row(
        "Recovery point",
        point,
        "acknowledgement of the last commit that survived",
    );
    row(
        "Acknowledged commits",
        number(found.acknowledged_commits),
        "what writers were promised",
    );
    row(
        "Lost",
        number(found.lost_commits),
        "acknowledged, gone, and should be there",
    );
    if let Some(percent) = found.lost_share().map(|share| share * 1e2) {
        row(
            "Share lost",
            format!("{percent:.1} %"),
            "of the acknowledged commits since the backup that was restored",
        );
    }
    row(
        "Beyond the target",
        number(found.commits_beyond_target),
        "acknowledged after the chosen target, given up on purpose",
    );
    let present = format!(
        "{} ({} present)",
        number(found.indeterminate_commits),
        number(found.indeterminate_present)
    );
    row(
        "Indeterminate",
        present,
        "sent and never answered: present or absent, both are right",
    );
    row(
        "Holes",
        number(found.holes),
        "missing although a later commit survived: corruption",
    );
    row("Unexpected rows", number(found.unexpected_rows), "nobody wrote them");
    row("Altered rows", number(found.altered_rows), "not what was written");
    page.table(&["Measure", "#Value", "Meaning"], rows);
    page.say(format!(
        "The ledger of the writers was compared in phase {}.",
        ledger.phase
    ));
    page.list(found.examples.iter().map(cell).collect());
}

pub(super) fn split(page: &mut Page, time: RecoveryTime) {
    let parts = [
        ("detection", time.detection_ms),
        ("decision (steps 2–4)", time.decision_ms),
        ("restore (steps 5–7)", time.restore_ms),
        ("validation (step 8)", time.validation_ms),
        ("cutover (steps 9–14)", time.cutover_ms),
    ];
    page.shares(time.total_ms, parts.map(|(name, ms)| (name.to_owned(), ms)));
}

fn cost(page: &mut Page, drill: &DrillEvidence) {
    let cost = &drill.cost;
    let size = |n: Option<u64>| n.map_or_else(|| "not known".to_owned(), bytes);
    let count = counted(drill.backups.len(), "backup");
    let rows = [
        ("Database after loading".to_owned(), size(cost.database_bytes)),
        ("Backup that was used".to_owned(), size(cost.backup_bytes)),
        (format!("All of {count}"), bytes(cost.all_backups_bytes)),
        ("Restored".to_owned(), size(cost.restored_bytes)),
        ("Peak disk".to_owned(), size(cost.peak_disk_bytes)),
    ];
    page.table(
        &["Size of", "#Bytes"],
        rows.into_iter()
            .map(|(name, size)| vec![cell(name), cell(size)])
            .collect(),
    );
}

/// How many kinds of external work are listed.
const LONGEST: usize = 8;

pub(super) fn wall_time(page: &mut Page, drill: &DrillEvidence) {
    let cost = &drill.cost;
    page.say(format!(
        "The drill took {}. For {} of that at least one server, client tool or query was at work; the other {} ({}) are the harness's own.",
        millis(cost.wall_ms),
        millis(cost.external_ms),
        millis(cost.harness_overhead_ms),
        share(cost.harness_overhead_ms, cost.wall_ms)
    ));
    if !cost.parts.is_empty() {
        page.shares(
            cost.wall_ms,
            cost.parts.iter().map(|row| (row.part.to_string(), row.duration_ms)),
        );
    }
    let rows = cost
        .external
        .iter()
        .take(LONGEST)
        .map(|work| vec![cell(&work.what), cell(number(work.count)), cell(millis(work.total_ms))]);
    let shorter = cost.external.get(LONGEST..).unwrap_or_default();
    let more = left_out(shorter.len() as u64).map(|more| {
        let (count, ms) = shorter
            .iter()
            .fold((0, 0), |(count, ms), work| (count + work.count, ms + work.total_ms));
        vec![cell(more), cell(number(count)), cell(millis(ms))]
    });
    page.table(
        &["External work, longest first", "#Times", "#Together"],
        rows.chain(more).collect(),
    );
}
