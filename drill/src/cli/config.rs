//! Options from elsewhere than the command line: `drill.toml` (or the file that `--config` names), whose keys are the long
//! options of `drill run`, and `DRILL_…` variables. Flags win over variables, variables over the file; unknown keys and
//! variables are refused.

use std::{collections::BTreeSet, ffi::OsString, io::ErrorKind, path::PathBuf};

use clap::{ArgMatches, CommandFactory, FromArgMatches, parser::ValueSource};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Failure;
use crate::scenario::{hint, nearest};

/// The file, in the current directory.
const FILE: &str = "drill.toml";
/// Variables that do not stand for an option.
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
/// Options of `drill run` that do not change what a drill does, or that the line for running it again gives separately.
const NOT_OF_A_DRILL: [&str; 8] = ["all", "backup", "dry-run", "jobs", "keep", "out", "require-all", "seed"];
/// Two ways to give the size of the seed data: by numbers, or by the size that the database shall have.
const NUMBERS: [&str; 3] = ["scripts", "versions", "content_bytes"];
const SIZE: &str = "target_size";

/// A command line, parsed.
pub(super) struct Parsed<C> {
    pub(super) cli: C,
    /// Options of `drill run` that somebody gave and that change what a drill does, with their values.
    pub(super) differing: Vec<(String, Vec<String>)>,
    /// Options of the file that a flag or a variable overrules.
    pub(super) outranked: Vec<&'static str>,
}

/// Parses the command line, completed by `with_choices`, with the file's values as defaults, if there is a file.
///
/// # Errors
/// If the command line, the file or a `DRILL_…` variable has something unknown or invalid.
pub(super) fn parse<C: CommandFactory + FromArgMatches>(
    with_choices: impl FnOnce(clap::Command) -> clap::Command,
) -> Result<Parsed<C>, Failure> {
    let built_in = with_choices(C::command());
    let mut command = built_in.clone();
    if !is_started_by_drill() {
        let variables = std::env::vars_os().map(|(name, _)| name);
        refuse_unknown_variables(&command, variables).map_err(Failure::usage)?;
        if let Some((name, text)) = read_file(&command)? {
            command = with_defaults(command, &name, &text).map_err(Failure::usage)?;
        }
    }
    let matches = command.try_get_matches().map_err(Failure::usage)?;
    let outranked = matches.subcommand_matches("run").map_or_else(Vec::new, outranked);
    Ok(Parsed {
        cli: C::from_arg_matches(&matches).map_err(Failure::usage)?,
        differing: differing(&built_in, &matches, &outranked),
        outranked,
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
    match std::fs::read(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((path.display().to_string(), text))),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = String::from_utf8_lossy(before).matches('\n').count() + 1;
                let path = path.display();
                Err(Failure::usage(format!(
                    "{path}, line {line}: it is not UTF-8; save it as UTF-8 text"
                )))
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(Failure::usage(format!("cannot read {} ({error})", path.display()))),
    }
}

/// Every variable that sets an option.
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
        Some(name) => {
            let own = |name: &str| name.trim_start_matches("DRILL_").to_owned();
            let names: Vec<String> = known.iter().map(|name| own(name)).collect();
            let advice = match nearest(&own(name), names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `DRILL_{near}`?"),
                None => "`drill run --help` has those that do".to_owned(),
            };
            Err(format!(
                "the environment has {name}, which means nothing to drill; {advice}"
            ))
        }
    }
}

fn with_defaults(command: clap::Command, file: &str, text: &str) -> Result<clap::Command, String> {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| format!("{file}: {error}"))?;
    let run = command.find_subcommand("run").ok_or("there is no `run`")?;
    let named = |command: &clap::Command, is_global: bool| -> Vec<(String, String, bool)> {
        let named = command
            .get_arguments()
            .filter(|argument| argument.get_long() != Some("config"));
        named
            .filter_map(|argument| {
                Some((
                    argument.get_long()?.to_owned(),
                    argument.get_id().to_string(),
                    is_global,
                ))
            })
            .collect()
    };
    let flags = [named(run, false), named(&command, true)].concat();
    let mut defaults = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        let key = key.get_ref().as_ref();
        let Some((_, id, is_global)) = flags.iter().find(|(long, ..)| *long == key) else {
            let hint = hint(key, flags.iter().map(|(long, ..)| long.as_str()));
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
            // Parsed alone, so that an error can name its place in the file.
            let alone = command
                .clone()
                .try_get_matches_from(["drill", "run", &format!("--{key}={value}")]);
            if let Err(error) = alone.map_err(|error| error.to_string()) {
                let first = error.lines().next().unwrap_or_default();
                let problem = first.strip_prefix("error: ").unwrap_or(first);
                return Err(format!("{file}, line {line}: {problem}"));
            }
        }
        defaults.push((id.clone(), value, *is_global));
    }
    let (global, own): (Vec<_>, Vec<_>) = defaults.into_iter().partition(|(.., is_global)| *is_global);
    let with = |command: clap::Command, defaults: Vec<(String, String, bool)>| {
        let with_one = |command: clap::Command, (id, value, _)| {
            command.mut_arg(id, |argument: clap::Arg| {
                argument.default_value(clap::builder::OsStr::from(value))
            })
        };
        defaults.into_iter().fold(command, with_one)
    };
    Ok(with(command, global).mut_subcommand("run", |run| with(run, own)))
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

/// Whether a flag or a variable says it.
fn is_explicit(given: &ArgMatches, id: &str) -> bool {
    let source = given.try_contains_id(id).ok().and_then(|_| given.value_source(id));
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The file's options for one of the two ways to give a size, where the other way is given explicitly.
fn outranked(given: &ArgMatches) -> Vec<&'static str> {
    if is_explicit(given, SIZE) {
        NUMBERS.to_vec()
    } else if NUMBERS.iter().any(|id| is_explicit(given, id)) {
        vec![SIZE]
    } else {
        Vec::new()
    }
}

/// The options of `drill run`, from wherever, that change what a drill does. A flag or a variable is listed even where it
/// equals the built-in default: a file or a variable may say otherwise where the line is used.
fn differing(built_in: &clap::Command, matches: &ArgMatches, outranked: &[&str]) -> Vec<(String, Vec<String>)> {
    let (Some(run), Some(given)) = (built_in.find_subcommand("run"), matches.subcommand_matches("run")) else {
        return Vec::new();
    };
    let mut differing = Vec::new();
    for argument in run.get_arguments() {
        let Some(long) = argument.get_long().filter(|long| !NOT_OF_A_DRILL.contains(long)) else {
            continue;
        };
        let id = argument.get_id().as_str();
        if outranked.contains(&id) {
            continue;
        }
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
        if is_explicit(given, id) || !values.clone().eq(defaults) {
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
            differing(&super::tests::command(), &matches, &[])
        };
        assert_eq!(told("", &[]), []);
        let default = ("commits".to_owned(), vec!["500".to_owned()]);
        assert_eq!(
            told("", &["--commits", "500", "--out", "here"]),
            std::slice::from_ref(&default)
        );
        assert_eq!(
            told("commits = 9", &["--commits", "500"]),
            [default],
            "the file may be there the next time"
        );
        let size = ("target-size".to_owned(), vec!["2GiB".to_owned()]);
        assert_eq!(told("", &["--target-size", "2GiB"]), [size]);
        let commits = ("commits".to_owned(), vec!["9".to_owned()]);
        assert_eq!(told("commits = 9", &["--loud"]), [commits, ("loud".to_owned(), vec![])]);
    }
}
