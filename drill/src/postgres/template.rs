//! A fresh cluster in a moment: initdb runs once for each PostgreSQL and segment size, its result stays in the cache, and each
//! drill's clusters are copies of it with an identifier of their own (see `identity`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Installation, ServerUser, SystemIdentifier, Tool, ToolError, UserError,
    cache::{self, CacheError},
    cleared, files, identity,
};

/// Change it when the options of initdb below change, so that old templates are no longer taken.
const GENERATION: u32 = 2;

/// Why there is no fresh cluster to copy.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No cache.
    #[error("no place to keep the template of a fresh cluster")]
    Cache(#[from] CacheError),
    /// initdb failed.
    #[error("initdb could not make the template of a fresh cluster in {}", path.display())]
    Initdb {
        /// Where it should have gone.
        path: PathBuf,
        /// What it said.
        source: Box<ToolError>,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: check the space and the permissions there", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The copy could not be handed to the server's account.
    #[error("cannot hand the fresh cluster to the server's account")]
    User(#[from] UserError),
}

/// Makes a fresh, stopped cluster in `destination`, which must not exist, with an identifier that no other one has.
pub(super) async fn fresh_cluster(
    installation: &Installation,
    user: &ServerUser,
    wal_segment_mb: u32,
    destination: &Path,
) -> Result<SystemIdentifier, TemplateError> {
    let template = ready(installation, user, wal_segment_mb, destination).await?;
    let (user, destination) = (user.clone(), destination.to_owned());
    let copy = tokio::task::spawn_blocking(move || {
        let file = |what, path: &Path| {
            let path = path.to_owned();
            move |source| TemplateError::File { what, path, source }
        };
        let same = |relative: &Path| cleared::Kind::of(&template.join(relative));
        let copied = if cleared::take(&destination, &same) {
            files::copy_tree_over(&template, &destination)
        } else {
            files::copy_tree(&template, &destination)
        };
        copied.map_err(file("copy the template to", &destination))?;
        let identifier = identity::draw();
        identity::stamp(&destination, identifier).map_err(file("give an identifier to", &destination))?;
        user.chown_recursive(&destination)?;
        Ok(identifier)
    });
    copy.await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The template's data directory; made first where it is missing, by one process while the others wait.
async fn ready(
    installation: &Installation,
    user: &ServerUser,
    wal_segment_mb: u32,
    destination: &Path,
) -> Result<PathBuf, TemplateError> {
    let templates = cache::subdirectory("templates")?;
    let name = template_name(installation, user, wal_segment_mb);
    let (home, lock) = (templates.join(&name), templates.join(format!(".{name}.lock")));
    let data = home.join("data");
    if files::is_complete(&home) {
        return Ok(data);
    }
    let file = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TemplateError::File { what, path, source }
    };
    let _lock = files::lock(&lock, || ()).await.map_err(file("lock", &lock))?;
    if files::is_complete(&home) {
        return Ok(data);
    }
    let prefix = format!(".building-{name}-");
    files::remove_by_prefix(&templates, &prefix); // what a killed run left; the lock says that nobody is at it
    let building = tempfile::Builder::new().prefix(&prefix).tempdir_in(&templates);
    let building = building.map_err(file("make a directory in", &templates))?;
    let built = building.path();
    user.chown(built)?;
    if installation.containers().is_some() {
        // Containers see the drill's directory only.
        let seen = destination.with_extension("template");
        initdb(installation, wal_segment_mb, &seen).await?;
        files::copy_tree(&seen, &built.join("data")).map_err(file("copy the template from", &seen))?;
        files::remove_tree(&seen).map_err(file("remove", &seen))?;
    } else {
        initdb(installation, wal_segment_mb, &built.join("data")).await?;
    }
    files::mark_complete(built).map_err(file("finish", built))?;
    files::remove_tree(&home).map_err(file("remove", &home))?;
    fs::rename(built, &home).map_err(file("put into place", &home))?;
    Ok(data)
}

/// Same name, same bytes to start from: the programs, the options and who owns the result.
fn template_name(installation: &Installation, user: &ServerUser, wal_segment_mb: u32) -> String {
    let programs = hex::encode(&Sha256::digest(installation.fingerprint())[..4]);
    format!(
        "{}-{programs}-wal{wal_segment_mb}-u{}-g{GENERATION}",
        installation.version,
        user.uid()
    )
}

async fn initdb(installation: &Installation, wal_segment_mb: u32, data: &Path) -> Result<(), TemplateError> {
    let run = async |locale: &str| {
        Tool::new(installation, "initdb")
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--data-checksums",
                "--no-sync",
            ])
            .args([
                "--no-instructions".to_owned(),
                format!("--locale={locale}"),
                format!("--wal-segsize={wal_segment_mb}"),
            ])
            .arg("-D")
            .arg(data)
            .run()
            .await
    };
    let outcome = match run("C.UTF-8").await {
        Err(error) if error.stderr().contains("invalid locale name") => run("C").await,
        decided => decided,
    };
    outcome.map(drop).map_err(|source| TemplateError::Initdb {
        path: data.to_owned(),
        source: Box::new(source),
    })
}
