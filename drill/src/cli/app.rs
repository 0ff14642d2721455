//! `drill app`: the reference application, started by a drill as a process of its own.

use std::path::PathBuf;

use clap::Args;
use reports::exit;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct AppArgs {
    /// Its appsettings.json
    #[arg(long)]
    settings: PathBuf,
}

pub(super) async fn app(args: &AppArgs) -> Outcome {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::execution)?;
    let shutdown = async move {
        terminate.recv().await;
    };
    fixtures::serve(&args.settings, shutdown)
        .await
        .map_err(Failure::execution)?;
    Ok(exit::AS_EXPECTED)
}
