//! What was changed after the commit point, and how it is taken back.

use super::UnderWay;

/// A change, with what is needed to take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The application's connection string may be another.
    ConnectionString {
        /// What it was.
        before: String,
    },
    /// The application may have been restarted, and serve something that it must not.
    Application,
}

/// Changes that may have to be taken back, newest last. Each is pushed *before* it is made: what failed half-way is taken back
/// as well.
#[derive(Default)]
pub struct Undo {
    changes: Vec<Change>,
    under_way: Option<UnderWay>,
}

impl Undo {
    /// A cutover begins: whoever wants the run to end waits until it is taken back, or kept.
    pub fn begin(&mut self, under_way: UnderWay) {
        self.under_way = Some(under_way);
    }

    /// Notes a change that is about to be made; one that stands there already once.
    pub fn push(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// The newest change that is not taken back yet.
    pub fn pop(&mut self) -> Option<Change> {
        self.changes.pop()
    }

    /// The cutover is over: what is not taken back by now stays as it is.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}
