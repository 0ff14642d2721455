//! `drill schema`: the JSON Schema of files that people write.

use clap::{Args, ValueEnum};
use reports::exit;

use super::{Failure, Outcome};
use crate::{scenario, state::Parts};

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Of which file
    #[arg(value_enum)]
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    /// A scenario file
    Scenario,
}

pub(super) fn schema(args: &SchemaArgs, parts: &Parts) -> Outcome {
    let Of::Scenario = args.of;
    let text = serde_json::to_string_pretty(&scenario::schema(&parts.vocabulary())).map_err(Failure::execution)?;
    say!("{text}");
    Ok(exit::AS_EXPECTED)
}
