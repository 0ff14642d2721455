//! What a whole-content check costs: against a bare scan that hashes every row, and against hashing a dump.
//!
//! Acceptance, with a database of 2 GiB: `content-fingerprint` takes at most 1.3 times the bare scan of the same tables and
//! is at least 6 times as quick as `pg_dump | sha256sum`; `content-hash` gets quicker with a second process. Only
//! ratios of one run mean anything. `DRILL_BENCH_SIZE=2GiB cargo bench -p drill --bench fingerprint`; 256 MiB if not said.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode};
use drill::{
    ledger::History,
    postgres::{Cluster, ClusterOptions, Request, Storage, WorkDir, locate},
    reference::fingerprint::{record::Reference, scan},
    service::{Service as _, Sizing, Transformations},
    verify::{
        Subject,
        content_fingerprint::{self, Against},
    },
};
use fixtures::{Credentials, SeedPlan, schema::TABLES};
use rand::{SeedableRng as _, rngs::StdRng};
use reports::{Phase, Verdict};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Told before anything is stored.
const PLAIN: &str = r#"ALTER TABLE "TransformationScriptVersions" ALTER COLUMN "Content" SET STORAGE EXTERNAL"#;

/// Interleaved, so that a busy moment of the machine meets all alike.
const ROUNDS: usize = 5;

/// Whether the command line names another bench than this one: `cargo bench -- NAME` starts them all.
/// The service; the size of its seed data is of no matter here.
fn service() -> Transformations {
    Transformations::new(Sizing::Target(0), 1)
}

fn is_meant(names: &[&str]) -> bool {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    filter.is_none_or(|filter| names.iter().any(|name| name.contains(&filter)))
}

