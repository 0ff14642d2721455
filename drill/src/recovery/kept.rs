//! How far the failed database's own WAL goes, and how far what is kept elsewhere: whether a restore could bring back more
//! than a restart.

use crate::{
    backup::{
        catalogue,
        wal::{Reach, Start, WalSource},
    },
    postgres::{Lsn, TimelineId},
    stage::Drill,
};

/// How far the WAL goes: what crash recovery of the failed database can bring back, and what a restore could.
#[derive(Default)]
pub(super) struct Kept {
    here: Option<Lsn>,
    elsewhere: Option<Lsn>,
}

impl Kept {
    /// Reads the WAL from the newest base backup on, before the server goes on writing it.
    pub(super) async fn look(drill: &Drill) -> Self {
        let elsewhere = &drill.site.wal;
        let here = WalSource {
            stream: Some(drill.source.data_directory().join("pg_wal")),
            ..elsewhere.clone()
        };
        let listing = catalogue::list(&drill.site.repository).unwrap_or_default();
        let newest = listing.backups.iter().rev().find_map(|backup| {
            Some(Start {
                from: backup.start_lsn()?,
                timeline: TimelineId(backup.info.timeline?),
                own: drill.timeline,
                system: backup.info.system_identifier.parse().ok(),
                held: None,
            })
        });
        let Some(start) = newest else {
            return Self::default(); // nothing that WAL could be replayed on
        };
        let (here, elsewhere) = tokio::join!(here.reach(&drill.site, start), elsewhere.reach(&drill.site, start),);
        let end = |reach: Result<Reach, _>| reach.ok().and_then(|reach| reach.end);
        Self {
            here: end(here),
            elsewhere: end(elsewhere),
        }
    }

    /// Whether a restore could bring back more than crash recovery did.
    pub(super) fn more_elsewhere(&self) -> bool {
        self.elsewhere > self.here
    }

    /// Both ends, in words.
    pub(super) fn told(&self) -> String {
        let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "nowhere".to_owned(), |lsn| lsn.to_string());
        format!(
            "its own WAL goes to {}, what is kept elsewhere to {}",
            lsn(self.here),
            lsn(self.elsewhere)
        )
    }
}
