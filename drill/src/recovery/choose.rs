//! Steps 3 and 4: what backups there are, how far each can be proven to reach, and which one is restored.
//!
//! Every candidate that is not chosen is recorded with its reason. The choice itself is the pure function in
//! [`crate::backup::planner`].

use std::time::Duration;

use reports::{
    CheckId, CheckResult, Outcome, Phase, Role, Step, Verdict, What,
    event::PlanInfo,
    text::{self, counted, lasting},
};

use crate::{
    backup::{
        Backup,
        planner::{self, Candidate, Standing},
    },
    errors::chain,
    postgres::{Lsn, TimelineId},
    record::check::{Found, timed},
    state::Drill,
    verify::wal_continuity,
    wal::{Instead, Reach, RecoveryTarget},
};

use super::{OpenStep, Stop, attempts::Attempts, questions};

/// Step 3, as RecoveryOperator.
pub(super) async fn backups_listed(drill: &mut Drill, attempt: u32) -> Result<Vec<Backup>, Stop> {
    const TRIES: u32 = 3;
    let step = OpenStep::begin(&drill.desk.recorder, Step::ListBackups, attempt);
    if let Err(reason) = drill.desk.operator.authorise(Role::RecoveryOperator) {
        return Err(step.fail(Outcome::Refused, reason));
    }
    let mut tried = 1;
    let listing = loop {
        match drill.estate.systems.list(&drill.estate.site.repository).await {
            Ok(listing) => break listing,
            Err(error) if tried == TRIES => {
                let reason = format!(
                    "the backup catalogue is unavailable after {TRIES} tries: {}",
                    chain(&error)
                );
                return Err(step.fail(Outcome::NotRecovered, reason));
            }
            Err(_) => {
                tried += 1;
                tokio::time::sleep(Duration::from_millis(100)).await; // back-off of a bounded retry
            }
        }
    };
    if attempt == 1 {
        for (id, problem) in &listing.less_known {
            drill.desk.recorder.finding(format!(
                "The note of the backup {id} is damaged ({problem}): what only the note told is not known."
            ));
        }
        for (id, reason) in &listing.unfinished {
            let check = timed(CheckId::ArtifactReadable, Phase::Backup, id, async {
                Ok::<_, std::convert::Infallible>(Found::fail("a finished backup", reason.clone()))
            });
            drill.desk.check(check.await);
            drill.desk.recorder.record(What::CandidateRejected {
                backup_id: id.clone(),
                check: Some(CheckId::ArtifactReadable),
                reason: format!("not a finished backup: {reason}"),
                unusable: true,
            });
        }
    }
    let list: Vec<_> = listing.backups.iter().map(|backup| backup.info.id.as_str()).collect();
    step.end(
        Verdict::Pass,
        match list.as_slice() {
            [] => "no backup".to_owned(),
            _ => format!("{}: {}", counted(list.len(), "backup"), list.join(", ")),
        },
    );
    Ok(listing.backups)
}

/// What step 4 decided.
pub(super) struct Choice {
    pub(super) backup: Backup,
    pub(super) target: RecoveryTarget,
    /// The timeline on which the WAL ends that was read.
    pub(super) timeline: Option<TimelineId>,
    /// Whether it must be named to the server, as there are others.
    pub(super) explicit: bool,
    /// WAL segments of which another copy must be handed out than the first, or none.
    pub(super) instead: Instead,
    pub(super) reach: Option<Lsn>,
}

impl Choice {
    /// Where the plan says that recovery ends.
    pub(super) fn promise(&self) -> Option<Lsn> {
        match self.target {
            RecoveryTarget::Lsn(lsn) => Some(self.reach.map_or(lsn, |reach| reach.min(lsn))),
            RecoveryTarget::End => self.reach,
            RecoveryTarget::Time(_) | RecoveryTarget::Xid(_) => None,
        }
    }
}

