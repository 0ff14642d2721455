//! `isolation`: a restored cluster does nothing to production.
//!
//! It carries production's configuration and catalog. Left alone it may archive into production's archive, replicate
//! from production's publishers, run production's jobs, or wait for production's standbys. What it cannot see: what
//! clients and extensions other than those named here do.

use std::{collections::BTreeMap, fs, io, path::Path, time::SystemTime};

use reports::{CheckId, CheckResult, Phase};
use tokio_postgres::Client;

use super::Subject;
use crate::{
    postgres::TimelineId,
    record::check::{Found, first_few, timed},
};

const EXPECTED: &str = "archives nowhere, follows and waits for nobody, runs no jobs";
const UNTOUCHED: &str = "nothing new or changed in production's archive but what the failed primary wrote";

/// What production's archive held before a restore, and whose files in it may change.
#[derive(Debug, Clone)]
pub struct Production {
    /// The files by name: size, and when it was written.
    listing: BTreeMap<String, (u64, Option<SystemTime>)>,
    directory: std::path::PathBuf,
    timeline: TimelineId,
}

impl Production {
    /// Lists the archive of a primary that was on `timeline` when it failed.
    ///
    /// # Errors
    /// If it cannot be listed; one that is not there is empty.
    pub fn record(directory: &Path, timeline: TimelineId) -> io::Result<Self> {
        Ok(Self {
            listing: list(directory)?,
            directory: directory.to_owned(),
            timeline,
        })
    }

    /// The files that are new or changed since, and are not the failed primary's: a restored cluster archived them.
    fn touched(&self) -> io::Result<Vec<String>> {
        let its_own = format!("{:08X}", self.timeline.0);
        let is_its_own = |name: &str| name.trim_start_matches('.').starts_with(&its_own) && !name.contains(".history");
        let mut touched = Vec::new();
        for (name, now) in list(&self.directory)? {
            let change = match self.listing.get(&name) {
                Some(before) if *before == now => continue,
                Some(_) => "changed",
                None => "new",
            };
            if !is_its_own(&name) {
                touched.push(format!("{name} is {change}"));
            }
        }
        Ok(touched)
    }

    /// The part of the check that looks at the archive, for a second look when archiving has had its time.
    pub async fn look_again(&self, phase: Phase, subject: &str) -> CheckResult {
        timed(CheckId::Isolation, phase, subject, async {
            let touched = self.touched()?;
            let actual = if touched.is_empty() {
                "untouched".to_owned()
            } else {
                polluted(&touched)
            };
            Ok::<_, io::Error>(Found::judge(touched.is_empty(), UNTOUCHED, actual))
        })
        .await
    }
}

fn polluted(touched: &[String]) -> String {
    format!("in production's archive, {}", first_few(touched))
}

fn list(directory: &Path) -> io::Result<BTreeMap<String, (u64, Option<SystemTime>)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut listing = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(metadata) = entry.metadata() {
            let name = entry.file_name().to_string_lossy().into_owned();
            listing.insert(name, (metadata.len(), metadata.modified().ok()));
        }
    }
    Ok(listing)
}

/// Why the check could not run.
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error("the restored cluster cannot be asked")]
    Query(#[from] tokio_postgres::Error),
    #[error("production's archive cannot be listed")]
    Archive(#[from] io::Error),
}

/// The check. `production` is the archive of the source as it was before the restore, if it has one.
pub async fn check(subject: &Subject<'_>, production: Option<&Production>) -> CheckResult {
    timed(CheckId::Isolation, subject.phase, subject.name, async {
        let client = subject.superuser().await?;
        let (mut problems, remarks) = look(&client, production.map(|production| &*production.directory)).await?;
        let touched = production.map_or_else(|| Ok(Vec::new()), Production::touched)?;
        if !touched.is_empty() {
            problems.push(polluted(&touched));
        }
        let actual = if problems.is_empty() {
            "isolated".to_owned()
        } else {
            problems.join("; ")
        };
        Ok::<_, Blind>(Found::judge(problems.is_empty(), EXPECTED, actual).detail(remarks.join("; ")))
    })
    .await
}

async fn look(
    client: &Client,
    production_archive: Option<&Path>,
) -> Result<(Vec<String>, Vec<String>), tokio_postgres::Error> {
    let (mut problems, mut remarks) = (Vec::new(), Vec::new());
    let row = client
        .query_one(
            "SELECT current_setting('archive_mode'), current_setting('archive_command'), current_setting('archive_library', true),
                    current_setting('archive_cleanup_command'), current_setting('recovery_end_command'),
                    current_setting('primary_conninfo'), current_setting('synchronous_standby_names'),
                    current_setting('listen_addresses'), pg_is_in_recovery()",
            &[],
        )
        .await?;
    let text = |column: usize| {
        row.try_get::<_, Option<&str>>(column)
            .ok()
            .flatten()
            .unwrap_or_default()
    };
    let production = production_archive.map(|path| path.display().to_string());
    let production = |command: &str| production.as_ref().is_some_and(|path| command.contains(path));
    let (mode, command, library) = (text(0), text(1), text(2));
    let archives = mode != "off";
    if archives && !library.is_empty() {
        problems.push(format!(
            "archive_mode is {mode} and archive_library is {library}: it cannot be told where that archives to"
        ));
    } else if archives && production(command) {
        problems.push(format!(
            "archive_mode is {mode} and archive_command writes into production's archive: {command}"
        ));
    } else if archives && !matches!(command, "" | "(disabled)") {
        problems.push(format!(
            "archive_mode is {mode} and it cannot be told where archive_command archives to: {command}"
        ));
    }
    for (name, column) in [("archive_cleanup_command", 3), ("recovery_end_command", 4)] {
        if production(text(column)) {
            problems.push(format!("{name} reaches into production's archive: {}", text(column)));
        }
    }
    if !text(5).is_empty() {
        let in_recovery = row.try_get(8)?;
        let list = if in_recovery { &mut problems } else { &mut remarks };
        list.push("primary_conninfo names a primary to follow".to_owned());
    }
    if !text(6).is_empty() {
        problems.push(format!("commits wait for the standbys {}", text(6)));
    }
    if !text(7)
        .split(',')
        .all(|address| matches!(address.trim(), "" | "localhost" | "127.0.0.1" | "::1"))
    {
        remarks.push(format!("it listens on {}", text(7)));
    }
    let lists = [
        (
            true,
            "subscription",
            "SELECT subname::text FROM pg_subscription WHERE subenabled ORDER BY 1",
        ),
        (
            true,
            "active replication slot",
            "SELECT slot_name::text FROM pg_replication_slots WHERE active ORDER BY 1",
        ),
        (
            false,
            "replication slot that keeps WAL",
            "SELECT slot_name::text FROM pg_replication_slots WHERE NOT active ORDER BY 1",
        ),
        (
            false,
            "foreign server",
            "SELECT srvname::text FROM pg_foreign_server ORDER BY 1",
        ),
    ];
    for (is_problem, what, sql) in lists {
        for row in client.query(sql, &[]).await? {
            let list = if is_problem { &mut problems } else { &mut remarks };
            list.push(format!("{what} {}", row.try_get::<_, &str>(0)?));
        }
    }
    if client
        .query_one("SELECT to_regclass('cron.job') IS NOT NULL", &[])
        .await?
        .try_get(0)?
    {
        for row in client
            .query("SELECT jobid::text FROM cron.job WHERE active ORDER BY 1", &[])
            .await?
        {
            problems.push(format!("active pg_cron job {}", row.try_get::<_, &str>(0)?));
        }
    }
    Ok((problems, remarks))
}
