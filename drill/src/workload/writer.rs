//! One live writer's life: it waits for its turn, journals, sends, journals the answer, and comes back when its connection dies.
//!
//! What it writes is the service's ([`crate::service::Writes`]). A writer whose connection dies keeps trying to come back until
//! it is told to stop, as an application's pool would.

use std::{sync::Arc, time::Duration};

use tokio::sync::{SemaphorePermit, watch};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement, error::SqlState};

use super::Shared;
use crate::{
    ledger::{Answer, Answered},
    postgres::Lsn,
    service::{self, Planned, WriteError},
};

/// Back-off between attempts to connect, and after a refused operation.
const BACK_OFF: Duration = Duration::from_millis(20);

pub(crate) struct Writer {
    pub(crate) number: u32,
    pub(crate) database: Config,
    pub(crate) work: Box<dyn service::Writer>,
    pub(crate) shared: Arc<Shared>,
}

/// A connection and its prepared statements.
struct Session {
    client: Client,
    statements: Vec<Statement>,
}

impl Writer {
    /// Writes until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut session = None;
        loop {
            let permit = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                permit = self.shared.pace.acquire() => permit.map(SemaphorePermit::forget),
            };
            if permit.is_err() {
                return;
            }
            let _turn = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                turn = Arc::clone(&self.shared.gate).read_owned() => turn,
            };
            if session.is_none() {
                session = tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    session = self.open() => session.ok(),
                };
            }
            let Some(open) = session.as_mut() else {
                self.shared.refused.failed();
                self.give_back(&mut stop).await;
                continue;
            };
            let planned = self.work.next();
            let Some(op) = self.shared.ledger.invoked(planned.intent.clone()) else {
                return;
            };
            // The operation under way is finished even when told to stop: its answer belongs in the ledger.
            let (answered, answer, contradicted) = open.carry_out(self.work.as_ref(), op, &planned).await;
            let alive = !open.client.is_closed();
            if answered == Answered::Acknowledged {
                self.work.acknowledged(&planned, &answer);
            } else if answered == Answered::Indeterminate || contradicted {
                self.work.given_up(&planned);
            }
            self.shared.ledger.answered(op, answered, answer);
            match answered {
                Answered::Acknowledged => self.shared.refused.succeeded(),
                Answered::Rejected | Answered::Indeterminate => self.shared.refused.failed(),
            }
            self.shared.counts.send_modify(|counts| match answered {
                Answered::Acknowledged => counts.acknowledged += 1,
                Answered::Rejected if contradicted => {} // it is written to, and what it lost the ledger tells
                Answered::Rejected => counts.rejected += 1,
                Answered::Indeterminate => counts.indeterminate += 1,
            });
            if !alive {
                session = None;
            }
            if answered != Answered::Acknowledged {
                self.give_back(&mut stop).await;
            }
        }
    }

    /// An operation that came to nothing does not count: its permit goes back, after a moment.
    async fn give_back(&self, stop: &mut watch::Receiver<bool>) {
        self.shared.pace.add_permits(1);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(BACK_OFF) => {}
        }
    }

    async fn open(&self) -> Result<Session, tokio_postgres::Error> {
        let mut config = self.database.clone();
        config
            .application_name(format!("writer-{}", self.number))
            .connect_timeout(Duration::from_secs(5));
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let statements = self.work.prepare(&client).await?;
        Ok(Session { client, statements })
    }
}

impl Session {
    /// The answer, and whether the operation contradicts what is there: it builds upon rows that a crash took away.
    async fn carry_out(&mut self, work: &dyn service::Writer, op: u64, planned: &Planned) -> (Answered, Answer, bool) {
        let mut answer = Answer {
            key: planned.intent.key,
            ..Answer::default()
        };
        let written = async {
            self.client.batch_execute("BEGIN").await?;
            work.write(&self.client, &self.statements, op, planned, &mut answer)
                .await
        };
        if let Err(error) = written.await {
            // The commit was never sent, so nothing of it can be there.
            answer.reason = Some(match &error {
                WriteError::NoKey => error.to_string(),
                WriteError::Database(error) => reason(error),
            });
            if !self.client.is_closed() {
                let _ = self.client.batch_execute("ROLLBACK").await; // a dead connection is found by the caller
            }
            return (Answered::Rejected, answer, error.contradicts());
        }
        // One round trip: the commit, and how far the WAL was right after it.
        match self
            .client
            .simple_query("COMMIT; SELECT pg_current_wal_insert_lsn()")
            .await
        {
            Ok(messages) => {
                answer.lsn_after = messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0)?.parse::<Lsn>().ok(),
                    _ => None,
                });
                (Answered::Acknowledged, answer, false)
            }
            Err(error) => {
                answer.reason = Some(reason(&error));
                let refused = error.code().is_some_and(|code| !leaves_commit_open(code));
                (
                    if refused {
                        Answered::Rejected
                    } else {
                        Answered::Indeterminate
                    },
                    answer,
                    false,
                )
            }
        }
    }
}

/// Whether an error at COMMIT leaves open what became of the commit. Class 57 (operator intervention) is the case of
/// a shutdown while waiting for a synchronous standby: committed here, perhaps not there.
fn leaves_commit_open(code: &SqlState) -> bool {
    ["08", "53", "57", "58", "XX"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), crate::values::message(db)),
        None => error.to_string(),
    }
}
