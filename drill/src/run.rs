//! Many drills: side by side, each folded into its evidence as soon as it is over.
//!
//! This is a library function: the command line calls it with what somebody typed, tests with what they make up. Which drills
//! there are is the caller's to choose, and so is what becomes of the evidence.

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use reports::{DrillEvidence, Event, RunEvidence, run::UnreadableLog};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    drill,
    errors::chain,
    state::{Assignment, DrillError, Options},
};

/// Who watches a run.
pub trait Watch: Sync {
    /// A drill begins; its events are sent to what is returned, as they happen.
    fn begins(&self, drill: &str) -> Option<UnboundedSender<Event>>;

    /// A drill is over; without evidence if its log cannot be read back.
    fn ended(&self, drill: &str, evidence: Option<&DrillEvidence>);
}

/// Nobody watches.
impl Watch for () {
    fn begins(&self, _: &str) -> Option<UnboundedSender<Event>> {
        None
    }

    fn ended(&self, _: &str, _: Option<&DrillEvidence>) {}
}

/// Carries drills out, so many at a time. One that breaks does not stop the others. The evidence is in the order of the
/// assignments.
///
/// # Errors
/// If not one of them left evidence.
pub async fn drills(
    assignments: Vec<Assignment<'_>>,
    options: &Options,
    at_a_time: usize,
    watch: &dyn Watch,
) -> Result<RunEvidence, DrillError> {
    let drills = stream::iter(assignments.into_iter().enumerate()).map(|(index, assignment)| async move {
        let watcher = watch.begins(&assignment.name);
        // A defect of ours in one drill must not end the others.
        let drill = AssertUnwindSafe(Box::pin(drill::drill(&assignment, options, watcher))).catch_unwind();
        let events = drill.await.unwrap_or_else(|_| Err(DrillError::Panicked));
        let folded = events.map(|events| reports::fold(&events)); // the events are on disk
        let evidence = folded.as_ref().ok().and_then(|folded| folded.as_ref().ok());
        watch.ended(&assignment.name, evidence);
        (index, assignment.name, folded)
    });
    let mut finished: Vec<_> = drills.buffer_unordered(at_a_time.max(1)).collect().await;
    finished.sort_by_key(|(index, ..)| *index);
    let (mut evidence, mut unreadable) = (Vec::new(), Vec::new());
    let mut broken = None;
    for (_, drill, folded) in finished {
        let problem = match folded {
            Ok(Ok(folded)) => {
                evidence.push(folded);
                continue;
            }
            Ok(Err(error)) => chain(&error),
            Err(error) => {
                let problem = chain(&error);
                broken.get_or_insert(error);
                problem
            }
        };
        unreadable.push(UnreadableLog { drill, problem });
    }
    match broken {
        Some(error) if evidence.is_empty() => Err(error),
        _ => Ok(RunEvidence::with_unreadable(evidence, unreadable)),
    }
}
