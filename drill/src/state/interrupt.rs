//! Somebody wants the run to end now. Most of a drill can be dropped where it is; what a cutover has changed is taken back first.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};

/// The wish to end, and who has something to take back before that. Clones are the same.
#[derive(Clone)]
pub struct Interrupt {
    requested: watch::Sender<bool>,
    cutovers: Arc<RwLock<()>>,
}

/// While it lives, a cutover is under way.
#[must_use]
pub struct UnderWay {
    _cutover: OwnedRwLockReadGuard<()>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self {
            requested: watch::Sender::new(false),
            cutovers: Arc::default(),
        }
    }
}

impl Interrupt {
    /// Asks for the end, and waits until every cutover under way is taken back, at most for `patience`.
    pub async fn request(&self, patience: Duration) {
        self.requested.send_replace(true);
        let taken_back = self.cutovers.write();
        let _ = tokio::time::timeout(patience, taken_back).await; // whoever is not done by then is not waited for
    }

    /// Returns once somebody has asked for the end.
    pub async fn requested(&self) {
        let _ = self.requested.subscribe().wait_for(|requested| *requested).await; // this has the other end
    }

    /// A cutover begins.
    pub async fn begin(&self) -> UnderWay {
        UnderWay {
            _cutover: Arc::clone(&self.cutovers).read_owned().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Interrupt;

    #[tokio::test]
    async fn whoever_asks_for_the_end_waits_for_a_cutover_and_not_for_ever() {
        let interrupt = Interrupt::default();
        let under_way = interrupt.begin().await;
        let other = interrupt.clone();
        let cutover = tokio::spawn(async move {
            other.requested().await;
            drop(under_way);
        });
        interrupt.request(Duration::from_mins(1)).await;
        assert!(cutover.await.is_ok());
        let _stuck = interrupt.begin().await;
        interrupt.request(Duration::from_millis(1)).await;
    }
}
