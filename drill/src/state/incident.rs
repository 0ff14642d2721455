//! The failure: when it came, and where the WAL stood then.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::postgres::Lsn;

/// When things failed, each moment on the drill's clock and on the wall's, and where the WAL stood.
#[derive(Debug, Default)]
pub struct Incident {
    /// When it failed.
    pub failed: Option<(Duration, DateTime<Utc>)>,
    /// When the service stopped answering, if that was before the failure.
    pub outage: Option<(Duration, DateTime<Utc>)>,
    /// Where the WAL stood right before the failure.
    pub failure_lsn: Option<Lsn>,
    /// Where the WAL stood right before the newest fault that was aimed at the cluster while its server ran.
    pub last_lsn: Option<Lsn>,
    /// Where the WAL stood right before the first fault that damages the cluster.
    pub fault_lsn: Option<Lsn>,
    /// When the moment came that the recovery target names, on the source's clock.
    pub target_time: Option<DateTime<Utc>>,
}

impl Incident {
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
}
