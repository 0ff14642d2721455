//! What the comparison is given beside the ledger: rows of the recovered database, and what was there before the
//! first operation. Plain data; whoever reads the rows is elsewhere.

use super::Unverifiable;
use crate::ledger::{History, OperationKind, PgTime};

/// Rows read from the recovered database: what the workload can have touched, and what lets rows be seen that nobody
/// wrote.
///
/// Scripts are all those with an id above [`SeedFacts::max_script_id`] and those that [`seeded_scripts_named`] lists,
/// whether or not the recovered database says that they were touched. Each list is in the order given here, as from
/// `ORDER BY`; [`Recovered::sort`] makes sure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every row of "AuditEvents" with an "OperationId", by operation.
    pub audit: Vec<AuditRow>,
    /// Rows of "TransformationScripts", by id.
    pub scripts: Vec<ScriptRow>,
    /// Rows of "TransformationScriptVersions" of those scripts, by script and version.
    pub versions: Vec<VersionRow>,
    /// Rows of "ScriptAttachments" whose file name is `op-N.txt`, by operation.
    pub attachments: Vec<AttachmentRow>,
    /// The sequences behind identity columns, in any order.
    pub sequences: Vec<SequenceRow>,
    /// What is not as the schema promises: a NULL where none may be, with table, row and column; a table without its sequence.
    /// Rows that cannot be told apart without what is missing are only here.
    pub malformed: Vec<String>,
}

/// A row of "AuditEvents". 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditRow {
    /// "OperationId".
    pub operation: u64,
    /// "ScriptId"; 0 for null.
    pub script: i64,
    /// "VersionNumber"; 0 for null.
    pub version: i32,
    /// "Kind"; `None` for a text that is no operation's.
    pub kind: Option<OperationKind>,
    /// The writer that "Actor" names; `None` for anybody else.
    pub author: Option<u16>,
    /// "OccurredAt".
    pub at: PgTime,
}

/// A row of "TransformationScripts".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScriptRow {
    /// "Id".
    pub id: i64,
    /// "CurrentVersion".
    pub current_version: i32,
    /// "IsDeleted".
    pub deleted: bool,
    /// [`digest`](crate::ledger::digest) of "Name" and "Description".
    pub facts: u64,
    /// "CreatedAt".
    pub created: PgTime,
    /// "UpdatedAt".
    pub updated: PgTime,
    /// "DeletedAt"; 0 for null.
    pub deleted_at: PgTime,
}

/// A row of "TransformationScriptVersions". 64 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VersionRow {
    /// "ScriptId".
    pub script: i64,
    /// "VersionNumber".
    pub version: i32,
    /// First 16 bytes of the SHA-256 of "Content" as it is now.
    pub content: u128,
    /// First 16 bytes of "ContentSha256".
    pub stored: u128,
    /// The writer that "CreatedBy" names; `None` for anybody else.
    pub author: Option<u16>,
    /// "CreatedAt".
    pub at: PgTime,
}

/// A row of "ScriptAttachments" with its large object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachmentRow {
    /// "ScriptId".
    pub script: i64,
    /// The N of the file name `op-N.txt`.
    pub operation: u64,
    /// First 16 bytes of the SHA-256 of the large object's bytes; 0 if there is no such large object.
    pub content: u128,
    /// First 16 bytes of "Sha256".
    pub stored: u128,
    /// [`digest`](crate::ledger::digest) of "SizeBytes".
    pub facts: u64,
    /// "CreatedAt".
    pub at: PgTime,
}

/// A sequence behind an identity column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceRow {
    /// Its name or its table's, qualified or not; only the scripts' one contains `TransformationScripts`.
    pub name: String,
    /// The last number it gave out: `last_value`, or one less while `is_called` is false.
    pub last_value: i64,
    /// The largest id in its table; 0 if the table is empty.
    pub largest_used: i64,
}

impl Recovered {
    /// Puts the rows in order; quick where they already are.
    pub fn sort(&mut self) {
        self.audit.sort_by_key(|row| row.operation);
        self.scripts.sort_by_key(|row| row.id);
        self.versions.sort_by_key(|row| (row.script, row.version));
        self.attachments.sort_by_key(|row| row.operation);
    }

    pub(super) fn check_order(&self) -> Result<(), Unverifiable> {
        let ordered = [
            ("audit rows", self.audit.is_sorted_by_key(|row| row.operation)),
            ("script rows", self.scripts.is_sorted_by_key(|row| row.id)),
            (
                "version rows",
                self.versions.is_sorted_by_key(|row| (row.script, row.version)),
            ),
            (
                "attachment rows",
                self.attachments.is_sorted_by_key(|row| row.operation),
            ),
        ];
        match ordered.into_iter().find(|(_, sorted)| !sorted) {
            Some((rows, _)) => Err(Unverifiable::OutOfOrder { rows }),
            None => Ok(()),
        }
    }
}

/// What was there before the first operation.
pub struct SeedFacts {
    /// Seeded scripts have the ids 1 to this; writers' scripts have larger ones.
    pub max_script_id: i64,
    /// A seeded script as it was seeded; asked only for ids from 1 to [`SeedFacts::max_script_id`].
    pub script: Box<dyn Fn(i64) -> SeededScript + Send + Sync>,
}

/// A script as it was seeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededScript {
    /// Its versions are 1 to this, which is its current one.
    pub versions: i32,
    /// Whether it was seeded as soft-deleted.
    pub deleted: bool,
    /// When it was last changed, and deleted if it is; 0 if unknown.
    pub changed: PgTime,
}

impl SeedFacts {
    /// What a seed plan puts there.
    pub fn of_plan(plan: fixtures::seed::SeedPlan) -> Self {
        let script = move |id: i64| {
            let id = id.cast_unsigned();
            SeededScript {
                versions: plan.versions_of(id).cast_signed(),
                deleted: plan.is_deleted(id),
                changed: PgTime(plan.changed_us(id).cast_signed()),
            }
        };
        Self {
            max_script_id: plan.scripts.cast_signed(),
            script: Box::new(script),
        }
    }

    pub(super) fn seeded(&self, script: i64) -> Option<SeededScript> {
        (1..=self.max_script_id)
            .contains(&script)
            .then(|| (self.script)(script))
    }
}

/// The seeded scripts that any operation of the ledger concerns, ascending: their rows belong into [`Recovered`].
pub fn seeded_scripts_named(history: &History, max_script_id: i64) -> Vec<i64> {
    let named = history.operations.iter().map(|operation| operation.script);
    let mut scripts: Vec<i64> = named.filter(|script| (1..=max_script_id).contains(script)).collect();
    scripts.sort_unstable();
    scripts.dedup();
    scripts
}
