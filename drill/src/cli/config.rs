//! `drill.toml`: defaults for `drill run`, one key a flag. Environment variables and flags win.

use clap::{CommandFactory, FromArgMatches};

use super::Failure;

/// The file, in the current directory.
const FILE: &str = "drill.toml";

/// Parses the command line with the defaults of `drill.toml`, if there is one.
pub(super) fn parse<C: CommandFactory + FromArgMatches>() -> Result<C, Failure> {
    let mut command = C::command();
    match std::fs::read_to_string(FILE) {
        Ok(text) => command = with_defaults(command, &text).map_err(Failure::usage)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::usage(format!("cannot read {FILE}: {error}"))),
    }
    let matches = command.try_get_matches().map_err(Failure::usage)?;
    C::from_arg_matches(&matches).map_err(Failure::usage)
}

fn with_defaults(command: clap::Command, text: &str) -> Result<clap::Command, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| format!("{FILE}: {error}"))?;
    let run = command.find_subcommand("run").ok_or("there is no `run`")?;
    let flags: Vec<(String, String)> = run
        .get_arguments()
        .filter_map(|argument| Some((argument.get_long()?.to_owned(), argument.get_id().to_string())))
        .collect();
    let mut defaults = Vec::new();
    for (key, value) in table {
        let Some((_, id)) = flags.iter().find(|(long, _)| *long == key) else {
            let names = flags.iter().map(|(long, _)| long.as_str());
            let nearest = names.max_by(|a, b| strsim::jaro(a, &key).total_cmp(&strsim::jaro(b, &key)));
            let nearest = nearest.unwrap_or_default();
            return Err(format!(
                "{FILE}: unknown key {key:?}; did you mean {nearest:?}? Keys are the flags of `drill run`"
            ));
        };
        let is_flag = value.is_bool();
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => {
                return Err(format!(
                    "{FILE}: {key} must be a string, a number or true/false, not {}",
                    other.type_str()
                ));
            }
        };
        if !is_flag {
            // Alone, so that what is wrong with it is told with its place.
            let alone = command
                .clone()
                .try_get_matches_from(["drill", "run", &format!("--{key}={value}")]);
            if let Err(error) = alone.map_err(|error| error.to_string()) {
                let first = error.lines().next().unwrap_or_default();
                let problem = first.strip_prefix("error: ").unwrap_or(first);
                return Err(format!("{FILE}: {problem}"));
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

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::with_defaults;

    fn command() -> Command {
        Command::new("drill")
            .subcommand(Command::new("run").arg(Arg::new("commits").long("commits").default_value("500")))
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test")]
    fn the_file_gives_defaults_and_flags_win() {
        let parsed = |arguments: &[&str]| {
            let matches = with_defaults(command(), "commits = 9")
                .unwrap()
                .try_get_matches_from(arguments)
                .unwrap();
            matches
                .subcommand_matches("run")
                .unwrap()
                .get_one::<String>("commits")
                .cloned()
                .unwrap()
        };
        assert_eq!(parsed(&["drill", "run"]), "9");
        assert_eq!(parsed(&["drill", "run", "--commits", "3"]), "3");
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test")]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = with_defaults(command(), "comits = 9").unwrap_err();
        assert!(
            error.contains("\"comits\"") && error.contains("did you mean \"commits\""),
            "{error}"
        );
    }
}
