//! Chooses what to restore (step 4): pure, so that it can be tested on any catalogue.
//!
//! A candidate is a backup and how far it and its WAL can be proven to reach. The plan is the usable candidate that
//! reaches furthest; among equals the one with the least to replay, which is the newest. Every other candidate is in
//! the plan too, with the reason why it was not chosen.

use chrono::{DateTime, Utc};
use reports::CheckId;

use super::Backup;
use crate::postgres::Lsn;

/// What is known of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may be used; whether it is sound was not looked at yet.
    Unverified,
    /// It was verified and found sound.
    Sound,
    /// It must not be used.
    Unusable {
        /// The check that says so, if one does.
        check: Option<CheckId>,
        /// Why.
        reason: String,
    },
}

/// A backup and how far it reaches.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The backup.
    pub backup: Backup,
    /// Its standing.
    pub standing: Standing,
    /// The LSN that it and its WAL reach, if known.
    pub reach: Option<Lsn>,
    /// Commit time of the last transaction that it holds for sure; for a dump its snapshot's time.
    pub reach_at: Option<DateTime<Utc>>,
}

/// A candidate that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The backup's id.
    pub backup_id: String,
    /// The check that rejected it, if one did.
    pub check: Option<CheckId>,
    /// Why.
    pub reason: String,
    /// Whether it cannot be used at all.
    pub unusable: bool,
}

/// What will be restored, and what will not and why.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Index of the chosen candidate.
    pub chosen: usize,
    /// Whether its provable point is within the RPO, as far as can be known before the restore.
    pub within_rpo: bool,
    /// Age of its provable point at the failure.
    pub age: Option<chrono::Duration>,
    /// All others.
    pub rejected: Vec<Rejection>,
}

/// Chooses among `candidates`; `None` if none is usable.
pub fn choose(candidates: &[Candidate], failed_at: DateTime<Utc>, rpo: chrono::Duration) -> Option<Plan> {
    let usable = |candidate: &&(usize, &Candidate)| !matches!(candidate.1.standing, Standing::Unusable { .. });
    let numbered: Vec<_> = candidates.iter().enumerate().collect();
    let rank = |candidate: &Candidate| (candidate.reach, candidate.reach_at, candidate.backup.info.taken_at_utc);
    let (chosen, best) = *numbered
        .iter()
        .filter(usable)
        .max_by_key(|(_, candidate)| rank(candidate))?;
    let age = best.reach_at.map(|at| (failed_at - at).max(chrono::Duration::zero()));
    let rejected = numbered
        .iter()
        .filter(|(index, _)| *index != chosen)
        .map(|(_, other)| reject(other, best))
        .collect();
    Some(Plan {
        chosen,
        within_rpo: age.is_none_or(|age| age <= rpo),
        age,
        rejected,
    })
}

fn reject(other: &Candidate, best: &Candidate) -> Rejection {
    let backup_id = other.backup.info.id.clone();
    if let Standing::Unusable { check, reason } = &other.standing {
        return Rejection {
            backup_id,
            check: *check,
            reason: reason.clone(),
            unusable: true,
        };
    }
    let reason = if other.reach < best.reach || other.reach_at < best.reach_at {
        format!("{} reaches further", best.backup.info.id)
    } else {
        format!("{} reaches as far with less to replay", best.backup.info.id)
    };
    Rejection {
        backup_id,
        check: None,
        reason,
        unusable: false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;
    use reports::event::BackupInfo;

    use super::{Backup, Candidate, Lsn, Standing, choose};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn candidate(id: usize, taken: i64, reach: u64, reach_at: i64, usable: bool) -> Candidate {
        let info = BackupInfo {
            id: format!("b{id}"),
            method: "basebackup".into(),
            taken_at_utc: at(taken),
            bytes: 1,
            start_lsn: None,
            stop_lsn: None,
            timeline: None,
            system_identifier: "1".into(),
        };
        Candidate {
            backup: Backup {
                info,
                directory: "/nowhere".into(),
                inventory: None,
                fingerprint: None,
            },
            standing: if usable {
                Standing::Unverified
            } else {
                Standing::Unusable {
                    check: None,
                    reason: "damaged".into(),
                }
            },
            reach: Some(Lsn(reach)),
            reach_at: Some(at(reach_at)),
        }
    }

    #[test]
    fn the_newest_of_those_that_reach_equally_far_is_chosen() {
        let candidates = [candidate(1, 10, 900, 100, true), candidate(2, 50, 900, 100, true)];
        let plan = choose(&candidates, at(101), TimeDelta::seconds(60)).unwrap();
        assert_eq!(plan.chosen, 1);
        assert!(plan.within_rpo);
        assert_eq!(plan.rejected[0].reason, "b2 reaches as far with less to replay");
        assert!(!plan.rejected[0].unusable);
    }

    #[test]
    fn an_unusable_backup_is_never_chosen_however_far_it_reaches() {
        let candidates = [candidate(1, 10, 100, 10, true), candidate(2, 50, 900, 100, false)];
        let plan = choose(&candidates, at(101), TimeDelta::seconds(60)).unwrap();
        assert_eq!(plan.chosen, 0);
        assert!(!plan.within_rpo, "its point is 91 s old");
        assert!(plan.rejected[0].unusable);
    }

    #[test]
    fn without_a_usable_backup_there_is_no_plan() {
        assert!(choose(&[candidate(1, 1, 1, 1, false)], at(2), TimeDelta::seconds(60)).is_none());
        assert!(choose(&[], at(2), TimeDelta::seconds(60)).is_none());
    }

    proptest! {
        #[test]
        fn no_better_provable_candidate_is_ever_passed_over(
            specs in prop::collection::vec((0i64..100, 0u64..50, 0i64..100, any::<bool>()), 0..12)
        ) {
            let candidates: Vec<_> = specs
                .iter()
                .enumerate()
                .map(|(id, &(taken, reach, reach_at, usable))| candidate(id, taken, reach, reach_at, usable))
                .collect();
            match choose(&candidates, at(100), TimeDelta::seconds(60)) {
                None => prop_assert!(specs.iter().all(|spec| !spec.3)),
                Some(plan) => {
                    let chosen = &candidates[plan.chosen];
                    prop_assert!(specs[plan.chosen].3);
                    prop_assert!(candidates.iter().zip(&specs).all(|(other, spec)| !spec.3 || other.reach <= chosen.reach));
                    prop_assert_eq!(plan.rejected.len(), candidates.len() - 1);
                }
            }
        }
    }
}
