//! What a drill is about: the service's clusters, the application, and what stands around them.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reports::{CheckResult, Phase, What};
use tokio_postgres::Client;

use super::{DrillError, SmallDisk};
use crate::{
    backup::{Backup, BackupSystem, InUse, Site, stream::Stream, untouched::Untouched},
    cutover::{Application, ConfigStore, Fence, untold::UntoldClient},
    monitor::{Alerts, Monitor},
    notify::{Channel, Inbox},
    postgres::{Cluster, Lsn, TimelineId},
    reference::{Reached, Truth, fingerprint::record::Reference},
    service::{ConnectionString, Probe, Role as AccountRole, Served},
    verify::{Subject, smoke},
    workload::Workload,
};

/// Everything that a drill made. Dropping it stops every process and removes every directory.
pub struct Estate {
    /// The cluster that will fail.
    pub source: Cluster,
    /// The cluster that was cut over to.
    pub restored: Option<Cluster>,
    /// The timeline that the service was on last: its own history, whatever else is in the archive.
    pub timeline: TimelineId,
    /// What the database held right after seeding.
    pub fingerprint: Reference,
    /// Where the application's connection string is.
    pub store: Box<dyn ConfigStore>,
    /// The service that must come back.
    pub application: Application,
    /// The token of the smoke test.
    pub admin_token: String,
    /// What keeps the failed primary out.
    pub fence: Box<dyn Fence>,
    /// A client that was not told of the cutover, once the failed primary is fenced.
    pub untold: Option<UntoldClient>,
    /// The monitoring.
    pub monitor: Option<Box<dyn Monitor>>,
    /// Within what time the monitoring promised to alert.
    pub alert_promise: Duration,
    /// Where alerts arrive.
    pub alerts: Alerts,
    /// How people are told.
    pub channel: Arc<dyn Channel>,
    /// Where notifications arrive.
    pub inbox: Inbox,
    /// The live writers.
    pub workload: Option<Workload>,
    /// The WAL stream.
    pub stream: Option<Stream>,
    /// The small filesystem that the source lives on, if it has one. After the source: it goes first.
    pub disk: Option<SmallDisk>,
    /// The small filesystem that the restore goes to, if the scenario gives it one.
    pub target_disk: Option<SmallDisk>,
    /// The backup systems in use.
    pub systems: InUse,
    /// The backups that were taken, in that order, those of another cluster included.
    pub taken: Vec<Backup>,
    /// What the repository held when it was noted last.
    pub untouched: Option<Untouched>,
    /// Backups, WAL and credentials. Last: its directory goes when everything above is gone.
    pub site: Site,
}

impl Estate {
    /// The backup system of that name.
    ///
    /// # Errors
    /// If the drill does not use it.
    pub fn backup_system(&self, name: &str) -> Result<&Arc<dyn BackupSystem>, DrillError> {
        let system = self.systems.named(name);
        system.ok_or_else(|| DrillError::BackupSystemNotInUse { name: name.to_owned() })
    }

    /// The backups that were taken and of which anything is left, in that order.
    pub fn backups_left(&self) -> impl Iterator<Item = &Backup> {
        self.taken.iter().filter(|backup| backup.directory.exists())
    }

