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
    /// End when standard input does, as it does with whoever started this
    #[arg(long)]
    until_eof: bool,
}

pub(super) async fn app(args: &AppArgs) -> Outcome {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::execution)?;
    let orphaned = args.until_eof.then(end_of_input);
    let shutdown = async move {
        let orphaned = async {
            match orphaned {
                Some(end) => {
                    let _ = end.await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            () = orphaned => {}
        }
    };
    fixtures::serve(&args.settings, shutdown)
        .await
        .map_err(Failure::execution)?;
    Ok(exit::AS_EXPECTED)
}

/// Resolves when standard input ends. A thread of its own reads it: a task that is blocked in it could not be stopped.
fn end_of_input() -> tokio::sync::oneshot::Receiver<()> {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()); // an error ends it as well
        let _ = ended.send(()); // it may be stopping already
    });
    end
}
