//! Refuses a scenario that contradicts itself.
//!
//! Only what can be told from the file alone: whether an expectation comes true is what a drill is for.

use reports::{CheckId, Outcome, Role, Step};

use super::{
    Changes, Fault, FaultTarget, Moment, Needs, Scenario, ScenarioError, StorageWish, Streaming, Target, Vocabulary,
    Which, table::Source,
};

/// Where the parts of a file begin.
pub(super) struct Places {
    pub(super) given: usize,
    pub(super) operator: usize,
    pub(super) recovery: usize,
    pub(super) faults: Vec<usize>,
    pub(super) expect: usize,
}

/// Checks everything.
pub(super) fn check(
    scenario: &Scenario,
    words: &Vocabulary<'_>,
    source: Source<'_>,
    places: &Places,
) -> Result<(), ScenarioError> {
    given(scenario, words)
        .and_then(|()| small_disk(scenario))
        .map_err(|problem| source.contradiction(places.given, problem))?;
    operator(scenario).map_err(|problem| source.contradiction(places.operator, problem))?;
    target(scenario, words).map_err(|problem| source.contradiction(places.recovery, problem))?;
    for (fault, start) in scenario.faults.iter().zip(&places.faults) {
        let problem = fault_target(scenario, fault.target, fault.at)
            .and_then(|()| fault_files(fault))
            .and_then(|()| fault.action.suits(fault, scenario));
        problem.map_err(|problem| source.contradiction(*start, problem))?;
    }
    expectation(scenario)
        .and_then(|()| detection(scenario, words))
        .map_err(|problem| source.contradiction(places.expect, problem))
}

/// Whether the service shall be restored, whatever objective is missed.
fn is_recovered(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::NotRecovered | Outcome::Refused | Outcome::FalseAlarm)
}

fn small_disk(scenario: &Scenario) -> Result<(), String> {
    let given = &scenario.given;
    if given.storage_bytes.is_none() {
        return Ok(());
    }
    if given.storage == Some(StorageWish::Disk) {
        return Err(
            "`storage_size` is a filesystem in memory and `storage` is \"disk\"; remove one of them".to_owned(),
        );
    }
    let fills = |fault: &Fault| {
        // Statements and programs can fill it as well.
        let can_fill = fault.action.needs() == Needs::OwnFilesystem || fault.action.changes() == Changes::Contents;
        can_fill && fault.target == FaultTarget::Cluster
    };
    if !scenario.faults.iter().any(fills) {
        return Err(
            "`storage_size` makes a small filesystem and no fault fills it; add one of kind \"fill-disk\", or remove it"
                .to_owned(),
        );
    }
    Ok(())
}

fn operator(scenario: &Scenario) -> Result<(), String> {
    let Some(roles) = &scenario.roles else { return Ok(()) };
    let lacking = [Role::RecoveryOperator, Role::AppAdmin]
        .into_iter()
        .find(|role| !roles.contains(role));
    match lacking {
        Some(role) if is_recovered(scenario.expect.outcome) => Err(format!(
            "the operator does not hold the role {role}, so the outcome cannot be {}; expect refused, or add the role",
            scenario.expect.outcome
        )),
        _ => Ok(()),
    }
}

fn given(scenario: &Scenario, words: &Vocabulary<'_>) -> Result<(), String> {
    let given = &scenario.given;
    if !given.backup_options.is_empty() && given.backup.len() != 1 {
        return Err(
            "`backup_options` are options of one tool; name one system in `given.backup`, or remove them".to_owned(),
        );
    }
    let takes_a_role = |system: &String| words.system(system).is_some_and(|can| can.as_any_role);
    if given.backup_role.is_some() && !(given.backup.len() == 1 && given.backup.iter().all(takes_a_role)) {
        let able = words.systems.iter().filter(|(_, can)| can.as_any_role);
        let able: Vec<&str> = able.map(|(name, _)| *name).collect();
        return Err(format!(
            "`backup_role` is the role that takes the backups, which can be chosen with {} alone; name it in \
             `given.backup`, or remove the role",
            able.join(", ")
        ));
    }
    Ok(())
}

