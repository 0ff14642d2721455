//! `content-fingerprint`: whole rows, table by table, are what they were when a fingerprint of them was taken.
//!
//! After seeding a fingerprint is taken that the restored database is held against: the rows that were seeded, without
//! those that the workload may have changed since. Those, and all that the workload wrote, are compared one by one
//! with the ledger ([`super::ledger_prefix`]); together the two are the whole database at the recovery point, and
//! neither needs the lost source. A dump is also held against the fingerprint of its own snapshot, to the last row.

use reports::{CheckId, CheckResult, Verdict};
use tokio_postgres::Config;

use super::{
    Found, Subject, chain,
    fingerprint::{
        FingerprintError, Grain, Sessions, Task,
        record::{Depth, Recorded, Reference},
        sections::Changing,
    },
    first_few, ledger, timed,
};
use crate::workload::ledger::History;

/// What the workload changes in rows that were there before; all other rows it only adds (`workload/writer.rs`).
const CHANGING: Changing<'static> = &[(
    "TransformationScripts",
    &["CurrentVersion", "IsDeleted", "DeletedAt", "UpdatedAt"],
)];

/// What the restored database is held against.
#[derive(Clone, Copy)]
pub enum Against<'a> {
    /// What was seeded, without what the ledger says may have changed since.
    Seed {
        /// Taken by [`of_seed`].
        reference: &'a Reference,
        /// What the workload did.
        history: &'a History,
    },
    /// What was seeded, on a database that is being written to.
    Serving {
        /// Taken by [`of_seed`].
        reference: &'a Reference,
        /// Seeded scripts that writers may change meanwhile, ascending.
        theirs: &'a [i64],
    },
    /// What was dumped, all of it.
    Backup {
        /// Taken by [`of_snapshot`].
        reference: &'a Reference,
        /// Id of the backup.
        id: &'a str,
    },
}

/// Records what was seeded, before anything else is written.
///
/// # Errors
/// If the database cannot be read.
pub async fn of_seed(database: &Config) -> Result<Reference, FingerprintError> {
    Reference::take(database, None, CHANGING, Depth::Rows).await
}

/// Records what an exported snapshot holds, to be kept with the backup that is made of it.
///
/// # Errors
/// If the database cannot be read.
pub async fn of_snapshot(database: &Config, snapshot: &str) -> Result<Reference, FingerprintError> {
    Reference::take(database, Some(snapshot), &[], Depth::Ranges).await
}

/// The check, as the read-only role.
pub async fn check(subject: &Subject<'_>, against: Against<'_>) -> CheckResult {
    timed(CheckId::ContentFingerprint, subject.phase, subject.name, async {
        let sessions = Sessions::open(&subject.config(fixtures::Role::DrillValidator), None).await?;
        Ok::<_, FingerprintError>(compare(&sessions, against).await)
    })
    .await
}

/// The sections in which something is wrong, and what could not be found out.
#[derive(Default)]
struct Differences {
    sections: Vec<String>,
    rows: Vec<String>,
    unknown: Vec<String>,
}

impl Differences {
    fn verdict(&self) -> Verdict {
        match (self.sections.is_empty(), self.unknown.is_empty()) {
            (false, _) => Verdict::Fail,
            (true, false) => Verdict::Unknown,
            (true, true) => Verdict::Pass,
        }
    }
}

