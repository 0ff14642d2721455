//! The failed primary stays where it is: killed, and proven to let nobody in, again and again until the drill is over.

use reports::{CheckId, Phase};

use crate::{
    cutover::{proof_of_fence, untold::UntoldClient},
    record::check::{Found, timed},
    state::Drill,
};

/// What a fence promises.
const FENCED: &str = "no connection with the connection string that applications had";

/// Kills what is left of the failed primary and proves it. `when` keeps the results of several times apart: that it was
/// once let in is not made good by the next fence.
pub(super) async fn fence(drill: &mut Drill, when: &str) {
    let as_application = drill.estate.as_application();
    let began = drill.desk.recorder.offset();
    let before = drill.estate.untold.take().map(|client| client.attempts());
    let check = timed(CheckId::OldPrimaryFenced, Phase::Cutover, when, async {
        let fenced = drill.estate.fence.fence(&mut drill.estate.source).await;
        let proof = proof_of_fence(&as_application).await;
        Ok::<_, std::convert::Infallible>(match (proof, before, fenced) {
            (Err(reason), ..) => Found::fail(FENCED, reason),
            (Ok(_), Some(tried), _) if tried.connected > 0 => Found::fail(FENCED, tried.to_string()),
            (Ok(reason), _, Err(unsure)) => Found::unknown(
                FENCED,
                format!("{reason}, but the fence is not sure of itself: {unsure}"),
            ),
            (Ok(reason), Some(tried), Ok(())) => Found::pass(FENCED, format!("{reason}; {tried}")),
            (Ok(reason), None, Ok(())) => Found::pass(FENCED, reason),
        })
    })
    .await;
    let write = drill.estate.site.service.stray_write();
    drill.estate.untold = write.map(|write| UntoldClient::start(as_application, write.to_owned()));
    drill.desk.recorder.external_since("fence the failed primary", began);
    drill.desk.check(check);
}

/// Tries the failed primary again, if there is one that was fenced. One that let a client in is fenced once more: the
/// service goes on where it is, and the check says what happened.
pub(super) async fn tried_again(drill: &mut Drill, phase: Phase, when: &str) {
    let Some(client) = &drill.estate.untold else { return };
    let mut let_in = false;
    let check = timed(CheckId::OldPrimaryFenced, phase, when, async {
        let tried = client.tried_again().await;
        let_in = tried.connected > 0;
        Ok::<_, std::convert::Infallible>(Found::judge(!let_in, FENCED, tried.to_string()))
    });
    let check = check.await;
    drill.desk.check(check);
    if let_in {
        drill
            .desk
            .recorder
            .finding("The failed primary came back after it had been fenced; it was fenced again.");
        fence(drill, when).await;
    }
}
