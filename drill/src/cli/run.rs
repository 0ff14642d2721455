//! `drill run`: chooses scenarios, finds PostgreSQL, carries the drills out, writes the reports, says how it went.

use std::{io::IsTerminal as _, num::NonZeroUsize, path::Path, sync::Arc};

use rand::RngExt as _;
use reports::{DrillEvidence, Verdict};

use super::{Failure, Outcome, Output, progress::Show};
use crate::{
    operator::OperatorMode,
    postgres::{self, ContainerError, ContainerOptions, Limits, Request},
    run,
    state::{Assignment, Interrupt, LEFT_RUNNING, Options, Parts},
};

mod args;
mod evidence_dir;
mod planning;

use args::OperatorArg;
pub(super) use args::RunArgs;
use evidence_dir::EvidenceDir;

pub(super) async fn run(args: RunArgs, output: &Output, parts: &Arc<Parts>, interrupt: &Interrupt) -> Outcome {
    let planned = planning::planned(&args, parts)?;
    if args.dry_run {
        planning::print(&args, &planned, parts)?;
        return Ok(reports::exit::AS_EXPECTED);
    }
    if args.operator == OperatorArg::Ask && !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "--operator ask needs somebody at a terminal, and standard input is none: start it in a terminal, or leave \
             the decisions to drill with --operator auto",
        ));
    }
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000_000));
    let run_id = format!(
        "{}-{:04x}",
        chrono::Utc::now().format("%Y%m%dT%H%M%SZ"),
        rand::random::<u16>()
    );
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("drill-runs").join(&run_id));
    let drills = planned.iter().filter(|drill| drill.skipped.is_none()).count();
    let jobs = args
        .jobs
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get)
        .clamp(1, drills.max(1));
    let show = Arc::new(Show::new(output, drills));
    let out = EvidenceDir::create(&out)?;

    clean_up_after_the_dead(&show);
    let request = Request {
        provider: args.provider,
        major: args.postgres,
        bindir: args.bindir.clone(),
        containers: ContainerOptions {
            image: args.image.clone(),
            limits: Limits {
                memory_bytes: args.container_memory.map(|size| size.as_u64()),
                millicpus: args.container_cpus,
            },
        },
    };
    let teller = Arc::clone(&show);
    let telling = move |message: &str| teller.line(message);
    let installation = postgres::locate(&request, &telling).await.map_err(locate_failure)?;
    let plan = planning::plan(&run_id, &planned);
    plan.write(out.path()).map_err(|error| {
        let out = out.path().display();
        Failure::execution(format!("cannot write the plan of the run into {out} ({error})"))
    })?;
    show.line(&format!(
        "run {run_id}, seed {seed}, PostgreSQL {} ({}), evidence in {}",
        installation.version,
        installation.provider,
        out.path().display()
    ));
    for note in &installation.notes {
        show.line(&format!("note: {note}"));
    }
    for drill in &planned {
        if let Some(why) = &drill.skipped {
            show.line(&format!("{} is left out: {why}", drill.name));
        }
    }

    let seeding = Arc::clone(&show);
    let options = Options {
        parts: Arc::clone(parts),
        run_id,
        out: out.path().to_owned(),
        seed,
        seed_is_chosen: args.seed.is_some(),
        service: args.service.clone(),
        config_store: args.config_store.clone(),
        app_control: args.app_control.clone(),
        monitor: args.monitor.clone(),
        sizing: planning::sizing(&args),
        commits: args.commits,
        writers: args.writers,
        rpo: args.rpo,
        rto: args.rto,
        operator: if args.operator == OperatorArg::Ask {
            OperatorMode::Ask(show.terminal())
        } else {
            OperatorMode::Auto
        },
        interrupt: interrupt.clone(),
        keep: args.keep,
        show_values: args.show_values,
        seeding: Some(Arc::new(move |progress| seeding.seeding(&progress))),
    };
    let carried_out = planned
        .iter()
        .filter(|drill| drill.skipped.is_none())
        .map(|drill| Assignment {
            scenario: &drill.scenario,
            system: &drill.system,
            name: drill.name.clone(),
            installation: &installation,
            storage: drill.storage,
            again: planning::repeat_command(&args, drill, options.of_drill(&drill.scenario.given).seed),
        });
    let evidence = run::drills(carried_out.collect(), &options, jobs, show.as_ref()).await;
    let evidence = evidence.map_err(Failure::execution).inspect_err(|_| out.withdraw())?;
    let evidence = evidence.of_plan(plan);
    let written = reports::write(out.path(), &evidence, reports::Format::ALL);
    show.finish();
    for drill in evidence.worst_first() {
        say!("{}", summary(drill, drills));
        let particulars = drill.particulars().into_iter().filter(|_| drills == 1);
        particulars.for_each(|one| say!("  - {}", one.text));
        let findings = drill.findings.iter().map(|finding| &finding.text);
        let kept = findings.filter(|text| text.starts_with(LEFT_RUNNING));
        kept.for_each(|how| say!("{how}"));
    }
    for broken in &evidence.unreadable {
        say!("UNVERIFIED    {:<28} {}", broken.drill, broken.problem);
    }
    if !evidence.skipped.is_empty() {
        let names: Vec<&str> = evidence.skipped.iter().map(|drill| drill.drill.as_str()).collect();
        say!(
            "Left out, because this machine cannot carry them out: {}",
            names.join(", ")
        );
    }
    if let Some(error) = written.errors.into_iter().next() {
        return Err(Failure::execution(error)); // instead of a report that is not there
    }
    say!("Report: {}", out.path().join("report.md").display());
    Ok(evidence.exit_code())
}

/// Removes what killed runs left.
fn clean_up_after_the_dead(show: &Show) {
    for left in postgres::sweep_stale() {
        show.line(&format!("removed what a killed run had left: {}", left.path.display()));
    }
}

/// Wrong versions and directories are usage errors (2); what this machine cannot do is none (3).
fn locate_failure(error: postgres::LocateError) -> Failure {
    use postgres::LocateError::{Conflict, Container, ImageConflict, Incomplete, WrongMajor};
    match error {
        Container { source, .. } if matches!(*source, ContainerError::WrongMajor { .. }) => Failure::usage(*source),
        Incomplete { .. } | WrongMajor { .. } | Conflict(_) | ImageConflict(_) => Failure::usage(error),
        _ => Failure::execution(error),
    }
}

/// One drill in a line or two on stdout.
fn summary(drill: &DrillEvidence, drills: usize) -> String {
    let headline = drill.headline();
    if drills == 1 {
        return headline;
    }
    let mark = match drill.verdict {
        Verdict::Pass => "as expected ",
        Verdict::Fail => "NOT EXPECTED",
        Verdict::Unknown => "UNVERIFIED  ",
    };
    format!("{mark}  {:<28} {headline}", drill.header.drill)
}
