//! What stands before the application, as a load balancer does: it passes requests on, late or not at all, or answers
//! with an error of its own while the application behind it is well.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{
        StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::http::{Behaviour, Turns};

/// Listens on a free port of loopback and passes requests on to the application. It is gone when dropped.
pub(super) struct LoadBalancer {
    address: SocketAddr,
    behind: Behind,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Behind {
    application: Arc<Mutex<String>>,
    turns: Turns,
    client: reqwest::Client,
}

impl LoadBalancer {
    /// Stands before `application`, `http://host:port`, and lets everything pass.
    ///
    /// # Errors
    /// If no port can be bound.
    pub(super) async fn of(application: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let behind = Behind {
            application: Arc::new(Mutex::new(application.to_owned())),
            turns: Turns::default(),
            client: reqwest::Client::new(),
        };
        let router = Router::new().fallback(pass_on).with_state(behind.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "what stands before the application stopped");
            }
        });
        Ok(Self { address, behind, task })
    }

    /// Where it listens, `http://host:port`.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the application listens that it stands before.
    pub(super) fn leads_where(&self) -> String {
        self.behind.application()
    }

    /// The application listens elsewhere now.
    pub(super) fn leads_to(&self, address: &str) {
        let mut application = self.behind.application.lock().unwrap_or_else(PoisonError::into_inner);
        address.clone_into(&mut application);
    }

    /// How many requests did not get through as they should.
    pub(super) fn met(&self) -> u64 {
        self.behind.turns.met()
    }

    /// Changes how it answers, as [`Turns::push`].
    pub(super) fn behave(&self, behaviour: Behaviour, after: u64, times: Option<u64>) {
        self.behind.turns.push(behaviour, after, times);
    }
}

impl Behind {
    fn application(&self) -> String {
        self.application.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for LoadBalancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The largest body that is passed on.
const BODY_BYTES: usize = 1 << 20;

async fn pass_on(State(behind): State<Behind>, request: Request) -> Response {
    match behind.turns.next() {
        Behaviour::Healthy => {}
        Behaviour::Slow(delay) => tokio::time::sleep(delay).await,
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (
                status,
                axum::Json(serde_json::json!({ "title": "answered before the application" })),
            )
                .into_response();
        }
    }
    let application = behind.application();
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut passed = behind
        .client
        .request(head.method, format!("{application}{}", head.uri))
        .body(body);
    for name in [AUTHORIZATION, CONTENT_TYPE] {
        if let Some(value) = head.headers.get(&name) {
            passed = passed.header(name, value);
        }
    }
    let answer = async {
        let answer = passed.send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.headers().clone(), answer.bytes().await?))
    };
    answer.await.map_or_else(
        |_| StatusCode::BAD_GATEWAY.into_response(),
        axum::response::IntoResponse::into_response,
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::{Duration, Instant};

    use axum::{http::HeaderMap, routing::get};

    use super::*;

    /// An application that says its name, and what it was authorised by.
    async fn application(name: &'static str) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let says = move |headers: HeaderMap| async move {
            let token = headers.get(AUTHORIZATION).and_then(|token| token.to_str().ok());
            format!("{name} {}", token.unwrap_or("nobody"))
        };
        let echoes = async |body: String| (StatusCode::CREATED, body);
        let router = Router::new().route("/who", get(says).post(echoes));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    #[tokio::test]
    async fn it_passes_on_late_or_not_at_all_and_follows_the_application() {
        let front = LoadBalancer::of(&application("one").await).await.unwrap();
        let client = reqwest::Client::new();
        let ask = async || {
            let answer = client
                .get(format!("{}/who", front.address()))
                .bearer_auth("t")
                .send()
                .await
                .unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(ask().await, (200, "one Bearer t".to_owned()));
        let written = client.post(format!("{}/who", front.address())).body("text").send();
        let written = written.await.unwrap();
        assert_eq!(
            (written.status(), written.text().await.unwrap().as_str()),
            (StatusCode::CREATED, "text")
        );
        front.behave(Behaviour::Status(502), 0, Some(2));
        front.behave(Behaviour::Slow(Duration::from_millis(200)), 0, Some(1));
        assert_eq!((ask().await.0, ask().await.0), (502, 502));
        let began = Instant::now();
        assert!(ask().await.0 == 200 && began.elapsed() >= Duration::from_millis(200));
        front.leads_to(&application("two").await);
        assert!(ask().await.1.starts_with("two"));
        front.leads_to("http://127.0.0.1:1");
        assert_eq!(ask().await.0, 502, "nobody is behind it");
    }
}