/// Step 4. Looks at each candidate's WAL, chooses, verifies the chosen one, and chooses again if it is unsound.
pub(super) async fn backup_chosen(
    drill: &mut Drill,
    attempts: &mut Attempts,
    backups: Vec<Backup>,
) -> Result<Choice, Stop> {
    let attempt = attempts.number();
    let step = OpenStep::begin(&drill.desk.recorder, Step::ChooseBackup, attempt);
    let target = attempts.recovery_target(drill);
    let mut candidates = Vec::new();
    for backup in backups {
        candidates.extend(looked_at(drill, backup, &target, attempts).await);
    }
    let failed_at = drill.incident.failed_utc();
    let rpo = chrono::Duration::from_std(drill.desk.objectives.rpo).unwrap_or(chrono::Duration::MAX);
    loop {
        let Some(plan) = planner::choose(&candidates, failed_at, rpo) else {
            for candidate in &candidates {
                attempts.record_rejection(&drill.desk.recorder, planner::reject(candidate, None));
            }
            if let Some(check) = too_young(&candidates, &target).await {
                drill.desk.check(check);
            }
            let told = "no backup can be used";
            let reason = format!("{told}: {}", why_none(&candidates));
            return Err(step.fail_with(Outcome::NotRecovered, told, reason));
        };
        let chosen = plan.chosen;
        if candidates[chosen].standing == Standing::Unverified {
            let standing = verify_candidate(drill, &candidates[chosen].backup).await?;
            let id = candidates[chosen].backup.info.id.clone();
            attempts.standings.insert(id, standing.clone());
            candidates[chosen].standing = standing;
            continue;
        }
        for rejection in &plan.rejected {
            attempts.record_rejection(&drill.desk.recorder, rejection.clone());
        }
        let best = candidates.swap_remove(chosen);
        drill.desk.check(artifact_age(drill, &best, plan.age).await);
        drill.desk.recorder.record(What::PlanChosen(PlanInfo {
            backup: best.backup.info.clone(),
            target: target.to_string(),
            provable_lsn: best.reach.map(|lsn| lsn.to_string()),
            provable_age_ms: plan.age.and_then(|age| u64::try_from(age.num_milliseconds()).ok()),
            within_rpo: plan.within_rpo,
        }));
        let miss = if plan.within_rpo {
            ""
        } else {
            "; nothing newer is usable, so the RPO will be missed"
        };
        let named = best.timeline.filter(|_| best.explicit);
        let along = named.map_or_else(String::new, |timeline| format!(", on timeline {timeline} and no other"));
        let detail = format!("{} to {target}{along}{miss}", best.backup.info.id);
        let question = questions::restore(drill, &detail, &best, &plan);
        if !drill.desk.operator.decides(question).await {
            let (told, reason) = ("the operator did not confirm", "the operator did not confirm the plan");
            return Err(step.fail_with(Outcome::Refused, told, reason));
        }
        step.end(Verdict::Pass, detail);
        return Ok(Choice {
            backup: best.backup,
            target,
            timeline: best.timeline,
            explicit: best.explicit,
            instead: best.instead,
            reach: best.reach,
        });
    }
}

/// What can be said of a backup without reading it: a candidate on the service's own history, and one for each other
/// timeline that a server could follow from it.
async fn looked_at(
    drill: &mut Drill,
    backup: Backup,
    target: &RecoveryTarget,
    attempts: &mut Attempts,
) -> Vec<Candidate> {
    let id = backup.info.id.clone();
    let (mut reach, mut reach_at) = (backup.stop_lsn(), Some(backup.info.taken_at_utc));
    let mut standing = attempts.standings.get(&id).cloned().unwrap_or(Standing::Unverified);
    let unusable = |check, reason: &str| Standing::Unusable {
        check,
        reason: reason.to_owned(),
    };
    let recorded = drill.estate.source.recorded_identifier().to_string();
    let is_foreign = !["", recorded.as_str()].contains(&backup.info.system_identifier.as_str());
    if is_foreign {
        let theirs = &backup.info.system_identifier;
        let reason = format!("it is a backup of another cluster: system identifier {theirs}, not {recorded}");
        standing = unusable(None, &reason);
    }
    let system = drill.estate.systems.named(&backup.info.method).cloned();
    let held = system.as_ref().and_then(|system| system.held_wal(&backup));
    let known_reach = attempts.reaches.get(&id).copied();
    let to = match target {
        RecoveryTarget::Lsn(lsn) => Some(*lsn),
        _ => None,
    };
    let until = [to, known_reach].into_iter().flatten().min();
    let mut wal = Reach::default();
    if is_foreign {
        // This cluster's WAL has nothing to do with it.
    } else if let Some(start) = backup.start(drill.estate.timeline, held.as_deref(), until) {
        let site = &drill.estate.site;
        let read = site
            .recorder
            .external("pg_waldump", site.wal.reach(&site.installation, &site.work, start));
        let (check, seen) = Box::pin(wal_continuity::check(&id, start, read)).await;
        if attempts.number() == 1 {
            drill.desk.check(check);
        }
        wal = seen;
        for remark in &wal.remarks {
            if attempts.told.insert(remark.clone()) {
                drill.desk.recorder.finding(format!("In the WAL archive: {remark}."));
            }
        }
        let goes_to = wal.goes_to();
        if wal.timeline.is_some() && goes_to < reach {
            let (end, stop) = (or_nothing(goes_to), or_nothing(reach));
            let whose = if held.is_some() {
                "its WAL"
            } else {
                "it holds no WAL of its own, and the archive's"
            };
            let why = wal.problems.join("; ");
            let reason = format!("{whose} goes to {end}, short of its end at {stop}: {why}");
            standing = unusable(Some(CheckId::WalContinuity), reason.trim_end_matches(": "));
            reach = goes_to;
        }
        if let Some(stray) = &wal.stray {
            standing = unusable(Some(CheckId::WalContinuity), stray);
        }
        reach = reach.max(wal.end);
        reach = reach.map(|reach| known_reach.map_or(reach, |known| reach.min(known)));
        reach_at = wal.last_commit.map(|(_, at)| at).or(reach_at);
    }
    let point_in_time = system.is_some_and(|system| system.capabilities().point_in_time);
    if *target != RecoveryTarget::End && !point_in_time {
        standing = unusable(None, "it cannot recover to a point in time");
    }
    if let RecoveryTarget::Lsn(lsn) = target {
        if backup.stop_lsn().is_some_and(|stop| stop > *lsn) {
            standing = unusable(Some(CheckId::ArtifactAge), "it was taken after the recovery target");
        }
        reach = reach.map(|reach| reach.min(*lsn));
        reach_at = None; // the target decides, not the WAL's end
    }
    if let RecoveryTarget::Time(time) = target {
        if backup.info.taken_at_utc > *time {
            standing = unusable(Some(CheckId::ArtifactAge), "it was taken after the recovery target");
        }
        reach_at = None;
    }
    let foreign = wal.foreign.into_iter().map(|(timeline, reason)| Candidate {
        backup: backup.clone(),
        timeline: Some(timeline),
        explicit: true,
        standing: Standing::Foreign { reason },
        proven: true,
        reach: None,
        reach_at: None,
        instead: Instead::new(),
    });
    let mut candidates: Vec<_> = foreign.collect();
    candidates.push(Candidate {
        backup,
        timeline: wal.timeline,
        explicit: wal.explicit,
        standing,
        proven: wal.timeline.is_none() || wal.proven,
        reach,
        reach_at,
        instead: wal.instead,
    });
    candidates
}

