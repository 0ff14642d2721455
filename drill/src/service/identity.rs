//! Which database it is that somebody is connected to.

use serde::Deserialize;

/// A database among all that may bear its name. The application says so at `/health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// System identifier of the cluster that the database is in.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline_id: u32,
    /// Number of the database in that cluster.
    pub database_oid: u32,
    /// When the server was started, in microseconds since 1970: what no copy of the cluster has as well.
    pub postmaster_started_us: i64,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            system_identifier,
            timeline_id,
            database_oid,
            postmaster_started_us,
        } = self;
        write!(
            f,
            "system {system_identifier}, timeline {timeline_id}, database {database_oid}, server started at {postmaster_started_us} us"
        )
    }
}
