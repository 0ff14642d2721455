//! The wall clock of a server, stepped while it runs. libfaketime is loaded into the server when it starts and reads an
//! offset from a file at each call; the monotonic clock stays as it is, and so do the clocks of everything else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use reports::text::lasting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use crate::{
    fault::{Deed, Doing, Done, FaultError, SUPERUSER, World},
    postgres::{Cluster, Provider, Tool, release_shared_memory},
    scenario::{Changes, Fault, Kind, Moment, Needs, Scenario},
};

/// The library's places on common systems, for its package's default name.
const PLACES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
    "/usr/local/lib64/faketime",
];
/// How far the stepped clock may be from where it should be: the time that asking takes.
const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// Steps the wall clock of the running server, by libfaketime; the monotonic clock stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// By so much, in whole seconds with the sign: "-2h", "+90s".
    pub step: Step,
}

/// A step of a clock, forward or back: a duration of whole seconds with its sign.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[+-]"))]
pub struct Step(pub TimeDelta);

impl TryFrom<String> for Step {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let read = || {
            let (sign, length) = text.split_at_checked(1)?;
            let length = TimeDelta::from_std(humantime::parse_duration(length).ok()?).ok()?;
            if length.subsec_nanos() != 0 || length.is_zero() || length > TimeDelta::days(3650) {
                return None;
            }
            match sign {
                "+" => Some(Self(length)),
                "-" => Some(Self(-length)),
                _ => None,
            }
        };
        read().ok_or("write a step of whole seconds with its sign: \"-2h\" or \"+90s\"")
    }
}

impl From<Step> for String {
    fn from(Step(step): Step) -> Self {
        format!("{:+}s", step.num_seconds())
    }
}

impl Kind for Clock {
    fn name() -> &'static str {
        "clock"
    }

    fn needs() -> Needs {
        Needs::OwnClock
    }

    fn in_words(&self, fault: &Fault) -> String {
        let Step(step) = self.step;
        let length = lasting(step.abs().to_std().unwrap_or_default());
        let direction = if step < TimeDelta::zero() { "back" } else { "forward" };
        format!("steps the wall clock of {} {direction} by {length}", fault.whose())
    }

    fn suits(&self, fault: &Fault, _: &Scenario) -> Result<(), String> {
        if fault.at <= Moment::Failure {
            return Ok(());
        }
        Err(format!(
            "at {} the service's cluster is given up; step its clock at failure or before",
            fault.at
        ))
    }

    fn changes(&self) -> Changes {
        Changes::Nothing
    }
}

impl Deed for Clock {
    fn inject<'a>(&'a self, fault: &'a Fault, world: &'a mut World<'_>) -> Doing<'a> {
        Box::pin(async move { self.step(world.cluster(fault)?).await })
    }
}

impl Clock {
    /// Steps the clock of a running server, and asks a session that was there before how it sees that.
    async fn step(&self, cluster: &Cluster) -> Result<Done, FaultError> {
        let Step(by) = self.step;
        let offset = offset_file(cluster);
        let text = fs::read_to_string(&offset).map_err(FaultError::io("read", &offset))?;
        let before = TimeDelta::seconds(text.trim().parse().unwrap_or_default());
        let connected = cluster.connect(SUPERUSER, SUPERUSER).await;
        let session = connected.map_err(|source| FaultError::Connect {
            database: SUPERUSER.to_owned(),
            source: Box::new(source),
        })?;
        let (was, _) = clock(&session).await?;
        write(&offset, before + by).map_err(FaultError::io("write", &offset))?;
        let (is, now) = clock(&session).await?;
        if (is - now - (before + by)).abs() > TOLERANCE {
            return Err(FaultError::NotVerified {
                what: format!(
                    "the server's clock is at {is}, and was to be {} s from {now}",
                    (before + by).num_seconds()
                ),
            });
        }
        let line = format!(
            "wall clock of {}: {was} → {is}, a step of {:+} s",
            cluster.name(),
            by.num_seconds()
        );
        Ok(Done::new(line.clone(), [line]))
    }
}

/// Where libfaketime is on this machine.
pub fn library() -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| Path::new(place).join("libfaketime.so.1"))
        .find(|library| library.is_file())
}

/// What libfaketime keeps in memory for a server and the commands that it starts; gone when this is dropped. In a
/// container it goes with the container.
#[derive(Debug)]
pub struct SteppedClock {
    maker: Option<u32>,
}

impl Drop for SteppedClock {
    fn drop(&mut self) {
        if let Some(maker) = self.maker {
            release_shared_memory(maker);
        }
    }
}

/// Has a server that is not started yet run on a clock that can be stepped.
///
/// # Errors
/// If there is no libfaketime, or it does not work.
pub async fn prepare(cluster: &mut Cluster) -> Result<SteppedClock, FaultError> {
    let mut library = library().ok_or(FaultError::NoLibrary)?;
    let in_container = cluster.installation().provider == Provider::Container;
    if in_container {
        // The image need not have one; the host's is put where the container sees it.
        let here = cluster.socket_directory().join("libfaketime.so.1");
        fs::copy(&library, &here).map_err(FaultError::io("copy", &library))?;
        library = here;
    }
    let offset = offset_file(cluster);
    write(&offset, TimeDelta::zero()).map_err(FaultError::io("write", &offset))?;
    let mut environment = vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", offset.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let mut maker = None;
    if !in_container {
        // The first process under libfaketime makes its shared memory and takes it away when it ends, and so does each of
        // its forks. A server's children end all the time; every command of the archiver would then make its own and leave
        // it. So the first process is one that becomes another before it ends.
        let first = Tool::external("sh").args(["-c", "echo \"$FAKETIME_SHARED\"; exec true"]);
        let output = first.envs(environment.iter().map(|(name, value)| (name, value))).run();
        let shared = output.await.map_err(FaultError::Command)?.stdout.trim().to_owned();
        let number = shared.rsplit('_').next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| FaultError::NotVerified {
            what: format!("libfaketime said {shared:?} instead of where its shared memory is"),
        })?;
        cluster.remember(number);
        maker = Some(number);
        environment.push(("FAKETIME_SHARED", shared));
    }
    for (name, value) in environment {
        cluster.set_environment(name, &value);
    }
    Ok(SteppedClock { maker })
}

fn offset_file(cluster: &Cluster) -> PathBuf {
    cluster.socket_directory().join("clock-offset")
}

/// Replaced in one step: the server reads it all the time.
fn write(path: &Path, offset: TimeDelta) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, format!("{:+}\n", offset.num_seconds()))?;
    fs::rename(&beside, path)
}

/// The server's clock, and ours right after.
async fn clock(session: &Client) -> Result<(DateTime<Utc>, DateTime<Utc>), FaultError> {
    const SQL: &str = "SELECT clock_timestamp()";
    match session.query_one(SQL, &[]).await {
        Ok(row) => Ok((row.get(0), Utc::now())),
        Err(source) => Err(FaultError::Statement {
            statement: SQL.to_owned(),
            source,
        }),
    }
}
