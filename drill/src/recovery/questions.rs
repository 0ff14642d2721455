//! What a person is asked in steps 2, 4, 9 and 14: what is known by then, and what a yes and a no lead to.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reports::{
    Step,
    event::LedgerComparison,
    text::{lasting, millis},
};

use crate::{
    backup::planner::{Candidate, Plan},
    operator::Question,
    state::Drill,
};

use super::{examine::Look, prepared::Prepared, repair::Repair};

/// Step 2: nothing that is there can be kept.
pub(super) fn give_up(drill: &Drill, look: &Look) -> Question {
    let mut known = look.symptoms_in_words();
    known.push(since_the_failure(drill));
    Question {
        step: Step::Confirm,
        known,
        asks: "Give the database up and restore it?".to_owned(),
        yes: "The failed server is kept from serving, the writers stop, and a backup is restored into a new server (steps 3 \
              to 8). What neither a backup nor the WAL that is kept holds is lost."
            .to_owned(),
        no: "Nothing is restored. The recovery ends here, as refused, and the service stays as it is.".to_owned(),
    }
}

/// Step 2: after a restart the last commits are missing, and no restore would bring them back.
pub(super) fn accept_loss(told: &str, where_to: &str) -> Question {
    Question {
        step: Step::Confirm,
        known: vec![format!("After crash recovery: {told}{where_to}")],
        asks: "Accept the loss, and restore nothing?".to_owned(),
        yes: "The database that came out of crash recovery stays in service, without the commits that are missing. It is \
              asked next whether the service is restored (step 14)."
            .to_owned(),
        no: "It counts as damaged, and it is asked next whether it is given up for a backup.".to_owned(),
    }
}

/// Step 2: everything that is wrong could be put right without a restore.
pub(super) fn repair(look: &Look, repairs: &BTreeSet<Repair>) -> Question {
    let repairs: Vec<_> = repairs.iter().map(ToString::to_string).collect();
    Question {
        step: Step::Confirm,
        known: look.symptoms_in_words(),
        asks: "Repair it where it is?".to_owned(),
        yes: format!(
            "This is done: {}. Then everything is looked at again; what is not well by then counts as damaged.",
            repairs.join("; ")
        ),
        no: "Nothing is repaired, and it is asked next whether the database is given up for a backup.".to_owned(),
    }
}

/// Steps 2 and 8: a prepared transaction keeps the application from writing.
pub(super) fn roll_back(step: Step, cluster: &str, prepared: &Prepared, told: &str) -> Question {
    Question {
        step,
        known: vec![format!("{cluster} has {told}.")],
        asks: "Roll it back? What it did is lost then.".to_owned(),
        yes: format!(
            "ROLLBACK PREPARED {:?} is carried out, and a finding tells whoever coordinates the transaction.",
            prepared.gid()
        ),
        no: "The transaction stays, and so do its locks; a finding says so.".to_owned(),
    }
}

/// Step 4: which backup is restored, how far it reaches, and what that leaves out.
pub(super) fn restore(drill: &Drill, detail: &str, best: &Candidate, plan: &Plan) -> Question {
    let info = &best.backup.info;
    let taken = at(info.taken_at_utc);
    let mut known = vec![format!("{}: {}, taken at {taken}", info.id, info.method)];
    let reach = best.reach.map(|lsn| format!("it can be proven to reach {lsn}"));
    let reach = reach.unwrap_or_else(|| "how far it reaches cannot be proven beforehand".to_owned());
    let rpo = lasting(drill.desk.objectives.rpo);
    known.push(match (plan.age, plan.within_rpo) {
        (Some(age), within) => format!(
            "{reach}; its last commit is from {} before the failure: what was committed after that is lost, and the RPO \
             of {rpo} is {}",
            millis(age.num_milliseconds().max(0).cast_unsigned()),
            if within { "kept" } else { "missed" }
        ),
        (None, true) => reach,
        (None, false) => format!("{reach}, and the RPO of {rpo} is missed"),
    });
    let unusable = plan.rejected.iter().filter(|rejection| rejection.unusable);
    known.extend(unusable.map(|rejection| format!("not {}: {rejection}", rejection.backup_id)));
    Question {
        step: Step::ChooseBackup,
        known,
        asks: format!("Restore {detail}?"),
        yes: "It is restored into a new server and validated there (steps 5 to 8). Neither the failed server nor the \
              application is touched by that."
            .to_owned(),
        no: "Nothing is restored. The recovery ends here, as refused.".to_owned(),
    }
}

/// Step 9: the one commit point.
pub(super) fn switch(drill: &Drill, ledger: Option<&LedgerComparison>) -> Question {
    Question {
        step: Step::UpdateConnection,
        known: vec![
            "the restored data is valid".to_owned(),
            lost(ledger),
            since_the_failure(drill),
        ],
        asks: "Switch the application over to it?".to_owned(),
        yes: "The connection string points to the restored server, and the application is restarted on it (steps 10 to 13). \
              If one of these steps fails, the connection string is put back."
            .to_owned(),
        no: "The application is not switched. The recovery ends here, as refused.".to_owned(),
    }
}

/// Step 14: the end.
pub(super) fn declare(drill: &Drill, ledger: Option<&LedgerComparison>) -> Question {
    Question {
        step: Step::Declare,
        known: vec![lost(ledger), since_the_failure(drill)],
        asks: "Declare the service restored?".to_owned(),
        yes: "The recovery is over, and its time is what has passed since the failure.".to_owned(),
        no: "The recovery ends as not recovered. Nothing is undone: what serves now goes on serving.".to_owned(),
    }
}

fn since_the_failure(drill: &Drill) -> String {
    let (began, began_utc) = drill.incident.outage_began();
    let passed = lasting(drill.desk.recorder.offset().saturating_sub(began));
    let (since, rto) = (at(began_utc), lasting(drill.desk.objectives.rto));
    format!("failing since {since}, for {passed}; the RTO is {rto}")
}

fn at(moment: DateTime<Utc>) -> impl std::fmt::Display {
    moment.format("%H:%M:%S UTC")
}

fn lost(ledger: Option<&LedgerComparison>) -> String {
    let Some(ledger) = ledger else {
        return "what is lost cannot be proven".to_owned();
    };
    let (lost, all) = (ledger.lost_commits, ledger.acknowledged_commits);
    let told = match lost {
        0 => format!("none of the {all} acknowledged commits is lost"),
        _ => format!(
            "{lost} of {all} acknowledged commits are lost, those of {:.3} s",
            ledger.data_loss_window_ms() as f64 / 1e3
        ),
    };
    match ledger.commits_beyond_target {
        0 => told,
        beyond => format!("{told}; {beyond} after the recovery target are given up"),
    }
}
