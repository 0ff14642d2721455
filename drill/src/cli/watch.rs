//! `drill watch`: clears up after a `drill run` that cannot any more, whatever killed it.
//!
//! The run starts it and holds the writing end of a pipe. While the run lives, nothing comes; when it ends well, it says
//! so; when it is killed, the kernel closes the pipe. Then the watcher does what `drill doctor --clean` does, and ends. It
//! kills and removes nothing but what carries the marks of a run whose lock nobody holds (`postgres::sweep_stale`).

use std::{
    io::{self, Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::postgres;

/// What a run writes that has cleaned up by itself.
const DONE: &[u8] = b"done";
/// For so long something that the dead run had begun may still appear: a directory not locked yet, a container.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// Gives up after this time, whatever still appears.
const LONGEST: Duration = Duration::from_mins(1);
/// How often to look.
const TICK: Duration = Duration::from_millis(100);

/// A watcher that was started.
pub(super) struct Watcher(Child);

impl Watcher {
    /// Starts one, before anything is made that would have to be removed.
    ///
    /// # Errors
    /// If this executable cannot be started once more.
    pub(super) fn start() -> io::Result<Self> {
        Command::new(std::env::current_exe()?)
            .arg("watch")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// Ends it: everything is cleared up.
    pub(super) fn dismiss(mut self) {
        if let Some(mut line) = self.0.stdin.take() {
            let _ = line.write_all(DONE); // it was killed: then nobody watches
        }
        let _ = self.0.wait();
    }
}

/// Waits for the end of the run, and clears up where the run did not.
pub(super) fn watch() {
    let _ = rustix::process::setsid(); // of a session of its own, so that no terminal's signal reaches it
    postgres::remember_places(); // those that were named from here
    let _ = std::env::set_current_dir("/"); // and it keeps nobody's directory busy
    let mut said = Vec::new();
    let _ = io::stdin().lock().read_to_end(&mut said); // an error is an end as well
    if said == DONE {
        return;
    }
    let began = Instant::now();
    loop {
        let swept = postgres::sweep_stale();
        let quiet = swept.is_empty() && began.elapsed() >= AFTERMATH;
        if quiet || began.elapsed() >= LONGEST {
            return;
        }
        thread::sleep(TICK);
    }
}
