//! Which results are about what the service runs on in the end: the backup that was used with its WAL, the cluster that was
//! restored from it, the cutover to it. What could not be verified of that keeps a drill from `Pass`, wherever it was looked
//! at; what could not be verified of a candidate that was given up does not.

use std::collections::BTreeMap;

use crate::{CheckId, CheckResult, Phase};

use super::DrillEvidence;
use Phase::{AfterCutover as A, Backup as B, Cutover as C, Restored as R, Source as S};

/// For each check the phases in which its result is about what was used. In phase `source` the failed database is looked at,
/// which a restore replaces; only whether the alert came is about the recovery itself.
const OF_WHAT_WAS_USED: &[(CheckId, &[Phase])] = &[
    (CheckId::ServerStart, &[B, R, C, A]),
    (CheckId::PageChecksums, &[B, R, C, A]),
    (CheckId::BackupManifest, &[B, R, C, A]),
    (CheckId::ArtifactReadable, &[B, R, C, A]),
    (CheckId::ArtifactAge, &[B, R, C, A]),
    (CheckId::WalContinuity, &[B, R, C, A]),
    (CheckId::RestoreLog, &[B, R, C, A]),
    (CheckId::ReplayReachedEnd, &[B, R, C, A]),
    (CheckId::RowCounts, &[B, R, C, A]),
    (CheckId::ContentFingerprint, &[B, R, C, A]),
    (CheckId::ContentHash, &[B, R, C, A]),
    (CheckId::LedgerPrefix, &[B, R, C, A]),
    (CheckId::ReferentialIntegrity, &[B, R, C, A]),
    (CheckId::IndexIntegrity, &[B, R, C, A]),
    (CheckId::CatalogInventory, &[B, R, C, A]),
    (CheckId::Sequences, &[B, R, C, A]),
    (CheckId::Privileges, &[B, R, C, A]),
    (CheckId::Collations, &[B, R, C, A]),
    (CheckId::AppIdentity, &[B, R, C, A]),
    (CheckId::Smoke, &[B, R, C, A]),
    (CheckId::OldPrimaryFenced, &[B, R, C, A]),
    (CheckId::AlertDelivered, &[S, B, R, C, A]),
    (CheckId::NotificationDelivered, &[B, R, C, A]),
    (CheckId::Isolation, &[B, R, C, A]),
];

/// The results on which it rests that a restored service is what it should be, each the last of its kind. A service that was
/// put right where it is rests on the looks at the source.
pub(super) fn relied_upon(evidence: &DrillEvidence) -> Vec<&CheckResult> {
    let backup = evidence.chosen_backup().map(|backup| backup.id.as_str());
    let mut last = BTreeMap::new();
    for row in &evidence.checks {
        let result = &row.result;
        let is_used = match result.phase {
            Phase::Source => backup.is_none() || concerns(result),
            Phase::Backup => concerns(result) && (result.subject.is_empty() || backup == Some(result.subject.as_str())),
            _ => concerns(result) && row.deciding,
        };
        if is_used {
            last.insert((result.phase, result.check, result.subject.as_str()), result);
        }
    }
    last.into_values().collect()
}

fn concerns(result: &CheckResult) -> bool {
    let row = OF_WHAT_WAS_USED.iter().find(|(check, _)| *check == result.check);
    row.is_some_and(|(_, phases)| phases.contains(&result.phase))
}
