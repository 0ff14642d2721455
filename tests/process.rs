//! A `drill` under way, and one that has ended.

use std::{
    fs::File,
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::terminal::pseudo_terminal;

/// Longer than any drill of the tests takes on a slow machine; beyond it something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);

/// What one stream has said so far.
#[derive(Debug, Default)]
struct Said {
    text: String,
    ended: bool,
}

#[derive(Debug, Clone, Default)]
struct Stream(Arc<(Mutex<Said>, Condvar)>);

impl Stream {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let stream = Self::default();
        let reader = stream.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096]; // not lines: a question does not end one
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..read]).into_owned();
                reader.change(|said| said.text.push_str(&text));
            }
            reader.change(|said| said.ended = true);
        });
        stream
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Waits until something holds of what was said; answers what was said, and whether it holds.
    fn wait(&self, patience: Duration, holds: impl Fn(&Said) -> bool) -> (String, bool) {
        let said = self.0.0.lock().unwrap();
        let (said, _) = self
            .0
            .1
            .wait_timeout_while(said, patience, |said| !holds(said))
            .unwrap();
        (said.text.clone(), holds(&said))
    }
}

/// A `drill` under way. It is killed if a trial fails before it has ended.
#[derive(Debug)]
pub struct Started {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

impl Started {
    /// Starts a command and listens to what it says.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Stream::read(child.stdout.take().unwrap());
        let stderr = Stream::read(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// As [`Started::start`], at a terminal of its own: what is written to the file is typed there.
    pub fn start_at_terminal(command: &mut Command) -> (Self, File) {
        let (keyboard, terminal) = pseudo_terminal();
        (Self::start(command.stdin(terminal)), keyboard)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said this on stderr.
    pub fn says(&self, what: &str) {
        let (said, holds) = self
            .stderr
            .wait(PATIENCE, |said| said.text.contains(what) || said.ended);
        assert!(holds && said.contains(what), "never said {what:?}, but:\n{said}");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, whatever it started.
    pub fn end(mut self) -> ExitStatus {
        self.wait()
    }

    /// Waits for its end, and for the end of what it says: a process that it left would still hold its streams.
    pub fn finish(mut self) -> Ran {
        let status = self.wait();
        let everything = |stream: &Stream| {
            let (said, ended) = stream.wait(Duration::from_secs(10), |said| said.ended);
            assert!(
                ended,
                "it has ended, and something that it started still holds its output; it said:\n{said}"
            );
            said
        };
        Ran {
            pid: self.pid(),
            code: status.code(),
            stdout: everything(&self.stdout),
            stderr: everything(&self.stderr),
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let (said, _) = self.stderr.wait(Duration::ZERO, |_| true);
            assert!(Instant::now() < deadline, "it hangs; it said:\n{said}");
            std::thread::sleep(Duration::from_millis(10)); // between two looks
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill(); // it may end just now
            let _ = self.child.wait();
        }
    }
}

/// A `drill` that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its process number.
    pub pid: u32,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Results.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl Ran {
    /// Asserts the exit code, and shows what was said if it is another.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "\nstdout:\n{stdout}\nstderr:\n{stderr}");
        self
    }

    /// Asserts that stderr says each of these.
    #[track_caller]
    pub fn complains(&self, of: &[&str]) -> &Self {
        for what in of {
            assert!(
                self.stderr.contains(what),
                "not a word about {what:?} in:\n{}",
                self.stderr
            );
        }
        self
    }
}
