//! Before a crashed server is started again: how far its own WAL goes, and how far the WAL that is kept elsewhere.
//!
//! Crash recovery replays the one, a restore the other. Where a restart leaves commits out, this tells whether a restore
//! could bring them back.

use crate::{
    postgres::Lsn,
    state::Drill,
    wal::{Reach, WalSource},
};

/// How far the WAL goes: what crash recovery of the failed database can bring back, and what a restore could.
#[derive(Default)]
pub(super) struct RemainingWal {
    here: Option<Lsn>,
    elsewhere: Option<Lsn>,
}

impl RemainingWal {
    /// Reads the WAL from the newest base backup on, before the server goes on writing it.
    pub(super) async fn look(drill: &Drill) -> Self {
        let elsewhere = &drill.estate.site.wal;
        let here = WalSource {
            stream: Some(drill.estate.source.data_directory().join("pg_wal")),
            ..elsewhere.clone()
        };
        let listing = drill
            .estate
            .systems
            .list(&drill.estate.site.repository)
            .await
            .unwrap_or_default();
        let newest = listing
            .backups
            .iter()
            .rev()
            .find_map(|backup| backup.start(drill.estate.timeline, None, None));
        let Some(start) = newest else {
            return Self::default(); // nothing that WAL could be replayed on
        };
        let (installation, work) = (&drill.estate.site.installation, &drill.estate.site.work);
        let (here, elsewhere) = tokio::join!(
            here.reach(installation, work, start),
            elsewhere.reach(installation, work, start)
        );
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

    pub(super) fn told(&self) -> String {
        let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "nowhere".to_owned(), |lsn| lsn.to_string());
        format!(
            "its own WAL goes to {}, what is kept elsewhere to {}",
            lsn(self.here),
            lsn(self.elsewhere)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Lsn, RemainingWal};

    #[test]
    fn a_restore_is_worth_it_only_where_it_reaches_further() {
        let more = |here: Option<u64>, elsewhere: Option<u64>| {
            let kept = RemainingWal {
                here: here.map(Lsn),
                elsewhere: elsewhere.map(Lsn),
            };
            kept.more_elsewhere()
        };
        assert!(!more(Some(7), Some(7)) && !more(Some(7), Some(6)) && !more(Some(7), None) && !more(None, None));
        assert!(more(Some(7), Some(8)) && more(None, Some(1)));
    }
}
