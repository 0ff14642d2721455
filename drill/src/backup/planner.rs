//! Chooses what to restore (step 4): pure, so that it can be tested on any catalogue.
//!
//! A candidate is a backup, the timeline to follow from it, and how far it and its WAL can be proven to reach. Only
//! candidates of the service's own history take part: positions on another timeline cannot be compared with it. The
//! plan is the usable candidate that reaches furthest, whatever its method; among equals the one with the least to
//! replay, which is the newest. Every other candidate is in the plan too, with the reason why it was not chosen and
//! with what it means for the recovery point.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use reports::{
    CheckId,
    text::{bytes, lasting},
};

use super::Backup;
use crate::{
    postgres::{Lsn, TimelineId},
    wal::Instead,
};

/// What is known of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may be used; whether it is sound was not looked at yet.
    Unverified,
    /// It was verified, and nothing speaks against it; what could not be verified keeps the drill from passing.
    Sound,
    /// Verification was attempted and could not run: the backup is proven neither good nor bad.
    Unverifiable,
    /// Its backup must not be used.
    Unusable {
        /// The check that says so, if one does.
        check: Option<CheckId>,
        /// Why.
        reason: String,
    },
    /// The backup may be good, but this timeline is not the service's.
    Foreign {
        /// Why.
        reason: String,
    },
}

impl Standing {
    fn is_usable(&self) -> bool {
        matches!(self, Self::Unverified | Self::Sound | Self::Unverifiable)
    }
}

/// A backup, the timeline to follow, and how far that reaches.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The backup.
    pub backup: Backup,
    /// The timeline that replay ends on; none where nothing is replayed.
    pub timeline: Option<TimelineId>,
    /// Whether the timeline must be named to the server.
    pub explicit: bool,
    /// Its standing.
    pub standing: Standing,
    /// Whether it is proven that what is replayed is the service's own history.
    pub proven: bool,
    /// The LSN that it and its WAL reach, if known.
    pub reach: Option<Lsn>,
    /// Commit time of the last transaction that it holds for sure; for a dump its snapshot's time.
    pub reach_at: Option<DateTime<Utc>>,
    /// WAL segments of which the first copy must not be used: the copy to use instead, or none.
    pub instead: Instead,
}

/// A candidate that was not chosen. `Display` says why, and what it means for the recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The backup's id.
    pub backup_id: String,
    /// The timeline that is not the service's, if that is the reason.
    pub foreign: Option<TimelineId>,
    /// The check that rejected it, if one did.
    pub check: Option<CheckId>,
    /// Why.
    pub reason: String,
    /// Whether its backup cannot be used at all.
    pub unusable: bool,
    /// Where it reaches, compared with the plan.
    pub effect: Effect,
}

/// Where a rejected candidate reaches, compared with what is restored instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Less far; the candidate is no loss.
    Less(Distance),
    /// As far.
    Same,
    /// Further: this much is lost because the candidate cannot be used.
    More(Distance),
    /// It cannot be compared: another timeline, an unknown end, or no plan.
    Unknown,
}

/// How far two recovery points are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    /// Bytes of WAL.
    pub wal_bytes: u64,
    /// Between the last commits, where both are known.
    pub time: Option<TimeDelta>,
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of WAL", bytes(self.wal_bytes))?;
        self.time.map_or(Ok(()), |time| {
            write!(f, " ({} of commits)", lasting(time.abs().to_std().unwrap_or_default()))
        })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.effect {
            Effect::Less(by) if self.unusable => write!(f, "; nothing is lost by it: it reaches {by} less"),
            Effect::Less(by) => write!(f, "; this one reaches {by} less"),
            Effect::Same if self.unusable => f.write_str("; nothing is lost by it: the plan reaches as far"),
            Effect::More(by) => write!(f, "; it would have reached {by} further than the plan"),
            Effect::Same | Effect::Unknown => Ok(()),
        }
    }
}

/// What will be restored, and what will not and why.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Index of the chosen candidate.
    pub chosen: usize,
    /// Whether its provable point is within the RPO, as far as can be known before the restore.
    pub within_rpo: bool,
    /// Age of its provable point at the failure.
    pub age: Option<TimeDelta>,
    /// All others.
    pub rejected: Vec<Rejection>,
}

