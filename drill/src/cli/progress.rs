//! Progress on stderr: a live table of the fourteen steps on a terminal, one plain line a step elsewhere.
//!
//! It only listens to events; what it shows is what will be in the evidence.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use reports::{Event, Outcome, Step, Verdict, What, event::Part};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use super::{Output, ProgressChoice};

/// Shows how a run gets on.
pub(super) struct Show {
    mode: Mode,
    seeding: Mutex<Option<ProgressBar>>,
    views: Mutex<Vec<JoinHandle<()>>>,
}

enum Mode {
    /// A live table for one drill, a line a drill for several.
    Live {
        bars: MultiProgress,
        single: bool,
    },
    Plain {
        single: bool,
    },
    None,
}

impl Show {
    pub(super) fn new(output: &Output, drills: usize) -> Self {
        let single = drills == 1;
        let mode = match output.progress {
            _ if output.quiet => Mode::None,
            ProgressChoice::None => Mode::None,
            ProgressChoice::Auto if std::io::stderr().is_terminal() => Mode::Live {
                bars: MultiProgress::new(),
                single,
            },
            ProgressChoice::Auto | ProgressChoice::Plain => Mode::Plain { single },
        };
        Self {
            mode,
            seeding: Mutex::new(None),
            views: Mutex::default(),
        }
    }

    /// A line about the run as a whole.
    pub(super) fn line(&self, text: &str) {
        match &self.mode {
            Mode::Live { bars, .. } => {
                let _ = bars.println(text); // the terminal may be gone
            }
            Mode::Plain { .. } => eprintln!("{text}"),
            Mode::None => {}
        }
    }

    /// Progress of loading the seed; worth showing when it takes a while.
    pub(super) fn seeding(&self, progress: &fixtures::Progress) {
        let Mode::Live { bars, single: true } = &self.mode else {
            return;
        };
        let mut bar = self.seeding.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("   seed {bar:30} {pos}/{len} rows, {msg}");
            bars.add(ProgressBar::new(0))
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(progress.total_rows);
        bar.set_position(progress.rows);
        bar.set_message(HumanBytes(progress.bytes).to_string());
        if progress.rows >= progress.total_rows {
            bar.finish_and_clear();
        }
    }

    /// A channel for the events of one drill; what comes through it is shown.
    pub(super) fn watch(&self, drill: &str) -> UnboundedSender<Event> {
        let (sender, mut events) = unbounded_channel::<Event>();
        let mut view = match &self.mode {
            Mode::Live { bars, single: true } => View::Table(Table::new(bars.clone())),
            Mode::Live { bars, single: false } => {
                let bar = bars.add(spinner("{spinner} {prefix:28} {wide_msg}"));
                bar.set_prefix(drill.to_owned());
                View::Line(bar)
            }
            Mode::Plain { single: true } => View::Plain,
            Mode::Plain { single: false } => View::PlainSummary(drill.to_owned()),
            Mode::None => View::Nothing,
        };
        let view = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                view.show(&event);
            }
        });
        self.views.lock().unwrap_or_else(PoisonError::into_inner).push(view);
        sender
    }

    /// Everything is over: the last events are shown, live lines of many drills go, results follow on stdout.
    pub(super) async fn finish(&self) {
        let views = std::mem::take(&mut *self.views.lock().unwrap_or_else(PoisonError::into_inner));
        for view in views {
            let _ = tokio::time::timeout(Duration::from_secs(1), view).await; // showing is not worth waiting longer
        }
        if let Mode::Live { bars, single: false } = &self.mode {
            let _ = bars.clear(); // the terminal may be gone
        }
    }
}

enum View {
    Table(Table),
    Line(ProgressBar),
    Plain,
    PlainSummary(String),
    Nothing,
}

impl View {
    fn show(&mut self, event: &Event) {
        match self {
            Self::Table(table) => table.show(event),
            Self::Line(bar) => match &event.what {
                What::StepStarted { step, .. } => bar.set_message(step.to_string()),
                What::PartStarted { part } => bar.set_message(part_name(*part)),
                What::DrillFinished { outcome, error, .. } => {
                    bar.finish_with_message(end(*outcome, error.as_deref()));
                }
                _ => {}
            },
            Self::Plain => {
                if let Some(line) = line(event) {
                    eprintln!("{:>8.3} s  {line}", event.offset_ns as f64 / 1e9);
                }
            }
            Self::PlainSummary(drill) => {
                if let What::DrillFinished { outcome, error, .. } = &event.what {
                    let end = end(*outcome, error.as_deref());
                    eprintln!("{:>8.3} s  {drill}: {end}", event.offset_ns as f64 / 1e9);
                }
            }
            Self::Nothing => {}
        }
    }
}

