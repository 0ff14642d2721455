//! A store and an application that falter at a chosen moment of a cutover, and what is as before afterwards.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use drill::cutover::{
    AppControl, ApplicationError, ConfigStore, ConfigStoreError, MakeControl, MakeStore, config_store::FileStore,
    process::ProcessControl,
};
use futures_util::future::BoxFuture;
use reports::{Event, Verdict, What};
use serde_json::Value;
use tests::{Place, Started};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Where it falters: `9-start`, `10-middle` …
const AT: &str = "FALTERS_AT";
/// Each connection string that the store came to hold, a line each.
const HELD: &str = "FALTERS_LOG";
pub(crate) const NAME: &str = "faltering";
pub(crate) const MAKE_STORE: MakeStore = |path| {
    Box::new(Store {
        real: FileStore::new(path),
        replaced: AtomicUsize::new(0),
    })
};
pub(crate) const MAKE_CONTROL: MakeControl = |settings, log| {
    Box::new(Control {
        real: ProcessControl::new(settings, log),
        started: 0,
        before: None,
    })
};

/// What each moment from step 11 on comes to: what is asked of the application then, and what becomes of its answer.
const ANSWERS: [(&str, &str, Falters); 8] = [
    ("11-end", "/health/ready", Falters::Cuts),
    ("12-start", "/health/ready", Falters::Refuses),
    ("12-middle", "/health/ready", Falters::SendsHalf),
    ("12-end", "/health/ready", Falters::Lies),
    ("13-start", "/api/", Falters::Refuses),
    ("13-middle", "/api/", Falters::SendsHalf),
    ("13-end", "/api/", Falters::Lies),
    ("written", "POST", Falters::Refuses),
];

/// At step 10 a fault shall remove files that are not there.
const NOTHING_TO_BREAK: &str = r#"
id = "nothing-to-break"
title = "Nothing to break"
why = "A harness that cannot go on leaves a service as it was"
source = "this test"

[given]
commits = 40

[[fault]]
at = "failure"
kind = "server"
target = "cluster"
does = "stop-immediate"

[[fault]]
at = "failure"
kind = "remove-files"
target = "cluster"
path = "global/pg_control"

[[fault]]
at = "switched"
kind = "remove-files"
target = "restored"
path = "no-such-file"

[expect]
outcome = "recovered"
"#;

fn falters_at(moment: &str) -> bool {
    env::var(AT).is_ok_and(|at| at == moment)
}

struct Store {
    real: FileStore,
    replaced: AtomicUsize,
}

impl Store {
    async fn note(&self) {
        let held = self.real.connection().await.unwrap_or_default();
        let mut log = fs::File::options()
            .append(true)
            .create(true)
            .open(env::var(HELD).unwrap())
            .unwrap();
        writeln!(log, "{held}").unwrap();
    }
}

impl ConfigStore for Store {
    fn prepare<'a>(&'a self, settings: &'a Value) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async {
            self.real.prepare(settings).await?;
            self.note().await;
            Ok(())
        })
    }

    fn connection(&self) -> BoxFuture<'_, Result<String, ConfigStoreError>> {
        self.real.connection()
    }

    /// Falters the first time only: what is taken back is taken.
    fn replace<'a>(&'a self, connection: &'a str) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async move {
            let first = self.replaced.fetch_add(1, Ordering::Relaxed) == 0;
            let refused = || ConfigStoreError::Refused {
                problem: "it falters".to_owned(),
            };
            if first && falters_at("9-start") {
                return Err(refused());
            }
            let other = format!("{connection};Timeout=99");
            let written = if first && falters_at("9-end") {
                &other
            } else {
                connection
            };
            self.real.replace(written).await?;
            self.note().await;
            if first && falters_at("9-middle") {
                return Err(refused());
            }
            Ok(())
        })
    }
}

struct Control {
    real: ProcessControl,
    started: usize,
    before: Option<Before>,
}

impl AppControl for Control {
    /// Leaves the first start, of the good day, alone.
    fn start(&mut self, patience: Duration) -> BoxFuture<'_, Result<(), ApplicationError>> {
        Box::pin(async move {
            self.started += 1;
            let back = self.started > 1;
            let fails = || ApplicationError::Start {
                reason: "it falters".to_owned(),
            };
            if back && falters_at("10-start") {
                return Err(fails());
            }
            self.real.start(patience).await?;
            if back && falters_at("10-middle") {
                return Err(fails());
            }
            let falters = ANSWERS.iter().find(|(at, ..)| back && falters_at(at));
            if let (Some((_, asked, falters)), Some(address)) = (falters, self.real.address()) {
                self.before = Some(Before::of(&address, asked, *falters).await);
            }
            if back && falters_at("11-start") {
                // It listens, and has let go of its database.
                let nowhere = Before::of("http://127.0.0.1:1", "", Falters::Refuses).await;
                self.before = Some(nowhere);
                self.real.stop().await;
            }
            if back && falters_at("10-end") {
                self.real.stop().await; // and nobody is told
            }
            if back && falters_at("interrupted") {
                fs::write(format!("{}.started", env::var(HELD).unwrap()), "").unwrap();
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.before = None;
        self.real.stop()
    }

    fn address(&self) -> Option<String> {
        let before = self.before.as_ref().map(|before| before.address.clone());
        before.or_else(|| self.real.address())
    }

    fn pid(&self) -> Option<Arc<AtomicU32>> {
        self.real.pid()
    }
}

/// How an answer falters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Falters {
    /// The connection is closed before there is one.
    Cuts,
    /// It is 503.
    Refuses,
    /// It ends in the middle.
    SendsHalf,
    /// It is whole, and every digit in it is another.
    Lies,
}

/// Stands before the application and falters where it is asked for something. It is gone when dropped.
struct Before {
    address: String,
    task: JoinHandle<()>,
}

impl Before {
    /// `asked` is in the first line of the requests that it falters at; it passes others on.
    async fn of(application: &str, asked: &'static str, falters: Falters) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let application = application.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let application = application.clone();
                tokio::spawn(async move { answer(client, &application, asked, falters).await });
            }
        });
        Self { address, task }
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request; an error is one of the connection, which the client sees as well.
async fn answer(mut client: TcpStream, application: &str, asked: &str, falters: Falters) -> io::Result<()> {
    let request = request(&mut client).await?;
    let hit = request.lines().next().is_some_and(|line| line.contains(asked));
    if hit && falters == Falters::Cuts {
        return Ok(());
    }
    if hit && falters == Falters::Refuses {
        let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(refused).await;
    }
    let mut server = TcpStream::connect(application).await?;
    server
        .write_all(request.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())
        .await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    if hit && falters == Falters::SendsHalf {
        answer.truncate(head + (answer.len() - head) / 2);
    }
    if hit && falters == Falters::Lies {
        let digits = answer[head..].iter_mut().filter(|byte| byte.is_ascii_digit());
        digits.for_each(|digit| *digit = if *digit == b'9' { b'1' } else { *digit + 1 });
    }
    client.write_all(&answer).await
}