/// Chooses among `candidates`; `None` if none is usable.
pub fn choose(candidates: &[Candidate], failed_at: DateTime<Utc>, rpo: TimeDelta) -> Option<Plan> {
    // Positions compare only where all of them are known: that of a dump whose record is damaged is not.
    let usable = || candidates.iter().filter(|candidate| candidate.standing.is_usable());
    let by_time =
        usable().any(|candidate| candidate.reach.is_none()) && usable().all(|candidate| candidate.reach_at.is_some());
    let rank = |candidate: &Candidate| {
        // The newest has the least to replay; backups are ordered by LSN first, because a file's own time may be a second off.
        let backup = &candidate.backup;
        let newest = (backup.start_lsn().or(backup.stop_lsn()), backup.info.taken_at_utc);
        let point = if by_time {
            (None, candidate.reach_at)
        } else {
            point(candidate)
        };
        (candidate.proven, point, newest)
    };
    let (chosen, best) = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.standing.is_usable())
        .max_by_key(|(_, candidate)| rank(candidate))?;
    // Candidates with the same point may know different commit times: without a commit in its own WAL, one knows none.
    let same = candidates
        .iter()
        .filter(|other| other.proven == best.proven && point(other) == point(best));
    let reach_at = same.filter_map(|other| other.reach_at).min();
    let age = reach_at.map(|at| (failed_at - at).max(TimeDelta::zero()));
    let others = candidates.iter().enumerate().filter(|(index, _)| *index != chosen);
    Some(Plan {
        chosen,
        within_rpo: age.is_none_or(|age| age <= rpo),
        age,
        rejected: others.map(|(_, other)| reject(other, Some(best))).collect(),
    })
}

/// How far a candidate reaches: by position, and by time only where no position is known.
fn point(candidate: &Candidate) -> (Option<Lsn>, Option<DateTime<Utc>>) {
    match candidate.reach {
        Some(lsn) => (Some(lsn), None),
        None => (None, candidate.reach_at),
    }
}

/// Why a candidate is not used; `best` is what is used instead, if anything is.
pub fn reject(other: &Candidate, best: Option<&Candidate>) -> Rejection {
    let effect = best.map_or(Effect::Unknown, |best| effect(other, best));
    let rejection = |check, reason: String| Rejection {
        backup_id: other.backup.info.id.clone(),
        foreign: None,
        check,
        reason,
        unusable: false,
        effect,
    };
    match (&other.standing, best) {
        (Standing::Unusable { check, reason }, _) => Rejection {
            unusable: true,
            ..rejection(*check, reason.clone())
        },
        (Standing::Foreign { reason }, _) => Rejection {
            foreign: other.timeline,
            effect: Effect::Unknown,
            ..rejection(Some(CheckId::WalContinuity), reason.clone())
        },
        (_, Some(best)) => {
            let id = &best.backup.info.id;
            let reason = match effect {
                Effect::Same => format!("{id} reaches as far with less to replay"),
                _ if best.proven && !other.proven => format!("{id} follows a history that can be proven"),
                _ => format!("{id} reaches further"),
            };
            rejection(None, reason)
        }
        (_, None) => rejection(None, "there is no plan".to_owned()),
    }
}

