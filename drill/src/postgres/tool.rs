//! Runs client programs (pg_basebackup, pg_dump, psql, other people's backup tools) as the server's account, with a clean
//! environment, in a process group that dies with us. Passwords travel in the environment, never on a command line, and
//! never reach an error message.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
};

use super::{Installation, ServerUser, UserError, files::last_lines};

/// What is kept of each output stream: its first and, when there is more, its last part.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
const STDERR_LINES: usize = 6;

/// One run of a program, prepared.
#[derive(Debug)]
pub struct Tool {
    program: PathBuf,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    current_dir: PathBuf,
    time_limit: Option<Duration>,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
}

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct ToolOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed; the middle is cut out beyond 8 MiB; empty when it went to a file.
    pub stdout: String,
    /// What it complained about, cut likewise.
    pub stderr: String,
    /// From start to end.
    pub duration: Duration,
    /// The command line, for messages.
    pub command: String,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot start {command}: check that the program is there and may be run")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no account to run it under.
    #[error("no account to run {command} under")]
    User {
        /// The command line.
        command: String,
        /// Why.
        source: UserError,
    },
    /// It ended with an error.
    #[error("{command} failed with {}: {}", status_text(*status), said(stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it said.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("{command} was killed after {} s without an end: {}", limit.as_secs_f64(), said(stderr))]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it had.
        limit: Duration,
        /// The last lines of what it said until then.
        stderr: String,
    },
    /// The system lost it.
    #[error("cannot wait for {command}")]
    Wait {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ToolError {
    /// The last lines of what the program said on stderr; empty when it never ran.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } | Self::TimedOut { stderr, .. } => stderr,
            Self::Start { .. } | Self::User { .. } | Self::Wait { .. } => "",
        }
    }

    /// The exit code; none when it did not run, or died of a signal.
    pub fn exit_code(&self) -> Option<i32> {
        if let Self::Failed { status, .. } = self {
            status.code()
        } else {
            None
        }
    }
}

fn said(stderr: &str) -> &str {
    if stderr.is_empty() {
        "it said nothing on stderr"
    } else {
        stderr
    }
}

fn status_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl Tool {
    /// A program of this PostgreSQL, by its name.
    pub fn new(installation: &Installation, name: &str) -> Self {
        Self::external(installation.tool(name))
    }

    /// Any other program.
    pub fn external(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            environment: Vec::new(),
            current_dir: "/".into(),
            time_limit: None,
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    /// One more argument. Arguments appear in messages: no secrets.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more environment variable; the place for passwords.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// More environment variables, such as [`super::Cluster::client_environment`].
    #[must_use]
    pub fn envs(self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        variables
            .into_iter()
            .fold(self, |tool, (name, value)| tool.env(name, value))
    }

    /// Where it runs; `/` unless said otherwise, which every account may enter.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.current_dir = directory.into();
        self
    }

    /// How long it may take before it is killed; no limit unless said otherwise.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Reads its stdin from an open file; nothing unless said otherwise.
    #[must_use]
    pub fn stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Sends its stdout into an open file instead of keeping it.
    #[must_use]
    pub fn stdout(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// Sends its stderr into an open file instead of keeping it.
    #[must_use]
    pub fn stderr(mut self, file: File) -> Self {
        self.stderr = Some(file);
        self
    }

    /// The command line, for messages and events. Environment variables are not part of it.
    pub fn command_line(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let parts = std::iter::once(name).chain(self.args.iter().map(OsString::as_os_str));
        parts
            .map(|part| quoted(&part.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it to its end; an exit code other than 0 is an error.
    pub async fn run(self) -> Result<ToolOutput, ToolError> {
        let output = self.output().await?;
        if output.status.success() {
            return Ok(output);
        }
        let stderr = last_lines(&output.stderr, STDERR_LINES);
        Err(ToolError::Failed {
            command: output.command,
            status: output.status,
            stderr,
        })
    }

    /// Runs it to its end, whatever its exit code.
    pub async fn output(self) -> Result<ToolOutput, ToolError> {
        self.spawn()?.wait().await
    }

    /// Starts it and returns; it dies with the [`RunningTool`].
    pub fn spawn(self) -> Result<RunningTool, ToolError> {
        let command_line = self.command_line();
        let user = match ServerUser::current() {
            Ok(user) => user,
            Err(source) => {
                return Err(ToolError::User {
                    command: command_line,
                    source,
                });
            }
        };
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.current_dir)
            .process_group(0)
            .kill_on_drop(true);
        clean_environment(command.as_std_mut());
        command.envs(self.environment);
        let stream = |file: Option<File>| file.map_or_else(Stdio::piped, Stdio::from);
        command.stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(stream(self.stdout)).stderr(stream(self.stderr));
        user.apply(&mut command);
        let started = Instant::now();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(source) => {
                return Err(ToolError::Start {
                    command: command_line,
                    source,
                });
            }
        };
        Ok(RunningTool {
            group: child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())),
            stdout: child.stdout.take().map(|stream| tokio::spawn(keep(stream))),
            stderr: child.stderr.take().map(|stream| tokio::spawn(keep(stream))),
            child,
            command: command_line,
            started,
            time_limit: self.time_limit,
        })
    }
}

