//! A connection with a limit on every wait: for the connection itself, and for a statement that makes no progress, which shows
//! in /proc. Such a statement is cancelled; where that does not help, as with a suspended server, the connection is given up.
//! Locked tables are covered by `lock_timeout`.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    time::{Sleep, sleep},
};
use tokio_postgres::{CancelToken, Client, Config, NoTls, config::Host};

use super::progress::{self, Work};

/// How long a server may take to let a client in.
const GREETING: Duration = Duration::from_secs(5);
/// How long a statement may stand still.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a cancelled statement may take to end.
const AFTER_CANCEL: Duration = Duration::from_secs(5);
/// How often a statement under way is looked at.
const TICK: Duration = Duration::from_secs(1);
/// What a server that is asked nothing said last: it is ready for a query.
const READY: &[u8] = &[b'Z', 0, 0, 0, 5];

/// Timeouts of a database or a role are meant for the service's statements, not for drill's.
const WITHOUT_LIMITS: &str =
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0";
/// Settings of a database or a role can change how a statement is parsed, how a value is printed and how a transaction runs.
/// Drill's superuser gets the defaults of a new server.
const AS_ON_A_NEW_SERVER: &str = "-c default_transaction_read_only=off -c default_transaction_isolation=read\\ committed \
    -c default_transaction_deferrable=off -c standard_conforming_strings=on -c search_path=public -c DateStyle=ISO \
    -c IntervalStyle=postgres -c bytea_output=hex -c extra_float_digits=1 -c quote_all_identifiers=off \
    -c enable_seqscan=on -c temp_file_limit=-1";

/// A login for drill's own statements, without the session settings of databases and roles.
pub(super) fn with_drill_settings(config: &Config) -> Config {
    let mut ours = config.clone();
    let given = config.get_options().unwrap_or_default();
    let anew = if config.get_user() == Some("postgres") {
        AS_ON_A_NEW_SERVER
    } else {
        ""
    };
    ours.options(format!("{given} {WITHOUT_LIMITS} {anew}").trim());
    ours
}

/// Connects for a check: a statement is waited for only while it makes progress.
///
/// # Errors
/// If the server lets nobody in, or does not answer.
pub async fn verifying(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let mut config = with_drill_settings(config);
    let given = config.get_options().unwrap_or_default().to_owned();
    config.options(format!("{given} -c lock_timeout=2000"));
    open(&config, Some(PATIENCE)).await
}