fn or_nothing(lsn: Option<Lsn>) -> String {
    lsn.map_or_else(|| "nothing".to_owned(), |lsn| lsn.to_string())
}

async fn verify_candidate(drill: &mut Drill, backup: &Backup) -> Result<Standing, Stop> {
    let Some(system) = drill.estate.systems.named(&backup.info.method) else {
        return Ok(Standing::Unusable {
            check: None,
            reason: format!("no system restores {:?}", backup.info.method),
        });
    };
    let mut standing = Standing::Sound;
    for check in system.verify(backup).await {
        match check.verdict {
            Verdict::Fail => {
                standing = Standing::Unusable {
                    check: Some(check.check),
                    reason: check.actual.clone(),
                };
            }
            Verdict::Unknown if standing == Standing::Sound => standing = Standing::Unverifiable,
            _ => {}
        }
        drill.desk.check(check);
    }
    Ok(standing)
}

/// `artifact-age`: how old the point is that the plan can prove.
async fn artifact_age(drill: &Drill, best: &Candidate, age: Option<chrono::Duration>) -> CheckResult {
    let rpo = drill.desk.objectives.rpo;
    timed(CheckId::ArtifactAge, Phase::Backup, &best.backup.info.id, async {
        let expected = format!("a provable point at most {} before the failure", lasting(rpo));
        Ok::<_, std::convert::Infallible>(match age.and_then(|age| age.to_std().ok()) {
            Some(age) => Found::judge(age <= rpo, expected, format!("{} before", lasting(age))),
            None => Found::pass(
                expected,
                format!(
                    "the chosen target; the backup is of {}",
                    text::utc(best.backup.info.taken_at_utc)
                ),
            ),
        })
    })
    .await
}

/// `artifact-age` where nothing can be restored because what there is was taken after the target: retention was shorter
/// than the damage stayed unseen. `None` if that is not the reason.
async fn too_young(candidates: &[Candidate], target: &RecoveryTarget) -> Option<CheckResult> {
    let young = |candidate: &&Candidate| {
        let age = Some(CheckId::ArtifactAge);
        matches!(&candidate.standing, Standing::Unusable { check, .. } if *check == age)
    };
    let oldest = candidates.iter().find(young)?;
    let (id, taken) = (&oldest.backup.info.id, oldest.backup.info.taken_at_utc);
    let taken = text::utc(taken);
    let check = timed(CheckId::ArtifactAge, Phase::Backup, id, async {
        Ok::<_, std::convert::Infallible>(Found::fail(
            format!("a backup that was complete before the recovery target, {target}"),
            format!(
                "the oldest is of {taken} and was complete at {}",
                oldest.backup.info.stop_lsn.as_deref().unwrap_or("?")
            ),
        ))
    });
    Some(check.await)
}

fn why_none(candidates: &[Candidate]) -> String {
    // What is true of several backups is told once.
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for candidate in candidates {
        if let Standing::Unusable { reason, .. } = &candidate.standing {
            let id = candidate.backup.info.id.as_str();
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, ids)) => ids.push(id),
                None => reasons.push((reason, vec![id])),
            }
        }
    }
    if reasons.is_empty() {
        return "the catalogue is empty".to_owned();
    }
    let told = reasons
        .into_iter()
        .map(|(reason, ids)| format!("{}: {reason}", text::listed(ids)));
    told.collect::<Vec<_>>().join("; ")
}