/// A program at work. Dropping it kills it and what it started.
#[derive(Debug)]
pub struct RunningTool {
    child: Child,
    group: Option<Pid>,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    command: String,
    started: Instant,
    time_limit: Option<Duration>,
}

impl RunningTool {
    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to it and what it started, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if let (true, Some(group)) = (self.is_running(), self.group) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for its end, within its time limit.
    pub async fn wait(mut self) -> Result<ToolOutput, ToolError> {
        let ended = match self.time_limit {
            None => Some(self.child.wait().await),
            Some(limit) => tokio::time::timeout(limit.saturating_sub(self.started.elapsed()), self.child.wait())
                .await
                .ok(),
        };
        let duration = self.started.elapsed();
        if ended.is_none() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        let (stdout, stderr) = (finish(self.stdout.take()).await, finish(self.stderr.take()).await);
        let command = std::mem::take(&mut self.command);
        match ended {
            Some(Ok(status)) => Ok(ToolOutput {
                status,
                stdout,
                stderr,
                duration,
                command,
            }),
            Some(Err(source)) => Err(ToolError::Wait { command, source }),
            None => {
                let limit = self.time_limit.unwrap_or_default();
                Err(ToolError::TimedOut {
                    command,
                    limit,
                    stderr: last_lines(&stderr, STDERR_LINES),
                })
            }
        }
    }

    /// Asks it to end with a signal, kills it after `patience`, and answers how it ended.
    pub async fn stop(mut self, signal: Signal, patience: Duration) -> Result<ToolOutput, ToolError> {
        self.signal(signal);
        if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
        }
        self.time_limit = None;
        self.wait().await
    }
}

impl Drop for RunningTool {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Takes out of a command's environment what would change where PostgreSQL's programs connect to, or their language.
pub(super) fn clean_environment(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env_remove("LANGUAGE").env("LC_ALL", "C").env("TZ", "UTC");
}

/// What a reader made of a stream. A grandchild that outlives the program may hold the stream open: it is not waited for.
async fn finish(reader: Option<JoinHandle<String>>) -> String {
    let Some(mut reader) = reader else { return String::new() };
    if let Ok(kept) = tokio::time::timeout(Duration::from_secs(2), &mut reader).await {
        return kept.unwrap_or_default();
    }
    reader.abort();
    String::new()
}

/// Reads a stream to its end and keeps its first and last part.
async fn keep(mut stream: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut cut) = (Vec::new(), 0_usize);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > KEPT_BYTES {
            let excess = kept.len() - KEPT_BYTES;
            kept.drain(KEPT_BYTES / 2..KEPT_BYTES / 2 + excess);
            cut += excess;
        }
    }
    if cut == 0 {
        return String::from_utf8_lossy(&kept).into_owned();
    }
    let (first, last) = kept.split_at(KEPT_BYTES / 2);
    format!(
        "{}\n[{cut} bytes cut]\n{}",
        String::from_utf8_lossy(first),
        String::from_utf8_lossy(last)
    )
}

/// As a shell would need it, so that the line can be copied.
fn quoted(part: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    if !part.is_empty() && part.chars().all(plain) {
        part.to_owned()
    } else {
        format!("'{}'", part.replace('\'', r"'\''"))
    }
}

/// Opens a file for a program's output, at its end, creating it if need be.
pub(super) fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::external("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn what_it_printed_and_how_it_ended() {
        let output = shell("echo out; echo err >&2; exit 3").output().await.unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str(), output.status.code()),
            ("out\n", "err\n", Some(3))
        );
    }

    #[tokio::test]
    async fn a_failure_shows_command_code_and_last_words_but_no_secret() {
        let tool = shell("echo first; echo 'it broke' >&2; exit 7").env("PGPASSWORD", "open sesame");
        let error = tool.run().await.unwrap_err();
        let expected = "sh -c 'echo first; echo '\\''it broke'\\'' >&2; exit 7' failed with exit code 7: it broke";
        assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, Some(7)));
    }

    #[tokio::test]
    async fn the_environment_is_clean_but_for_what_is_given() {
        let output = shell("echo $PGHOST-$LC_ALL-$PGUSER")
            .env("PGUSER", "auditor")
            .run()
            .await
            .unwrap();
        assert_eq!(output.stdout, "-C-auditor\n");
    }

    #[tokio::test]
    async fn a_time_limit_kills_the_whole_family() {
        let begun = Instant::now();
        let error = shell("echo waiting >&2; sleep 60 & wait")
            .time_limit(Duration::from_millis(300))
            .run()
            .await
            .unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(
            matches!(&error, ToolError::TimedOut { stderr, .. } if stderr == "waiting"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = Tool::external("/nowhere/pg_dump")
            .arg("x y")
            .run()
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "cannot start pg_dump 'x y': check that the program is there and may be run"
        );
    }

    #[tokio::test]
    async fn endless_output_is_bounded() {
        let output = shell("head -c 20000000 /dev/zero | tr '\\0' x; echo end")
            .run()
            .await
            .unwrap();
        assert!(output.stdout.len() < KEPT_BYTES + 100 && output.stdout.ends_with("xend\n"));
    }
}
