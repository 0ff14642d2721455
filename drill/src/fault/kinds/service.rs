//! Services around the database that misbehave: the application, the configuration store, receivers, the archive.
//!
//! What they do wrong is real: a process is killed or stopped, a port closed, a file taken away, an answer delayed.
//! Each fault comes with what mends it when the drill is over.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reports::text::{counted, lasting};

mod behaviour;

pub use behaviour::{Behaviour, Service};

use crate::{
    cutover::{Application, ConfigStore},
    fault::{
        Deed, Doing, Done, FaultError, Mending, World,
        service::{
            app::{AppFaults, Deed as Sabotaged, Sabotage},
            config_store::StoreFaults,
        },
    },
    http,
    monitor::{Monitor, alertmanager},
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
    /// Where notifications arrive.
    pub notifications: http::Port,
    /// Where alerts arrive.
    pub alerts: http::Port,
    /// The monitoring.
    pub monitor: &'a mut Option<Box<dyn Monitor>>,
    /// The program that the archive asks before it hands out a file, while there is one.
    pub archive_service: &'a Path,
}

impl Service {
    /// Makes a service misbehave.
    async fn misbehave(&self, target: FaultTarget, services: &mut Services<'_>) -> Result<Done, FaultError> {
        let failed = |what: String| FaultError::NotVerified { what };
        let (does, after, times) = (self.does, self.after(), self.times());
        let (mut summary, mut touched) = (self.describe(target), Vec::new());
        let mut mending: Option<Mending> = None;
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
                mending = Some(services.app_faults.mending(services.application));
                touched.extend(services.app_faults.sabotage(services.application, sabotage).await?);
            }
            (FaultTarget::App, _) => {
                let behaviour = self.answers().ok_or(FaultError::NotApplicable {
                    kind: Self::name(),
                    target,
                })?;
                let application = services.application;
                mending = Some(services.app_faults.mending(application));
                let fronted = services
                    .app_faults
                    .put_before(application, behaviour, after, times)
                    .await;
                touched.push(
                    fronted.map_err(|error| failed(format!("nothing can be put before the application: {error}")))?,
                );
            }
            (FaultTarget::ConfigStore, Behaviour::Down) => {
                let (did, taken_back) = services.store_faults.take_away(services.store)?;
                (touched, mending) = (vec![did], Some(taken_back));
            }
            (FaultTarget::ConfigStore, Behaviour::Refuse) => {
                let (did, taken_back) = services.store_faults.obstruct(services.store)?;
                (touched, mending) = (vec![did], Some(taken_back));
            }
            (FaultTarget::Notifier, _) => mending = Some(self.misanswer(&services.notifications).await),
            (FaultTarget::Monitor, Behaviour::Down) => {
                if services.monitor.take().is_none() {
                    return Err(FaultError::NoEffect {
                        kind: Self::name(),
                        why: "the monitoring does not run".to_owned(),
                    });
                }
                touched.push("the monitoring was stopped".to_owned());
            }
            (FaultTarget::Monitor, Behaviour::Alert) => {
                let summary_of_it = "raised by the scenario, not by a failed probe";
                let posted =
                    alertmanager::post(&reqwest::Client::new(), &services.alerts.url("alerts"), summary_of_it).await;
                posted.map_err(|error| failed(format!("the alert was not taken: {}", error.without_url())))?;
                summary = String::from("the alert DB_UNAVAILABLE was posted and taken, without a failed probe");
            }
            (FaultTarget::Monitor, _) => mending = Some(self.misanswer(&services.alerts).await),
            (FaultTarget::Archive, Behaviour::Down | Behaviour::Slow | Behaviour::Kill) => {
                let path = services.archive_service;
                let program = self.archive_program();
                fs::write(path, program).map_err(FaultError::io("write", path))?;
                touched.push(format!("{} is asked before a segment is handed out", path.display()));
                mending = Some(removal(path.to_owned(), self.after()));
            }
            _ => {
                return Err(FaultError::NotApplicable {
                    kind: Self::name(),
                    target,
                });
            }
        }
        touched.push(summary.clone());
        let done = Done::new(summary, touched);
        Ok(match mending {
            Some(mending) => done.mended_by(mending),
            None => done,
        })
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

    async fn misanswer(&self, port: &http::Port) -> Mending {
        match self.answers() {
            None => port.go_down().await,
            Some(behaviour) => port.behave(behaviour, self.after(), self.times()),
        }
        let port = port.clone();
        let failed = |error: std::io::Error| FaultError::NotVerified {
            what: error.to_string(),
        };
        let is_counted = self.answers().is_some();
        Box::pin(async move {
            port.mend().await.map_err(failed)?;
            Ok(is_counted.then(|| port.met()))
        })
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

/// Removes the program that the archive asks, unless somebody did so before. It counts how often it was asked, the first
/// `after` times without harm.
fn removal(path: PathBuf, after: u64) -> Mending {
    Box::pin(async move {
        let asked = fs::read_to_string(path.with_file_name(format!(
            "{}.count",
            path.file_name().unwrap_or_default().to_string_lossy()
        )));
        let asked: u64 = asked.ok().and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FaultError::io("remove", &path)(error)),
            _ => Ok(Some(asked.saturating_sub(after))),
        }
    })
}
