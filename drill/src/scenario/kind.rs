//! What a scenario knows of a kind of fault, and the registry of kinds by which a file is read.
//!
//! A kind is a struct whose fields are its keys: serde reads and writes it, schemars describes it, and [`Kind`] says in
//! words what it does. The code that does the damage belongs to a module above this one, which only keeps it.

use std::{any::Any, fmt, ops::Deref, sync::Arc};

use schemars::JsonSchema;
use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

use super::{Fault, FaultTarget, Scenario, de::ReadError, schema, table::Table};

/// A kind of fault. A value of it holds the keys of one fault, beside those that say when, where and on which files.
///
/// The documentation of the struct says in one sentence what it does, for lists and for editors; that of its fields
/// becomes the help on its keys.
pub trait Kind: fmt::Debug + Send + Sync + 'static {
    /// Its name in files: `flip-bytes`.
    fn name() -> &'static str
    where
        Self: Sized;

    /// What it acts on.
    fn needs() -> Needs
    where
        Self: Sized;

    /// What it does, as an end of the sentence "the failure: …".
    fn in_words(&self, fault: &Fault) -> String;

    /// Finds keys that cannot stand together.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    /// Finds what contradicts the rest of the file: its moment, its target, what stands before the failure.
    ///
    /// # Errors
    /// What contradicts what, and what to change.
    fn suits(&self, _fault: &Fault, _scenario: &Scenario) -> Result<(), String> {
        Ok(())
    }

    /// Which of the things that a recovery must bring back it changes, where it is aimed at the service's cluster.
    fn changes(&self) -> Changes {
        Changes::Damage
    }

    /// Whether the service goes on, on another timeline, when it is done.
    fn starts_another_timeline(&self) -> bool {
        false
    }

    /// Whether the backups that it is aimed at disappear from the catalogue of backups.
    fn expires_backups(&self) -> bool {
        false
    }

    /// What the fault does to a backup that it is aimed at: `damaged`. `None` if the backup stays as it is.
    fn harm(&self, _fault: &Fault) -> Option<&'static str> {
        Some("damaged")
    }

    /// How a plan goes on, after "replays the archive", for the backup of that number; `source` is the archive or the
    /// stream. `None` where there is nothing to say beyond the target.
    fn wal_in_words(&self, _fault: &Fault, _number: u32, _source: &str) -> Option<String> {
        None
    }
}

/// What a kind of fault acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A directory of files. The fault then says which: `path`, `relation` or `segment`, and `pick`.
    Files,
    /// A cluster.
    Server,
    /// The cluster of the service: the only one that can have a filesystem of its own.
    OwnFilesystem,
    /// A backup.
    Backup,
    /// The cluster of the service: the only one whose server is started with a clock that can be stepped.
    OwnClock,
    /// A service around the database, which is mended when the drill is over.
    Service,
}

impl Needs {
    /// Whether a target has it.
    pub fn met_by(self, target: FaultTarget) -> bool {
        match self {
            Self::Files => target.has_files(),
            Self::Server => target.is_cluster(),
            Self::OwnFilesystem | Self::OwnClock => target == FaultTarget::Cluster,
            Self::Backup => matches!(target, FaultTarget::Backup(_)),
            Self::Service => target.is_service(),
        }
    }

    /// The targets that have it, for people.
    pub fn targets(self) -> &'static str {
        match self {
            Self::Files => "cluster, archive, stream, backup:latest, backup:oldest, backup:N, backup:all or restored",
            Self::Server => "cluster or restored",
            Self::OwnFilesystem | Self::OwnClock => "cluster",
            Self::Backup => "backup:latest, backup:oldest, backup:N or backup:all",
            Self::Service => "app, config-store, notifier, monitor or archive",
        }
    }
}

/// What a fault changes of what a recovery must bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Nothing: no data, or nothing that a server does not bring back by itself.
    Nothing,
    /// Settings, as those who run the service wanted them before the failure; no row.
    Settings,
    /// Anything that a statement can change, as people wanted it before the failure.
    Contents,
    /// Something that nobody wanted.
    Damage,
}

/// What is wrong with the keys of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// This key must be there.
    Missing(&'static str),
    /// This key cannot have its value, and why.
    Bad(&'static str, &'static str),
}

/// What a fault does: its kind with the values of its keys. It behaves as its [`Kind`].
#[derive(Debug, Clone)]
pub struct Action {
    name: &'static str,
    needs: Needs,
    keys: Value,
    kind: Arc<dyn Kind>,
    deed: Arc<dyn Any + Send + Sync>,
}

impl Action {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        self.name
    }

    /// What its kind acts on.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The keys of its kind, as a table; read from a file they give the same action.
    pub fn keys(&self) -> &Value {
        &self.keys
    }

    /// The code that does the damage, as it was given to [`KnownKind::new`].
    pub fn deed<D: 'static>(&self) -> Option<&D> {
        self.deed.downcast_ref()
    }
}

impl Deref for Action {
    type Target = dyn Kind;

    fn deref(&self) -> &Self::Target {
        &*self.kind
    }
}

impl PartialEq for Action {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.keys) == (other.name, &other.keys)
    }
}

impl Eq for Action {}

type Read = dyn Fn(&Table<'_>) -> Result<Action, ReadError> + Send + Sync;

/// A kind of fault that a file may name.
pub struct KnownKind {
    /// Its name: `flip-bytes`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: String,
    /// What it acts on.
    pub needs: Needs,
    /// The JSON Schema of its keys, beside those that every fault has.
    pub schema: Value,
    read: Box<Read>,
}

impl KnownKind {
    /// The kind `K`. `deed` turns its keys into the code that does the damage, which [`Action::deed`] returns.
    pub fn new<K, D>(deed: fn(Arc<K>) -> D) -> Self
    where
        K: Kind + Serialize + DeserializeOwned + JsonSchema,
        D: Send + Sync + 'static,
    {
        let schema = schema::of::<K>();
        let about = schema["description"].as_str().unwrap_or_default().to_owned();
        let read = move |table: &Table<'_>| {
            let kind = Arc::new(K::deserialize(table)?);
            kind.check().map_err(|wrong| table.wrong(&wrong))?;
            let mut keys = serde_json::to_value(&*kind).map_err(ReadError::custom)?;
            if let Some(keys) = keys.as_object_mut() {
                keys.retain(|_, value| !value.is_null()); // keys that are absent
            }
            Ok(Action {
                name: K::name(),
                needs: K::needs(),
                keys,
                kind: kind.clone(),
                deed: Arc::new(deed(kind)),
            })
        };
        Self {
            name: K::name(),
            about,
            needs: K::needs(),
            schema,
            read: Box::new(read),
        }
    }

    /// Reads the keys of this kind, which are all that is left in the table.
    pub(super) fn read(&self, table: &Table<'_>) -> Result<Action, ReadError> {
        (self.read)(table)
    }
}

/// The kinds of faults that files may name: the whole vocabulary. Others can be added to it.
#[derive(Default)]
pub struct Kinds(Vec<KnownKind>);

impl Kinds {
    /// Adds a kind; it replaces one of the same name.
    #[must_use]
    pub fn with(mut self, kind: KnownKind) -> Self {
        self.0.retain(|known| known.name != kind.name);
        self.0.push(kind);
        self
    }

    /// Every kind, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &KnownKind> {
        self.0.iter()
    }

    /// The kind of that name.
    pub fn named(&self, name: &str) -> Option<&KnownKind> {
        self.iter().find(|kind| kind.name == name)
    }
}
