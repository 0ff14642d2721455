//! Progress on stderr: a live table on a terminal, one plain line a step elsewhere.
//!
//! It only listens to events; what it shows is what will be in the evidence. What has happened is printed once and stays;
//! what is under way is a few rows below that, drawn again and again (`progress/screen.rs`): for one drill the step that
//! runs (`progress/table.rs`), for several the tally and the drills that run (`progress/board.rs`).

use std::{
    io::{Stderr, Write},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    task::Poll,
    time::{Duration, Instant},
};

use reports::{DrillEvidence, Event, What};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Output, ProgressChoice};
use crate::{operator::Terminal, run::Watch, service::Progress};

mod board;
mod screen;
mod table;
mod words;

use board::Board;
use screen::{Screen, Size};
use table::Table;

/// How often what is under way is drawn again.
const REDRAWN_EVERY: Duration = Duration::from_millis(100);
/// What is shown now: log lines must not run into it.
static SHOWN: OnceLock<Weak<Shown>> = OnceLock::new();

/// Shows how a run gets on. Once it is dropped nothing more is shown, and the terminal is clear for what follows.
pub(super) struct Show(Arc<Shown>);

struct Shown {
    state: Mutex<State>,
    feeds: Mutex<Vec<Arc<Mutex<Feed>>>>,
}

struct State {
    view: View,
    screen: Screen<Stderr>,
}

enum View {
    /// One drill, live.
    Table(Table),
    /// Several drills, live.
    Board(Board),
    /// A line for each event of one drill.
    Plain,
    /// A line for each of several drills that has ended.
    PlainSummary,
    Nothing,
}

/// The events of one drill that were not shown yet.
struct Feed {
    drill: String,
    events: UnboundedReceiver<Event>,
}

impl Show {
    pub(super) fn new(output: &Output, drills: usize) -> Self {
        let live = output.progress == ProgressChoice::Auto && screen::can_be_redrawn();
        let view = match output.progress {
            _ if output.quiet => View::Nothing,
            ProgressChoice::None => View::Nothing,
            _ if live && drills == 1 => View::Table(Table::new()),
            _ if live => View::Board(Board::new(drills)),
            _ if drills == 1 => View::Plain,
            _ => View::PlainSummary,
        };
        let screen = Screen::new(std::io::stderr(), live);
        let shown = Arc::new(Shown {
            state: Mutex::new(State { view, screen }),
            feeds: Mutex::default(),
        });
        let _ = SHOWN.set(Arc::downgrade(&shown)); // a process shows one run
        if live {
            tokio::spawn(redraw(Arc::downgrade(&shown)));
        }
        Self(shown)
    }

    /// A line about the run as a whole.
    pub(super) fn line(&self, text: &str) {
        let mut state = self.0.state();
        if !matches!(state.view, View::Nothing) {
            state.print(&format!("{text}\n"));
        }
    }

    /// Progress of loading the seed; worth showing when it takes a while.
    pub(super) fn seeding(&self, progress: &Progress) {
        if let View::Table(table) = &mut self.0.state().view {
            table.seeding(progress);
        }
    }

    /// The terminal that is suspended for questions.
    pub(super) fn terminal(&self) -> Arc<dyn Terminal> {
        Arc::clone(&self.0) as _
    }

    /// Everything is over: the last events are shown, and what was live goes; results follow on stdout.
    pub(super) fn finish(&self) {
        self.0.catch_up();
        let mut state = self.0.state();
        // Nothing is live any more: the tally that stays takes the place of the one that was drawn again and again.
        if let View::Board(board) = std::mem::replace(&mut state.view, View::Nothing) {
            state.show(&[board.tally()]);
        }
        state.screen.close();
    }
}

impl Watch for Show {
    fn begins(&self, drill: &str) -> Option<UnboundedSender<Event>> {
        let (sender, events) = unbounded_channel::<Event>();
        let drill = drill.to_owned();
        if let View::Board(board) = &mut self.0.state().view {
            board.begins(&drill);
        }
        let feed = Arc::new(Mutex::new(Feed { drill, events }));
        locked(&self.0.feeds).push(Arc::clone(&feed));
        tokio::spawn(follow(Arc::downgrade(&self.0), feed));
        Some(sender)
    }