/// The live table: what went before in one line, then a row a step.
struct Table {
    bars: MultiProgress,
    before: ProgressBar,
    steps: BTreeMap<u8, ProgressBar>,
}

impl Table {
    fn new(bars: MultiProgress) -> Self {
        let before = bars.add(spinner("{spinner} {wide_msg}"));
        Self {
            bars,
            before,
            steps: BTreeMap::new(),
        }
    }

    fn show(&mut self, event: &Event) {
        match &event.what {
            What::PartStarted { part } if self.steps.is_empty() => self.before.set_message(part_name(*part)),
            What::BackupTaken(_) | What::FaultInjected(_) | What::Seeded { .. } | What::CandidateRejected { .. } => {
                if let Some(line) = line(event) {
                    let _ = self.bars.println(format!("   {line}")); // the terminal may be gone
                }
            }
            What::StepStarted { step, attempt } => {
                self.before.finish_and_clear();
                let bar = self
                    .steps
                    .entry(step.number())
                    .or_insert_with(|| self.bars.add(spinner("{spinner} {wide_msg}")));
                bar.enable_steady_tick(Duration::from_millis(80));
                let again = if *attempt > 1 {
                    format!(" (attempt {attempt})")
                } else {
                    String::new()
                };
                bar.set_message(format!("{:>2} {}{again}", step.number(), step.name()));
            }
            What::StepFinished { step, .. } => {
                if let (Some(bar), Some(line)) = (self.steps.get(&step.number()), line(event)) {
                    bar.disable_steady_tick();
                    bar.set_style(plain("{wide_msg}"));
                    bar.finish_with_message(line);
                }
            }
            _ => {}
        }
    }
}

/// What a drill came to, in a word or an error.
fn end(outcome: Option<Outcome>, error: Option<&str>) -> String {
    let outcome = || outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
    error.map_or_else(outcome, str::to_owned)
}

fn spinner(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_style(plain(template));
    bar.enable_steady_tick(Duration::from_millis(80));
    bar
}

fn plain(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Setup => "setting up a disposable cluster",
        Part::Seed => "loading the seed data",
        Part::Services => "starting application and monitoring",
        Part::WorkloadAndBackups => "live writers and backups",
        Part::Failure => "breaking it",
        Part::Detection => "waiting for the alert",
        Part::Decision => "deciding",
        Part::Restore => "restoring",
        Part::Validation => "validating",
        Part::Cutover => "cutting over",
        Part::Teardown => "removing everything",
    }
}

/// One line for an event that people want to see while they wait.
fn line(event: &Event) -> Option<String> {
    Some(match &event.what {
        What::Seeded {
            scripts,
            versions,
            attachments,
            database_bytes,
        } => {
            let size = HumanBytes(*database_bytes);
            format!("seeded: {scripts} scripts, {versions} versions, {attachments} attachments, {size}")
        }
        What::WorkloadStarted { writers } => format!("{writers} live writers"),
        What::BackupTaken(backup) => format!("backup {}, {}", backup.id, HumanBytes(backup.bytes)),
        What::FaultInjected(fault) => format!("fault: {}", fault.summary),
        What::Failed => "the service has failed".to_owned(),
        What::CandidateRejected { backup_id, reason, .. } => format!("not {backup_id}: {reason}"),
        What::StepFinished {
            step,
            verdict,
            duration_ms,
            detail,
            ..
        } => {
            let mark = match verdict {
                Verdict::Pass => "✓",
                Verdict::Unknown => "?",
                Verdict::Fail => "✗",
            };
            let budget = match (step, step.budget_ms()) {
                (Step::Declare, _) | (_, None) => String::new(),
                (_, Some(budget)) => format!(" of {:.1} s", budget as f64 / 1e3),
            };
            let first = detail.lines().next().unwrap_or_default();
            format!(
                "{mark} {:>2} {:<26} {:>8.3} s{budget:<10} {first}",
                step.number(),
                step.name(),
                duration_ms / 1e3
            )
        }
        What::Undone { what, detail, .. } => format!("undone: {what}: {detail}"),
        What::Finding(finding) => format!("finding: {}", finding.text),
        What::DrillFinished { error: Some(error), .. } => format!("could not be carried out: {error}"),
        _ => return None,
    })
}
