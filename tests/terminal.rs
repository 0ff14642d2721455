//! A `drill` at a terminal of its own: what is typed there, and what an emulator shows of what it writes.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::process::PATIENCE;

/// Rows and columns of a terminal of the usual size.
pub const SIZE: (u16, u16) = (24, 80);
/// More rows than any drill writes.
const SCROLLBACK: usize = 10_000;

/// Both ends of a terminal: the one that people sit at, and the one for a process.
pub(crate) fn pseudo_terminal() -> (File, File) {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    (File::from(keyboard), terminal)
}

/// A command under way at a terminal. It is killed if a trial fails before it has ended.
pub struct Terminal {
    child: Child,
    keyboard: File,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

struct Seen {
    emulator: vt100::Parser,
    written: String,
    screens: Vec<Vec<String>>,
    wrapped: BTreeSet<String>,
    ended: bool,
}

impl Terminal {
    /// Starts a command at a terminal of so many rows and columns: input, output and errors are there.
    pub fn start(mut command: Command, (rows, columns): (u16, u16)) -> Self {
        let (keyboard, terminal) = pseudo_terminal();
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        command.env_remove("COLUMNS").env("TERM", "xterm-256color");
        command.stdin(terminal.try_clone().unwrap());
        command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
        let child = command.spawn().unwrap();
        drop(command); // it holds the terminal, whose end would not be seen
        let seen = Seen {
            emulator: vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), SCROLLBACK),
            written: String::new(),
            screens: Vec::new(),
            wrapped: BTreeSet::new(),
            ended: false,
        };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let (mut from, to) = (keyboard.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                to.0.lock().unwrap().show(&chunk[..read]);
                to.1.notify_all();
            }
            to.0.lock().unwrap().ended = true;
            to.1.notify_all();
        });
        Self { child, keyboard, seen }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types this.
    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until something was written so many times, however it is shown.
    pub fn writes(&self, what: &str, times: usize) {
        self.waits(what, |seen| seen.written.matches(what).count() >= times);
    }

    /// Waits until a row of the screen is such.
    pub fn shows(&self, what: &str, is_such: impl Fn(&str) -> bool) {
        self.waits(what, |seen| seen.rows().iter().any(|row| is_such(row)));
    }

    /// Waits for the command's end, and answers its exit code.
    pub fn ends(&mut self) -> Option<i32> {
        self.waits("its end", |seen| seen.ended);
        self.child.wait().unwrap().code()
    }

    /// Everything that was written, as it was.
    pub fn written(&self) -> String {
        self.seen().written.clone()
    }

    /// Each screen that there was to be seen, as rows without blanks at their ends.
    pub fn screens(&self) -> Vec<Vec<String>> {
        self.seen().screens.clone()
    }

    /// Each row that was too wide at any moment, and went on in the next.
    pub fn wrapped(&self) -> BTreeSet<String> {
        self.seen().wrapped.clone()
    }

    /// The rows of the screen now.
    pub fn screen(&self) -> Vec<String> {
        self.seen().rows()
    }

    /// Everything that can be scrolled back to, the screen at its end, without blank rows there.
    pub fn scrolled_back(&self) -> Vec<String> {
        self.seen().scrolled_back()
    }

    /// Whether the cursor can be seen.
    pub fn shows_cursor(&self) -> bool {
        !self.seen().emulator.screen().hide_cursor()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().unwrap()
    }

    fn waits(&self, what: &str, until: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen();
        while !until(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            let goes_on = !left.is_zero() && !seen.ended;
            assert!(goes_on, "never saw {what}, but:\n{}", seen.scrolled_back().join("\n"));
            (seen, _) = self
                .seen
                .1
                .wait_timeout(seen, left.min(Duration::from_secs(1)))
                .unwrap();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill(); // it may end just now
            let _ = self.child.wait();
        }
    }
}

impl Seen {
    fn show(&mut self, written: &[u8]) {
        self.emulator.process(written);
        self.written.push_str(&String::from_utf8_lossy(written));
        let rows = self.rows();
        let goes_on = |row: &usize| self.emulator.screen().row_wrapped(u16::try_from(*row).unwrap());
        let wrapped = (0..rows.len()).filter(goes_on).map(|row| rows[row].clone());
        self.wrapped.extend(wrapped);
        if self.screens.last() != Some(&rows) {
            self.screens.push(rows);
        }
    }

    fn rows(&self) -> Vec<String> {
        let screen = self.emulator.screen();
        let rows = screen.rows(0, screen.size().1.get());
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    fn scrolled_back(&self) -> Vec<String> {
        let mut screen = self.emulator.screen().clone();
        let columns = screen.size().1.get();
        let mut rows = Vec::new();
        for above in (1..=screen.scrollback_len()).rev() {
            screen.set_scrollback(above);
            rows.extend(screen.rows(0, columns).next());
        }
        rows.extend(self.rows());
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }
}
