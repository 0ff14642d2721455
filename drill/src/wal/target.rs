//! Where the replay of WAL is to stop.

use chrono::{DateTime, Utc};

use crate::postgres::Lsn;

/// Where recovery is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// At the end of the archive.
    End,
    /// Just before this LSN.
    Lsn(Lsn),
    /// At this commit time (inclusive, as `recovery_target_time` is).
    Time(DateTime<Utc>),
    /// With this transaction.
    Xid(u64),
}

impl std::fmt::Display for RecoveryTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::End => f.write_str("the end of the archive"),
            Self::Lsn(lsn) => write!(f, "just before LSN {lsn}"),
            Self::Time(time) => write!(
                f,
                "commit time {}",
                time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
            ),
            Self::Xid(xid) => write!(f, "transaction {xid}"),
        }
    }
}
