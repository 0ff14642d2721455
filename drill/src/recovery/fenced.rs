//! The failed primary stays where it is: killed, and proven to let nobody in, again and again until the drill is over.

use reports::{CheckId, Phase};

use crate::{
    cutover::pinned::PinnedWriter,
    record::check::{Found, timed},
    state::Drill,
};

/// What a fence promises.
const FENCED: &str = "no connection with the connection string that applications had";

/// Kills what is left of the failed primary and proves it. `when` keeps the results of several times apart: that it was
/// once let in is not made good by the next fence.
pub(super) async fn fence(drill: &mut Drill, when: &str) {
    let as_application = drill.as_application();
    let began = drill.recorder.offset();
    let before = drill.pinned.take().map(|pinned| pinned.attempts());
    let check = timed(CheckId::OldPrimaryFenced, Phase::Cutover, when, async {
        let fenced = drill.fence.fence(&mut drill.source, &as_application).await;
        Ok::<_, std::convert::Infallible>(match (fenced, before) {
            (Err(reason), _) => Found::fail(FENCED, reason),
            (Ok(_), Some(tried)) if tried.connected > 0 => Found::fail(FENCED, tried.to_string()),
            (Ok(reason), Some(tried)) => Found::pass(FENCED, format!("{reason}; {tried}")),
            (Ok(reason), None) => Found::pass(FENCED, reason),
        })
    })
    .await;
    let write = drill.site.service.stray_write();
    drill.pinned = write.map(|write| PinnedWriter::start(as_application, write.to_owned()));
    drill.recorder.external_since("fence the failed primary", began);
    drill.check(check);
}

/// Tries the failed primary again, if there is one that was fenced. One that let a client in is fenced once more: the
/// service goes on where it is, and the check says what happened.
pub(super) async fn tried_again(drill: &mut Drill, phase: Phase, when: &str) {
    let Some(pinned) = &drill.pinned else { return };
    let mut let_in = false;
    let check = timed(CheckId::OldPrimaryFenced, phase, when, async {
        let tried = pinned.tried_again().await;
        let_in = tried.connected > 0;
        Ok::<_, std::convert::Infallible>(Found::judge(!let_in, FENCED, tried.to_string()))
    });
    let check = check.await;
    drill.check(check);
    if let_in {
        drill
            .recorder
            .finding("The failed primary came back after it had been fenced; it was fenced again.");
        fence(drill, when).await;
    }
}
