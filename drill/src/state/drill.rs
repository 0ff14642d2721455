//! What a drill holds while it is under way.

use std::path::Path;

use chrono::Utc;
use reports::{What, text::lasting};

use super::{Desk, DrillError, Estate, Incident, Injector};
use crate::{
    backup::stream::Stream,
    errors::chain,
    postgres::{Provider, Shutdown, directory_bytes, shell_quoted},
    record::nanoseconds,
    scenario::Streaming,
    values,
    workload::Workload,
};

/// How the finding begins that says how to connect to a cluster that was left running.
pub const LEFT_RUNNING: &str = "The restored cluster was left running as asked";

/// A drill under way.
pub struct Drill {
    /// Who decides, by what, and where everything is recorded.
    pub desk: Desk,
    /// The service's clusters, the application, and what stands around them.
    pub estate: Estate,
    /// When it failed.
    pub incident: Incident,
    /// What was broken, and how it is mended. After the estate: its servers go first.
    pub injector: Injector,
}

impl Drill {
    /// Starts the WAL stream again if it has stopped although its server runs.
    ///
    /// # Errors
    /// As [`Drill::stream_again`].
    pub async fn stream_kept_up(&mut self) -> Result<(), DrillError> {
        let is_running = self.estate.stream.as_mut().is_some_and(Stream::is_running);
        if is_running || !self.estate.source.is_running() {
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
        let Some(directory) = self.estate.site.wal.stream.clone() else {
            return Ok(());
        };
        if let Some(stream) = self.estate.stream.take() {
            stream.stop().await;
        }
        let log = self
            .desk
            .ledger
            .with_file_name("logs")
            .join("pg_receivewal-restarted.log");
        let synchronous = self.desk.scenario.given.streaming == Streaming::Synchronous;
        let started = Stream::start(&self.estate.site, &self.estate.source, &directory, &log, synchronous).await;
        self.estate.stream = Some(started.map_err(|source| DrillError::StreamStopped {
            source: Box::new(source),
        })?);
        Ok(())
    }

    /// The recovery time counts from the first fault of the failure; a scenario without one fails now.
    pub fn failed(&mut self) {
        if self.incident.failed.is_none() {
            self.estate.alerts.forget();
            self.incident.failed = Some((self.desk.recorder.offset(), Utc::now()));
            self.desk.recorder.record(What::Failed);
        }
    }

    /// The outage may have begun before the moment that a scenario calls the failure: with the first failed probe or refused
    /// write since which none succeeded.
    pub fn note_outage(&mut self) {
        let probes = self.estate.monitor.as_ref().and_then(|monitor| monitor.failing_since());
        let writes = self.estate.workload.as_ref().and_then(Workload::refused_since);
        let Some((failed, failed_utc)) = self.incident.failed else {
            return;
        };
        let Some(began) = probes.into_iter().chain(writes).min() else {
            return;
        };
        let began = began.saturating_duration_since(self.desk.recorder.started());
        let Some(earlier) = failed.checked_sub(began).filter(|earlier| !earlier.is_zero()) else {
            return;
        };
        let began_utc = failed_utc - earlier;
        self.incident.outage = Some((began, began_utc));
        self.desk.recorder.record(What::OutageBegan {
            began_ns: nanoseconds(began),
            began_at_utc: began_utc,
        });
        self.desk.recorder.finding(format!(
            "The service had stopped answering {} before the failure: the recovery time counts from then.",
            lasting(earlier)
        ));
    }

    /// Stops everything and keeps the servers' logs. What the directory held at the end is recorded first.
    pub async fn tear_down(mut self, evidence: &Path) {
        (self.estate.monitor, self.estate.untold) = (None, None);
        self.estate.application.control.stop().await;
        if let Some(workload) = self.estate.workload.take() {
            match workload.stop().await {
                Ok(counts) => {
                    self.desk.recorder.record(What::WorkloadStopped(counts));
                }
                Err(error) => self.desk.recorder.finding(chain(&error)),
            }
        }
        self.desk.recorder.record(What::PeakDisk {
            bytes: directory_bytes(self.estate.site.work.path()),
        });
        let logs = [
            Some((&self.estate.source, "source.log")),
            self.estate.restored.as_ref().map(|cluster| (cluster, "restored.log")),
        ];
        for (cluster, name) in logs.into_iter().flatten() {
            let kept = std::fs::read(cluster.log_path()).and_then(|log| {
                let log = values::of_log(&String::from_utf8_lossy(&log));
                std::fs::write(evidence.join("logs").join(name), log)
            });
            if let Err(error) = kept {
                self.desk
                    .recorder
                    .finding(format!("the server log {name} could not be kept: {error}"));
            }
        }
        if self.desk.options.keep {
            self.keep();
            return;
        }
        let began = self.desk.recorder.offset();
        for cluster in [Some(&mut self.estate.source), self.estate.restored.as_mut()]
            .into_iter()
            .flatten()
        {
            let _ = cluster.stop(Shutdown::Immediate).await; // dropping it kills what is left
        }
        self.estate.stream = None;
        self.desk.recorder.external_since("stop the servers", began);
    }

    /// Leaves the restored cluster running and tells how to connect, and how to stop it.
    fn keep(self) {
        let Some(cluster) = &self.estate.restored else {
            self.desk
                .recorder
                .finding("There is no restored cluster to leave running.");
            return;
        };
        let installation = &self.estate.site.installation;
        let is_here = installation.provider != Provider::Container; // an image's own is not on this machine
        let psql = if is_here && installation.has_tool("psql") {
            installation.tool("psql")
        } else {
            "psql".into()
        };
        self.desk.recorder.finding(format!(
            "{LEFT_RUNNING}. To connect: {} -h {} -p {} -U postgres {}. To stop and remove it: {}drill stop {}",
            shell_quoted(&psql.to_string_lossy()),
            shell_quoted(&cluster.socket_directory().to_string_lossy()),
            cluster.port(),
            self.estate.site.service.database(),
            self.estate.site.work.where_to_look(),
            self.desk.options.run_id
        ));
        self.estate.site.work.keep();
    }
}
