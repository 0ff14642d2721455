//! Refuses a scenario that contradicts itself.
//!
//! Only what can be told from the file alone: whether an expectation comes true is what a drill is for.

use reports::Outcome;

use super::{
    Action, Behaviour, Fault, FaultTarget, Moment, Scenario, ScenarioError, Streaming, Target, Which, reader::Source,
};

/// Where the parts of a file begin.
pub(super) struct Places {
    pub(super) recovery: usize,
    pub(super) faults: Vec<usize>,
    pub(super) expect: usize,
}

/// Checks everything.
pub(super) fn check(scenario: &Scenario, source: Source<'_>, places: &Places) -> Result<(), ScenarioError> {
    target(scenario).map_err(|problem| source.contradiction(places.recovery, problem))?;
    for (fault, start) in scenario.faults.iter().zip(&places.faults) {
        let problem = fault_target(scenario, fault.target, fault.at).and_then(|()| fault_action(scenario, fault));
        problem.map_err(|problem| source.contradiction(*start, problem))?;
    }
    expectation(scenario).map_err(|problem| source.contradiction(places.expect, problem))
}

fn target(scenario: &Scenario) -> Result<(), String> {
    let given = &scenario.given;
    if scenario.recovery.target == Target::End {
        return Ok(());
    }
    if given.backup.iter().any(|system| system == "dump") {
        return Err(
            "a dump has no WAL to replay, so the recovery target can only be \"end\"; \
                    remove `target`, or \"dump\" from `given.backup`"
                .to_owned(),
        );
    }
    if !given.archive && given.streaming == Streaming::Off {
        return Err(
            "without `archive` or `streaming` there is no WAL to replay, so the recovery target can only be \
                    \"end\"; remove `target`, or keep WAL"
                .to_owned(),
        );
    }
    if scenario.recovery.target == Target::BeforeFault && scenario.faults.is_empty() {
        return Err(
            "the recovery target is \"before-fault\" and there is no [[fault]]; add one, or aim elsewhere".to_owned(),
        );
    }
    Ok(())
}

fn fault_target(scenario: &Scenario, target: FaultTarget, at: Moment) -> Result<(), String> {
    let given = &scenario.given;
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

/// What a kind asks for beyond its target.
fn fault_action(scenario: &Scenario, fault: &Fault) -> Result<(), String> {
    let relation = fault.action.files().and_then(|files| files.relation.as_ref());
    match &fault.action {
        _ if relation.is_some() && matches!(fault.target, FaultTarget::Archive | FaultTarget::Stream) => {
            Err("the archive and the stream hold WAL and no relations; write a `path`".to_owned())
        }
        Action::SwapFile { .. } if !fault.target.is_cluster() => {
            Err("`swap-file` puts an older copy into a cluster; aim at cluster or restored".to_owned())
        }
        Action::Sql {
            role: None,
            refused: true,
            ..
        } => Err("nothing is refused to the superuser; name the `role` that must be refused".to_owned()),
        Action::FillDisk if scenario.given.storage_bytes.is_none() => {
            Err("`fill-disk` fills only a small filesystem of the cluster's own; set `given.storage_size`".to_owned())
        }
        Action::Clock { .. } if fault.at > Moment::Failure => Err(format!(
            "at {} the service's cluster is given up; step its clock at failure or before",
            fault.at
        )),
        Action::Service { does, after, times } => service(*does, fault, *after > 0 || times.is_some()),
        _ => Ok(()),
    }
}

fn service(does: Behaviour, fault: &Fault, counted: bool) -> Result<(), String> {
    let can = Behaviour::of(fault.target);
    if !can.contains(&does.name()) {
        return Err(format!(
            "{} can be {}, not {}",
            fault.target,
            can.join(", "),
            does.name()
        ));
    }
    if counted && !does.is_counted(fault.target) {
        return Err(format!(
            "{} of {} cannot be counted; remove `after` and `times`",
            does.name(),
            fault.target
        ));
    }
    Ok(())
}

fn expectation(scenario: &Scenario) -> Result<(), String> {
    if scenario.expect.only && scenario.expect.detected_by.is_none() {
        return Err("`only` is about the checks in `detected_by`; list them".to_owned());
    }
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
