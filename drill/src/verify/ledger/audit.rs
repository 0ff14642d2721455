//! First passes: which operations have their audit row, and which their attachment. Both lists stand in the order of
//! operations.

use super::{comparison::Findings, marks::Marks};
use crate::ledger::{AttachmentRow, AuditRow, Operation, OperationKind, PgTime};

/// Who signed a row of an operation, or when, if that is not what the ledger says. What it does not know is not compared.
pub(super) fn signed_otherwise(
    (writer, rows_at): (u16, PgTime),
    author: Option<u16>,
    at: PgTime,
) -> Option<&'static str> {
    if writer != Operation::UNKNOWN.writer && author != Some(writer) {
        return Some("author");
    }
    (rows_at.is_known() && at != rows_at).then_some("time")
}

/// Marks every operation whose audit row is there.
pub(super) fn mark_audited(marks: &mut Marks<'_>, rows: &[AuditRow], findings: &mut Findings) {
    let called = marks.called.key;
    let mut previous = None;
    for row in rows {
        let number = row.operation;
        if previous.replace(number) == Some(number) {
            findings
                .duplicated
                .add(|| format!("operation {number} has more than one audit row"));
            continue;
        }
        let Some((index, operation)) = marks.find(number) else {
            if marks.partial {
                marks.unexplained_rows += 1;
                marks.doubtful.push(row.key);
            } else {
                findings
                    .unexpected
                    .add(|| format!("audit row of operation {number}, which nobody sent"));
            }
            continue;
        };
        if operation.key == 0 {
            marks.adopt(index, row.key);
        }
        marks.set_audited(index);
        if marks.was_rejected(index) {
            findings
                .unexpected
                .add(|| format!("{} was rejected and is there", marks.name(index)));
        } else if row.kind != Some(operation.kind) || row.version != operation.version || row.key != marks.key(index) {
            findings.altered.add(|| {
                let kind = row.kind.map_or("unknown kind", OperationKind::name);
                let (key, version) = (row.key, row.version);
                format!(
                    "{}: its audit row says {kind} of {called} {key}, version {version}",
                    marks.name(index)
                )
            });
        } else if let Some(what) = signed_otherwise((operation.writer, operation.rows_at), row.author, row.at) {
            findings
                .altered
                .add(|| format!("{}: the {what} of its audit row is another", marks.name(index)));
        }
    }
    marks.doubtful.sort_unstable();
    marks.doubtful.dedup();
}

/// Marks every operation whose attachment is there. After [`mark_audited`].
pub(super) fn mark_attachments(marks: &mut Marks<'_>, rows: &[AttachmentRow], findings: &mut Findings) {
    let called = marks.called.key;
    let mut previous = None;
    for row in rows {
        let (number, key) = (row.operation, row.key);
        if previous.replace(number) == Some(number) {
            findings
                .duplicated
                .add(|| format!("attachment op-{number}.txt of {called} {key} is there more than once"));
            continue;
        }
        let found = marks
            .find(number)
            .filter(|(_, operation)| operation.kind == OperationKind::Attach);
        let Some((index, operation)) = found else {
            if marks.partial && marks.find(number).is_none() {
                marks.unexplained_rows += 1;
            } else {
                findings
                    .unexpected
                    .add(|| format!("attachment op-{number}.txt of {called} {key}, which nobody wrote"));
            }
            continue;
        };
        if marks.was_rejected(index) && !marks.is_audited(index) {
            findings
                .unexpected
                .add(|| format!("attachment of {}, which was rejected", marks.name(index)));
            continue;
        }
        marks.set_written(index);
        if row.content == 0 {
            marks.set_torn(index, findings, "its large object is missing");
        } else if row.key != marks.key(index) {
            findings
                .altered
                .add(|| format!("{}: its attachment is with {called} {key}", marks.name(index)));
        } else if operation.content != 0 && row.content != operation.content {
            findings
                .altered
                .add(|| format!("{}: its attachment is not what was written", marks.name(index)));
        } else if let Some(what) = misdescribed(operation, row) {
            findings.altered.add(|| {
                format!(
                    "{}: the {what} of its attachment is not what was written",
                    marks.name(index)
                )
            });
        }
    }
}

/// What a row says of its attachment that is not so.
fn misdescribed(operation: &Operation, row: &AttachmentRow) -> Option<&'static str> {
    if row.stored != row.content {
        return Some("stored hash");
    }
    if operation.facts != 0 && row.facts != operation.facts {
        return Some("stored size");
    }
    (operation.rows_at.is_known() && row.at != operation.rows_at).then_some("time")
}