fn target(scenario: &Scenario, words: &Vocabulary<'_>) -> Result<(), String> {
    let given = &scenario.given;
    if !given.wal_in_backup && !given.archive {
        return Err(
            "without `archive`, and with `wal_in_backup = false`, no base backup can ever become consistent; keep \
                    an archive"
                .to_owned(),
        );
    }
    if scenario.recovery.target == Target::End {
        return Ok(());
    }
    let replays_nothing = |system: &&String| words.system(system).is_some_and(|can| !can.point_in_time);
    if let Some(system) = given.backup.iter().find(replays_nothing) {
        return Err(format!(
            "a backup of {system} has no WAL to replay, so the recovery target can only be \"end\"; remove `target`, or \
             {system:?} from `given.backup`"
        ));
    }
    if !given.archive && given.streaming == Streaming::Off {
        return Err(
            "without `archive` or `streaming` there is no WAL to replay, so the recovery target can only be \
                    \"end\"; remove `target`, or keep WAL"
                .to_owned(),
        );
    }
    let damages = |fault: &Fault| {
        let is_clock = fault.action.needs() == Needs::OwnClock;
        fault.target == FaultTarget::Cluster && fault.at <= Moment::Failure && !is_clock
    };
    if scenario.recovery.target == Target::BeforeFault && !scenario.faults.iter().any(damages) {
        return Err(
            "the recovery target is \"before-fault\" and no [[fault]] damages the cluster at failure or before; \
                    add one, or aim elsewhere"
                .to_owned(),
        );
    }
    Ok(())
}

fn fault_target(scenario: &Scenario, target: FaultTarget, at: Moment) -> Result<(), String> {
    let given = &scenario.given;
    if at == Moment::BetweenBackups && given.backups < 2 {
        return Err(format!(
            "the fault happens between two backups and `given.backups` is {}; take more, or let it happen after them",
            given.backups
        ));
    }
    if at >= Moment::Restore && scenario.expect.outcome == Outcome::FalseAlarm {
        return Err(format!(
            "a false alarm ends before anything is restored, so nothing happens at {at}; expect another outcome, or \
             let the fault happen earlier"
        ));
    }
    match target {
        FaultTarget::Archive if !given.archive => Err(
            "the fault is aimed at the archive and `given.archive` is false; keep an archive, or aim elsewhere"
                .to_owned(),
        ),
        FaultTarget::Stream if given.streaming == Streaming::Off => Err(
            "the fault is aimed at the stream and `given.streaming` is \"off\"; stream WAL, or aim elsewhere"
                .to_owned(),
        ),
        FaultTarget::Backup(_) if at == Moment::BeforeBackups => Err(format!(
            "the fault is aimed at {target} before any backup was taken; let it happen later"
        )),
        FaultTarget::Backup(_) if given.backups == 0 => Err(format!(
            "the fault is aimed at {target} and `given.backups` is 0; take a backup, or aim elsewhere"
        )),
        FaultTarget::Backup(Which::Number(number)) if number > given.backups => Err(format!(
            "the fault is aimed at {target} and `given.backups` is {}; take more, or aim lower",
            given.backups
        )),
        FaultTarget::Restored if at < Moment::Restore => Err(format!(
            "at {at} nothing is restored yet; let the fault happen at restore or later"
        )),
        _ => Ok(()),
    }
}

/// Files that only some targets have.
fn fault_files(fault: &Fault) -> Result<(), String> {
    let Some(files) = &fault.files else { return Ok(()) };
    let holds_wal = matches!(fault.target, FaultTarget::Archive | FaultTarget::Stream);
    if files.segment.is_some() && !holds_wal {
        return Err("only the archive and the stream hold WAL segments by a backup; write a `path`".to_owned());
    }
    if files.relation.is_some() && holds_wal {
        return Err("the archive and the stream hold WAL and no relations; write a `path`".to_owned());
    }
    Ok(())
}

