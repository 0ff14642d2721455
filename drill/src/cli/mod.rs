//! The command line: wiring only, one file a subcommand.
//!
//! Results go to stdout, progress and logs to stderr. Exit codes: 0 every drill ended as expected, 1 one did not,
//! 2 usage or scenario error, 3 could not execute or could not verify.

/// Prints a line of a result. A reader that has gone (`drill list scenarios | head -1`) ends nothing in a panic.
macro_rules! say {
    ($($argument:tt)*) => { $crate::cli::print_line(format_args!($($argument)*)) };
}

/// Prints a line on stderr. It is no error if nobody reads it.
macro_rules! complain {
    ($($argument:tt)*) => { $crate::cli::complain_line(format_args!($($argument)*)) };
}

mod app;
mod config;
mod doctor;
mod list;
mod progress;
mod report;
mod run;
mod schema;
mod show;
mod stop;
mod watch;

use std::{
    error::Error,
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use reports::exit;

use crate::state::{Interrupt, Parts};

/// What the global options decide about output.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Print results only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value = "auto", env = "DRILL_COLOR")]
    color: ColorChoice,
    /// Format of log lines on stderr
    #[arg(long, global = true, value_enum, default_value = "text", env = "DRILL_LOG_FORMAT")]
    log_format: LogFormat,
    /// How progress is shown on stderr: a live table on a terminal, plain lines elsewhere
    #[arg(long, global = true, value_enum, default_value = "auto", env = "DRILL_PROGRESS")]
    progress: ProgressChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressChoice {
    Auto,
    Plain,
    None,
}

/// Prove that you can recover: automated disaster-recovery drills for PostgreSQL
///
/// A drill seeds a disposable PostgreSQL with an application's data, runs live writers, takes backups, breaks
/// something on purpose, carries out the whole recovery from alert to "service restored", measures what was really
/// lost and how long it really took, and leaves evidence that an auditor can check. It never touches a database that
/// it did not make itself.
#[derive(Debug, Parser)]
#[command(name = "drill", version, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    output: Output,
    /// File with defaults for `drill run`, one key a long option [default: drill.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE", env = "DRILL_CONFIG")]
    config: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  every drill ended as its scenario expects
  1  one did not
  2  usage or scenario error; nothing was started
  3  could not execute, or could not verify

Options can also be given as DRILL_… environment variables or in drill.toml; flags win.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry out drills: break something on purpose, recover, measure
    Run(Box<run::RunArgs>),
    /// List scenarios, checks, faults, backup systems, services or providers
    List(list::ListArgs),
    /// Explain a scenario: what it breaks, why, what must notice, how it must end
    Show(show::ShowArgs),
    /// Print the JSON Schema of scenario files, for editors
    Schema(schema::SchemaArgs),
    /// Render a run's reports again, from its events
    Report(report::ReportArgs),
    /// Stop and remove what `drill run --keep` left running
    Stop(stop::StopArgs),
    /// What this machine offers, what is missing and how to get it
    Doctor(doctor::DoctorArgs),
    /// The reference application (drill starts it by itself)
    #[command(hide = true)]
    App(app::AppArgs),
    /// Clears up after a run that was killed (drill starts it by itself)
    #[command(hide = true)]
    Watch,
}

/// How a subcommand ended: an exit code, or an error with one.
type Outcome = Result<u8, Failure>;

/// An error that ends the command.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// Usage or scenario error (exit code 2).
    fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: exit::USAGE,
            error: error.into(),
        }
    }

    /// Could not execute (exit code 3).
    fn execution(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: exit::NOT_VERIFIED,
            error: error.into(),
        }
    }
}

/// Parses the command line, carries the command out and returns the process's exit code.
pub fn main() -> ExitCode {
    main_with(Parts::default())
}

