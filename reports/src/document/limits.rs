//! What a drill does not show, told from how it ran. Honest limits are part of the evidence.

use crate::event::AlertRoute;
use crate::evidence::DrillEvidence;
use crate::text::{bytes, counted, listed, seconds, sentence};
use crate::{CheckId, Verdict};

/// One sentence or two for each limit, those that weigh most first.
pub(super) fn of_one(drill: &DrillEvidence) -> Vec<String> {
    let mut limits = own(drill);
    limits.extend(not_run(std::slice::from_ref(drill)));
    limits
}

/// The limits of several drills, each once, and how many drills have it where not all do.
pub(super) fn of_several(drills: &[DrillEvidence]) -> Vec<String> {
    let mut seen: Vec<(String, usize)> = Vec::new();
    for limit in drills.iter().flat_map(own) {
        match seen.iter_mut().find(|(known, _)| *known == limit) {
            Some((_, count)) => *count += 1,
            None => seen.push((limit, 1)),
        }
    }
    let limits = seen.into_iter().map(|(limit, count)| match count {
        _ if count == drills.len() => limit,
        _ => format!("{limit} ({count} of {})", counted(drills.len(), "drill")),
    });
    limits.chain(not_run(drills)).collect()
}

fn own(drill: &DrillEvidence) -> Vec<String> {
    let mut limits = Vec::new();
    limits.extend(unverified(drill));
    limits.extend(not_covered(drill));
    limits.extend(drill.beyond_reach().map(|_| {
        let rpo = seconds(drill.header.objectives.rpo_s);
        format!(
            "Whether an RPO of {rpo} is kept: the whole workload was shorter, so that less than that could be lost."
        )
    }));
    limits.extend(storage(drill));
    limits.push(
        "The loss of a machine, a network or a site: source, backups, restored cluster, application and monitoring \
         share one host and talk over its loopback interface."
            .to_owned(),
    );
    limits.push(size(drill));
    limits.push(decisions(drill));
    limits.extend(alert(drill));
    limits.push(
        "Any other way to fail: one scenario shows that this damage, at this point, can be recovered from.".to_owned(),
    );
    limits.extend(drill.header.environment.notes.iter().map(|note| sentence(note)));
    limits
}

fn unverified(drill: &DrillEvidence) -> impl Iterator<Item = String> {
    let unknown = drill
        .checks
        .iter()
        .map(|row| &row.result)
        .filter(|result| result.verdict == Verdict::Unknown);
    unknown.map(|result| {
        sentence(&format!(
            "What {} looks at (phase {}), as it could not be verified: {}",
            result.check, result.phase, result.detail
        ))
    })
}

/// What checks left out on purpose, each once.
fn not_covered(drill: &DrillEvidence) -> Vec<String> {
    let mut limits = Vec::new();
    let verified = drill.checks.iter().map(|row| &row.result);
    for result in verified.filter(|result| result.verdict != Verdict::Unknown) {
        if let Some(left_out) = result.not_covered() {
            let limit = sentence(&format!("What {} leaves out: {left_out}", result.check));
            if !limits.contains(&limit) {
                limits.push(limit);
            }
        }
    }
    limits
}

fn storage(drill: &DrillEvidence) -> Vec<String> {
    let environment = &drill.header.environment;
    let mut limits = Vec::new();
    if !environment.fsync {
        limits.push(
            "Durability: the source ran with fsync off, so what a power failure would take is not tested, and writes \
             were faster than production's."
                .to_owned(),
        );
    }
    if environment.storage == "memory" {
        limits.push(
            "Disk speed: the clusters lived in memory, so times of copying and replay are lower bounds.".to_owned(),
        );
    }
    limits
}

/// Checks that ran in none of the drills.
fn not_run(drills: &[DrillEvidence]) -> Option<String> {
    let ran = |check: CheckId| {
        drills
            .iter()
            .flat_map(|drill| &drill.checks)
            .any(|row| row.result.check == check)
    };
    let missing: Vec<CheckId> = CheckId::ALL.iter().copied().filter(|&check| !ran(check)).collect();
    (!missing.is_empty()).then(|| format!("What these checks look at, as they did not run: {}.", listed(missing)))
}

fn size(drill: &DrillEvidence) -> String {
    let size = drill
        .seeded
        .as_ref()
        .map(|seeded| format!(" ({})", bytes(seeded.database_bytes)))
        .unwrap_or_default();
    format!(
        "Your data and its size: the database is synthetic and small{size}. Restore and validation grow with size; \
         measure with yours (--target-size)."
    )
}

fn decisions(drill: &DrillEvidence) -> String {
    let asked = drill
        .header
        .given
        .iter()
        .any(|(name, value)| name == "operator" && value == "ask");
    if asked {
        "How long people take who are not expecting it: the operator of this drill sat at the terminal.".to_owned()
    } else {
        "How long people take: the harness took every decision itself, at once.".to_owned()
    }
}

fn alert(drill: &DrillEvidence) -> Option<String> {
    let probed = drill.alerts.iter().any(|alert| alert.via == AlertRoute::OperatorProbe);
    probed.then(|| {
        "How long an outage goes unnoticed: no alert arrived, and the harness's own probe started the recovery."
            .to_owned()
    })
}
