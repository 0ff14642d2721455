//! A client that was not told: it keeps the connection string of the failed primary and goes on trying to write there.
//!
//! Its attempts prove the fence. What it gets acknowledged while the service runs elsewhere is lost to everybody: split
//! brain cannot be merged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reports::text::{counted, number};

use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{Config, NoTls};

/// Time between two attempts.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The client. It stops when dropped.
pub struct UntoldClient {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    attempts: AtomicU64,
    connected: AtomicU64,
    acknowledged: AtomicU64,
    /// Somebody waits for the next attempt.
    hurry: Notify,
}

/// What became of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts that are over.
    pub all: u64,
    /// In so many it was let in.
    pub connected: u64,
    /// In so many its write was acknowledged.
    pub acknowledged: u64,
}

impl std::fmt::Display for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            all,
            connected,
            acknowledged,
        } = self;
        write!(
            f,
            "a client that kept the connection string was let in at {} of {}, and {} acknowledged",
            number(*connected),
            counted(*all, "attempt"),
            counted(*acknowledged, "write")
        )
    }
}

impl UntoldClient {
    /// Begins to write as `client`, whatever stands in its way.
    pub fn start(client: Config, write: String) -> Self {
        let counts = Arc::<Counts>::default();
        let counting = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            loop {
                if timeout(PATIENCE, attempt(&client, &write, &counting)).await.is_err() {
                    tracing::debug!("the client that was not told got no answer");
                }
                counting.attempts.fetch_add(1, Ordering::Relaxed);
                let _ = timeout(INTERVAL, counting.hurry.notified()).await; // either will do
            }
        });
        Self { counts, task }
    }

    /// What became of its attempts so far.
    pub fn attempts(&self) -> Attempts {
        Attempts {
            all: self.counts.attempts.load(Ordering::Relaxed),
            connected: self.counts.connected.load(Ordering::Relaxed),
            acknowledged: self.counts.acknowledged.load(Ordering::Relaxed),
        }
    }

    /// As [`UntoldClient::attempts`], once one that began after this call is over.
    pub async fn tried_again(&self) -> Attempts {
        let (before, began) = (self.attempts().all, Instant::now());
        // The one that is under way may have begun before.
        while self.attempts().all < before + 2 && began.elapsed() < PATIENCE * 3 {
            self.counts.hurry.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await; // back-off of a bounded wait
        }
        self.attempts()
    }
}

impl Drop for UntoldClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn attempt(client: &Config, write: &str, counts: &Counts) {
    let Ok((client, connection)) = client.connect(NoTls).await else {
        return;
    };
    counts.connected.fetch_add(1, Ordering::Relaxed);
    let serving = async {
        let _ = connection.await; // how it ends, the write says
    };
    let writing = async {
        if client.execute(write, &[]).await.is_ok() {
            counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        drop(client);
    };
    tokio::join!(serving, writing);
}

#[cfg(test)]
mod tests {
    use super::{Attempts, Config, UntoldClient};

    #[tokio::test]
    async fn a_client_that_nobody_lets_in_goes_on_trying() {
        let mut nowhere = Config::new();
        nowhere.host("127.0.0.1").port(1).user("nobody");
        let writer = UntoldClient::start(nowhere, "SELECT 1".to_owned());
        let first = writer.tried_again().await;
        let second = writer.tried_again().await;
        assert!(first.all >= 2 && second.all >= first.all + 2, "{first:?} {second:?}");
        let refused = Attempts {
            connected: 0,
            acknowledged: 0,
            ..second
        };
        assert_eq!(second, refused);
    }
}
