//! `[given]`: the world before the failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::{
    key_types::{AtLeast, Between, DatabaseRole, OneOrMore, Text, shown, via},
    named::named,
};

/// The world before the failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "[given]")]
pub struct Given {
    /// A backup system, or a list: the scenario runs once for each. Absent: --backup, else basebackup.
    #[serde(
        deserialize_with = "via::<OneOrMore<Text>, _, _>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "OneOrMore<Text>")]
    pub backup: Vec<String>,
    /// How many backups are taken while the writers run.
    pub backups: u32,
    /// The system that takes each backup, oldest first, in place of `backup` and `backups`.
    #[serde(
        deserialize_with = "via::<OneOrMore<Text>, _, _>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "OneOrMore<Text>")]
    pub methods: Vec<String>,
    /// Whether a base backup brings along the WAL that it needs; else that is in the archive only.
    pub wal_in_backup: bool,
    /// Long options of the tool that takes the backups, their values behind a `=`.
    #[serde(deserialize_with = "tool_options")]
    #[schemars(with = "Vec<ToolOption>")]
    pub backup_options: Vec<String>,
    /// The role that takes dumps, instead of the superuser.
    #[serde(deserialize_with = "via::<DatabaseRole, _, _>", serialize_with = "shown")]
    #[schemars(with = "Option<DatabaseRole>")]
    pub backup_role: Option<fixtures::Role>,
    /// Whether a backup of another cluster gets into the repository after them.
    pub foreign_backup: bool,
    /// Whether WAL is archived continuously.
    pub archive: bool,
    /// WAL streamed to a second place beside the archive.
    pub streaming: Streaming,
    /// Seed data: transformation scripts (--scripts).
    #[serde(deserialize_with = "via::<AtLeast<1>, _, _>")]
    #[schemars(with = "Option<AtLeast<1>>")]
    pub scripts: Option<u64>,
    /// Seed data: versions of each script, on average (--versions).
    #[serde(deserialize_with = "via::<Some32, _, _>")]
    #[schemars(with = "Option<Some32>")]
    pub versions: Option<u32>,
    /// Seed data: bytes of each version, on average (--content-bytes).
    #[serde(deserialize_with = "via::<Some32, _, _>")]
    #[schemars(with = "Option<Some32>")]
    pub content_bytes: Option<u32>,
    /// Seed of every random choice; --seed wins. Absent: it is drawn at the start.
    pub seed: Option<u64>,
    /// Acknowledged commits before the failure; 0: nobody writes (--commits).
    pub commits: Option<u64>,
    /// Concurrent writers (--writers).
    #[serde(deserialize_with = "via::<Some32, _, _>")]
    #[schemars(with = "Option<Some32>")]
    pub writers: Option<u32>,
    /// Where the clusters live (--storage).
    pub storage: Option<StorageWish>,
    /// A small filesystem of the source cluster's own, in memory, such as "256MiB": one that can be filled. Mounting it
    /// takes root.
    #[serde(
        rename = "storage_size",
        deserialize_with = "via::<Size<MINIMUM_STORAGE_MIB>, _, _>",
        serialize_with = "size"
    )]
    #[schemars(with = "Option<Text>")]
    pub storage_bytes: Option<u64>,
    /// A small filesystem for the first restore, in memory, such as "16MiB": one that may be too small. Mounting it takes
    /// root.
    #[serde(
        rename = "restore_size",
        deserialize_with = "via::<Size<1>, _, _>",
        serialize_with = "size"
    )]
    #[schemars(with = "Option<Text>")]
    pub restore_bytes: Option<u64>,
    /// PostgreSQL settings of the source cluster, as they stand in `postgresql.conf`.
    #[serde(deserialize_with = "settings")]
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub settings: BTreeMap<String, String>,
}

/// Below this a cluster and some seed data find no room.
const MINIMUM_STORAGE_MIB: u64 = 96;

/// At least one, of what fits 32 bits.
type Some32 = Between<1, { u32::MAX as u64 }>;

impl Default for Given {
    fn default() -> Self {
        Self {
            backup: Vec::new(),
            methods: Vec::new(),
            backups: 2,
            wal_in_backup: true,
            backup_options: Vec::new(),
            backup_role: None,
            foreign_backup: false,
            archive: true,
            streaming: Streaming::Off,
            scripts: None,
            versions: None,
            content_bytes: None,
            seed: None,
            commits: None,
            writers: None,
            storage: None,
            storage_bytes: None,
            restore_bytes: None,
            settings: BTreeMap::new(),
        }
    }
}

