//! Where options come from besides the command line: `drill.toml` (or the file that `--config` names), one key a long option
//! of `drill run`, and `DRILL_…` variables. Flags win over variables, variables over the file; what nobody knows is refused.

use std::{collections::BTreeSet, ffi::OsString, io::ErrorKind, path::PathBuf};

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Failure;
use crate::scenario::hint;

/// The file, in the current directory.
const FILE: &str = "drill.toml";
/// Variables that are no option's.
const OTHER_VARIABLES: [&str; 11] = [
    "DRILL_LOG",       // a filter for log lines, as tracing-subscriber has them
    "DRILL_CACHE_DIR", // where the embedded PostgreSQL is kept
    "DRILL_WORK_DIR",  // where clusters live that are on disk
    "DRILL_ARCHIVE",   // these three are set for a fault of kind command
    "DRILL_BACKUPS",
    "DRILL_STREAM",
    "DRILL_BENCH_SIZE", // the others are read by the project's own tests and benchmarks
    "DRILL_REQUIRE",
    "DRILL_NIGHTLY",
    "DRILL_HEALTHY",
    "DRILL_TRIAL",
];
/// Options of `drill run` that do not make a drill what it is, or that are told apart in the line that runs it again.
const NOT_OF_A_DRILL: [&str; 9] = [
    "all",
    "backup",
    "dry-run",
    "jobs",
    "keep",
    "out",
    "require-all",
    "seed",
    "storage",
];

/// A command line, parsed.
pub(super) struct Parsed<C> {
    pub(super) cli: C,
    /// Options of `drill run` that make a drill what it is and differ from the defaults, with their values.
    pub(super) differing: Vec<(String, Vec<String>)>,
}

/// Parses the command line with the defaults of the file, if there is one.
///
/// # Errors
/// If the command line, the file or a `DRILL_…` variable says something that nobody knows or that means nothing.
pub(super) fn parse<C: CommandFactory + FromArgMatches>() -> Result<Parsed<C>, Failure> {
    let built_in = C::command();
    let mut command = built_in.clone();
    if !is_started_by_drill() {
        let variables = std::env::vars_os().map(|(name, _)| name);
        refuse_unknown_variables(&command, variables).map_err(Failure::usage)?;
        if let Some((name, text)) = read_file(&command)? {
            command = with_defaults(command, &name, &text).map_err(Failure::usage)?;
        }
    }
    let matches = command.try_get_matches().map_err(Failure::usage)?;
    Ok(Parsed {
        cli: C::from_arg_matches(&matches).map_err(Failure::usage)?,
        differing: differing(&built_in, &matches),
    })
}

/// The application and the watcher get everything that they need from whoever started them.
fn is_started_by_drill() -> bool {
    std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == "app" || name == "watch")
}

/// The file that was named, or else the one in this directory, if there is one.
fn read_file(command: &clap::Command) -> Result<Option<(String, String)>, Failure> {
    let lenient = command.clone().ignore_errors(true).try_get_matches(); // what is wrong with it is told later
    let named = lenient
        .ok()
        .and_then(|matches| matches.get_one::<PathBuf>("config").cloned());
    let path = named.clone().unwrap_or_else(|| FILE.into());
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path.display().to_string(), text))),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(Failure::usage(format!("cannot read {} ({error})", path.display()))),
    }
}

/// Every variable that some option is read from.
fn variables_of(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env());
    let own = own.map(|name| name.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(variables_of)).collect()
}

fn refuse_unknown_variables(command: &clap::Command, given: impl Iterator<Item = OsString>) -> Result<(), String> {
    let mut known = variables_of(command);
    known.extend(OTHER_VARIABLES.map(ToOwned::to_owned));
    let given = given.map(|name| name.to_string_lossy().into_owned());
    let mut unknown: Vec<String> = given
        .filter(|name| name.starts_with("DRILL_") && !known.contains(name))
        .collect();
    unknown.sort();
    match unknown.first() {
        None => Ok(()),
        Some(name) => Err(format!(
            "the environment has {name}, which means nothing to drill; {}",
            hint(name, known.iter().map(String::as_str))
        )),
    }
}

fn with_defaults(command: clap::Command, file: &str, text: &str) -> Result<clap::Command, String> {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| format!("{file}: {error}"))?;
    let run = command.find_subcommand("run").ok_or("there is no `run`")?;
    let flags: Vec<(String, String)> = run
        .get_arguments()
        .filter_map(|argument| Some((argument.get_long()?.to_owned(), argument.get_id().to_string())))
        .collect();
    let mut defaults = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        let key = key.get_ref().as_ref();
        let Some((_, id)) = flags.iter().find(|(long, _)| *long == key) else {
            let hint = hint(key, flags.iter().map(|(long, _)| long.as_str()));
            return Err(format!(
                "{file}, line {line}: unknown key {key:?}; {hint} Keys are the long options of `drill run`"
            ));
        };
        let Some((value, is_flag)) = scalar(value) else {
            return Err(format!(
                "{file}, line {line}: {key} must be a string, a number or true/false, not {}",
                kind(value.get_ref())
            ));
        };
        if !is_flag {
            // Alone, so that what is wrong with it is told with its place.
            let alone = command
                .clone()
                .try_get_matches_from(["drill", "run", &format!("--{key}={value}")]);
            if let Err(error) = alone.map_err(|error| error.to_string()) {
                let first = error.lines().next().unwrap_or_default();
                let problem = first.strip_prefix("error: ").unwrap_or(first);
                return Err(format!("{file}, line {line}: {problem}"));
            }
        }
        defaults.push((id.clone(), value));
    }
    Ok(command.mut_subcommand("run", |run| {
        defaults.into_iter().fold(run, |run, (id, value)| {
            run.mut_arg(id, |argument| argument.default_value(value))
        })
    }))
}

