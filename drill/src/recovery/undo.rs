//! Every way out of a cutover that does not end in a service that is declared restored leads through here: what was changed is
//! taken back, newest first, and the evidence says whether that came off.

use reports::{Verdict, What};

use crate::{
    cutover::set_connection,
    errors::chain,
    state::{Change, Drill, DrillError, Undo},
};

/// Takes back everything that was changed since the commit point.
pub(super) async fn unwind(drill: &mut Drill, mut undo: Undo) {
    while let Some(change) = undo.pop() {
        match change {
            Change::Application => {
                // No traffic to a service that is not what it should be: what it was connected to before is no more.
                drill.estate.application.control.stop().await;
                drill
                    .desk
                    .undone("application", Ok::<_, DrillError>("stopped: no traffic"));
            }
            Change::ConnectionString { before } => connection_string(drill, &before).await,
        }
    }
    undo.end();
}

async fn connection_string(drill: &Drill, before: &str) {
    let store = drill.estate.store.as_ref();
    let (verdict, detail) = match store.connection().await {
        Ok(now) if now == before => (Verdict::Pass, "it was not changed".to_owned()),
        // Where it cannot be read it may still be written.
        _ => match set_connection(store, before).await {
            Ok(_) => (Verdict::Pass, "the value before is in place again".to_owned()),
            Err(error) => (Verdict::Fail, chain(&error)),
        },
    };
    drill.desk.recorder.record(What::Undone {
        what: "connection string".to_owned(),
        verdict,
        detail,
    });
}