    /// Records that a cluster came up; returns its timeline.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn cluster_started(&self, name: &str, cluster: &Cluster) -> Result<u32, DrillError> {
        let client = cluster.verifying("postgres", "postgres").await?;
        let sql = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
        let row = client.query_one(sql, &[]).await;
        let name_of_segment = row.and_then(|row| row.try_get::<_, String>(0));
        let name_of_segment = name_of_segment.map_err(|source| DrillError::Query {
            what: "cannot read the timeline",
            source,
        })?;
        let timeline = u32::from_str_radix(&name_of_segment, 16).unwrap_or(0);
        self.site.recorder.record(What::ClusterStarted {
            cluster: name.to_owned(),
            system_identifier: cluster.system_identifier()?.to_string(),
            timeline,
        });
        Ok(timeline)
    }

    /// How a role logs in to a cluster.
    pub fn login(&self, cluster: &Cluster, role: AccountRole) -> tokio_postgres::Config {
        let mut config = cluster.config(role.name(), self.site.service.database());
        config.password(self.site.credentials.password(role));
        config
    }

    /// A cluster of this drill, for checks.
    pub fn subject<'a>(&'a self, cluster: &'a Cluster, phase: Phase, truth: Option<&'a Truth>) -> Subject<'a> {
        Subject {
            cluster,
            name: cluster.name(),
            phase,
            service: self.site.service.as_ref(),
            credentials: &self.site.credentials,
            truth,
        }
    }

    /// What the service's own cluster was last; none if its identifier cannot be read.
    pub fn last_truth(&self) -> Option<Truth> {
        let system = self.source.system_identifier().ok()?;
        Some(self.site.references.with(|log| log.last(system)))
    }

    /// What a cluster must be that was restored from `backup`: for a dump its own snapshot, else what was true at the point
    /// that was reached. None if the cluster does not tell what that is.
    pub async fn restored_truth(&self, cluster: &Cluster, superuser: &Client, backup: &Backup) -> Option<Truth> {
        let id = &backup.info.id;
        if backup.start_lsn().is_none() {
            return Some(
                self.site
                    .references
                    .with(|log| log.of_dump(id, self.site.service.database())),
            );
        }
        let reached = Reached::read(superuser).await.ok()?;
        let system = cluster.system_identifier().ok()?;
        Some(self.site.references.with(|log| log.at(&reached, system, id)))
    }

    /// The tables whose rows the ledger and the seed's fingerprint answer for, one by one.
    pub fn answered_by_the_ledger(&self) -> Vec<(String, String)> {
        let service = &self.site.service;
        let tables = service.answered_tables().iter();
        tables
            .map(|table| (service.database().to_owned(), format!("\"public\".\"{table}\"")))
            .collect()
    }

    /// How the application logs in to the source.
    pub fn as_application(&self) -> tokio_postgres::Config {
        self.login(&self.source, AccountRole::TransformationApp)
    }

    /// How monitoring asks the source.
    pub fn probe(&self) -> Probe {
        Probe::of(self.as_application(), self.site.service.as_ref())
    }

    /// The application's connection string for a cluster.
    pub fn connection_string(&self, cluster: &Cluster) -> ConnectionString {
        let role = AccountRole::TransformationApp;
        ConnectionString {
            host: cluster.socket_directory().display().to_string(),
            port: cluster.port(),
            database: self.site.service.database().to_owned(),
            username: role.name().to_owned(),
            password: self.site.credentials.password(role).to_owned(),
            timeout_s: Some(5),
            application_name: Some(self.site.service.database().to_owned()),
            other: Vec::new(),
        }
    }

    /// The smoke test, and how long its request took. `None` where nobody knows what the service serves.
    pub async fn smoke(&self, expected: Option<&Served>, phase: Phase) -> Option<(CheckResult, Duration)> {
        let serves = self.site.service.serves()?;
        let asked = self.application.get(serves.path(), Some(&self.admin_token));
        Some(smoke::smoke(serves, asked, expected, phase).await)
    }

    /// Where the source's WAL stands, if it can be asked.
    pub async fn source_lsn(&self) -> Option<Lsn> {
        let client = self.source.connect("postgres", "postgres").await.ok()?;
        let row = client
            .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
            .await
            .ok()?;
        row.get::<_, String>(0).parse().ok()
    }

    /// The source's clock, or ours if it cannot be asked: the two differ only where a fault steps the former.
    pub async fn source_time(&self) -> DateTime<Utc> {
        let asked = async {
            let client = self.source.connect("postgres", "postgres").await.ok()?;
            let row = client.query_one("SELECT clock_timestamp()", &[]).await.ok()?;
            row.try_get(0).ok()
        };
        asked.await.unwrap_or_else(Utc::now)
    }
}