/// Connects, within a limit; with `patience`, a statement is waited for only while it makes progress.
pub(super) async fn open(config: &Config, patience: Option<Duration>) -> Result<Client, tokio_postgres::Error> {
    let Some(Host::Unix(directory)) = config.get_hosts().first() else {
        let (client, connection) = config.connect(NoTls).await?; // no cluster of ours
        tokio::spawn(connection);
        return Ok(client);
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let socket = directory.join(format!(".s.PGSQL.{port}"));
    let stream = UnixStream::connect(&socket).await;
    let postmaster = stream.as_ref().ok().and_then(|stream| stream.peer_cred().ok()?.pid());
    let known = Arc::new(OnceLock::new());
    let watched = Watched {
        stream,
        postmaster: postmaster.and_then(|pid| u32::try_from(pid).ok()),
        socket,
        known: Arc::clone(&known),
        tail: Vec::new(),
        waiting: true,
        began: Instant::now(),
        last: None,
        cancelled: None,
        tick: Box::pin(sleep(TICK)),
    };
    let (client, connection) = config.connect_raw(watched, NoTls).await?;
    tokio::spawn(connection);
    let mut backend = None;
    if let Some(patience) = patience {
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
        backend = Some(Backend {
            token: client.cancel_token(),
            pid: row.try_get::<_, i32>(0)?.unsigned_abs(),
            patience,
        });
    }
    let _ = known.set(backend); // nobody else does
    Ok(client)
}

/// The backend that answers, and how long it may make no progress.
struct Backend {
    token: CancelToken,
    pid: u32,
    patience: Duration,
}

/// A stream that gives its reader an error when there is nothing more to wait for.
struct Watched {
    /// An error here goes to whoever reads or writes, as any error of the connection does.
    stream: io::Result<UnixStream>,
    postmaster: Option<u32>,
    socket: PathBuf,
    /// Known once the server let us in; then `None` where statements are not watched.
    known: Arc<OnceLock<Option<Backend>>>,
    /// The last bytes that the server said.
    tail: Vec<u8>,
    /// Whether the server owes an answer.
    waiting: bool,
    /// Since when it owes one, or when it last did something for it.
    began: Instant,
    last: Option<Work>,
    cancelled: Option<Instant>,
    tick: Pin<Box<Sleep>>,
}

impl Watched {
    fn stream(&mut self) -> io::Result<Pin<&mut UnixStream>> {
        match &mut self.stream {
            Ok(stream) => Ok(Pin::new(stream)),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// The server said something. It owes nothing more once it is ready for a query.
    fn heard(&mut self, said: &[u8]) {
        self.tail.extend_from_slice(said);
        self.tail.drain(..self.tail.len().saturating_sub(READY.len() + 1));
        self.waiting &= !self.tail.starts_with(READY);
        (self.began, self.cancelled) = (Instant::now(), None);
    }

    /// Whether there is still something to wait for.
    fn look(&mut self) -> io::Result<()> {
        let Some(backend) = self.known.get() else {
            let told = "the server did not let the client in within 5 s";
            return if self.began.elapsed() < GREETING {
                Ok(())
            } else {
                Err(timed_out(told))
            };
        };
        let Some(Backend { token, pid, patience }) = backend else {
            return Ok(());
        };
        if self.cancelled.is_some_and(|since| since.elapsed() >= AFTER_CANCEL) {
            return Err(timed_out("the server stands still"));
        }
        if self.began.elapsed() < *patience / 3 || self.cancelled.is_some() {
            return Ok(()); // most statements are never measured
        }
        let now = self
            .postmaster
            .and_then(|postmaster| progress::of_backend(postmaster, *pid));
        if now.is_none() || now != self.last {
            (self.last, self.began) = (now, Instant::now());
        } else if self.began.elapsed() >= *patience {
            self.cancelled = Some(Instant::now());
            tokio::spawn(tokio::time::timeout(
                AFTER_CANCEL,
                cancel(self.socket.clone(), token.clone()),
            ));
        }
        Ok(())
    }
}

async fn cancel(socket: PathBuf, token: CancelToken) {
    if let Ok(stream) = UnixStream::connect(socket).await {
        let _ = token.cancel_query_raw(stream, NoTls).await; // where that does not help, the connection is given up
    }
}

fn timed_out(told: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, told)
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match self.stream()?.poll_read(context, buffer) {
            Poll::Ready(read) => {
                self.heard(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            Poll::Pending => {
                while self.tick.as_mut().poll(context).is_ready() {
                    if self.waiting {
                        self.look()?;
                    }
                    self.tick = Box::pin(sleep(TICK));
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(context, bytes);
        if written.is_ready() {
            (self.waiting, self.began, self.cancelled) = (true, Instant::now(), None);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Instant;

    use rustix::process::Signal;
    use tokio_postgres::error::SqlState;

    use super::{
        super::{Shutdown, Storage, WorkDir, process::send, tests::fresh},
        *,
    };

    #[tokio::test]
    async fn a_locked_table_and_a_statement_that_stands_still_are_met_and_one_at_work_is_not() {
        let work = WorkDir::create(Storage::Memory, "limits").unwrap();
        let cluster = fresh(&work, "source").await;
        let other = cluster.connect("postgres", "postgres").await.unwrap();
        other.batch_execute("CREATE TABLE t (n int)").await.unwrap();
        other.batch_execute("BEGIN; LOCK t").await.unwrap();
        let verifying = cluster.verifying("postgres", "postgres").await.unwrap();
        let began = Instant::now();
        let refused = verifying.query("SELECT FROM t", &[]).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
        assert!(began.elapsed() < Duration::from_secs(10));

        let config = cluster.config("postgres", "postgres");
        let client = open(&config, Some(Duration::from_secs(3))).await.unwrap();
        let cancelled = client.query("SELECT pg_sleep(300)", &[]).await.unwrap_err();
        assert_eq!(cancelled.code(), Some(&SqlState::QUERY_CANCELED));
        let busy = "DO $$ DECLARE till timestamptz := clock_timestamp() + '7 s'; \
                    BEGIN WHILE clock_timestamp() < till LOOP NULL; END LOOP; END $$";
        client.batch_execute(busy).await.unwrap();

        let row = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
        send(&[row.get::<_, i32>(0).unsigned_abs()], Signal::STOP);
        let began = Instant::now();
        assert!(client.query("SELECT 1", &[]).await.unwrap_err().is_closed());
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_server_that_was_stopped_lets_nobody_wait_and_can_be_removed() {
        let work = WorkDir::create(Storage::Memory, "stopped").unwrap();
        let mut cluster = fresh(&work, "source").await;
        send(&[cluster.pid().unwrap()], Signal::STOP);
        let began = Instant::now();
        let refused = cluster.connect("postgres", "postgres").await.unwrap_err();
        let source = std::error::Error::source(&refused).and_then(std::error::Error::source);
        let told = source.map(ToString::to_string).unwrap_or_default();
        assert_eq!(told, "the server did not let the client in within 5 s", "{refused:?}");
        assert_eq!(cluster.stop(Shutdown::Fast).await.unwrap(), Shutdown::Kill);
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        cluster.start().await.unwrap();
        cluster.remove().unwrap();
    }
}
