//! `content-fingerprint`: rows are what they were, table by table, whoever made them.
//!
//! It has two parts. [`check`] compares the seeded rows with a fingerprint that was taken after seeding, without the rows that
//! the workload may have changed since: those, and all that the workload wrote, are compared one by one with the ledger
//! ([`super::ledger_prefix`]). [`check_tables`] compares all other tables, of every database, and the large objects with the
//! records around the recovery point. Both read as the superuser, as the reference was read: no policy and no missing right
//! changes what they see.

use std::sync::Arc;

use reports::{
    CheckId, CheckResult, NOT_COVERED, Verdict,
    text::{counted, number},
};
use tokio_postgres::Config;

use super::Subject;
use crate::{
    errors::chain,
    ledger::{History, seeded_keys_named},
    record::check::{Found, first_few, timed},
    reference::{
        Reading, Record, ReferenceError, Scope, Truth, content,
        fingerprint::{
            FingerprintError, Grain, Relation, Sessions, Task,
            record::{Recorded, Reference},
            relations, scan,
        },
    },
    service::Service,
};

/// What the restored database is compared with.
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
}

/// Records what was seeded, before anything else is written.
///
/// # Errors
/// If the database cannot be read.
pub async fn of_seed(database: &Config, service: &dyn Service) -> Result<Reference, FingerprintError> {
    Reference::take(database, service.changing()).await
}

/// The check of what was seeded.
pub async fn check(subject: &Subject<'_>, against: Against<'_>) -> CheckResult {
    timed(CheckId::ContentFingerprint, subject.phase, subject.name, async {
        let config = subject.cluster.config("postgres", subject.service.database());
        let sessions = Sessions::open(&config, None, scan::connections()).await?;
        match relations(sessions.client()).await {
            Ok(tables) => Ok(compare(&sessions, against, subject.truth, &tables).await),
            Err(error) if error.is_finding() => Ok(Found::fail(against.expected(), chain(&error))),
            Err(error) => Err(error),
        }
    })
    .await
}

/// The check of every other table of every database, and of the large objects.
pub async fn check_tables(subject: &Subject<'_>) -> CheckResult {
    timed(CheckId::ContentFingerprint, subject.phase, subject.name, async {
        let truth = subject.truth.and_then(|truth| Some((truth, truth.newest()?)));
        let Some((truth, newest)) = truth else {
            let reason = "nothing was recorded before the point that was reached";
            return Ok(Found::unknown("every table as it was recorded", reason));
        };
        let reading = Reading {
            database: match &truth.scope {
                Scope::Database(name) => Some(name.clone()),
                Scope::Cluster | Scope::Source => None,
            },
            answered_elsewhere: newest.content.answered_elsewhere(),
            large_objects: subject.service.large_objects().copied(),
            ..Reading::default()
        };
        let found = content::look(subject.cluster, &reading).await?;
        Ok::<_, ReferenceError>(judge(truth, &content::compare(truth, &found)))
    })
    .await
}

/// What differences mean.
fn judge(truth: &Truth, differences: &content::Differences) -> Found {
    let expected = format!("every table and large object {}", truth.moments());
    let content::Counted { tables, large_objects } = differences.alike;
    let not_covered = not_covered(differences);
    let told = |lines: &[String]| {
        let parts = [first_few(lines), not_covered.clone()];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(". ")
    };
    if !differences.wrong.is_empty() {
        let actual = format!("differs: {}", first_few(&differences.wrong));
        Found::fail(expected, actual).detail(told(&differences.unknown))
    } else if !differences.unknown.is_empty() {
        Found::unknown(expected, told(&differences.unknown))
    } else {
        let actual = format!(
            "{} and {} alike",
            counted(tables, "table"),
            counted(large_objects, "large object")
        );
        Found::pass(expected, actual).detail(told(&[]))
    }
}

