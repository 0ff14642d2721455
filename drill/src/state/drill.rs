//! What a drill holds while it is under way.
//!
//! [`Drill`] owns everything that it made: dropping it stops every process and removes every directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use reports::{CheckResult, Phase, Verdict, What, text::lasting};
use tokio_postgres::Client;

use super::{DrillError, Options, Undo, disk::SmallDisk};
use crate::{
    backup::{Backup, BackupSystem, InUse, Site, planner::Rejection, stream::Stream, untouched::Untouched},
    cutover::{Application, ConfigStore, Fence, pinned::PinnedWriter},
    errors::chain,
    fault::{
        clock::SteppedClock,
        service::{app::AppFaults, config_store::StoreFaults},
    },
    ledger::LedgerHeader,
    monitor::{Alerts, Monitor},
    notify::{Channel, Inbox},
    operator::Operator,
    postgres::{Cluster, Lsn, Provider, Shutdown, TimelineId, directory_bytes, shell_quoted},
    record::{Recorder, nanoseconds},
    reference::{Reached, Truth, fingerprint::record::Reference},
    scenario::{FaultTarget, Scenario, Streaming, Target},
    service::{ConnectionString, Probe, Role as AccountRole, Served},
    values,
    verify::{Subject, isolation::Production, smoke},
    wal::RecoveryTarget,
    workload::Workload,
};

/// How the finding begins that says how to connect to a cluster that was left running.
pub const LEFT_RUNNING: &str = "The restored cluster was left running as asked";

/// A drill under way.
pub struct Drill {
    /// What the command line decides.
    pub options: Options,
    /// The objectives that hold for this drill.
    pub objectives: Objectives,
    /// Where everything is recorded.
    pub recorder: Recorder,
    /// What is drilled.
    pub scenario: Scenario,
    /// Who takes the decisions, and in which roles.
    pub operator: Operator,
    /// The cluster that will fail.
    pub source: Cluster,
    /// The timeline that the service was on last: its own history, whatever else is in the archive.
    pub timeline: TimelineId,
    /// The cluster that was cut over to.
    pub restored: Option<Cluster>,
    /// What the database held right after seeding.
    pub fingerprint: Reference,
    /// Where the application's connection string is.
    pub store: Box<dyn ConfigStore>,
    /// What befalls it, if a fault does.
    pub store_faults: StoreFaults,
    /// What a cutover has changed.
    pub undo: Undo,
    /// The service that must come back.
    pub application: Application,
    /// What befalls it, if a fault does.
    pub app_faults: AppFaults,
    /// What keeps the failed primary out.
    pub fence: Box<dyn Fence>,
    /// The token of the smoke test.
    pub admin_token: String,
    /// Where alerts arrive.
    pub alerts: Alerts,
    /// Where notifications arrive.
    pub inbox: Inbox,
    /// How people are told.
    pub channel: Arc<dyn Channel>,
    /// The monitoring.
    pub prober: Option<Box<dyn Monitor>>,
    /// Within what time the monitoring promised to alert.
    pub alert_promise: Duration,
    /// A client that was not told of the cutover, once the failed primary is fenced.
    pub pinned: Option<PinnedWriter>,
    /// The live writers.
    pub workload: Option<Workload>,
    /// The WAL stream.
    pub stream: Option<Stream>,
    /// The ledger's file.
    pub ledger: PathBuf,
    /// Whose ledger it is.
    pub ledger_header: LedgerHeader,
    /// Random choices of faults.
    pub random: StdRng,
    /// When it failed, on both clocks.
    pub failed: Option<(Duration, DateTime<Utc>)>,
    /// When the service stopped answering, on both clocks, if that was before the failure.
    pub outage: Option<(Duration, DateTime<Utc>)>,
    /// Where the WAL stood right before the failure.
    pub failure_lsn: Option<Lsn>,
    /// Where the WAL stood right before the newest fault that was aimed at the cluster while its server ran.
    pub last_lsn: Option<Lsn>,
    /// Where the WAL stood right before the first fault that damages the cluster.
    pub fault_lsn: Option<Lsn>,
    /// When the moment came that the recovery target names, on the source's clock.
    pub target_time: Option<DateTime<Utc>>,
    /// Numbers of the faults that were injected already.
    pub injected: BTreeSet<u32>,
    /// The file of each relation that a fault names, relative to the data directory.
    pub relations: BTreeMap<String, String>,
    /// Services that a fault broke and that are mended at the end.
    pub broken: Vec<FaultTarget>,
    /// The small filesystem that the source lives on, if it has one. After the source: it goes first.
    pub disk: Option<SmallDisk>,
    /// The small filesystem that the restore goes to, if the scenario gives it one.
    pub target_disk: Option<SmallDisk>,
    /// The WAL ends before the recovery target: the operator aims for its end instead.
    pub target_out_of_reach: bool,
    /// Backups whose restore was tried once more.
    pub restored_again: BTreeSet<String>,
    /// What the archive held before the newest restore.
    pub production: Option<Production>,
    /// What the source's clock is stepped by, if a fault steps it. After the source as well.
    pub clock: Option<SteppedClock>,
    /// What the repository held when it was noted last.
    pub untouched: Option<Untouched>,
    /// Rejections that are recorded already.
    pub rejected: BTreeSet<(String, bool)>,
    /// The backup systems in use.
    pub systems: InUse,
    /// The backups that were taken, in that order, those of another cluster included.
    pub taken: Vec<Backup>,
    /// Backups, WAL and credentials. Last: its directory goes when everything above is gone.
    pub site: Site,
}