/// A value as it would stand on the command line, and whether it is true or false.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<(String, bool)> {
    match value.get_ref() {
        DeValue::String(text) => Some((text.to_string(), false)),
        DeValue::Integer(number) => Some((number.to_string(), false)),
        DeValue::Float(number) => Some((number.to_string(), false)),
        DeValue::Boolean(flag) => Some((flag.to_string(), true)),
        _ => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
        _ => "a date",
    }
}

/// What was given to `drill run`, from wherever, that makes a drill what it is and is not the built-in default.
fn differing(built_in: &clap::Command, matches: &ArgMatches) -> Vec<(String, Vec<String>)> {
    let (Some(run), Some(given)) = (built_in.find_subcommand("run"), matches.subcommand_matches("run")) else {
        return Vec::new();
    };
    let mut differing = Vec::new();
    for argument in run.get_arguments() {
        let Some(long) = argument.get_long().filter(|long| !NOT_OF_A_DRILL.contains(long)) else {
            continue;
        };
        let id = argument.get_id().as_str();
        if matches!(argument.get_action(), clap::ArgAction::SetTrue) {
            if given.get_flag(id) {
                differing.push((long.to_owned(), Vec::new()));
            }
            continue;
        }
        let Ok(Some(values)) = given.try_get_raw(id) else {
            continue;
        };
        let defaults = argument
            .get_default_values()
            .iter()
            .map(clap::builder::OsStr::as_os_str);
        if !values.clone().eq(defaults) {
            let values = values.map(|value| value.to_string_lossy().into_owned());
            differing.push((long.to_owned(), values.collect()));
        }
    }
    differing
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    fn command() -> Command {
        Command::new("drill").subcommand(
            Command::new("run")
                .arg(
                    Arg::new("commits")
                        .long("commits")
                        .env("DRILL_COMMITS")
                        .default_value("500"),
                )
                .arg(Arg::new("target_size").long("target-size"))
                .arg(Arg::new("out").long("out"))
                .arg(Arg::new("loud").long("loud").action(ArgAction::SetTrue)),
        )
    }

    fn with_file(text: &str) -> Result<Command, String> {
        with_defaults(command(), "drill.toml", text)
    }

    #[test]
    fn the_file_gives_defaults_and_flags_win() {
        let parsed = |arguments: &[&str]| {
            let matches = with_file("commits = 9").unwrap().try_get_matches_from(arguments);
            let matches = matches.unwrap();
            let run = matches.subcommand_matches("run").unwrap();
            run.get_one::<String>("commits").cloned().unwrap()
        };
        assert_eq!(parsed(&["drill", "run"]), "9");
        assert_eq!(parsed(&["drill", "run", "--commits", "3"]), "3");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest() {
        let error = with_file("# objectives\n\ncomits = 9").unwrap_err();
        assert!(
            error.starts_with("drill.toml, line 3: unknown key \"comits\""),
            "{error}"
        );
        assert!(error.contains("commits"), "{error}");
        let error = with_file("commits = [1]").unwrap_err();
        assert!(error.starts_with("drill.toml, line 1: commits must be"), "{error}");
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest() {
        let given = |names: &[&str]| {
            let names = names.iter().map(OsString::from);
            refuse_unknown_variables(&command(), names.collect::<Vec<_>>().into_iter())
        };
        assert_eq!(given(&["DRILL_COMMITS", "DRILL_LOG", "PATH", "DRILLS"]), Ok(()));
        let error = given(&["DRILL_COMITS"]).unwrap_err();
        assert!(
            error.contains("DRILL_COMITS") && error.contains("DRILL_COMMITS"),
            "{error}"
        );
    }

    #[test]
    fn what_differs_from_the_defaults_is_told_from_wherever_it_came() {
        let told = |file: &str, arguments: &[&str]| {
            let command = with_file(file).unwrap();
            let matches = command
                .try_get_matches_from([&["drill", "run"], arguments].concat())
                .unwrap();
            differing(&super::tests::command(), &matches)
        };
        assert_eq!(told("", &[]), []);
        assert_eq!(told("", &["--commits", "500", "--out", "here"]), []);
        let size = ("target-size".to_owned(), vec!["2GiB".to_owned()]);
        assert_eq!(told("", &["--target-size", "2GiB"]), [size]);
        let commits = ("commits".to_owned(), vec!["9".to_owned()]);
        assert_eq!(told("commits = 9", &["--loud"]), [commits, ("loud".to_owned(), vec![])]);
    }
}
