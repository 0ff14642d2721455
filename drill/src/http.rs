//! A small HTTP server on loopback for what must arrive over a real socket: alerts and notifications.
//!
//! It binds a free port, answers until dropped, and can be told to misbehave (see [`Behaviour`]), which is how
//! scenarios break a receiver. What is received is passed on through a channel.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    task::JoinHandle,
};

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should: 204, and the body is passed on.
    Healthy,
    /// As it should, so much later.
    Slow(Duration),
    /// With this status, and nothing is passed on.
    Status(u16),
    /// Not at all: the request is taken and never answered.
    Hang,
}

/// A JSON body that was received, and on which path.
pub type Received = (String, Value);

/// A receiver of JSON webhooks. It stops when dropped.
pub struct Receiver {
    received: UnboundedReceiver<Received>,
    port: Port,
}

/// Where a receiver listens, and how it answers there. Clones are the same.
#[derive(Clone)]
pub struct Port {
    address: SocketAddr,
    shared: Shared,
    server: Arc<Mutex<Option<Server>>>,
}

/// What listens and answers. Once it is gone, connections are refused.
struct Server {
    task: JoinHandle<()>,
    close: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Shared {
    sender: UnboundedSender<Received>,
    turns: Turns,
}

/// A queue of behaviours, each for so many requests; shared by whoever changes them and whoever answers.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<VecDeque<Turn>>>, Arc<AtomicU64>);

/// A behaviour, and for how many requests; `None` for all that follow.
#[derive(Debug, Clone, Copy)]
struct Turn {
    behaviour: Behaviour,
    left: Option<u64>,
}

impl Turns {
    /// Appends a behaviour for `times` requests, or for good. Turns appended earlier come first, then `after` requests that are
    /// answered as they should be.
    pub fn push(&self, behaviour: Behaviour, after: u64, times: Option<u64>) {
        let mut turns = self.lock();
        if after > 0 {
            let (behaviour, left) = (Behaviour::Healthy, Some(after));
            turns.push_back(Turn { behaviour, left });
        }
        turns.push_back(Turn { behaviour, left: times });
    }

    /// The behaviour for one request; a turn that is used up gives way to the next.
    pub fn next(&self) -> Behaviour {
        let mut turns = self.lock();
        let Some(turn) = turns.front_mut() else {
            return Behaviour::Healthy;
        };
        let behaviour = turn.behaviour;
        if behaviour != Behaviour::Healthy {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(left) = &mut turn.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                turns.pop_front();
            }
        }
        behaviour
    }

    /// How many requests were not answered as they should be.
    pub fn met(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Turn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Binds a free port of loopback and starts to answer `POST /<anything>`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (sender, received) = mpsc::unbounded_channel();
        let shared = Shared {
            sender,
            turns: Turns::default(),
        };
        let server = Arc::new(Mutex::new(Some(serve(listener, shared.clone()))));
        let port = Port {
            address,
            shared,
            server,
        };
        Ok(Self { received, port })
    }

    /// Where to post `path`.
    pub fn url(&self, path: &str) -> String {
        self.port.url(path)
    }

    /// Its port, for faults that break it.
    pub fn port(&self) -> Port {
        self.port.clone()
    }

    /// A body that has arrived already.
    pub fn try_next(&mut self) -> Option<Received> {
        self.received.try_recv().ok()
    }

    /// The next body that arrives.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }
}

impl Port {
    /// Where to post `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Changes how it answers, as [`Turns::push`].
    pub fn behave(&self, behaviour: Behaviour, after: u64, times: Option<u64>) {
        self.shared.turns.push(behaviour, after, times);
    }

    /// How many requests were not answered as they should be. Those that a closed port refused nobody counts.
    pub fn met(&self) -> u64 {
        self.shared.turns.met()
    }

    /// Closes: connections are refused from now on.
    pub async fn go_down(&self) {
        let server = self.server().take();
        if let Some(server) = server {
            let _ = server.close.send(()); // it may have stopped by itself
            let _ = tokio::time::timeout(Duration::from_secs(1), server.task).await; // a hanging request ends later
        }
    }

    /// Answers as it should again, on the same port.
    ///
    /// # Errors
    /// If the port is taken by now.
    pub async fn mend(&self) -> std::io::Result<()> {
        self.shared.turns.clear();
        if self.server().is_none() {
            let listener = TcpListener::bind(self.address).await?;
            *self.server() = Some(serve(listener, self.shared.clone()));
        }
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(server) = self.port.server().take() {
            server.task.abort();
        }
    }
}

fn serve(listener: TcpListener, shared: Shared) -> Server {
    let router = Router::new().route("/{*path}", post(receive)).with_state(shared);
    let (close, closed) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = closed.await; // a receiver that is dropped closes as well
        });
        if let Err(error) = served.await {
            tracing::error!(%error, "the webhook receiver stopped");
        }
    });
    Server { task, close }
}

async fn receive(State(shared): State<Shared>, Path(path): Path<String>, Json(body): Json<Value>) -> StatusCode {
    match shared.turns.next() {
        Behaviour::Healthy => {}
        Behaviour::Slow(delay) => tokio::time::sleep(delay).await,
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Status(status) => return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
    let _ = shared.sender.send((path, body)); // the drill may be over already
    StatusCode::NO_CONTENT
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn behaviours_take_turns_and_are_mended() {
        let receiver = Receiver::start().await.unwrap();
        receiver.port().behave(Behaviour::Status(503), 1, Some(2));
        // A pooled connection that the receiver closes ends otherwise than one that is refused: each gets its own.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let answer = client.post(receiver.url("x")).json(&1).send().await.unwrap();
            statuses.push(answer.status().as_u16());
        }
        assert_eq!(statuses, [204, 503, 503, 204]);
        receiver.port().go_down().await;
        let answer = client.post(receiver.url("x")).json(&1).send().await;
        assert!(answer.is_err(), "{answer:?}");
        receiver.port().mend().await.unwrap();
        assert_eq!(
            client
                .post(receiver.url("x"))
                .json(&1)
                .send()
                .await
                .unwrap()
                .status()
                .as_u16(),
            204
        );
    }
}