fn expectation(scenario: &Scenario) -> Result<(), String> {
    if scenario.expect.only && scenario.expect.detected_by.is_none() {
        return Err("`only` is about the checks in `detected_by`; list them".to_owned());
    }
    if scenario.given.backups == 0 && is_recovered(scenario.expect.outcome) {
        return Err(format!(
            "`given.backups` is 0, so the outcome cannot be {}; take a backup, or expect not-recovered",
            scenario.expect.outcome
        ));
    }
    check_expectations(scenario)?;
    let Some(rejected) = scenario.expect.rejected.filter(|rejected| *rejected > 0) else {
        return Ok(());
    };
    if scenario.expect.outcome == Outcome::FalseAlarm {
        return Err(format!(
            "a false alarm ends before backups are looked at, so none of them can be rejected, let alone {rejected}"
        ));
    }
    if rejected > scenario.given.backups {
        return Err(format!(
            "{rejected} backups shall be rejected and `given.backups` is {}; take more, or expect fewer",
            scenario.given.backups
        ));
    }
    Ok(())
}

/// What is expected of the course of a drill must be possible with the expected outcome.
fn check_expectations(scenario: &Scenario) -> Result<(), String> {
    let expect = &scenario.expect;
    let outcome = expect.outcome;
    let problem = match (expect.at_step, expect.tries) {
        (Some(_), _) if is_recovered(outcome) => {
            "a recovery ends at step 14; remove `at_step`, or expect another outcome".to_owned()
        }
        (Some(step), _) if outcome == Outcome::FalseAlarm && step != Step::Confirm => {
            "a false alarm ends at step 2, where it is found out; write `at_step = 2`".to_owned()
        }
        (Some(step), Some(1..)) if step < Step::ListBackups => {
            format!("a drill that ends at step {step} restores nothing; remove `tries`, or let it end later")
        }
        (_, Some(1..)) if outcome == Outcome::FalseAlarm => {
            "a false alarm ends before anything is restored; remove `tries`, or expect another outcome".to_owned()
        }
        _ if expect.least_commits.is_some() && scenario.given.commits == Some(0) => {
            "`given.commits` is 0, so nobody writes and nothing is acknowledged; remove `least_commits`".to_owned()
        }
        _ if !expect.answers.is_empty() && !is_recovered(outcome) && outcome != Outcome::FalseAlarm => {
            format!(
                "after {outcome} no cluster is in service that could answer; remove `answer`, or expect another outcome"
            )
        }
        _ => return Ok(()),
    };
    Err(problem)
}

/// A check that has nothing to look at cannot be expected to notice the damage.
fn detection(scenario: &Scenario, words: &Vocabulary<'_>) -> Result<(), String> {
    use CheckId::{
        AppIdentity, ArtifactAge, ArtifactReadable, BackupManifest, Isolation, NotificationDelivered, ReplayReachedEnd,
        WalContinuity,
    };
    let given = &scenario.given;
    let is_logical = |system: &String| words.system(system).is_some_and(|can| !can.physical);
    let all_logical = !given.backup.is_empty() && given.backup.iter().all(is_logical);
    let no_wal = !given.archive && given.streaming == Streaming::Off;
    let checks = scenario.expect.detected_by.as_deref().unwrap_or_default();
    for (index, check) in checks.iter().enumerate() {
        let after_step_2 = matches!(
            check,
            AppIdentity
                | ArtifactAge
                | ArtifactReadable
                | BackupManifest
                | Isolation
                | NotificationDelivered
                | ReplayReachedEnd
                | WalContinuity
        );
        let problem = match check {
            _ if checks[..index].contains(check) => "it stands there twice; remove one",
            _ if after_step_2 && scenario.expect.outcome == Outcome::FalseAlarm => {
                "a false alarm ends before it looks at anything; remove it, or expect another outcome"
            }
            BackupManifest | ReplayReachedEnd | WalContinuity if all_logical => {
                "a logical backup has no manifest and no WAL; remove it, or take another backup"
            }
            WalContinuity if no_wal => {
                "without `archive` or `streaming` there is no WAL to look at; remove it, or keep WAL"
            }
            _ => continue,
        };
        return Err(format!("{check} cannot notice the damage: {problem}"));
    }
    Ok(())
}