fn main() -> Result<()> {
    if !is_meant(&["fingerprint/content-fingerprint", "fingerprint/content-hash"]) {
        return Ok(());
    }
    let benching = std::env::args().any(|argument| argument == "--bench");
    let size = match std::env::var("DRILL_BENCH_SIZE") {
        Ok(size) => size.parse::<bytesize::ByteSize>()?.as_u64(),
        Err(_) => 256 << 20,
    };
    let runtime = Runtime::new()?;
    // Without `--bench` this is a test run: only that it works.
    let (size, rounds) = if benching { (size, ROUNDS) } else { (16 << 20, 1) };
    let plain = runtime.block_on(Database::seed(size, Contents::Plain))?;
    report(&runtime, &plain, rounds)?;
    drop(plain);
    let database = runtime.block_on(Database::seed(size, Contents::Compressed))?;
    report(&runtime, &database, rounds)?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("fingerprint");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(10));
    group.bench_function("content-fingerprint", |bencher| {
        bencher.iter(|| runtime.block_on(database.fingerprint()));
    });
    group.bench_function("content-hash", |bencher| {
        bencher.iter(|| runtime.block_on(database.hashes(1)));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Prints the ratios.
fn report(runtime: &Runtime, database: &Database, rounds: usize) -> Result<()> {
    let before = resident_bytes();
    let mut took: [Vec<Duration>; 6] = Default::default();
    let (mut added, mut workers) = (0, 0);
    for round in 0..rounds {
        took[0].push(time(|| runtime.block_on(database.bare()))?);
        took[1].push(time(|| runtime.block_on(database.fingerprint()))?);
        added = added.max(resident_bytes().saturating_sub(before));
        for processes in [1, 2, 3] {
            took[1 + processes].push(time(|| {
                workers = runtime.block_on(database.hashes(processes - 1))?;
                Ok(())
            })?);
        }
        if round < 3 {
            took[5].push(time(|| database.dump())?);
        }
    }
    let [bare, fingerprint, one, two, three, dump] = took.map(median);
    println!(
        "\ndatabase {:.0} MiB, {} rows, contents {}",
        mebibytes(database.bytes),
        database.reference.rows(),
        database.contents.words()
    );
    println!(
        "recording the seed's fingerprint: {:.2} s",
        database.recording.as_secs_f64()
    );
    println!("bare scan {:.3} s", bare.as_secs_f64());
    println!(
        "content-fingerprint {:.3} s = {:.2} of the bare scan",
        fingerprint.as_secs_f64(),
        ratio(fingerprint, bare)
    );
    println!(
        "pg_dump | sha256sum {:.3} s = {:.1} content-fingerprints",
        dump.as_secs_f64(),
        ratio(dump, fingerprint)
    );
    println!(
        "content-hash {:.3} s with one process, {:.3} s with two ({:.2} times as quick), {:.3} s with three ({workers} workers planned)",
        one.as_secs_f64(),
        two.as_secs_f64(),
        ratio(one, two),
        three.as_secs_f64()
    );
    println!(
        "harness: {:.0} MiB resident, {:.0} MiB more while checking",
        mebibytes(resident_bytes()),
        mebibytes(added)
    );
    Ok(())
}

/// How the server stores the scripts' contents. To take compression back costs the scan and the dump the same time, which
/// hides the difference between them.
#[derive(Clone, Copy)]
enum Contents {
    /// As the schema makes the column: pglz, if that makes it smaller.
    Compressed,
    /// As text that does not compress, or columns that are told not to (`STORAGE EXTERNAL`).
    Plain,
}

impl Contents {
    const fn words(self) -> &'static str {
        match self {
            Self::Compressed => "compressed (the column's default)",
            Self::Plain => "not compressed (STORAGE EXTERNAL)",
        }
    }
}

struct Database {
    contents: Contents,
    cluster: Cluster,
    credentials: Credentials,
    reference: Reference,
    recording: Duration,
    bytes: u64,
    _work: WorkDir,
}

impl Database {
    /// `bytes` of compressed contents; plain ones of the same size are fewer rows.
    async fn seed(bytes: u64, contents: Contents) -> Result<Self> {
        let work = WorkDir::create(Storage::Memory, "bench-fingerprint")?;
        let installation = locate(&Request::default(), &|message: &str| eprintln!("{message}")).await?;
        let options = ClusterOptions {
            name: "source".into(),
            durable: false,
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::create(&installation, &work, &options).await?;
        cluster.start().await?;
        let credentials = Credentials::generate(&mut StdRng::seed_from_u64(1));
        let admin = cluster.connect("postgres", "postgres").await?;
        fixtures::create_roles(&admin, &credentials).await?;
        fixtures::create_database(&admin, fixtures::DATABASE).await?;
        let mut loaders = Vec::new();
        for _ in 0..2 {
            loaders.push(cluster.connect("postgres", fixtures::DATABASE).await?);
        }
        fixtures::migrate(&loaders[0]).await?;
        let plan = match contents {
            Contents::Compressed => SeedPlan::for_target_size(bytes, 1),
            Contents::Plain => {
                loaders[0].batch_execute(PLAIN).await?;
                SeedPlan::for_target_size(bytes / 4 * 3, 1)
            }
        };
        fixtures::load(&mut loaders, &plan, &|_| {}).await?;
        for statement in ["VACUUM", "CHECKPOINT"] {
            loaders[0].batch_execute(statement).await?;
        }
        let row = loaders[0]
            .query_one("SELECT pg_database_size(current_database())", &[])
            .await?;
        let bytes = row.get::<_, i64>(0).cast_unsigned();
        let began = Instant::now();
        let reference =
            content_fingerprint::of_seed(&cluster.config("postgres", fixtures::DATABASE), &service()).await?;
        let recording = began.elapsed();
        Ok(Self {
            contents,
            cluster,
            credentials,
            reference,
            recording,
            bytes,
            _work: work,
        })
    }

    async fn session(&self, workers: usize) -> Result<Client> {
        let client = self.cluster.connect("postgres", fixtures::DATABASE).await?;
        client.batch_execute(&scan::settings(workers)).await?;
        Ok(client)
    }

    /// Counts and hashes every row of every table, and compares nothing.
    async fn bare(&self) -> Result<()> {
        let client = self.session(scan::cores()).await?;
        for table in TABLES {
            client
                .query_one(
                    &format!(r#"SELECT count(*), sum(hash_record_extended(t, 0)) FROM public."{table}" t"#),
                    &[],
                )
                .await?;
        }
        Ok(())
    }

    /// The check as a drill carries it out.
    async fn fingerprint(&self) -> Result<()> {
        let subject = Subject {
            cluster: &self.cluster,
            name: "source",
            phase: Phase::Source,
            service: &service(),
            credentials: &self.credentials,
            truth: None,
        };
        let history = History::default();
        let check = content_fingerprint::check(
            &subject,
            Against::Seed {
                reference: &self.reference,
                history: &history,
            },
        )
        .await;
        if check.verdict == Verdict::Pass {
            Ok(())
        } else {
            Err(format!("{check:?}").into())
        }
    }

    /// Recomputes all content hashes; returns how many workers were planned.
    async fn hashes(&self, workers: usize) -> Result<u32> {
        let client = self.session(workers).await?;
        let counts = service().stored_hashes().ok_or("no hashes are stored")?.counts;
        let planned = scan::workers_planned(&client, counts).await?;
        let wrong: i64 = client.query_one(counts, &[]).await?.get(1);
        if wrong == 0 {
            Ok(planned)
        } else {
            Err(format!("{wrong} contents differ from their hash").into())
        }
    }

    fn dump(&self) -> Result<()> {
        let status = Command::new("sh")
            .args(["-c", "set -e; \"$0\" --no-password | sha256sum >/dev/null"])
            .arg(self.cluster.installation().tool("pg_dump"))
            .envs(self.cluster.client_environment("postgres", fixtures::DATABASE, None))
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("pg_dump | sha256sum: {status}").into())
        }
    }
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// This process' resident memory (`VmRSS` of proc(5), in kB).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
