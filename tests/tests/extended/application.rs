//! An application in the test's own process, and the store of its connection string: a file with that alone.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use drill::{
    cutover::{AppControl, ApplicationError, ConfigStore, ConfigStoreError, MakeControl, MakeStore},
    ledger::{Intent, OperationKind, PgTime, RESUMED},
    service::{Post, Served, Serves},
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_postgres::{Client, Config, NoTls};

pub(crate) const STORE: &str = "plain";
pub(crate) const MAKE_STORE: MakeStore = |settings| Box::new(PlainStore(settings.with_extension("connection")));
pub(crate) const CONTROL: &str = "in-process";
pub(crate) const MAKE_CONTROL: MakeControl = |settings, _| {
    Box::new(InProcess {
        connection: settings.with_extension("connection"),
        running: None,
    })
};
const BODY: &str = "written once it was back";

struct PlainStore(PathBuf);

fn refused(error: impl std::fmt::Display) -> ConfigStoreError {
    ConfigStoreError::Refused {
        problem: error.to_string(),
    }
}

impl ConfigStore for PlainStore {
    fn prepare<'a>(&'a self, settings: &'a Value) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        let connection = &settings["ConnectionStrings"]["DefaultConnection"];
        self.replace(connection.as_str().unwrap_or_default())
    }

    fn connection(&self) -> BoxFuture<'_, Result<String, ConfigStoreError>> {
        Box::pin(async { fs::read_to_string(&self.0).map_err(refused) })
    }

    fn replace<'a>(&'a self, connection: &'a str) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async move { fs::write(&self.0, connection).map_err(refused) })
    }
}

/// Serves notes from a task.
struct InProcess {
    connection: PathBuf,
    running: Option<(String, JoinHandle<()>)>,
}

impl InProcess {
    async fn begin(&mut self) -> Result<(), String> {
        let (client, within) = connected(&self.connection).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let client = Arc::new(client);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&client), within));
            }
        });
        self.running = Some((format!("http://{address}"), task));
        Ok(())
    }
}

impl AppControl for InProcess {
    fn start(&mut self, _: Duration) -> BoxFuture<'_, Result<(), ApplicationError>> {
        Box::pin(async {
            let begun = self.begin().await;
            begun.map_err(|reason| ApplicationError::Start { reason })
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some((_, task)) = self.running.take() {
                task.abort();
                let _ = task.await; // it was told to end
            }
        })
    }

    fn address(&self) -> Option<String> {
        self.running.as_ref().map(|(address, _)| address.clone())
    }
}

/// Connects as a connection string of the kind `Host=…;Port=…` says.
async fn connected(file: &Path) -> Result<(Client, Duration), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut config = Config::new();
    for (key, value) in text.split(';').filter_map(|part| part.split_once('=')) {
        match key {
            "Host" => config.host(value),
            "Port" => config.port(value.parse().map_err(|_| "no port")?),
            "Database" => config.dbname(value),
            "Username" => config.user(value),
            "Password" => config.password(value),
            _ => continue,
        };
    }
    let began = std::time::Instant::now();
    let (client, connection) = config.connect(NoTls).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok((client, began.elapsed()))
}

/// Answers one request and closes.
async fn answer(mut stream: TcpStream, client: Arc<Client>, within: Duration) {
    let mut request = Vec::new();
    let text = loop {
        let mut part = [0; 4096];
        let Ok(read) = stream.read(&mut part).await else { return };
        request.extend(&part[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if read == 0 || body.len() >= length.unwrap_or(0) {
            break text;
        }
    };
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let answered = match text.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["GET", "/health/ready"] => ready(&client, within).await.map(|json| ("200 OK", json)),
        ["GET", "/notes"] => listed(&client).await.map(|json| ("200 OK", json)),
        ["POST", "/notes"] => created(&client, body).await.map(|json| ("201 Created", json)),
        _ => Ok(("404 Not Found", json!({}))),
    };
    let (status, json) = answered.unwrap_or_else(|error| ("503 Unavailable", json!({ "reason": error.to_string() })));
    let json = json.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ");
    let _ = stream
        .write_all(format!("{head}{}\r\n\r\n{json}", json.len()).as_bytes())
        .await; // it may have gone
}

async fn ready(client: &Client, within: Duration) -> Result<Value, tokio_postgres::Error> {
    let sql = "SELECT system_identifier::text, (SELECT timeline_id FROM pg_control_checkpoint()), d.oid,
                      substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
                      (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
                 FROM pg_control_system(), pg_database d WHERE datname = current_database()";
    let row = client.query_one(sql, &[]).await?;
    Ok(json!({
        "system_identifier": row.try_get::<_, String>(0)?,
        "timeline_id": u32::from_str_radix(row.try_get(3)?, 16).unwrap_or_default(),
        "database_oid": row.try_get::<_, u32>(2)?,
        "postmaster_started_us": row.try_get::<_, i64>(4)?,
        "connected_within_ms": within.as_secs_f64() * 1e3,
    }))
}

async fn listed(client: &Client) -> Result<Value, tokio_postgres::Error> {
    let total: i64 = client.query_one("SELECT count(*) FROM notes", &[]).await?.try_get(0)?;
    let rows = client
        .query("SELECT id, version FROM notes ORDER BY id LIMIT 10", &[])
        .await?;
    let page = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let page: Vec<(i64, i32)> = page.collect::<Result<_, tokio_postgres::Error>>()?;
    Ok(json!({ "total": total, "page": page }))
}

async fn created(client: &Client, body: &str) -> Result<Value, tokio_postgres::Error> {
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    let operation = asked["operation"].as_i64().unwrap_or_default();
    let sql = "WITH note AS (INSERT INTO notes (version, made, changed) VALUES (1, $1, $1) RETURNING id),
                    text AS (INSERT INTO texts SELECT id, 1, $2, sha256(convert_to($2, 'UTF8')), 'application', $1 FROM note)
               INSERT INTO log SELECT $3, $4, id, 1, 'application', $1 FROM note RETURNING note";
    let kind = OperationKind::Create.name();
    let row = client
        .query_one(sql, &[&PgTime::now(), &BODY, &operation, &kind])
        .await?;
    Ok(json!({ "id": row.try_get::<_, i64>(0)? }))
}

impl Serves for super::service::Notes {
    fn called(&self) -> &'static str {
        "note"
    }

    fn path(&self) -> &'static str {
        "/notes"
    }

    fn page(&self) -> usize {
        10
    }

    fn served(&self, body: &Value) -> Option<Served> {
        Some(Served {
            total: body["total"].as_i64()?,
            first_page: serde_json::from_value(body["page"].clone()).ok()?,
        })
    }

    fn first_write(&self) -> (Intent, fn(u64) -> Post) {
        let intent = Intent {
            writer: RESUMED,
            kind: OperationKind::Create,
            key: None,
            version: 1,
            sha256: Some(hex::encode(Sha256::digest(BODY))),
            rows_at: None,
            facts: None,
            size_bytes: None,
        };
        (intent, |operation| Post {
            path: "/notes",
            body: json!({ "operation": operation }),
        })
    }

    fn created(&self, body: &Value) -> Option<i64> {
        body["id"].as_i64()
    }
}