/// Recovery objectives of one drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objectives {
    /// At most this much acknowledged work may be lost.
    pub rpo: Duration,
    /// The service must be back within this time.
    pub rto: Duration,
}

impl Objectives {
    /// The scenario's own where it has them, else the service's.
    pub fn of(scenario: &Scenario, options: &Options) -> Self {
        Self {
            rpo: scenario.objectives.rpo.unwrap_or(options.rpo),
            rto: scenario.objectives.rto.unwrap_or(options.rto),
        }
    }

    /// As evidence states them.
    pub fn for_evidence(self, scenario: &Scenario) -> reports::event::Objectives {
        reports::event::Objectives {
            rpo_s: self.rpo.as_secs_f64(),
            rto_s: self.rto.as_secs_f64(),
            from_scenario: scenario.objectives.rpo.is_some() || scenario.objectives.rto.is_some(),
        }
    }
}

impl Drill {
    /// Records a check's result.
    pub fn check(&self, result: CheckResult) {
        self.recorder.record(What::CheckFinished(result));
    }

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

    /// Records a rejected candidate, once.
    pub fn reject(&mut self, rejection: Rejection) {
        let reason = rejection.to_string();
        let Rejection {
            backup_id,
            check,
            unusable,
            foreign,
            ..
        } = rejection;
        let which = foreign.map_or_else(String::new, |timeline| timeline.to_string());
        if self.rejected.insert((format!("{backup_id}@{which}"), unusable)) {
            self.recorder.record(What::CandidateRejected {
                backup_id,
                check,
                reason,
                unusable,
            });
        }
    }

    /// How many writers there are: none where no commits are asked for.
    pub fn writers(&self) -> u32 {
        let given = &self.scenario.given;
        match given.commits.unwrap_or(self.options.commits) {
            0 => 0,
            _ => given.writers.unwrap_or(self.options.writers).max(1),
        }
    }

    /// Starts the WAL stream again if it has stopped although its server runs.
    ///
    /// # Errors
    /// As [`Drill::stream_again`].
    pub async fn stream_kept_up(&mut self) -> Result<(), DrillError> {
        let is_running = self.stream.as_mut().is_some_and(Stream::is_running);
        if is_running || !self.source.is_running() {
            return Ok(());
        }
        self.stream_again().await
    }

    /// Starts the WAL stream again after its server was restarted: it ended with the server, and without it no commit is
    /// acknowledged where it is synchronous.
    ///
    /// # Errors
    /// If it does not connect.
    pub async fn stream_again(&mut self) -> Result<(), DrillError> {
        let Some(directory) = self.site.wal.stream.clone() else {
            return Ok(());
        };
        if let Some(stream) = self.stream.take() {
            stream.stop().await;
        }
        let log = self.ledger.with_file_name("logs").join("pg_receivewal-restarted.log");
        let synchronous = self.scenario.given.streaming == Streaming::Synchronous;
        let started = Stream::start(&self.site, &self.source, &directory, &log, synchronous).await;
        self.stream = Some(started.map_err(|source| DrillError::StreamStopped {
            source: Box::new(source),
        })?);
        Ok(())
    }