impl Given {
    /// The systems of `methods` as one name: `basebackup+dump`. `None` where one system takes all backups.
    pub fn mixed(&self) -> Option<String> {
        let mut names = self.methods.clone();
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| names.join("+"))
    }

    /// The systems of a drill with `system`, each once.
    pub fn systems<'a>(&'a self, system: &'a str) -> BTreeSet<&'a str> {
        (1..=self.backups.max(1))
            .map(|number| self.method(system, number))
            .collect()
    }

    /// The system that takes a backup, counted from 1, in a drill with `system`.
    pub fn method<'a>(&'a self, system: &'a str, number: u32) -> &'a str {
        let index = number.saturating_sub(1) as usize;
        let own = self
            .methods
            .get(index)
            .filter(|_| self.mixed().as_deref() == Some(system));
        own.map_or(system, String::as_str)
    }
}

named! {
    /// WAL streamed by `pg_receivewal` beside the archive.
    pub enum Streaming {
        /// None: what the archive has not got is lost with the cluster.
        Off = "off",
        /// The stream follows; the last moments may be missing.
        Asynchronous = "asynchronous",
        /// The stream is a synchronous standby: no acknowledged commit can be lost with the cluster.
        Synchronous = "synchronous",
    }
}

named! {
    /// Where a scenario wants its clusters.
    pub enum StorageWish {
        /// In memory, fsync off.
        Memory = "memory",
        /// On disk, fsync on, as production would be.
        Disk = "disk",
    }
}

/// An option of a backup tool, its value behind a `=`; none that leads it elsewhere.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = "^--."))]
struct ToolOption(String);

impl TryFrom<String> for ToolOption {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const PLACES: [&str; 13] = [
            "pgdata",
            "file",
            "target",
            "waldir",
            "tablespace-mapping",
            "config",
            "host",
            "port",
            "username",
            "dbname",
            "slot",
            "snapshot",
            "format",
        ];
        let name = text
            .strip_prefix("--")
            .map(|long| long.split('=').next().unwrap_or_default());
        match name {
            _ if text.trim().is_empty() => Err("it must not be empty"),
            None | Some("") => Err("write a long option, its value behind a `=`: \"--compress=9\""),
            // Tools take a name that is cut short as well.
            Some(name) if PLACES.iter().any(|place| place.starts_with(name)) => {
                Err("where a backup comes from and goes to is not the scenario's to say; leave it out")
            }
            Some(_) => Ok(Self(text)),
        }
    }
}

fn tool_options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let options = Vec::<ToolOption>::deserialize(deserializer)?;
    Ok(options.into_iter().map(|option| option.0).collect())
}

/// A size in bytes, written as `64MiB`; not less than so many MiB.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Size<const LEAST_MIB: u64>(u64);

impl<const LEAST_MIB: u64> TryFrom<String> for Size<LEAST_MIB> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = text.parse::<bytesize::ByteSize>();
        match bytes.map_err(|_| "write a size such as \"128MiB\"")?.as_u64() {
            bytes if bytes >= LEAST_MIB << 20 => Ok(Self(bytes)),
            _ => Err(format!("that is too little; write at least \"{LEAST_MIB}MiB\"")),
        }
    }
}

impl<const LEAST_MIB: u64> From<Size<LEAST_MIB>> for Option<u64> {
    fn from(size: Size<LEAST_MIB>) -> Self {
        Some(size.0)
    }
}

#[expect(clippy::ref_option, reason = "serde hands it over so")]
fn size<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.map(|bytes| format!("{bytes}B")).serialize(serializer)
}

/// The value of a setting, as it stands in `postgresql.conf`.
#[derive(JsonSchema)]
#[schemars(extend("type" = ["string", "number", "boolean"]))]
struct Setting(String);

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl Visitor<'_> for Value {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, or true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting(text.to_owned()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Setting, E> {
                Ok(Setting(format!("{number:?}")))
            }

            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<Setting, E> {
                Ok(Setting(if is_on { "on" } else { "off" }.to_owned()))
            }

            fn visit_i128<E: de::Error>(self, number: i128) -> Result<Setting, E> {
                let number = i64::try_from(number).map_err(|_| E::custom("it does not fit 64 bits"))?;
                Ok(Setting(number.to_string()))
            }
        }

        deserializer.deserialize_any(Value)
    }
}

fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let settings = BTreeMap::<String, Setting>::deserialize(deserializer)?;
    Ok(settings.into_iter().map(|(name, value)| (name, value.0)).collect())
}
