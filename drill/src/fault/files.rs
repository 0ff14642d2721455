//! What kinds of faults on files have in common.

use rand::{SeedableRng as _, rngs::StdRng};
use reports::text::counted;

use super::{Deed, Doing, Done, FaultError, Root, World, root::Entry};
use crate::scenario::{Fault, Kind, Selection};

/// A kind of fault that does to each directory, a backup's or a server's, what it does.
pub trait OnFiles: Kind + Clone {
    /// Does it to the files that are meant below one directory. It may block.
    ///
    /// # Errors
    /// If it cannot be done, or changed nothing.
    fn act(&self, root: &Root, files: &Selection, random: &mut StdRng) -> Result<Done, FaultError>;
}

impl<K: OnFiles> Deed for K {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        let keys = self.clone();
        let act = move |root: &Root, files: &Selection, random: &mut StdRng| keys.act(root, files, random);
        Box::pin(on_files(fault, world, act))
    }
}

/// Does a fault in each directory that it is aimed at, on a thread that may block.
pub(super) async fn on_files(
    fault: &Fault,
    world: &mut World<'_>,
    act: impl Fn(&Root, &Selection, &mut StdRng) -> Result<Done, FaultError> + Send + 'static,
) -> Result<Done, FaultError> {
    let directories = world.directories(fault)?;
    let files = world.files(fault)?;
    let mut random = StdRng::from_rng(world.random);
    tokio::task::spawn_blocking(move || {
        let (mut summaries, mut touched, mut more) = (Vec::new(), Vec::new(), 0);
        for (name, directory) in directories {
            let done = act(&Root::open(&directory)?, &files, &mut random)?;
            let named = |line| {
                if name.is_empty() {
                    line
                } else {
                    format!("{name}: {line}")
                }
            };
            summaries.push(named(done.summary));
            touched.extend(done.touched.into_iter().map(named));
            more += done.more;
        }
        let mut done = Done::new(summaries.join("; "), touched);
        done.more += more;
        Ok(done)
    })
    .await
    .map_err(|source| FaultError::Interrupted {
        kind: fault.action.kind(),
        source,
    })?
}

/// The report of a fault that named each thing it changed, or the error when there is none.
pub(super) fn changed(
    kind: &'static str,
    verb: &str,
    touched: Vec<String>,
    otherwise: &str,
) -> Result<Done, FaultError> {
    let summary = match touched.as_slice() {
        [] => {
            return Err(FaultError::NoEffect {
                kind,
                why: otherwise.to_owned(),
            });
        }
        [one] => one.clone(),
        many => format!("{} {verb}", counted(many.len(), "file")),
    };
    Ok(Done::new(summary, touched))
}

/// The error for a file that is not as the fault left it.
pub(super) fn unverified(entry: &Entry, what: &str) -> FaultError {
    FaultError::NotVerified {
        what: format!("{}: {what}", entry.path.display()),
    }
}