async fn compare(sessions: &Sessions, against: Against<'_>) -> Found {
    let reference = against.reference();
    let comparable: Vec<_> = reference
        .sections
        .iter()
        .map(|recorded| against.comparable(recorded))
        .collect();
    let tasks: Vec<_> = reference
        .sections
        .iter()
        .zip(&comparable)
        .map(|(recorded, (within, _))| Task {
            section: &recorded.section,
            within: within.clone(),
            grain: Grain::Whole,
        })
        .collect();
    let mut differences = Differences::default();
    let mut compared = 0;
    for ((recorded, (within, expected)), scanned) in reference
        .sections
        .iter()
        .zip(&comparable)
        .zip(sessions.run(&tasks).await)
    {
        let name = &recorded.section.name;
        match scanned {
            Ok(scanned) if scanned.total() == *expected => compared += 1,
            Ok(_) if recorded.section.changing && !against.is_whole_truth() => differences.unknown.push(format!(
                "{name} differs, and the ledger is damaged: it does not tell which rows the workload may have changed"
            )),
            Ok(scanned) => {
                let (rows, expected) = (scanned.total().rows, expected.rows);
                differences
                    .sections
                    .push(format!("{name} ({rows} rows, {expected} expected)"));
                match recorded.narrow(sessions, within).await {
                    Ok(lines) => differences.rows.extend(lines),
                    Err(error) => differences.rows.push(format!("not narrowed down: {}", chain(&error))),
                }
            }
            Err(error) if error.is_finding() => {
                differences.sections.push(name.clone());
                differences.rows.push(chain(&error));
            }
            Err(error) => differences.unknown.push(chain(&error)),
        }
    }
    let expected = format!("{} rows as {}", reference.rows(), against.moment());
    let scope = against.scope();
    match differences.verdict() {
        Verdict::Pass => Found::pass(expected, format!("{compared} fingerprints alike")).detail(scope),
        Verdict::Unknown => Found::unknown(expected, format!("{}. {scope}", first_few(&differences.unknown))),
        Verdict::Fail => {
            differences.rows.extend(differences.unknown);
            Found::fail(expected, format!("differs: {}", differences.sections.join(", ")))
                .detail(format!("{}. {scope}", first_few(&differences.rows)))
        }
    }
}

impl<'a> Against<'a> {
    fn reference(self) -> &'a Reference {
        match self {
            Self::Seed { reference, .. } | Self::Serving { reference, .. } | Self::Backup { reference, .. } => {
                reference
            }
        }
    }

    fn moment(self) -> String {
        match self {
            Self::Seed { .. } | Self::Serving { .. } => "right after seeding".to_owned(),
            Self::Backup { id, .. } => format!("in the snapshot of {id}"),
        }
    }

    /// Whether it is known what may have changed.
    fn is_whole_truth(self) -> bool {
        match self {
            Self::Seed { history, .. } => history.damage.is_empty(),
            Self::Serving { .. } | Self::Backup { .. } => true,
        }
    }

    fn comparable(self, recorded: &Recorded) -> (super::fingerprint::Within, super::fingerprint::Sums) {
        match self {
            Self::Backup { .. } => recorded.comparable(false, &[]),
            Self::Seed { .. } | Self::Serving { .. } => recorded.comparable(true, &self.touched(recorded)),
        }
    }

    /// Rows of a section that the workload may have changed since, ascending.
    fn touched(self, recorded: &Recorded) -> Vec<i64> {
        match self {
            Self::Seed { history, .. } if recorded.section.changing => {
                ledger::seeded_scripts_named(history, recorded.max_key)
            }
            Self::Serving { theirs, .. } if recorded.section.changing => theirs.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Which reference was used, how, and what it cannot see.
    fn scope(self) -> String {
        let reference = self.reference();
        let as_text: Vec<&str> = reference
            .sections
            .iter()
            .flat_map(|recorded| &recorded.section.as_text)
            .map(String::as_str)
            .collect();
        let mut scope = match self {
            Self::Backup { id, .. } => {
                format!("Reference: the fingerprint recorded with {id}, of every row in its snapshot")
            }
            Self::Seed { .. } | Self::Serving { .. } => {
                let touched: usize = reference
                    .sections
                    .iter()
                    .map(|recorded| self.touched(recorded).len())
                    .sum();
                format!(
                    "Reference: the fingerprint taken right after seeding, of the rows that were there. Of {touched} scripts \
                     that the workload may have changed, only the columns that never change: the others, and all rows that \
                     the workload wrote, are the ledger's"
                )
            }
        };
        if !as_text.is_empty() {
            scope = format!(
                "{scope}. Hashed in their text form, because their type has no hash: {}",
                as_text.join(", ")
            );
        }
        scope
    }
}
