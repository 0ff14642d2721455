//! The moment in a restore when the files are in place and the server is not started yet.
//!
//! A restore hands its cluster over to the drill and gets it back. In between, a scenario can damage what was restored before
//! a server has run on it. If nobody listens, the restore just goes on.

use tokio::sync::{mpsc, oneshot};

use crate::postgres::Cluster;

/// The restore's side of a pause.
#[derive(Clone, Default)]
pub struct Pause(Option<mpsc::UnboundedSender<Paused>>);

/// A restore that waits: the cluster, not started, and where to give it back.
pub struct Paused {
    /// The cluster.
    pub cluster: Cluster,
    resume: oneshot::Sender<Cluster>,
}

impl Pause {
    /// The two ends of a pause.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Paused>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Hands the cluster over and waits until it comes back. `None` if the drill ended meanwhile.
    pub async fn pass(&self, cluster: Cluster) -> Option<Cluster> {
        let Some(sender) = &self.0 else { return Some(cluster) };
        let (resume, resumed) = oneshot::channel();
        match sender.send(Paused { cluster, resume }) {
            Ok(()) => resumed.await.ok(),
            Err(mpsc::error::SendError(paused)) => Some(paused.cluster),
        }
    }
}

impl Paused {
    /// Lets the restore go on.
    pub fn resume(self) {
        let _ = self.resume.send(self.cluster); // a restore that is gone has no use for it
    }
}
