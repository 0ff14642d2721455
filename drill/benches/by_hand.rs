//! The default drill against the same work by hand, in turn: `cargo bench -p drill --bench by_hand`.
//!
//! `by-hand.sh` makes a cluster, loads the same seed, takes the same base backups under as many writes, loses the data
//! directory, restores and looks at what it restored. Both are on the same disk and sync what must last. Only ratios of one
//! run mean anything. `DRILL_BENCH_ROUNDS` sets how often each is done (9).
//!
//! The second table says where a drill's time goes, from its own events: work outside of the harness, by what it was for.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use drill::{
    postgres::{Cluster, ClusterOptions, Installation, Request, ServerUser, Silent, Storage, WorkDir, locate},
    service::{Credentials, Service as _, Sizing, Transformations, wal_segment_mb},
};
use rand::{SeedableRng as _, rngs::StdRng};
use reports::{Event, What};
use tokio::runtime::Runtime;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// As many as a drill has by default.
const COMMITS: u32 = 500;
const WRITERS: u32 = 4;
/// One statement of a writer: a new script with its first version.
const WRITES: &str = r#"INSERT INTO "AuditEvents" ("Kind", "Actor", "OccurredAt") VALUES ('by-hand', 'by-hand', now());
"#;

fn main() -> Result<()> {
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(()); // a test run: there is nothing to see in a single round
    }
    let rounds = env::var("DRILL_BENCH_ROUNDS").map_or(Ok(9), |rounds| rounds.parse())?;
    let runtime = Runtime::new()?;
    let work = WorkDir::create(Storage::Disk, "bench-by-hand")?;
    let hand = runtime.block_on(ByHand::prepare(&work))?;
    let (mut drills, mut by_hand) = (Vec::new(), Vec::new());
    let mut where_to = BTreeMap::new();
    for round in 0..=rounds {
        let out = work.path().join(format!("run-{round}"));
        let one = measure(&mut drill_command(&out))?;
        let other = measure(&mut hand.command(round)?)?;
        if round == 0 {
            continue; // caches are cold
        }
        add_up(&out, &mut where_to)?;
        drills.push(one);
        by_hand.push(other);
        eprint!(".");
    }
    eprintln!();
    report(&drills, &by_hand);
    where_it_goes(where_to, &drills);
    Ok(())
}

/// What one run took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    processor: Duration,
}

fn measure(command: &mut Command) -> Result<Took> {
    let (before, began) = (processor_of_children()?, Instant::now());
    let output = command.output()?;
    let wall = began.elapsed();
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr)?;
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(Took {
        wall,
        processor: processor_of_children()?.saturating_sub(before),
    })
}

/// Processor time of every child that was waited for, and of theirs: fields 16 and 17 of proc(5)'s stat, in hundredths.
fn processor_of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn drill_command(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drill"));
    command.env_remove("DRILL_BENCH_ROUNDS");
    command.args(["run", "--seed", "1", "--quiet", "--out"]).arg(out);
    command.stdout(Stdio::null());
    command
}

/// What the script needs.
struct ByHand {
    installation: Installation,
    user: ServerUser,
    seed: PathBuf,
    writes: PathBuf,
    place: PathBuf,
}