    /// Records an undo.
    pub fn undone<E: std::error::Error + 'static>(&self, what: &str, result: Result<&str, E>) {
        let (verdict, detail) = match result {
            Ok(detail) => (Verdict::Pass, detail.to_owned()),
            Err(error) => (Verdict::Fail, chain(&error)),
        };
        self.recorder.record(What::Undone {
            what: what.to_owned(),
            verdict,
            detail,
        });
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
        self.recorder.record(What::ClusterStarted {
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

    /// The recovery time counts from the first fault of the failure; a scenario without one fails now.
    pub fn failed(&mut self) {
        if self.failed.is_none() {
            self.alerts.forget();
            self.failed = Some((self.recorder.offset(), Utc::now()));
            self.recorder.record(What::Failed);
        }
    }

    /// The outage may have begun before the moment that a scenario calls the failure: with the first failed probe or refused
    /// write since which none succeeded.
    pub fn note_outage(&mut self) {
        let probes = self.prober.as_ref().and_then(|prober| prober.failing_since());
        let writes = self.workload.as_ref().and_then(Workload::refused_since);
        let Some((failed, failed_utc)) = self.failed else {
            return;
        };
        let Some(began) = probes.into_iter().chain(writes).min() else {
            return;
        };
        let began = began.saturating_duration_since(self.recorder.started());
        let Some(earlier) = failed.checked_sub(began).filter(|earlier| !earlier.is_zero()) else {
            return;
        };
        let began_utc = failed_utc - earlier;
        self.outage = Some((began, began_utc));
        self.recorder.record(What::OutageBegan {
            began_ns: nanoseconds(began),
            began_at_utc: began_utc,
        });
        self.recorder.finding(format!(
            "The service had stopped answering {} before the failure: the recovery time counts from then.",
            lasting(earlier)
        ));
    }

    /// When the outage began, on both clocks: what the recovery time counts from.
    pub fn outage_began(&self) -> (Duration, DateTime<Utc>) {
        self.outage.unwrap_or((self.failed_offset(), self.failed_utc()))
    }

    /// When it failed, on the drill's clock.
    pub fn failed_offset(&self) -> Duration {
        self.failed.map_or(Duration::ZERO, |(offset, _)| offset)
    }

    /// When it failed, on the wall.
    pub fn failed_utc(&self) -> DateTime<Utc> {
        self.failed.map_or_else(Utc::now, |(_, utc)| utc)
    }

    /// What the operator aims for.
    pub fn recovery_target(&self) -> RecoveryTarget {
        let lsn = |lsn: Option<Lsn>| lsn.map_or(RecoveryTarget::End, RecoveryTarget::Lsn);
        match &self.scenario.recovery.target {
            _ if self.target_out_of_reach => RecoveryTarget::End,
            Target::End => RecoveryTarget::End,
            Target::BeforeFailure => lsn(self.failure_lsn),
            Target::BeforeFault => lsn(self.fault_lsn),
            Target::Lsn(text) => lsn(text.parse().ok()),
            Target::Time(time) => RecoveryTarget::Time(*time),
            Target::Moment(_) => self.target_time.map_or(RecoveryTarget::End, RecoveryTarget::Time),
        }
    }

    /// Stops everything and keeps the servers' logs. What the directory held at the end is recorded first.
    pub async fn tear_down(mut self, evidence: &Path) {
        (self.prober, self.pinned) = (None, None);
        self.application.control.stop().await;
        if let Some(workload) = self.workload.take() {
            match workload.stop().await {
                Ok(counts) => {
                    self.recorder.record(What::WorkloadStopped(counts));
                }
                Err(error) => self.recorder.finding(chain(&error)),
            }
        }
        self.recorder.record(What::PeakDisk {
            bytes: directory_bytes(self.site.work.path()),
        });
        let logs = [
            Some((&self.source, "source.log")),
            self.restored.as_ref().map(|cluster| (cluster, "restored.log")),
        ];
        for (cluster, name) in logs.into_iter().flatten() {
            let kept = std::fs::read(cluster.log_path()).and_then(|log| {
                let log = values::of_log(&String::from_utf8_lossy(&log));
                std::fs::write(evidence.join("logs").join(name), log)
            });
            if let Err(error) = kept {
                self.recorder
                    .finding(format!("the server log {name} could not be kept: {error}"));
            }
        }
        if self.options.keep {
            self.keep();
            return;
        }
        let began = self.recorder.offset();
        for cluster in [Some(&mut self.source), self.restored.as_mut()].into_iter().flatten() {
            let _ = cluster.stop(Shutdown::Immediate).await; // dropping it kills what is left
        }
        self.stream = None;
        self.recorder.external_since("stop the servers", began);
    }

    /// Leaves the restored cluster running and tells how to connect, and how to stop it.
    fn keep(self) {
        let Some(cluster) = &self.restored else {
            self.recorder.finding("There is no restored cluster to leave running.");
            return;
        };
        let installation = &self.site.installation;
        let is_here = installation.provider != Provider::Container; // an image's own is not on this machine
        let psql = if is_here && installation.has_tool("psql") {
            installation.tool("psql")
        } else {
            "psql".into()
        };
        self.recorder.finding(format!(
            "{LEFT_RUNNING}. To connect: {} -h {} -p {} -U postgres {}. To stop and remove it: {}drill stop {}",
            shell_quoted(&psql.to_string_lossy()),
            shell_quoted(&cluster.socket_directory().to_string_lossy()),
            cluster.port(),
            self.site.service.database(),
            self.site.work.where_to_look(),
            self.options.run_id
        ));
        self.site.work.keep();
    }
}
