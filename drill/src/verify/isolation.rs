//! `isolation`: a restored cluster does nothing to production.
//!
//! It carries production's configuration and catalog. Left alone it may archive into production's archive, replicate
//! from production's publishers, run production's jobs, or wait for production's standbys. What it cannot see: what
//! clients and extensions other than those named here do.

use std::path::Path;

use reports::{CheckId, CheckResult};
use tokio_postgres::Client;

use super::{Found, Subject, timed};

const EXPECTED: &str = "archives nowhere that production uses, follows and waits for nobody, runs no jobs";

/// The check. `production_archive` is where the source archives to.
pub async fn check(subject: &Subject<'_>, production_archive: Option<&Path>) -> CheckResult {
    timed(CheckId::Isolation, subject.phase, subject.name, async {
        let client = subject.superuser().await?;
        let (problems, remarks) = look(&client, production_archive).await?;
        let actual = if problems.is_empty() {
            "isolated".to_owned()
        } else {
            problems.join("; ")
        };
        Ok::<_, tokio_postgres::Error>(Found::judge(problems.is_empty(), EXPECTED, actual).detail(remarks.join("; ")))
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
                    current_setting('listen_addresses'), pg_is_in_recovery(),
                    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END",
            &[],
        )
        .await?;
    let text = |column: usize| row.get::<_, Option<&str>>(column).unwrap_or_default();
    let archives = text(0) != "off";
    let production = production_archive.map(|path| path.display().to_string());
    let production = |command: &str| production.as_ref().is_some_and(|path| command.contains(path));
    if archives && production(text(1)) {
        problems.push(format!(
            "archive_mode is {} and archive_command writes into production's archive: {}",
            text(0),
            text(1)
        ));
    } else if archives && !text(2).is_empty() {
        problems.push(format!(
            "archive_mode is {} and archive_library is {}: it cannot be told where that archives to",
            text(0),
            text(2)
        ));
    } else if archives && !matches!(text(1), "" | "(disabled)") {
        remarks.push(format!("it archives elsewhere: {}", text(1)));
    }
    // Promotion takes a timeline that no history in the archive has: if one has it now, this cluster archived it.
    let history = format!("{}.history", text(9));
    if production_archive.is_some_and(|archive| archive.join(&history).exists()) {
        problems.push(format!(
            "production's archive has taken {history}, the history of this cluster's timeline"
        ));
    }
    for (name, column) in [("archive_cleanup_command", 3), ("recovery_end_command", 4)] {
        if production(text(column)) {
            problems.push(format!("{name} reaches into production's archive: {}", text(column)));
        }
    }
    if !text(5).is_empty() {
        let list = if row.get(8) { &mut problems } else { &mut remarks };
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
            list.push(format!("{what} {}", row.get::<_, &str>(0)));
        }
    }
    if client
        .query_one("SELECT to_regclass('cron.job') IS NOT NULL", &[])
        .await?
        .get(0)
    {
        for row in client
            .query("SELECT jobid::text FROM cron.job WHERE active ORDER BY 1", &[])
            .await?
        {
            problems.push(format!("active pg_cron job {}", row.get::<_, &str>(0)));
        }
    }
    Ok((problems, remarks))
}
