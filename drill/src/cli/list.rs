//! `drill list`: what there is to choose from.

use clap::{Args, ValueEnum};
use reports::{CheckId, exit};
use serde_json::{Value, json};

use super::{Failure, Outcome};
use crate::{postgres::Provider, scenario, state::Parts};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to list
    what: What,
    /// As a table for people or as JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Scenarios,
    Checks,
    Faults,
    Backups,
    Providers,
    Services,
    ConfigStores,
    Monitors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    Table,
    Json,
}

pub(super) fn list(args: &ListArgs, parts: &Parts) -> Outcome {
    let (columns, rows) = rows(args.what, parts)?;
    match args.format {
        ListFormat::Table => print_table(&columns, &rows),
        ListFormat::Json => {
            let objects: Vec<Value> = rows
                .iter()
                .map(|row| {
                    columns
                        .iter()
                        .zip(row)
                        .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
                        .collect()
                })
                .collect();
            say!("{:#}", Value::Array(objects));
        }
    }
    Ok(exit::AS_EXPECTED)
}

type Rows = Vec<Vec<String>>;

fn rows(what: What, parts: &Parts) -> Result<(Vec<&'static str>, Rows), Failure> {
    let pair = |name: &str, about: &str| vec![name.to_owned(), about.to_owned()];
    Ok(match what {
        What::Scenarios => {
            let scenarios = scenario::all(&parts.vocabulary()).map_err(Failure::usage)?;
            let row = |scenario: &scenario::Scenario| {
                vec![
                    scenario.group.clone(),
                    scenario.id.clone(),
                    scenario.expect.outcome.to_string(),
                    scenario.title.clone(),
                ]
            };
            (
                vec!["group", "scenario", "expected", "title"],
                scenarios.iter().map(row).collect(),
            )
        }
        What::Checks => (
            vec!["check", "about"],
            CheckId::ALL
                .iter()
                .map(|check| pair(check.id(), check.about()))
                .collect(),
        ),
        What::Faults => (
            vec!["fault", "about"],
            parts.kinds.iter().map(|kind| pair(kind.name, &kind.about)).collect(),
        ),
        What::Backups => (
            vec!["backup", "about"],
            parts
                .systems
                .iter()
                .map(|system| pair(system.name, system.about))
                .collect(),
        ),
        What::Services => (
            vec!["service", "about"],
            parts
                .services
                .iter()
                .map(|service| pair(service.name, service.about))
                .collect(),
        ),
        What::ConfigStores => (
            vec!["config-store", "about"],
            parts
                .config_stores
                .iter()
                .map(|store| pair(store.name, store.about))
                .collect(),
        ),
        What::Monitors => (
            vec!["monitor", "about"],
            parts
                .monitors
                .iter()
                .map(|monitor| pair(monitor.name, monitor.about))
                .collect(),
        ),
        What::Providers => (
            vec!["provider", "about"],
            Provider::ALL
                .iter()
                .map(|provider| pair(&provider.to_string(), about(*provider)))
                .collect(),
        ),
    })
}

fn about(provider: Provider) -> &'static str {
    match provider {
        Provider::Auto => "an installed one of the wanted major version, else the embedded one, else an image",
        Provider::Installed => "what this machine has: --bindir, PATH, pg_config, the usual places",
        Provider::Embedded => "pinned packages, fetched once through pip and npm and cached",
        Provider::Container => "a container image: postgres:MAJOR, or --image",
    }
}

fn print_table(columns: &[&str], rows: &Rows) {
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .chain([columns[column].len()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    say!(
        "{}",
        line(&columns.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>())
    );
    for row in rows {
        say!("{}", line(row));
    }
}
