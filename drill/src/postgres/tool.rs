//! Runs client programs (pg_basebackup, pg_dump, psql, other people's backup tools) as the server's account, with a clean
//! environment, in a process group that dies with us. Passwords travel in the environment, never on a command line, and
//! never reach an error message.

mod error;
mod running;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use tokio::process::Command;

use self::running::Body;
pub(super) use self::running::keep;
pub use self::{
    error::ToolError,
    running::{RunningTool, ToolOutput},
};
use super::{
    Cluster, Installation, ServerUser,
    container::{Call, Containers, Exec, Sink},
    progress,
};

const STDERR_LINES: usize = 6;

/// One run of a program, prepared.
#[derive(Debug)]
pub struct Tool {
    program: PathBuf,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    current_dir: PathBuf,
    time_limit: Option<Duration>,
    patience: Duration,
    server: Option<u32>,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
    within: Option<Arc<Containers>>,
}

impl Tool {
    /// A program of this PostgreSQL, by its name.
    pub fn new(installation: &Installation, name: &str) -> Self {
        Self {
            within: installation.containers().cloned(),
            ..Self::external(installation.tool(name))
        }
    }

    /// Any other program, of this machine.
    pub fn external(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            environment: Vec::new(),
            current_dir: "/".into(),
            time_limit: None,
            patience: progress::PATIENCE,
            server: None,
            stdin: None,
            stdout: None,
            stderr: None,
            within: None,
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

    /// How long it may make no progress before it is killed; a minute unless said otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A server that works for the program: what it does for its clients counts as the program's progress.
    #[must_use]
    pub fn served_by(mut self, cluster: &Cluster) -> Self {
        self.server = cluster.pid();
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
            .map(|part| shell_quoted(&part.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it to its end; an exit code other than 0 is an error.
    pub async fn run(self) -> Result<ToolOutput, ToolError> {
        let output = self.output().await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(output.failed())
    }

    /// Runs it to its end, whatever its exit code.
    pub async fn output(self) -> Result<ToolOutput, ToolError> {
        self.spawn()?.wait().await
    }

    /// Starts it and returns; it dies with the [`RunningTool`].
    pub fn spawn(self) -> Result<RunningTool, ToolError> {
        let command_line = self.command_line();
        if let Some(containers) = self.within.clone() {
            return Ok(self.spawn_within(&containers, command_line));
        }
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
            stdout: child.stdout.take().map(|stream| tokio::spawn(keep(stream))),
            stderr: child.stderr.take().map(|stream| tokio::spawn(keep(stream))),
            body: Body::Process {
                group: child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())),
                child,
            },
            command: command_line,
            started,
            time_limit: self.time_limit,
            patience: self.patience,
            server: self.server,
        })
    }

    /// As [`Tool::spawn`], in the drill's container for tools.
    fn spawn_within(self, containers: &Containers, command: String) -> RunningTool {
        let text = |part: &OsString| part.to_string_lossy().into_owned();
        let sink = |file: Option<File>| {
            if let Some(file) = file {
                return (Sink::File(file), None);
            }
            let (write, read) = tokio::io::duplex(64 * 1024);
            (Sink::Pipe(write), Some(tokio::spawn(keep(read))))
        };
        let ((out, stdout), (err, stderr)) = (sink(self.stdout), sink(self.stderr));
        let call = Call {
            argv: std::iter::once(self.program.to_string_lossy().into_owned())
                .chain(self.args.iter().map(text))
                .collect(),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| format!("{}={}", text(name), text(value)))
                .collect(),
            current_dir: self.current_dir.to_string_lossy().into_owned(),
        };
        RunningTool {
            body: Body::Exec(Exec::start(containers, call, out, err)),
            stdout,
            stderr,
            command,
            started: Instant::now(),
            time_limit: self.time_limit,
            patience: self.patience,
            server: self.server,
        }
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

/// Quotes a part of a command line for a shell, so that the line can be copied.
pub(crate) fn shell_quoted(part: &str) -> String {
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
    use super::{running::KEPT_BYTES, *};

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(shell_quoted("./mine.toml"), "./mine.toml");
        assert_eq!(shell_quoted("my file.toml"), "'my file.toml'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }

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
    #[cfg(target_os = "linux")]
    async fn a_program_that_stands_still_is_killed_and_one_at_work_is_not() {
        let patience = Duration::from_millis(400);
        let still = shell("echo waiting >&2; sleep 60 & wait")
            .patience(patience)
            .run()
            .await;
        let said = still.unwrap_err().to_string();
        assert!(
            said.ends_with("was killed: it made no progress for 400 ms: waiting"),
            "{said}"
        );
        let at_work = "end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done; echo done";
        let output = shell(at_work).patience(patience).run().await.unwrap();
        assert_eq!(output.stdout, "done\n");
    }

    #[tokio::test]
    async fn what_broke_off_is_told_from_what_found_something() {
        let ended = async |script: &str| shell(script).output().await.unwrap().broke_off();
        assert_eq!(ended("exit 0").await, None);
        assert_eq!(ended("exit 1").await, None);
        assert_eq!(ended("kill -KILL $$").await.as_deref(), Some("it ended with signal 9"));
        assert_eq!(
            ended("sh -c 'kill -TERM $$'; exit $?").await.as_deref(),
            Some("it ended with exit code 143")
        );
        assert_eq!(
            ended("exec /nowhere/tool").await.as_deref(),
            Some("it ended with exit code 127")
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