impl ByHand {
    async fn prepare(work: &WorkDir) -> Result<Self> {
        let installation = locate(&Request::default(), &Silent).await?;
        let service = Transformations::new(
            Sizing::Numbers {
                scripts: None,
                versions: None,
                content_bytes: None,
            },
            1,
        );
        let options = ClusterOptions {
            name: "seed".into(),
            durable: false,
            wal_segment_mb: wal_segment_mb(service.seed_bytes()),
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::create(&installation, work, &options).await?;
        cluster.start().await?;
        let credentials = Credentials::generate(&mut StdRng::seed_from_u64(1));
        service.create(&cluster, &credentials).await?;
        service.seed(&cluster, &|_| ()).await?;
        let (seed, writes) = (work.path().join("seed.sql"), work.path().join("writes.sql"));
        let dumped = Command::new(installation.tool("pg_dump"))
            .args(["--no-owner", "--no-acl", "-U", "postgres", "-p"])
            .arg(cluster.port().to_string())
            .arg("-h")
            .arg(cluster.socket_directory())
            .arg("-f")
            .arg(&seed)
            .arg(service.database())
            .status()?;
        if !dumped.success() {
            return Err("pg_dump failed".into());
        }
        fs::write(&writes, WRITES)?;
        let user = ServerUser::current()?;
        user.chown_recursive(work.path())?;
        Ok(Self {
            installation,
            user,
            seed,
            writes,
            place: work.path().to_owned(),
        })
    }

    fn command(&self, round: u32) -> Result<Command> {
        let work = self.place.join(format!("h{round}"));
        fs::create_dir(&work)?;
        self.user.chown_recursive(&work)?;
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/by-hand.sh"));
        let programs = self.installation.tool("postgres");
        command.env("BIN", programs.parent().unwrap_or(&programs));
        command
            .env("SEED", &self.seed)
            .env("WRITES", &self.writes)
            .env("WORK", &work);
        command
            .env("COMMITS", COMMITS.to_string())
            .env("WRITERS", WRITERS.to_string());
        if rustix::process::geteuid().is_root() {
            command.uid(self.user.uid()).gid(self.user.gid());
        }
        command.stdout(Stdio::null());
        Ok(command)
    }
}

/// Adds up what the drill's events say of work outside of the harness, in seconds.
fn add_up(out: &Path, into: &mut BTreeMap<String, Vec<f64>>) -> Result<()> {
    let events = fs::read_to_string(out.join("data-directory-lost/events.jsonl"))?;
    let mut spent: BTreeMap<String, f64> = BTreeMap::new();
    for line in events.lines() {
        if let What::ExternalWork {
            what,
            began_ns,
            ended_ns,
        } = serde_json::from_str::<Event>(line)?.what
        {
            *spent.entry(what).or_default() += (ended_ns - began_ns) as f64 / 1e9;
        }
    }
    for (what, seconds) in spent {
        into.entry(what).or_default().push(seconds);
    }
    Ok(())
}

fn report(drills: &[Took], by_hand: &[Took]) {
    println!(
        "{:<18}{:>10}{:>10}{:>10}{:>14}",
        "", "median", "least", "most", "processor"
    );
    for (name, took) in [("drill run", drills), ("by hand", by_hand)] {
        let wall = sorted(took.iter().map(|took| took.wall.as_secs_f64()));
        println!(
            "{name:<18}{:>8.2} s{:>8.2} s{:>8.2} s{:>12.2} s",
            median(&wall),
            wall.first().unwrap_or(&0.0),
            wall.last().unwrap_or(&0.0),
            median(&sorted(took.iter().map(|took| took.processor.as_secs_f64())))
        );
    }
    let ratio = |of: fn(&Took) -> Duration| {
        let ratios = drills.iter().zip(by_hand);
        median(&sorted(ratios.map(|(one, other)| {
            of(one).as_secs_f64() / of(other).as_secs_f64().max(0.01)
        })))
    };
    println!(
        "median of the ratios, round by round: {:.2} in time, {:.2} in processor time",
        ratio(|took| took.wall),
        ratio(|took| took.processor)
    );
}

fn where_it_goes(spent: BTreeMap<String, Vec<f64>>, drills: &[Took]) {
    let mut rows: Vec<_> = spent
        .into_iter()
        .map(|(what, seconds)| (median(&sorted(seconds.into_iter())), what))
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let wall = median(&sorted(drills.iter().map(|took| took.wall.as_secs_f64())));
    println!("\nwhere a drill's {wall:.2} s go (work side by side counts twice)");
    for (seconds, what) in rows {
        println!("{seconds:>8.3} s {:>5.1} %  {what}", 100.0 * seconds / wall);
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
