//! One `[[fault]]`: when something breaks, where, on which files and how.

use super::{
    Action, FaultTarget, Kinds, Moment, Needs, Pick, ScenarioError, Selection, de::ReadError, key_value::KeyValue,
    named::hint,
};

/// One `[[fault]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Moment,
    /// Where.
    pub target: FaultTarget,
    /// On which files; always there if its kind acts on files.
    pub files: Option<Selection>,
    /// How.
    pub action: Action,
    /// Its number in the file, from 1: what tells it from every other, several on one line included.
    pub number: u32,
    /// Line of the file on which it begins.
    pub line: usize,
}

impl Fault {
    /// Reads the fault of that number.
    pub(super) fn read(item: KeyValue<'_>, number: u32, kinds: &Kinds) -> Result<Self, ScenarioError> {
        let mut table = item.table("[[fault]]")?;
        let at = table.need("at")?.read()?;
        let named = table.need("kind")?;
        let name = named.string()?;
        let kind = kinds.named(name).ok_or_else(|| {
            let names = kinds.iter().map(|kind| kind.name);
            named.bad(format!("no such kind of fault; {}", hint(name, names)))
        })?;
        let aimed = table.need("target")?;
        let target = aimed.read()?;
        if !kind.needs.met_by(target) {
            return Err(aimed.bad(format!("`{}` acts on {}", kind.name, kind.needs.targets())));
        }
        let files = match kind.needs {
            Needs::Files => Some(Selection::read(&mut table)?),
            _ => None,
        };
        let action = kind.read(&table).map_err(|error| match error {
            ReadError::Placed(error) => *error,
            other => item.bad(other.to_string()),
        })?;
        Ok(Self {
            at,
            target,
            files,
            action,
            number,
            line: item.place().line,
        })
    }

    /// What its target is called: "the service's cluster".
    pub fn whose(&self) -> String {
        self.target.in_words()
    }

    /// The one file that it is about, in words: "the largest file that matches base/*".
    pub fn file_in_words(&self) -> String {
        self.files_in_words(Pick::Largest)
    }

    /// The files that it is about, in words, with what is picked where the fault does not say.
    pub fn files_in_words(&self, otherwise: Pick) -> String {
        self.files
            .as_ref()
            .map_or_else(|| "no file".to_owned(), |files| files.in_words(otherwise))
    }

    /// When it happens, and what it does.
    pub(super) fn in_words(&self) -> String {
        let when = match self.at {
            Moment::BeforeBackups => "before the backups",
            Moment::BetweenBackups => "between two backups",
            Moment::AfterBackups => "after the backups",
            Moment::Failure => "the failure",
            Moment::Restore => "when the restore starts",
            Moment::Restored => "after the restore, before validation",
            Moment::Cutover => "before the cutover",
            Moment::Switched => "after the connection string was changed, before the application is restarted",
            Moment::AfterCutover => "after the cutover",
        };
        format!("{when}: {} (line {})", self.action.in_words(self), self.line)
    }
}
