//! A store and an application that falter at a chosen moment of a cutover, and what is as before afterwards.

use std::{
    env, fs,
    io::Write as _,
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
use reports::{Event, What};
use serde_json::Value;
use tests::{Place, Started};

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
    })
};

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
        self.real.stop()
    }

    /// From step 12 on there may be nobody at the address.
    fn address(&self) -> Option<String> {
        let nowhere = || "http://127.0.0.1:1".to_owned();
        let address = self.real.address()?;
        let moved = self.started > 1 && falters_at("12-start");
        Some(if moved { nowhere() } else { address })
    }

    fn pid(&self) -> Option<Arc<AtomicU32>> {
        self.real.pid()
    }
}

/// The connection strings that the store held, in their order.
fn held(log: &PathBuf) -> Vec<String> {
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

fn started(place: &Place, at: &str) -> (Started, PathBuf) {
    let log = place.join(format!("{at}.log"));
    let mut command = place.command(env::current_exe().unwrap());
    command.env(AT, at).env(HELD, &log);
    command.args([
        "run",
        "data-directory-lost",
        "--config-store",
        NAME,
        "--app-control",
        NAME,
    ]);
    command.args(["--storage", "memory", "--seed", "3", "--out", at]);
    (Started::start(&mut command), log)
}

/// What the drill says that it took back.
fn undone(place: &Place, at: &str) -> Vec<(String, String)> {
    let events = fs::read_to_string(place.join(at).join("data-directory-lost/events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let undone = events.filter_map(|event| match event.what {
        What::Undone { what, verdict, .. } => Some((what, verdict.to_string())),
        _ => None,
    });
    undone.collect()
}

fn as_before(place: &Place, at: &str, log: &PathBuf) {
    let held = held(log);
    assert_eq!(
        held.first(),
        held.last(),
        "{at}: the store holds another connection string"
    );
    let expected = ["application", "connection string"].map(|what| (what.to_owned(), "pass".to_owned()));
    assert_eq!(undone(place, at), expected, "{at}");
}

/// Each step of a cutover fails in turn, at its start, in the middle and at its end.
pub(crate) fn every_step() {
    let place = Place::new();
    for at in [
        "9-start",
        "9-middle",
        "9-end",
        "10-start",
        "10-middle",
        "10-end",
        "12-start",
    ] {
        let (run, log) = started(&place, at);
        let ran = run.finish();
        ran.exits(1);
        assert!(ran.stdout.contains("not restored"), "{at}: {}", ran.stdout);
        as_before(&place, at, &log);
        place.nothing_left(ran.pid);
    }
}

/// Somebody types Ctrl-C in the middle of a cutover.
pub(crate) fn interrupted() {
    let place = Place::new();
    let (run, log) = started(&place, "interrupted");
    let mark = PathBuf::from(format!("{}.started", log.display()));
    while !mark.exists() {
        std::thread::sleep(Duration::from_millis(5)); // between two looks
    }
    run.signal(rustix::process::Signal::INT);
    let ran = run.finish();
    ran.exits(3);
    as_before(&place, "interrupted", &log);
    place.nothing_left(ran.pid);
}
