//! Step 1: the alert, or where none comes the operator's own probe.

use std::time::Duration;

use reports::{CheckId, Phase, Step, Verdict, What, event::AlertRoute, text::lasting};

use super::{OpenStep, Stop};
use crate::{
    record::check::{Found, timed},
    state::Drill,
    verify::server_start,
};

/// Step 1. An alert that never comes is a finding; then the operator's own probe starts the recovery.
pub(super) async fn alert_received(drill: &mut Drill) -> Result<(), Stop> {
    let step = OpenStep::begin(&drill.desk.recorder, Step::Alert, 1);
    let budget = Duration::from_millis(Step::Alert.budget_ms().unwrap_or(60_000)).min(drill.estate.alert_promise);
    let began = drill.desk.recorder.offset();
    let alert = tokio::time::timeout(budget, drill.estate.alerts.next())
        .await
        .ok()
        .flatten();
    drill.desk.recorder.external_since("wait for the alert", began);
    let arrived = alert.is_some();
    let check = timed(CheckId::AlertDelivered, Phase::Source, "", async {
        let actual = match &alert {
            Some(alert) => format!("{} ({}): {}", alert.name, alert.severity, alert.summary),
            None => format!("no alert within {}", lasting(budget)),
        };
        Ok::<_, std::convert::Infallible>(Found::judge(arrived, "a firing DB_UNAVAILABLE by webhook", actual))
    });
    drill.desk.check(check.await);
    let via = if arrived {
        AlertRoute::Webhook
    } else {
        AlertRoute::OperatorProbe
    };
    let (name, severity, detail) = if let Some(alert) = alert {
        (alert.name, alert.severity, alert.summary)
    } else {
        let diagnosis = server_start::diagnose(&drill.estate.probe()).await;
        drill
            .desk
            .recorder
            .finding("No alert arrived: the operator's own probe started the recovery.");
        (
            String::new(),
            String::new(),
            format!("no alert; the operator's probe: {diagnosis}"),
        )
    };
    drill.desk.recorder.record(What::AlertReceived {
        via,
        alert: name,
        severity,
    });
    let since = drill
        .desk
        .recorder
        .offset()
        .saturating_sub(drill.incident.outage_began().0);
    step.end_after(Verdict::from_holds(arrived), detail, since, None);
    Ok(())
}
