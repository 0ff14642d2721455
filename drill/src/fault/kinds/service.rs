//! Services around the database that misbehave: the application, the configuration store, receivers, the archive.
//!
//! What they do wrong is real: a process is killed or stopped, a port closed, a file taken away, an answer delayed.
//! [`mend`] takes everything back when the drill is over.

use std::{fs, path::Path};

use reports::text::{counted, lasting};

mod behaviour;

pub use behaviour::{Behaviour, Service};

use crate::{
    cutover::{Application, ConfigStore},
    fault::{
        Deed, Doing, Done, FaultError, World,
        service::{
            app::{AppFaults, Deed as Sabotaged, Sabotage},
            config_store::StoreFaults,
        },
    },
    http,
    monitor::{Alerts, Monitor, prober},
    notify::Inbox,
    scenario::{Fault, FaultTarget, Kind as _},
};

impl Deed for Service {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(self.misbehave(fault.target, &mut world.services))
    }
}

/// The services of a drill.
pub struct Services<'a> {
    /// The application.
    pub application: &'a Application,
    /// What befalls it.
    pub app_faults: &'a AppFaults,
    /// The store of the connection string.
    pub store: &'a dyn ConfigStore,
    /// What befalls it.
    pub store_faults: &'a StoreFaults,
    /// The receiver of notifications.
    pub inbox: &'a mut Inbox,
    /// The receiver of alerts.
    pub alerts: &'a mut Alerts,
    /// The monitoring.
    pub prober: &'a mut Option<Box<dyn Monitor>>,
    /// The program that the archive asks before it hands out a file, while there is one.
    pub archive_service: &'a Path,
}

impl Service {
    /// Makes a service misbehave.
    async fn misbehave(&self, target: FaultTarget, services: &mut Services<'_>) -> Result<Done, FaultError> {
        let failed = |what: String| FaultError::NotVerified { what };
        let (does, after, times) = (self.does, self.after(), self.times());
        let (mut summary, mut touched) = (self.describe(target), Vec::new());
        match (target, does) {
            (FaultTarget::App, Behaviour::Down | Behaviour::Hang | Behaviour::Stale) => {
                let deed = match does {
                    Behaviour::Down => Sabotaged::Kill,
                    Behaviour::Hang => Sabotaged::Freeze,
                    _ => Sabotaged::Keep,
                };
                if services.application.control.pid().is_none() {
                    return Err(failed(
                        "the application is no process that could be signalled".to_owned(),
                    ));
                }
                let sabotage = Sabotage { after, times, deed };
                touched.extend(services.app_faults.sabotage(services.application, sabotage).await?);
            }
            (FaultTarget::App, _) => {
                let behaviour = self.answers().ok_or(FaultError::NotApplicable {
                    kind: Self::name(),
                    target,
                })?;
                let application = services.application;
                let fronted = services
                    .app_faults
                    .put_before(application, behaviour, after, times)
                    .await;
                touched.push(
                    fronted.map_err(|error| failed(format!("nothing can be put before the application: {error}")))?,
                );
            }
            (FaultTarget::ConfigStore, Behaviour::Down) => {
                touched.push(services.store_faults.take_away(services.store)?);
            }
            (FaultTarget::ConfigStore, Behaviour::Refuse) => {
                touched.push(services.store_faults.obstruct(services.store)?);
            }
            (FaultTarget::Notifier, _) => self.misanswer(services.inbox.receiver()).await,
            (FaultTarget::Monitor, Behaviour::Down) => {
                if services.prober.take().is_none() {
                    return Err(FaultError::NoEffect {
                        kind: Self::name(),
                        why: "the monitoring does not run".to_owned(),
                    });
                }
                touched.push("the prober was stopped".to_owned());
            }
            (FaultTarget::Monitor, Behaviour::Alert) => {
                let posted =
                    prober::alert(&services.alerts.url(), "raised by the scenario, not by a failed probe").await;
                posted.map_err(|error| failed(format!("the alert was not taken: {}", error.without_url())))?;
                summary = String::from("the alert DB_UNAVAILABLE was posted and taken, without a failed probe");
            }
            (FaultTarget::Monitor, _) => self.misanswer(services.alerts.receiver()).await,
            (FaultTarget::Archive, Behaviour::Down | Behaviour::Slow | Behaviour::Kill) => {
                let path = services.archive_service;
                let program = self.archive_program();
                fs::write(path, program).map_err(FaultError::io("write", path))?;
                touched.push(format!("{} is asked before a segment is handed out", path.display()));
            }
            _ => {
                return Err(FaultError::NotApplicable {
                    kind: Self::name(),
                    target,
                });
            }
        }
        touched.push(summary.clone());
        Ok(Done::new(summary, touched))
    }

    /// How whoever behaves so answers requests, if that is what it is about.
    fn answers(&self) -> Option<http::Behaviour> {
        match self.does {
            Behaviour::Hang => Some(http::Behaviour::Hang),
            Behaviour::Slow => Some(http::Behaviour::Slow(self.delay())),
            Behaviour::Status => Some(http::Behaviour::Status(self.status())),
            Behaviour::Down | Behaviour::Refuse | Behaviour::Kill | Behaviour::Alert | Behaviour::Stale => None,
        }
    }

    async fn misanswer(&self, receiver: &mut http::Receiver) {
        let Some(behaviour) = self.answers() else {
            return receiver.go_down().await;
        };
        receiver.behave(behaviour, self.after(), self.times());
    }

    /// Asked with the name of a file: waits, fails, or kills who asks. Only segments count; a timeline's history is always
    /// there.
    pub(in crate::fault) fn archive_program(&self) -> String {
        let does = match self.does {
            Behaviour::Slow => format!("sleep {:.3}", self.delay().as_secs_f64()),
            Behaviour::Kill => "kill -KILL $PPID".to_owned(),
            _ => "exit 1".to_owned(),
        };
        let after = self.after();
        let last = self.times().map_or(u64::MAX >> 1, |times| after + times);
        format!(
            "case \"$1\" in *.*) exit 0 ;; esac\n\
             n=$(cat \"$0.count\" 2>/dev/null || echo 0)\n\
             echo $((n + 1)) > \"$0.count\"\n\
             if [ \"$n\" -ge {after} ] && [ \"$n\" -lt {last} ]; then {does}; fi\n"
        )
    }

    fn describe(&self, target: FaultTarget) -> String {
        let how = match self.does {
            Behaviour::Slow => format!("slow by {}", lasting(self.delay())),
            Behaviour::Status => format!("status {}", self.status()),
            other => other.to_string(),
        };
        let after = match self.after() {
            0 => String::new(),
            after => format!(", after {after} as always"),
        };
        let times = self.times().map_or_else(
            || ", for good".to_owned(),
            |times| format!(", {}", counted(times, "time")),
        );
        format!("{target}: {how}{after}{times}")
    }
}

/// Takes back everything that was done to a service.
///
/// # Errors
/// If it cannot be taken back.
pub async fn mend(target: FaultTarget, services: &mut Services<'_>) -> Result<&'static str, FaultError> {
    let failed = |what: String| FaultError::NotVerified { what };
    match target {
        FaultTarget::App => services.app_faults.mend(services.application),
        FaultTarget::ConfigStore => services.store_faults.mend(services.store)?,
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
                kind: Service::name(),
                target,
            });
        }
    }
    Ok("it behaves as it should again")
}
