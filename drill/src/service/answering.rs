//! Since when the service fails, as seen by those who use it all the time: monitoring and writers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Since when nothing has succeeded any more, if that is so.
#[derive(Clone, Default)]
pub struct Failing(Arc<Mutex<Option<Instant>>>);

impl Failing {
    /// Since when.
    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It succeeded.
    pub fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It failed, as far as anybody knows at this moment.
    pub fn failed(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
    }
}
