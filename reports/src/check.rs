//! The ids of the checks and the result of one: what was expected, what was found, how long it took.
//!
//! The checks themselves are in `drill/src/verify/`, one file each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Verdict;

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal,)+) => {
        /// The id of a check. Ids are fixed: others' scripts rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum CheckId {
            $($(#[doc = $doc])+ #[serde(rename = $id)] $variant,)+
        }

        impl CheckId {
            /// Every check, in the order in which reports list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The id as it stands in scenario files and CSV.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// One sentence: what the check looks at.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii_start(),)+ }
            }
        }
    };
}

checks! {
    /// The server starts and accepts connections outside recovery.
    ServerStart = "server-start",
    /// Every page of every relation carries a valid checksum.
    PageChecksums = "page-checksums",
    /// The backup matches the manifest that was written with it.
    BackupManifest = "backup-manifest",
    /// The backup artefact can be read in full.
    ArtifactReadable = "artifact-readable",
    /// The newest usable backup is young enough for the RPO.
    ArtifactAge = "artifact-age",
    /// The WAL archive is whole from the backup's start to its end.
    WalContinuity = "wal-continuity",
    /// What restored the backup said of nothing that it left out.
    RestoreLog = "restore-log",
    /// Replay went as far as the plan said it would.
    ReplayReachedEnd = "replay-reached-end",
    /// Row counts are what the ledger and the seed add up to.
    RowCounts = "row-counts",
    /// Whole rows, table by table, match the fingerprint taken before.
    ContentFingerprint = "content-fingerprint",
    /// Each version's stored SHA-256 is the hash of its content.
    ContentHash = "content-hash",
    /// The recovered data is a prefix of the acknowledged history.
    LedgerPrefix = "ledger-prefix",
    /// No row refers to a row that is not there.
    ReferentialIntegrity = "referential-integrity",
    /// Indexes and tables agree.
    IndexIntegrity = "index-integrity",
    /// Tables, columns, constraints, triggers, views, functions, large objects and settings are those of the inventory.
    CatalogInventory = "catalog-inventory",
    /// Each sequence is past every number that was ever handed out.
    Sequences = "sequences",
    /// Roles and grants are as they were, and the validator cannot write.
    Privileges = "privileges",
    /// Recorded collation versions are those of the running system.
    Collations = "collations",
    /// The application is connected to the database that was restored.
    AppIdentity = "app-identity",
    /// The application serves what the ledger says it should.
    Smoke = "smoke",
    /// The failed primary can no longer accept writes.
    OldPrimaryFenced = "old-primary-fenced",
    /// The alert arrived.
    AlertDelivered = "alert-delivered",
    /// The notification of the restore's completion arrived.
    NotificationDelivered = "notification-delivered",
    /// The restored cluster archives nowhere that production uses.
    Isolation = "isolation",
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl std::str::FromStr for CheckId {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|check| check.id() == id)
            .ok_or_else(|| format!("there is no check {id:?}"))
    }
}

/// At which point of a drill a check ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// On the failed source, while the operator investigates.
    Source,
    /// On a backup candidate and its WAL, before it is restored.
    Backup,
    /// On the restored cluster, before cutover.
    Restored,
    /// While the application is switched over.
    Cutover,
    /// After the service was declared restored.
    AfterCutover,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Source => "source",
            Self::Backup => "backup",
            Self::Restored => "restored",
            Self::Cutover => "cutover",
            Self::AfterCutover => "after-cutover",
        })
    }
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Which check.
    pub check: CheckId,
    /// When it ran.
    pub phase: Phase,
    /// What it was run on: a backup's id, a cluster's name. Empty if there is just one thing it can mean.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Pass, fail, or unknown with the reason in `detail`.
    pub verdict: Verdict,
    /// What it expected, for people.
    pub expected: String,
    /// What it found, for people.
    pub actual: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// First few offending keys or files, the reason of an unknown, what the check cannot see.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What stands in a check's detail before what it deliberately does not look at.
pub const NOT_COVERED: &str = "Not covered: ";

impl CheckResult {
    /// What it deliberately did not look at, if anything: the end of its detail.
    pub fn not_covered(&self) -> Option<&str> {
        let (_, not_covered) = self.detail.split_once(NOT_COVERED)?;
        Some(not_covered)
    }
}
