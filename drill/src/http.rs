//! A small HTTP server on loopback for what must arrive over a real socket: alerts and notifications.
//!
//! It binds a free port, answers until dropped, and can be told to misbehave (see [`Behaviour`]), which is how
//! scenarios break a receiver. What is received is passed on through a channel.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
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
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
};

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should: 204, and the body is passed on.
    Healthy,
    /// With this status, and nothing is passed on.
    Status(u16),
}

/// A JSON body that was received, and on which path.
pub type Received = (String, Value);

/// A receiver of JSON webhooks. It stops when dropped.
pub struct Receiver {
    address: SocketAddr,
    received: UnboundedReceiver<Received>,
    behaviour: Arc<Mutex<Behaviour>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    sender: UnboundedSender<Received>,
    behaviour: Arc<Mutex<Behaviour>>,
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
        let behaviour = Arc::new(Mutex::new(Behaviour::Healthy));
        let shared = Shared {
            sender,
            behaviour: Arc::clone(&behaviour),
        };
        let router = Router::new().route("/{*path}", post(receive)).with_state(shared);
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the webhook receiver stopped");
            }
        });
        Ok(Self {
            address,
            received,
            behaviour,
            server,
        })
    }

    /// Where to post `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Changes how it answers from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// The next body that arrives.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(shared): State<Shared>, Path(path): Path<String>, Json(body): Json<Value>) -> StatusCode {
    match *shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner) {
        Behaviour::Healthy => {
            let _ = shared.sender.send((path, body)); // the drill may be over already
            StatusCode::NO_CONTENT
        }
        Behaviour::Status(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