fn effect(other: &Candidate, best: &Candidate) -> Effect {
    let (Some(theirs), Some(ours)) = (other.reach, best.reach) else {
        return Effect::Unknown;
    };
    let time = other
        .reach_at
        .zip(best.reach_at)
        .map(|(theirs, ours)| (theirs - ours).abs());
    let by = Distance {
        wal_bytes: theirs.0.abs_diff(ours.0),
        time,
    };
    match theirs.cmp(&ours) {
        _ if other.proven != best.proven => Effect::Unknown,
        std::cmp::Ordering::Less => Effect::Less(by),
        std::cmp::Ordering::Equal => Effect::Same,
        std::cmp::Ordering::Greater => Effect::More(by),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use reports::event::BackupInfo;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn unusable() -> Standing {
        Standing::Unusable {
            check: None,
            reason: "damaged".into(),
        }
    }

    fn foreign() -> Standing {
        Standing::Foreign {
            reason: "a clone's".into(),
        }
    }

    fn candidate(id: usize, taken: i64, reach: u64, reach_at: i64, standing: Standing) -> Candidate {
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
                recorded: None,
            },
            timeline: Some(TimelineId(if matches!(standing, Standing::Foreign { .. }) {
                2
            } else {
                1
            })),
            explicit: false,
            standing,
            proven: true,
            reach: Some(Lsn(reach)),
            reach_at: Some(at(reach_at)),
            instead: Instead::new(),
        }
    }

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    #[test]
    fn the_newest_of_those_that_reach_equally_far_is_chosen() {
        let candidates = [
            candidate(1, 10, 900, 100, Standing::Unverified),
            candidate(2, 50, 900, 100, Standing::Unverified),
        ];
        let plan = choose(&candidates, at(101), MINUTE).unwrap();
        assert_eq!(plan.chosen, 1);
        assert!(plan.within_rpo);
        assert_eq!(plan.rejected[0].to_string(), "b2 reaches as far with less to replay");
        assert!(!plan.rejected[0].unusable);
    }

    #[test]
    fn one_position_is_one_point_whatever_times_are_known_of_it() {
        let candidates = [
            candidate(1, 10, 900, 30, Standing::Unverified),
            candidate(2, 50, 900, 55, Standing::Unverified),
        ];
        let plan = choose(&candidates, at(100), MINUTE).unwrap();
        assert_eq!((plan.chosen, plan.rejected[0].effect), (1, Effect::Same));
        assert_eq!(
            plan.age,
            Some(TimeDelta::seconds(70)),
            "the last commit that was read, not the backup's end"
        );
    }

    #[test]
    fn an_unusable_backup_is_never_chosen_however_far_it_reaches() {
        let candidates = [
            candidate(1, 10, 100, 10, Standing::Sound),
            candidate(2, 50, 2148, 100, unusable()),
            candidate(3, 5, 60, 9, Standing::Unverified),
        ];
        let plan = choose(&candidates, at(101), MINUTE).unwrap();
        assert_eq!(plan.chosen, 0);
        assert!(!plan.within_rpo, "its point is 91 s old");
        assert!(plan.rejected[0].unusable);
        assert_eq!(
            plan.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "damaged; it would have reached 2 KiB of WAL (1 min 30 s of commits) further than the plan",
                "b1 reaches further; this one reaches 40 bytes of WAL (1 s of commits) less",
            ]
        );
    }

    #[test]
    fn a_clones_timeline_is_never_compared_with_the_services_own() {
        let candidates = [
            candidate(1, 10, 100, 10, Standing::Unverified),
            candidate(1, 10, 900, 99, foreign()),
        ];
        let plan = choose(&candidates, at(101), MINUTE).unwrap();
        assert_eq!((plan.chosen, plan.rejected[0].effect), (0, Effect::Unknown));
        assert_eq!(
            (plan.rejected[0].foreign, plan.rejected[0].unusable),
            (Some(TimelineId(2)), false)
        );
        assert!(choose(&candidates[1..], at(101), MINUTE).is_none());
    }

    #[test]
    fn a_history_that_can_be_proven_is_preferred() {
        let mut guess = candidate(1, 10, 900, 99, Standing::Unverified);
        guess.proven = false;
        let candidates = [guess, candidate(2, 50, 100, 10, Standing::Unverified)];
        let plan = choose(&candidates, at(101), MINUTE).unwrap();
        assert_eq!((plan.chosen, plan.rejected[0].effect), (1, Effect::Unknown));
        assert!(plan.rejected[0].reason.contains("can be proven"));
        assert_eq!(
            choose(&candidates[..1], at(101), MINUTE).unwrap().chosen,
            0,
            "better than nothing"
        );
    }

    #[test]
    fn without_a_usable_backup_there_is_no_plan() {
        assert!(choose(&[candidate(1, 1, 1, 1, unusable())], at(2), MINUTE).is_none());
        assert!(choose(&[], at(2), MINUTE).is_none());
    }

    /// A service's history as bytes of WAL with commits, an archive with gaps, and a catalogue: what each backup can reach
    /// is computed from that, and the plan must be as good as the best of them by brute force.
    #[derive(Debug, Clone)]
    struct Service {
        /// Seconds at which WAL positions were committed; the index is the position.
        segments: Vec<bool>,
        /// Each with the position it was taken at, whether it replays, whether it is sound, and whether the timeline
        /// that it would be followed on is the service's.
        backups: Vec<(usize, bool, bool, bool)>,
    }

    fn service() -> impl Strategy<Value = Service> {
        let segments = prop::collection::vec(prop::bool::weighted(0.85), 1..30);
        let backup = (
            any::<prop::sample::Index>(),
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.8),
        );
        (segments, prop::collection::vec(backup, 0..8)).prop_map(|(segments, backups)| {
            let place = |at: prop::sample::Index| at.index(segments.len());
            let backups = backups
                .into_iter()
                .map(|(at, wal, sound, own)| (place(at), wal, sound, own))
                .collect();
            Service { segments, backups }
        })
    }

    impl Service {
        /// The position up to which a backup can be replayed without a gap.
        fn reach(&self, (taken, replays, ..): (usize, bool, bool, bool)) -> usize {
            let whole = self.segments[taken..].iter().take_while(|there| replays && **there);
            taken + whole.count()
        }

        fn candidates(&self) -> Vec<Candidate> {
            let numbered = self.backups.iter().enumerate();
            numbered
                .map(|(id, backup)| {
                    let reach = self.reach(*backup);
                    let standing = match (backup.2, backup.3) {
                        (_, false) => foreign(),
                        (true, true) => Standing::Unverified,
                        (false, true) => unusable(),
                    };
                    candidate(id, backup.0 as i64, reach as u64, reach as i64, standing)
                })
                .collect()
        }
    }

    proptest! {
        #[test]
        fn no_better_provable_candidate_is_ever_passed_over(service in service()) {
            let candidates = service.candidates();
            let ours: Vec<_> = service.backups.iter().filter(|backup| backup.2 && backup.3).collect();
            let best = ours.iter().map(|backup| service.reach(**backup)).max();
            let failed = service.segments.len() as i64;
            let Some(plan) = choose(&candidates, at(failed), MINUTE) else {
                prop_assert!(ours.is_empty());
                return Ok(());
            };
            let chosen = service.backups[plan.chosen];
            prop_assert!(chosen.2 && chosen.3);
            prop_assert_eq!(Some(service.reach(chosen)), best);
            let newest = ours.iter().filter(|backup| Some(service.reach(***backup)) == best).map(|backup| backup.0).max();
            prop_assert_eq!(Some(chosen.0), newest, "the least to replay");
            let age = failed - service.reach(chosen) as i64;
            prop_assert_eq!(plan.age, Some(TimeDelta::seconds(age)));
            prop_assert_eq!(plan.within_rpo, age <= 60);
        }

        #[test]
        fn every_rejected_candidate_has_its_reason_and_its_effect(service in service()) {
            let candidates = service.candidates();
            let Some(plan) = choose(&candidates, at(40), MINUTE) else { return Ok(()) };
            prop_assert_eq!(plan.rejected.len(), candidates.len() - 1);
            let best = service.reach(service.backups[plan.chosen]) as i64;
            let others = service.backups.iter().enumerate().filter(|(index, _)| *index != plan.chosen);
            for (rejection, (index, other)) in plan.rejected.iter().zip(others) {
                prop_assert_eq!(&rejection.backup_id, &format!("b{index}"));
                prop_assert!(!rejection.reason.is_empty());
                prop_assert_eq!(rejection.unusable, !other.2 && other.3);
                let further = service.reach(*other) as i64 - best;
                let by = Distance { wal_bytes: further.unsigned_abs(), time: Some(TimeDelta::seconds(further.abs())) };
                prop_assert_eq!(rejection.effect, match further.signum() {
                    _ if !other.3 => Effect::Unknown,
                    0 => Effect::Same,
                    1 => Effect::More(by),
                    _ => Effect::Less(by),
                });
                prop_assert!(other.3 == rejection.foreign.is_none());
                prop_assert!(!matches!(rejection.effect, Effect::More(_)) || rejection.unusable);
            }
        }
    }
}