/// As [`main`], with what somebody else's program adds to drill's own parts.
pub fn main_with(parts: Parts) -> ExitCode {
    let parts = Arc::new(parts);
    let config::Parsed {
        mut cli,
        differing,
        outranked,
    } = match config::parse::<Cli>(|command| with_choices(command, &parts)) {
        Ok(parsed) => parsed,
        Err(failure) => return report_failure(&failure),
    };
    if let Command::Run(args) = &mut cli.command {
        args.differing = differing;
        args.forget(&outranked);
    }
    if let Err(failure) = start_logging(&cli.output) {
        return report_failure(&failure);
    }
    let watcher = match &cli.command {
        Command::Watch => {
            watch::watch();
            return ExitCode::from(exit::AS_EXPECTED);
        }
        Command::Run(args) if args.dry_run => None,
        // Both make directories and servers.
        Command::Run(_) | Command::Doctor(_) => watch::Watcher::start()
            .inspect_err(|error| tracing::warn!(%error, "nobody will clear up if this run is killed; `drill doctor --clean` does"))
            .ok(),
        _ => None,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report_failure(&Failure::execution(error)),
    };
    let interrupt = Interrupt::default();
    let stopped = async {
        let signal = interrupted().await;
        interrupt.request(UNWINDING).await;
        signal
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = carry_out(cli, &parts, &interrupt) => outcome,
            signal = stopped => Err(Failure::execution(format!("{signal}: the drill was stopped and cleaned up after"))),
        }
    });
    // Tasks of an interrupted drill end here: servers and tools are killed when their handles are dropped.
    runtime.shutdown_timeout(Duration::from_secs(10));
    if let Some(watcher) = watcher {
        watcher.dismiss();
    }
    match outcome {
        Ok(_) if RESULTS_ARE_LOST.load(Ordering::Relaxed) => ExitCode::from(exit::NOT_VERIFIED),
        Ok(code) => ExitCode::from(code),
        Err(failure) => report_failure(&failure),
    }
}

/// Adds the names that can be chosen to the command line. The first of each kind is the default; the backup system is the
/// scenario's.
fn with_choices(command: clap::Command, parts: &Parts) -> clap::Command {
    let choices = [
        ("service", parts.services.names()),
        ("monitor", parts.monitors.names()),
        ("config_store", parts.config_stores.names()),
        ("app_control", parts.app_controls.names()),
    ];
    let among = |names: Vec<&'static str>| PossibleValuesParser::new(names);
    command.mut_subcommand("run", |run| {
        let run = run.mut_arg("backup", |backup| backup.value_parser(among(parts.systems.names())));
        choices.into_iter().fold(run, |run, (option, names)| {
            let first = names.first().copied();
            run.mut_arg(option, |option| {
                option.required(false).default_values(first).value_parser(among(names))
            })
        })
    })
}

async fn carry_out(cli: Cli, parts: &Arc<Parts>, interrupt: &Interrupt) -> Outcome {
    match cli.command {
        Command::Run(args) => run::run(*args, &cli.output, parts, interrupt).await,
        Command::List(args) => list::list(&args, parts),
        Command::Show(args) => show::show(&args, parts),
        Command::Schema(args) => schema::schema(&args, parts),
        Command::Report(args) => report::report(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Doctor(args) => doctor::doctor(&args).await,
        Command::App(args) => app::app(&args).await,
        Command::Watch => Ok(exit::AS_EXPECTED), // it was carried out already, without a runtime
    }
}

/// How long an interrupted run waits until a cutover under way is undone.
const UNWINDING: Duration = Duration::from_millis(1_500);

/// Whether something could not be printed: then nobody has the results.
static RESULTS_ARE_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line on stdout. Where that fails for another reason than a reader that has gone, it says so once.
fn print_line(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe && !RESULTS_ARE_LOST.swap(true, Ordering::Relaxed) => {
            complain!("drill: cannot print the results: {error}");
        }
        _ => {}
    }
}

/// Prints a line on stderr.
fn complain_line(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}"); // nowhere else to complain
}

/// Waits for Ctrl-C, a request to terminate, or the end of the terminal.
async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        let _ = tokio::signal::ctrl_c().await;
        return "interrupted";
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "interrupted",
        _ = terminate.recv() => "terminated",
        _ = hang_up.recv() => "the terminal is gone",
    }
}

fn report_failure(failure: &Failure) -> ExitCode {
    // clap prints its own errors, help and version, with colours where they belong.
    if let Some(error) = failure.error.downcast_ref::<clap::Error>() {
        let _ = error.print(); // nowhere to complain
        return ExitCode::from(if error.use_stderr() {
            exit::USAGE
        } else {
            exit::AS_EXPECTED
        });
    }
    complain!("drill: {}", crate::errors::chain(failure.error.as_ref()));
    ExitCode::from(failure.code)
}

fn start_logging(output: &Output) -> Result<(), Failure> {
    use tracing_subscriber::EnvFilter;
    let level = match (output.quiet, output.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "drill=info,fixtures=info",
        (false, _) => "drill=debug,fixtures=debug",
    };
    let filter = match std::env::var("DRILL_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|error| {
            Failure::usage(format!(
                "DRILL_LOG is {filter:?}, which is no filter of log lines ({error}); write it as drill=debug"
            ))
        })?,
        _ => EnvFilter::new(level),
    };
    let colours = match output.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr())
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| progress::LogLines)
        .with_ansi(colours);
    match output.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
