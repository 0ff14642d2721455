//! What `drill run` takes: every option with its default, its environment variable and what it means. What is chosen by name
//! gets its names and its default from the registries, before anything is parsed.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use crate::postgres::Provider;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(
    allow_negative_numbers = true,
    after_long_help = "Examples:
  drill run                                   one whole drill with the default scenario
  drill run drop-table latest-backup-corrupt  two scenarios
  drill run backbone/                         a group of scenarios
  drill run ./mine.toml                       a scenario of your own (see scenarios/README.md)
  drill run --all --jobs 2                    the whole catalogue
  drill run --target-size 2GiB                with a database of 2 GiB
  drill run --operator ask                    you take the decisions"
)]
pub(in crate::cli) struct RunArgs {
    /// Scenarios: ids, GROUP/ or paths of .toml files [default: data-directory-lost]
    #[arg(value_name = "SCENARIO | FILE.toml | GROUP/")]
    pub(super) scenarios: Vec<String>,
    /// Run the whole catalogue
    #[arg(long, conflicts_with = "scenarios")]
    pub(super) all: bool,
    /// Backup system, instead of the scenario's [default: what the scenario says, else basebackup]
    #[arg(long, value_name = "SYSTEM", env = "DRILL_BACKUP")]
    pub(super) backup: Option<String>,
    /// The service under drill
    #[arg(long, value_name = "NAME", env = "DRILL_SERVICE")]
    pub(super) service: String,
    /// Where PostgreSQL comes from
    #[arg(long, default_value = "auto", env = "DRILL_PROVIDER")]
    pub(super) provider: Provider,
    /// PostgreSQL's major version
    #[arg(long, value_name = "MAJOR", default_value_t = 16, env = "DRILL_POSTGRES")]
    pub(super) postgres: u32,
    /// Use the programs in this directory
    #[arg(long, value_name = "DIR", env = "DRILL_BINDIR")]
    pub(super) bindir: Option<PathBuf>,
    /// Container image; any with PostgreSQL's server and client programs [default: postgres:MAJOR]
    #[arg(long, value_name = "NAME", env = "DRILL_IMAGE")]
    pub(super) image: Option<String>,
    /// Memory of each server's container, such as 512MiB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = size, env = "DRILL_CONTAINER_MEMORY")]
    pub(super) container_memory: Option<ByteSize>,
    /// Processors of each server's container, such as 1.5 [default: no limit]
    #[arg(long, value_name = "N", value_parser = millicpus, env = "DRILL_CONTAINER_CPUS")]
    pub(super) container_cpus: Option<u64>,
    /// Seed data: transformation scripts
    #[arg(long, value_name = "N", conflicts_with = "target_size", env = "DRILL_SCRIPTS")]
    pub(super) scripts: Option<u64>,
    /// Seed data: versions of each script, on average
    #[arg(long, value_name = "N", conflicts_with = "target_size", env = "DRILL_VERSIONS")]
    pub(super) versions: Option<u32>,
    /// Seed data: bytes of each version's content, on average
    #[arg(long, value_name = "N", conflicts_with = "target_size", env = "DRILL_CONTENT_BYTES")]
    pub(super) content_bytes: Option<u32>,
    /// Seed data: size that the database shall have, such as 2GiB
    #[arg(long, value_name = "SIZE", env = "DRILL_TARGET_SIZE", value_parser = size)]
    pub(super) target_size: Option<ByteSize>,
    /// Acknowledged commits of the live workload before the failure
    #[arg(long, value_name = "N", default_value_t = 500, env = "DRILL_COMMITS")]
    pub(super) commits: u64,
    /// Live writers
    #[arg(long, value_name = "N", default_value_t = 4, env = "DRILL_WRITERS", value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(super) writers: u32,
    /// Recovery point objective, unless the scenario sets its own
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration, env = "DRILL_RPO")]
    pub(super) rpo: Duration,
    /// Recovery time objective, unless the scenario sets its own
    #[arg(long, value_name = "DURATION", default_value = "4h", value_parser = duration, env = "DRILL_RTO")]
    pub(super) rto: Duration,
    /// Seed of every random choice [default: random; printed and recorded]
    #[arg(long, value_name = "N", env = "DRILL_SEED")]
    pub(super) seed: Option<u64>,
    /// Drills at a time [default: processors]
    #[arg(long, value_name = "N", env = "DRILL_JOBS")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Where clusters live; auto: one drill on disk with fsync, a catalogue in memory without
    #[arg(long, value_enum, default_value = "auto", env = "DRILL_STORAGE")]
    pub(super) storage: StorageArg,
    /// Directory for the evidence; must not exist yet [default: drill-runs/<run-id>]
    #[arg(long, value_name = "DIR", env = "DRILL_OUT")]
    pub(super) out: Option<PathBuf>,
    /// What notices the failure
    #[arg(long, env = "DRILL_MONITOR")]
    pub(super) monitor: String,
    /// Where the application's connection string is kept
    #[arg(long, env = "DRILL_CONFIG_STORE")]
    pub(super) config_store: String,
    /// How the application is started and stopped
    #[arg(long, env = "DRILL_APP_CONTROL")]
    pub(super) app_control: String,
    /// Who decides; ask: a person confirms steps 2, 4, 9 and 14 at the terminal
    #[arg(long, value_enum, default_value = "auto", env = "DRILL_OPERATOR")]
    pub(super) operator: OperatorArg,
    /// A scenario that this machine cannot carry out fails, instead of being left out with its reason
    #[arg(long, env = "DRILL_REQUIRE_ALL")]
    pub(super) require_all: bool,
    /// Print the plan and touch nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Leave the restored cluster running; print how to connect, and how to stop it (drill stop)
    #[arg(long)]
    pub(super) keep: bool,
    /// Let messages and logs hold values of rows; without it they hold keys only
    #[arg(long)]
    pub(super) show_values: bool,
    /// Options that were given, change what a drill does and are not the default, with their values. For the report's line that
    /// runs it again.
    #[arg(skip)]
    pub(in crate::cli) differing: Vec<(String, Vec<String>)>,
}

impl RunArgs {
    /// Drops one way of giving the size that stands in the file, where a flag or a variable gives the other.
    pub(in crate::cli) fn forget(&mut self, outranked: &[&str]) {
        for option in outranked {
            match *option {
                "target_size" => self.target_size = None,
                "scripts" => self.scripts = None,
                "versions" => self.versions = None,
                "content_bytes" => self.content_bytes = None,
                _ => {}
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StorageArg {
    Auto,
    Memory,
    Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OperatorArg {
    Auto,
    Ask,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 4h, 30min or 90s"))
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse()
        .map_err(|_| "it is no size; write it as 512MiB or 2GiB".to_owned())
}

/// Processors in thousandths.
fn millicpus(text: &str) -> Result<u64, String> {
    let processors: f64 = text
        .parse()
        .map_err(|_| "it is no number; write it as 2 or 0.5".to_owned())?;
    if (0.01..=1024.0).contains(&processors) {
        Ok((processors * 1000.0).round() as u64)
    } else {
        Err("it must be between 0.01 and 1024".to_owned())
    }
}