/// Reads a request, with its body where it says how long that is.
async fn request(client: &mut TcpStream) -> io::Result<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                return Ok(text);
            }
        }
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The connection strings that the store held, in their order.
fn held(log: &PathBuf) -> Vec<String> {
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

fn started(place: &Place, at: &str, scenario: &str) -> (Started, PathBuf) {
    let log = place.join(format!("{at}.log"));
    let mut command = place.command(env::current_exe().unwrap());
    command.env(AT, at).env(HELD, &log);
    command.args(["run", scenario, "--config-store", NAME, "--app-control", NAME]);
    command.args(["--storage", "memory", "--seed", "3", "--out", at]);
    (Started::start(&mut command), log)
}

/// The last step that failed, if one did.
fn failed_step(place: &Place, at: &str, drill: &str) -> Option<u8> {
    let events = fs::read_to_string(place.join(at).join(drill).join("events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let mut failed = events.rev().filter_map(|event| match event.what {
        What::StepFinished {
            step,
            verdict: Verdict::Fail,
            ..
        } => Some(step.number()),
        _ => None,
    });
    failed.next()
}

/// At which step each moment shows. Who listens no more is noticed when he is asked who he is; a write is no step.
fn step_of(at: &str) -> Option<u8> {
    match at {
        "10-end" | "11-start" => Some(11),
        "11-end" => Some(12),
        "written" => None,
        at => at.split_once('-').unwrap().0.parse().ok(),
    }
}

/// What the drill says that it took back.
fn undone(place: &Place, at: &str, drill: &str) -> Vec<(String, String)> {
    let events = fs::read_to_string(place.join(at).join(drill).join("events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let undone = events.filter_map(|event| match event.what {
        What::Undone { what, verdict, .. } => Some((what, verdict.to_string())),
        _ => None,
    });
    undone.collect()
}

fn as_before(place: &Place, at: &str, drill: &str, log: &PathBuf) {
    let held = held(log);
    assert_eq!(
        held.first(),
        held.last(),
        "{at}: the store holds another connection string"
    );
    let expected = ["application", "connection string"].map(|what| (what.to_owned(), "pass".to_owned()));
    assert_eq!(undone(place, at, drill), expected, "{at}");
}

/// Until the application is back, each step of a cutover fails in turn, at its start, in the middle and at its end.
pub(crate) fn until_it_is_back() {
    fails_at([
        "9-start",
        "9-middle",
        "9-end",
        "10-start",
        "10-middle",
        "10-end",
        "11-start",
    ]);
}

/// The same from then on, and with the first write.
pub(crate) fn once_it_is_back() {
    fails_at(ANSWERS.map(|(at, ..)| at));
}

fn fails_at<const N: usize>(moments: [&str; N]) {
    let place = Place::new();
    for at in moments {
        let (run, log) = started(&place, at, "data-directory-lost");
        let ran = run.finish();
        ran.exits(1);
        assert_eq!(
            failed_step(&place, at, "data-directory-lost"),
            step_of(at),
            "{at}: {}",
            ran.stdout
        );
        as_before(&place, at, "data-directory-lost", &log);
        place.nothing_left(ran.pid);
    }
}

/// The harness itself cannot go on, right after step 9: its fault has nothing to break.
pub(crate) fn harness_error() {
    let place = Place::new();
    fs::write(place.join("nothing.toml"), NOTHING_TO_BREAK).unwrap();
    let (run, log) = started(&place, "harness", "nothing.toml");
    let ran = run.finish();
    ran.exits(3);
    as_before(&place, "harness", "nothing-to-break", &log);
    place.nothing_left(ran.pid);
}

/// Somebody types Ctrl-C in the middle of a cutover.
pub(crate) fn interrupted() {
    let place = Place::new();
    let (run, log) = started(&place, "interrupted", "data-directory-lost");
    let mark = PathBuf::from(format!("{}.started", log.display()));
    while !mark.exists() {
        std::thread::sleep(Duration::from_millis(5)); // between two looks
    }
    run.signal(rustix::process::Signal::INT);
    let ran = run.finish();
    ran.exits(3);
    as_before(&place, "interrupted", "data-directory-lost", &log);
    place.nothing_left(ran.pid);
}