    fn ended(&self, drill: &str, evidence: Option<&DrillEvidence>) {
        self.0.catch_up();
        let mut state = self.0.state();
        if let View::Board(board) = &mut state.view {
            let rows = board.ended(drill, evidence);
            state.show(&rows);
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.0.state().screen.close(); // an interrupted run has not finished
    }
}

impl Shown {
    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Shows every event that was recorded by now.
    fn catch_up(&self) {
        for feed in &*locked(&self.feeds) {
            let mut feed = locked(feed);
            while let Ok(event) = feed.events.try_recv() {
                self.state().event(&feed.drill, &event);
            }
        }
    }
}

impl Terminal for Shown {
    fn suspend(&self) {
        self.catch_up();
        self.state().screen.suspend();
    }

    fn resume(&self) {
        let mut state = self.state();
        state.screen.resume();
        state.show(&[]);
    }

    fn columns(&self) -> usize {
        screen::size().columns
    }
}

impl State {
    fn event(&mut self, drill: &str, event: &Event) {
        let rows = match &mut self.view {
            View::Table(table) => table.event(event),
            View::Board(board) => {
                board.event(drill, event);
                Vec::new()
            }
            View::Plain => words::line(event).into_iter().collect(),
            View::PlainSummary => match &event.what {
                What::DrillFinished { outcome, error, .. } => {
                    vec![format!("{drill}: {}", words::end(*outcome, error.as_deref()))]
                }
                _ => Vec::new(),
            },
            View::Nothing => Vec::new(),
        };
        match &self.view {
            View::Plain | View::PlainSummary => {
                for row in rows {
                    let text = format!("{:>8.3} s  {row}\n", event.offset_ns as f64 / 1e9);
                    self.print(&text);
                }
            }
            View::Table(_) | View::Board(_) if !rows.is_empty() => self.show(&rows),
            _ => {} // what is under way is drawn soon enough
        }
    }

    /// Prints text above what is under way, as wide as it is.
    fn print(&mut self, text: &str) {
        let size = screen::size();
        let live = self.live(size);
        self.screen.show(text, &live, size);
    }

    /// Prints rows above what is under way, each cut to the terminal's width, and draws what is under way again.
    fn show(&mut self, rows: &[String]) {
        let size = screen::size();
        let cut: String = rows.iter().map(|row| screen::cut(row, size.columns) + "\n").collect();
        let live = self.live(size);
        self.screen.show(&cut, &live, size);
    }

    fn live(&self, size: Size) -> Vec<String> {
        match &self.view {
            View::Table(table) => table.live(),
            View::Board(board) => board.live(size.rows),
            View::Plain | View::PlainSummary | View::Nothing => Vec::new(),
        }
    }
}

/// Shows what comes through until the drill has nothing more to say.
async fn follow(shown: Weak<Shown>, feed: Arc<Mutex<Feed>>) {
    std::future::poll_fn(|context| {
        let Some(shown) = shown.upgrade() else {
            return Poll::Ready(());
        };
        let mut feed = locked(&feed); // never across an await: whoever catches up needs it
        loop {
            match feed.events.poll_recv(context) {
                Poll::Ready(Some(event)) => shown.state().event(&feed.drill, &event),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// Draws what is under way for as long as there is somebody to show it.
async fn redraw(shown: Weak<Shown>) {
    let mut every = tokio::time::interval(REDRAWN_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        every.tick().await;
        match shown.upgrade() {
            Some(shown) => shown.state().show(&[]),
            None => return,
        }
    }
}

/// A panic elsewhere is no reason to show nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where log lines go: above what is under way, and not into a question.
pub(super) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        match SHOWN.get().and_then(Weak::upgrade) {
            Some(shown) => shown.state().print(&String::from_utf8_lossy(line)),
            None => std::io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// How far away a moment is, for people who wait: `7 s`, `1 min 3 s`, `2 h 5 min`.
fn since(moment: Instant) -> String {
    let seconds = moment.elapsed().as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
