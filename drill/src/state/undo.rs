//! What was changed after the commit point, and how it is taken back.

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
#[derive(Debug, Default)]
pub struct Undo(Vec<Change>);

impl Undo {
    /// Notes a change that is about to be made; one that stands there already once.
    pub fn push(&mut self, change: Change) {
        if !self.0.contains(&change) {
            self.0.push(change);
        }
    }

    /// The newest change that is not taken back yet.
    pub fn pop(&mut self) -> Option<Change> {
        self.0.pop()
    }

    /// Whether there is nothing to take back.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was changed stays: nothing is taken back any more.
    pub fn keep(&mut self) {
        self.0.clear();
    }
}
