//! How much seed data there shall be.

use crate::scenario::Given;

/// Size of the seed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizing {
    /// By numbers; what is not given is the default.
    Numbers {
        /// Scripts.
        scripts: Option<u64>,
        /// Versions of each, on average.
        versions: Option<u32>,
        /// Bytes of each version's content, on average.
        content_bytes: Option<u32>,
    },
    /// By the size that the database shall have, in bytes.
    Target(u64),
}

impl Sizing {
    /// The same, but for the numbers that a scenario has of its own.
    #[must_use]
    pub fn with(self, given: &Given) -> Self {
        if (given.scripts, given.versions, given.content_bytes) == (None, None, None) {
            return self;
        }
        let (scripts, versions, content_bytes) = match self {
            Self::Numbers {
                scripts,
                versions,
                content_bytes,
            } => (scripts, versions, content_bytes),
            Self::Target(_) => (None, None, None),
        };
        Self::Numbers {
            scripts: given.scripts.or(scripts),
            versions: given.versions.or(versions),
            content_bytes: given.content_bytes.or(content_bytes),
        }
    }
}

/// Size of a WAL segment in MiB that suits so much content: small ones make small clusters, but each costs a run of
/// `archive_command`, so a large database gets the usual 16 MiB.
pub fn wal_segment_mb(seed_bytes: u64) -> u32 {
    const LARGE: u64 = 256 << 20;
    if seed_bytes < LARGE { 1 } else { 16 }
}

#[cfg(test)]
mod tests {
    use super::{Given, Sizing};

    #[test]
    fn a_scenarios_own_size_wins_number_by_number() {
        let asked = Sizing::Numbers {
            scripts: Some(7),
            versions: Some(2),
            content_bytes: None,
        };
        let given = Given {
            scripts: Some(40),
            content_bytes: Some(900),
            ..Given::default()
        };
        let both = Sizing::Numbers {
            scripts: Some(40),
            versions: Some(2),
            content_bytes: Some(900),
        };
        assert_eq!(asked.with(&given), both);
        assert_eq!(asked.with(&Given::default()), asked);
        let of_its_own = Sizing::Numbers {
            scripts: Some(40),
            versions: None,
            content_bytes: Some(900),
        };
        assert_eq!(Sizing::Target(64 << 20).with(&given), of_its_own);
    }
}
