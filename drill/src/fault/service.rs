//! Services around the database that misbehave: the application, the configuration store, receivers, the archive.
//!
//! What they do wrong is real: a process is killed or stopped, a port closed, a file taken away, an answer delayed.
//! [`mend`] takes everything back when the drill is over.

use std::{fs, path::Path, time::Duration};

use reports::text::{counted, lasting};

use super::{Done, FaultError};
use crate::{
    cutover::{
        application::{Application, Deed, Sabotage},
        config_store::FileStore,
    },
    http,
    monitor::{Alerts, prober, prober::Prober},
    notify::Inbox,
    scenario::{Behaviour, FaultTarget},
};

/// The services of a drill.
pub struct Services<'a> {
    /// The application.
    pub application: &'a mut Application,
    /// The store of the connection string.
    pub store: &'a FileStore,
    /// The receiver of notifications.
    pub inbox: &'a mut Inbox,
    /// The receiver of alerts.
    pub alerts: &'a mut Alerts,
    /// The monitoring.
    pub prober: &'a mut Option<Prober>,
    /// The program that the archive asks before it hands out a file, while there is one.
    pub archive_service: &'a Path,
}

/// Makes a service misbehave.
pub(super) async fn misbehave(
    target: FaultTarget,
    does: Behaviour,
    after: u64,
    times: Option<u64>,
    services: &mut Services<'_>,
) -> Result<Done, FaultError> {
    let failed = |what: String| FaultError::NotVerified { what };
    let (mut summary, mut touched) = (describe(target, does, after, times), Vec::new());
    match (target, does) {
        (FaultTarget::App, Behaviour::Down | Behaviour::Hang | Behaviour::Stale) => {
            let deed = match does {
                Behaviour::Down => Deed::Kill,
                Behaviour::Hang => Deed::Freeze,
                _ => Deed::Keep,
            };
            touched.extend(services.application.sabotage(Sabotage { after, times, deed }).await);
        }
        (FaultTarget::App, _) => {
            let behaviour = answers(does).ok_or(FaultError::NotApplicable {
                kind: "service",
                target,
            })?;
            let fronted = services.application.fronted(behaviour, after, times).await;
            touched
                .push(fronted.map_err(|error| failed(format!("nothing can be put before the application: {error}")))?);
        }
        (FaultTarget::ConfigStore, Behaviour::Down) => {
            let away = services
                .store
                .go_down()
                .map_err(|error| failed(crate::errors::chain(&error)))?;
            touched.push(format!(
                "{} moved to {}",
                services.store.path().display(),
                away.display()
            ));
        }
        (FaultTarget::ConfigStore, Behaviour::Refuse) => {
            let wall = services
                .store
                .refuse()
                .map_err(|error| failed(crate::errors::chain(&error)))?;
            touched.push(format!(
                "directory {} made, where an update writes its file",
                wall.display()
            ));
        }
        (FaultTarget::Notifier, _) => receiver(services.inbox.receiver(), does, after, times).await,
        (FaultTarget::Monitor, Behaviour::Down) => {
            if services.prober.take().is_none() {
                return Err(FaultError::NoEffect {
                    kind: "service",
                    why: "the monitoring does not run".to_owned(),
                });
            }
            touched.push("the prober was stopped".to_owned());
        }
        (FaultTarget::Monitor, Behaviour::Alert) => {
            let posted = prober::alert(&services.alerts.url(), "raised by the scenario, not by a failed probe").await;
            posted.map_err(|error| failed(format!("the alert was not taken: {}", error.without_url())))?;
            summary = String::from("the alert DB_UNAVAILABLE was posted and taken, without a failed probe");
        }
        (FaultTarget::Monitor, _) => receiver(services.alerts.receiver(), does, after, times).await,
        (FaultTarget::Archive, Behaviour::Down | Behaviour::Slow(_) | Behaviour::Kill) => {
            let path = services.archive_service;
            let program = archive_program(does, after, times);
            fs::write(path, program).map_err(FaultError::io("write", path))?;
            touched.push(format!("{} is asked before a segment is handed out", path.display()));
        }
        _ => {
            return Err(FaultError::NotApplicable {
                kind: "service",
                target,
            });
        }
    }
    touched.push(summary.clone());
    Ok(Done::new(summary, touched))
}

/// Takes back everything that was done to a service.
///
/// # Errors
/// If it cannot be taken back.
pub async fn mend(target: FaultTarget, services: &mut Services<'_>) -> Result<&'static str, FaultError> {
    let failed = |what: String| FaultError::NotVerified { what };
    match target {
        FaultTarget::App => services.application.mend(),
        FaultTarget::ConfigStore => services
            .store
            .mend()
            .map_err(|error| failed(crate::errors::chain(&error)))?,
        FaultTarget::Notifier => services
            .inbox
            .receiver()
            .mend()
            .await
            .map_err(|error| failed(error.to_string()))?,
        FaultTarget::Monitor => services
            .alerts
            .receiver()
            .mend()
            .await
            .map_err(|error| failed(error.to_string()))?,
        FaultTarget::Archive => match fs::remove_file(services.archive_service) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FaultError::io("remove", services.archive_service)(error));
            }
            _ => {}
        },
        _ => {
            return Err(FaultError::NotApplicable {
                kind: "service",
                target,
            });
        }
    }
    Ok("it behaves as it should again")
}

/// How whoever behaves so answers requests, if that is what it is about.
fn answers(does: Behaviour) -> Option<http::Behaviour> {
    match does {
        Behaviour::Hang => Some(http::Behaviour::Hang),
        Behaviour::Slow(delay) => Some(http::Behaviour::Slow(delay)),
        Behaviour::Status(status) => Some(http::Behaviour::Status(status)),
        Behaviour::Down | Behaviour::Refuse | Behaviour::Kill | Behaviour::Alert | Behaviour::Stale => None,
    }
}

async fn receiver(receiver: &mut http::Receiver, does: Behaviour, after: u64, times: Option<u64>) {
    let Some(behaviour) = answers(does) else {
        return receiver.go_down().await;
    };
    receiver.behave(behaviour, after, times);
}

/// Asked with the name of a file: waits, fails, or kills who asks. Only segments count; a timeline's history is always there.
pub(super) fn archive_program(does: Behaviour, after: u64, times: Option<u64>) -> String {
    let does = match does {
        Behaviour::Slow(delay) => format!("sleep {}", seconds(delay)),
        Behaviour::Kill => "kill -KILL $PPID".to_owned(),
        _ => "exit 1".to_owned(),
    };
    let last = times.map_or(u64::MAX >> 1, |times| after + times);
    format!(
        "case \"$1\" in *.*) exit 0 ;; esac\n\
         n=$(cat \"$0.count\" 2>/dev/null || echo 0)\n\
         echo $((n + 1)) > \"$0.count\"\n\
         if [ \"$n\" -ge {after} ] && [ \"$n\" -lt {last} ]; then {does}; fi\n"
    )
}

fn seconds(delay: Duration) -> String {
    format!("{:.3}", delay.as_secs_f64())
}

fn describe(target: FaultTarget, does: Behaviour, after: u64, times: Option<u64>) -> String {
    let how = match does {
        Behaviour::Slow(delay) => format!("slow by {}", lasting(delay)),
        Behaviour::Status(status) => format!("status {status}"),
        other => other.name().to_owned(),
    };
    let after = if after > 0 {
        format!(", after {after} as always")
    } else {
        String::new()
    };
    let times = times.map_or_else(
        || ", for good".to_owned(),
        |times| format!(", {}", counted(times, "time")),
    );
    format!("{target}: {how}{after}{times}")
}
