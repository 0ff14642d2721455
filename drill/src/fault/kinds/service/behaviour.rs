//! How a service around the database misbehaves, and which service can misbehave how.

use std::time::Duration;

use reports::text::{counted, lasting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::scenario::{Between, Fault, FaultTarget, Kind, Lasting, Named as _, Needs, Scenario, Wrong, named};

/// Makes a service around the database misbehave until the drill ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = conditions()))]
pub struct Service {
    /// How it misbehaves.
    pub does: Behaviour,
    /// How late it answers, with "slow": "1s".
    pub delay: Option<Lasting>,
    /// The HTTP status that it answers with, with "status".
    pub status: Option<Between<400, 599>>,
    /// So many requests, starts or segments are as always first.
    pub after: Option<Between<1, 1_000_000>>,
    /// It lasts for so many; absent: for good.
    pub times: Option<Between<1, 1_000_000>>,
}

named! {
    /// How a service misbehaves.
    pub enum Behaviour {
        /// It is not there: a process is killed as soon as it is started, a port is closed, a file is gone.
        Down = "down",
        /// It is there and refuses to be changed.
        Refuse = "refuse",
        /// It accepts a request and never answers.
        Hang = "hang",
        /// It answers late.
        Slow = "slow",
        /// It answers with an HTTP status.
        Status = "status",
        /// What fetches from it is killed before it has anything.
        Kill = "kill",
        /// It raises the alert of a failed database, whatever the database does.
        Alert = "alert",
        /// It goes on as it is, and whoever restarts it is told that it was done.
        Stale = "stale",
    }
}

impl Behaviour {
    /// What a target can do wrong.
    pub fn of(target: FaultTarget) -> &'static [Self] {
        use Behaviour::{Alert, Down, Hang, Kill, Refuse, Slow, Stale, Status};
        match target {
            FaultTarget::App => &[Down, Hang, Slow, Status, Stale],
            FaultTarget::ConfigStore => &[Down, Refuse],
            FaultTarget::Notifier => &[Down, Hang, Slow, Status],
            FaultTarget::Monitor => &[Down, Hang, Slow, Status, Alert],
            FaultTarget::Archive => &[Down, Slow, Kill],
            _ => &[],
        }
    }

    /// Whether what it does to `target` comes request by request (or start by start), so that it can be counted.
    pub fn is_counted(self, target: FaultTarget) -> bool {
        match target {
            FaultTarget::App | FaultTarget::Archive => true,
            FaultTarget::Notifier | FaultTarget::Monitor => matches!(self, Self::Hang | Self::Slow | Self::Status),
            _ => false,
        }
    }
}

impl Service {
    /// How late it answers.
    pub fn delay(&self) -> Duration {
        self.delay.map_or(Duration::ZERO, |Lasting(delay)| delay)
    }

    /// The HTTP status that it answers with.
    pub fn status(&self) -> u16 {
        self.status.map_or(500, |status| status.get() as u16)
    }

    /// So many requests, starts or segments are as always first.
    pub fn after(&self) -> u64 {
        self.after.map_or(0, Between::get)
    }

    /// It lasts for so many; `None`: for good.
    pub fn times(&self) -> Option<u64> {
        self.times.map(Between::get)
    }
}

impl Kind for Service {
    fn name() -> &'static str {
        "service"
    }

    fn needs() -> Needs {
        Needs::Service
    }

    fn in_words(&self, fault: &Fault) -> String {
        let whose = fault.whose();
        let what = match self.does {
            Behaviour::Down => format!("{whose} is down"),
            Behaviour::Refuse => format!("{whose} refuses every change"),
            Behaviour::Hang => format!("{whose} never answers"),
            Behaviour::Slow => format!("{whose} answers {} late", lasting(self.delay())),
            Behaviour::Status => format!("{whose} answers with status {}", self.status()),
            Behaviour::Kill => format!("what fetches from {whose} is killed"),
            Behaviour::Alert => format!("{whose} raises an alert by itself"),
            Behaviour::Stale => format!("{whose} goes on as it is although its restart is reported as done"),
        };
        let after = match self.after() {
            0 => String::new(),
            after => format!(" after {}", counted(after, "time")),
        };
        let times = self.times();
        let times = times.map_or_else(String::new, |times| format!(", {}", counted(times, "time")));
        format!("{what}{after}{times}")
    }

    fn check(&self) -> Result<(), Wrong> {
        match self.does {
            Behaviour::Slow if self.delay.is_none() => Err(Wrong::Missing("delay")),
            Behaviour::Status if self.status.is_none() => Err(Wrong::Missing("status")),
            does if does != Behaviour::Slow && self.delay.is_some() => Err(Wrong::Bad(
                "delay",
                "only a service that is \"slow\" answers late; remove it, or change `does`",
            )),
            does if does != Behaviour::Status && self.status.is_some() => Err(Wrong::Bad(
                "status",
                "only \"status\" answers with one; remove it, or change `does`",
            )),
            _ => Ok(()),
        }
    }

    fn suits(&self, fault: &Fault, _: &Scenario) -> Result<(), String> {
        let (does, target) = (self.does, fault.target);
        let can = Behaviour::of(target);
        if !can.contains(&does) {
            let can: Vec<&str> = can.iter().map(|behaviour| behaviour.name()).collect();
            return Err(format!("{target} can be {}, not {does}", can.join(", ")));
        }
        if (self.after.is_some() || self.times.is_some()) && !does.is_counted(target) {
            return Err(format!(
                "{does} of {target} cannot be counted; remove `after` and `times`"
            ));
        }
        Ok(())
    }
}

/// What the schema says beyond each key: each service misbehaves in its own ways, and some ways need a key.
fn conditions() -> Value {
    let services = FaultTarget::NAMES.iter().filter_map(|name| {
        let can = Behaviour::of(FaultTarget::from_name(name)?);
        (!can.is_empty()).then(|| {
            json!({
                "if": { "properties": { "target": { "const": name } } },
                "then": { "properties": { "does": { "enum": can } } },
            })
        })
    });
    let keys = [("slow", "delay"), ("status", "status")].map(|(does, key)| {
        json!({
            "if": { "properties": { "does": { "const": does } } },
            "then": { "required": [key] }, "else": { "properties": { key: false } },
        })
    });
    services.chain(keys).collect()
}
