//! `[recovery]`: what the operator aims for.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    Moment, ScenarioError,
    key_value::KeyValue,
    named::{hint, named},
};

/// What the operator aims for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RecoveryWish {
    /// Where replay shall stop.
    #[serde(default)]
    pub target: Target,
    /// Where the restore goes.
    #[serde(default)]
    pub into: Destination,
}

named! {
    /// Where the operator has the backup restored to.
    #[derive(Default)]
    pub enum Destination {
        /// A new place: what must be.
        #[default]
        New = "new",
        /// The directory of the cluster that failed: what must be refused.
        FailedCluster = "failed-cluster",
    }
}

/// Where replay shall stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// At the end of the WAL that survived.
    #[default]
    End,
    /// Just before the disaster.
    BeforeFailure,
    /// Just before the first fault that was injected.
    BeforeFault,
    /// Just before a location in the WAL: `0/3000028`.
    Lsn(#[schemars(extend("pattern" = "^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$"))] String),
    /// With the last commit up to a time: `2026-01-31T12:00:00Z`.
    Time(#[schemars(with = "String")] DateTime<Utc>),
    /// As `time`, with the time that the source's clock shows when that moment of the drill first comes.
    Moment(#[schemars(extend("enum" = Target::MOMENTS))] Moment),
}

impl Target {
    /// The targets that are names in a file.
    const NAMES: [(&str, Self); 3] = [
        ("end", Self::End),
        ("before-failure", Self::BeforeFailure),
        ("before-fault", Self::BeforeFault),
    ];
    /// The moments whose time may be a target.
    const MOMENTS: [Moment; 4] = [
        Moment::BeforeBackups,
        Moment::BetweenBackups,
        Moment::AfterBackups,
        Moment::Failure,
    ];
}

impl RecoveryWish {
    /// Reads `[recovery]`.
    pub(super) fn read(item: KeyValue<'_>) -> Result<Self, ScenarioError> {
        let mut table = item.table("[recovery]")?;
        let target = table.take("target").map(target).transpose()?;
        let into = table.maybe("into")?;
        table.finish()?;
        Ok(Self {
            target: target.unwrap_or_default(),
            into: into.unwrap_or_default(),
        })
    }
}

/// A target that is no name.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Lsn(#[serde(deserialize_with = "lsn")] String),
    Time(#[serde(deserialize_with = "time")] DateTime<Utc>),
    Moment(#[serde(deserialize_with = "moment")] Moment),
}

fn target(item: KeyValue<'_>) -> Result<Target, ScenarioError> {
    if let Some(name) = item.value().as_str() {
        let known = Target::NAMES.into_iter().find(|(known, _)| *known == name);
        return known.map(|(_, target)| target).ok_or_else(|| {
            let hint = hint(name, Target::NAMES.map(|(name, _)| name));
            item.bad(format!(
                "an LSN or a time goes into a table, {{ lsn = \"0/3000028\" }}; {hint}"
            ))
        });
    }
    if item.value().as_table().is_none() {
        return Err(item.wrong_type("a name, { lsn = \"…\" }, { time = \"…\" } or { moment = \"…\" }"));
    }
    Ok(match item.read()? {
        Place::Lsn(lsn) => Target::Lsn(lsn),
        Place::Time(time) => Target::Time(time),
        Place::Moment(moment) => Target::Moment(moment),
    })
}

fn lsn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let half = |part: &str| (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_hexdigit());
    match text.split_once('/') {
        Some((high, low)) if half(high) && half(low) => Ok(text),
        _ => Err(de::Error::custom("write an LSN as PostgreSQL does: \"0/3000028\"")),
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    struct Text;

    impl de::Visitor<'_> for Text {
        type Value = DateTime<Utc>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
            time.map_err(|_| E::custom("write a time with its offset, as in RFC 3339: \"2026-01-31T12:00:00Z\""))
        }

        fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Self::Value, E> {
            self.visit_str(&String::from_utf8_lossy(text))
        }
    }

    deserializer.deserialize_any(Text) // TOML has times without quotes as well
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
    let moment = Moment::deserialize(deserializer)?;
    if Target::MOMENTS.contains(&moment) {
        return Ok(moment);
    }
    Err(de::Error::custom(format!(
        "at {moment} there is nothing left to recover to; name a moment up to `failure`"
    )))
}