/// What is deliberately not compared, and why.
fn not_covered(differences: &content::Differences) -> String {
    let mut parts = Vec::new();
    if !differences.changed.is_empty() {
        parts.push(format!(
            "changed by the service about then: {}",
            first_few(&differences.changed)
        ));
    }
    for (why, names) in &differences.not_compared {
        parts.push(format!("{why}: {}", first_few(names)));
    }
    if !differences.unknown_to_records.is_empty() {
        parts.push(format!("in no record: {}", first_few(&differences.unknown_to_records)));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("{NOT_COVERED}{}", parts.join("; "))
}

/// The sections in which something is wrong, and what could not be found out.
#[derive(Default)]
struct Differences {
    sections: Vec<String>,
    rows: Vec<String>,
    unknown: Vec<String>,
    /// Tables that the service gave other columns since.
    restructured: Vec<String>,
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

/// Whether a table still has the columns that were seeded.
enum Structure {
    /// As seeded: the columns that it has gained since do not count.
    AsSeeded,
    /// The service changed them, or dropped the table.
    Restructured,
    /// They are gone, and nobody changed them.
    Damaged,
    /// Its rows have no key, so that new ones cannot be told from seeded ones; the records have them all, or the ledger has.
    Recorded,
}

impl Structure {
    fn of(recorded: &Recorded, truth: Option<&Truth>, found: &[Relation]) -> Self {
        let seeded = &recorded.section.columns;
        let Some(table) = &recorded.section.table else {
            return Self::AsSeeded; // large objects
        };
        let home = truth.map_or("", |truth| &truth.home);
        let holds = |columns: &[_]| seeded.iter().all(|column| columns.contains(column));
        let said = |record: &Arc<Record>| {
            let known = record.content.table(home, table)?;
            holds(&known.columns).then_some(matches!(known.rows, content::Rows::Sums(_) | content::Rows::Elsewhere))
        };
        match truth.and_then(Truth::newest).map(said) {
            Some(None) => return Self::Restructured,
            Some(Some(true)) if recorded.section.key.is_none() => return Self::Recorded,
            Some(Some(_)) | None => {}
        }
        let there = found.iter().find(|relation| relation.qualified() == *table);
        if there.is_some_and(|there| holds(&there.columns)) {
            return Self::AsSeeded;
        }
        let next = truth.and_then(Truth::next);
        if next.is_some_and(|record| said(record).is_none()) {
            Self::Restructured
        } else {
            Self::Damaged
        }
    }
}

async fn compare(sessions: &Sessions, against: Against<'_>, truth: Option<&Truth>, tables: &[Relation]) -> Found {
    let mut differences = Differences::default();
    let mut comparable = Vec::new();
    for recorded in &against.reference().sections {
        let name = &recorded.section.name;
        match Structure::of(recorded, truth, tables) {
            Structure::AsSeeded => {
                let (within, expected) = recorded.comparable(&against.touched(recorded));
                comparable.push((recorded, within, expected));
            }
            Structure::Restructured => differences.restructured.push(name.clone()),
            Structure::Damaged => {
                differences.sections.push(name.clone());
                differences
                    .rows
                    .push(format!("{name} is not there with the columns that were seeded"));
            }
            Structure::Recorded => {}
        }
    }
    let tasks: Vec<_> = comparable
        .iter()
        .map(|(recorded, within, _)| Task {
            section: &recorded.section,
            within: within.clone(),
            grain: Grain::Whole,
        })
        .collect();
    let mut compared = 0;
    for ((recorded, within, expected), scanned) in comparable.iter().zip(sessions.run(&tasks).await) {
        let name = &recorded.section.name;
        match scanned {
            Ok(scanned) if scanned.total() == *expected => compared += 1,
            Ok(_) if recorded.section.changing && !against.knows_what_changed() => differences.unknown.push(format!(
                "{name} differs, and the ledger is damaged: it does not tell which rows the workload may have changed"
            )),
            Ok(scanned) => {
                let (rows, expected) = (scanned.total().rows, expected.rows);
                differences.sections.push(if rows == expected {
                    format!("{name} ({}, not all as they were)", counted(rows, "row"))
                } else {
                    format!("{name} ({}, {} expected)", counted(rows, "row"), number(expected))
                });
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
    let expected = against.expected();
    let mut scope = against.scope();
    if !differences.restructured.is_empty() {
        scope = format!(
            "{scope}. {NOT_COVERED}seeded rows of tables that the service gave other columns since: {}",
            differences.restructured.join(", ")
        );
    }
    match differences.verdict() {
        Verdict::Pass => Found::pass(expected, format!("{} alike", counted(compared, "fingerprint"))).detail(scope),
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
            Self::Seed { reference, .. } | Self::Serving { reference, .. } => reference,
        }
    }

    fn expected(self) -> String {
        format!("{} as right after seeding", counted(self.reference().rows(), "row"))
    }

    /// Whether it is known what may have changed.
    fn knows_what_changed(self) -> bool {
        match self {
            Self::Seed { history, .. } => history.damage.is_empty(),
            Self::Serving { .. } => true,
        }
    }

    /// Rows of a section that the workload may have changed since, ascending.
    fn touched(self, recorded: &Recorded) -> Vec<i64> {
        if !recorded.section.changing {
            return Vec::new();
        }
        match self {
            Self::Seed { history, .. } => seeded_keys_named(history, recorded.max_key),
            Self::Serving { theirs, .. } => theirs.to_vec(),
        }
    }

    /// Which reference was used, how, and what it cannot see.
    fn scope(self) -> String {
        let sections = &self.reference().sections;
        let touched: usize = sections.iter().map(|recorded| self.touched(recorded).len()).sum();
        let scope = format!(
            "Reference: the fingerprint taken right after seeding, of the rows that were there. Of {} \
             that the workload may have changed, only the columns that never change: the others, and all rows that \
             the workload wrote, are the ledger's",
            counted(touched, "script")
        );
        let mut as_text: Vec<String> = Vec::new();
        for section in sections.iter().map(|recorded| &recorded.section) {
            let columns = section.columns.iter().filter(|column| column.as_text);
            as_text.extend(columns.map(|column| format!("{}.{}", section.name, column.name)));
        }
        if as_text.is_empty() {
            return scope;
        }
        format!("{scope}. Hashed in their text form: {}", as_text.join(", "))
    }
}
