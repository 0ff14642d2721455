//! The kinds of faults, each with the function that reads its keys.
//!
//! [`KINDS`] is the whole vocabulary: a kind that is not in it is refused with this list.

use super::{
    Action, FaultTarget, Keep, Pick, Process, Replacement, ScenarioError, Selection, SignalName, item::Item,
    reader::Table,
};

/// A kind of fault.
#[derive(Debug)]
pub struct Kind {
    /// Its name: `flip-bytes`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// The keys it reads beside `at`, `kind` and `target`; those in brackets may be absent.
    pub keys: &'static str,
    /// What it needs to act on.
    pub needs: Needs,
    read: for<'t> fn(&mut Table<'t>) -> Result<Action, ScenarioError>,
}

/// What a kind of fault acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A directory of files.
    Files,
    /// A running server.
    Server,
}

impl Needs {
    /// Whether a target has it.
    pub fn met_by(self, target: FaultTarget) -> bool {
        match self {
            Self::Files => target.has_files(),
            Self::Server => target.is_cluster(),
        }
    }

    /// The targets that have it, for people.
    pub fn targets(self) -> &'static str {
        match self {
            Self::Files => "cluster, archive, stream, backup:latest, backup:oldest, backup:N, backup:all or restored",
            Self::Server => "cluster or restored",
        }
    }
}

impl Kind {
    /// Reads the keys of this kind.
    pub(super) fn read(&self, table: &mut Table<'_>) -> Result<Action, ScenarioError> {
        (self.read)(table)
    }
}

/// Every kind of fault.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "sql",
        about: "Runs statements as superuser, one after the other in one session.",
        keys: "statements, [database]",
        needs: Needs::Server,
        read: |table| {
            let statements = table.need("statements", |item| {
                item.one_or_more()?.into_iter().map(Item::text).collect()
            })?;
            let database = table
                .maybe("database", Item::text)?
                .unwrap_or_else(|| fixtures::schema::DATABASE.to_owned());
            Ok(Action::Sql { database, statements })
        },
    },
    Kind {
        name: "remove-files",
        about: "Removes files, links and directories with everything below them.",
        keys: "path, [pick = \"all\"]",
        needs: Needs::Files,
        read: |table| Ok(Action::RemoveFiles { files: files(table)? }),
    },
    Kind {
        name: "truncate-file",
        about: "Cuts a file short.",
        keys: "path, keep_bytes or keep_percent, [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::TruncateFile {
                files: files(table)?,
                keep: keep(table)?,
            })
        },
    },
    Kind {
        name: "flip-bytes",
        about: "Changes bytes at random places of a file, or from an offset on.",
        keys: "path, bytes, [offset], [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::FlipBytes {
                files: files(table)?,
                bytes: length(table)?,
                offset: table.maybe("offset", offset)?,
            })
        },
    },
    Kind {
        name: "zero-bytes",
        about: "Overwrites a part of a file with zeros.",
        keys: "path, offset, bytes, [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::ZeroBytes {
                files: files(table)?,
                offset: table.need("offset", offset)?,
                bytes: length(table)?,
            })
        },
    },
    Kind {
        name: "write-bytes",
        about: "Overwrites a part of a file with given bytes.",
        keys: "path, offset, hex, [pick]",
        needs: Needs::Files,
        read: |table| {
            let (files, offset) = (files(table)?, table.need("offset", offset)?);
            Ok(Action::WriteBytes {
                files,
                offset,
                content: table.need("hex", Item::hex)?,
            })
        },
    },
    Kind {
        name: "append-bytes",
        about: "Lengthens a file by given bytes.",
        keys: "path, hex, [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::AppendBytes {
                files: files(table)?,
                content: table.need("hex", Item::hex)?,
            })
        },
    },
    Kind {
        name: "replace-file",
        about: "Gives a file another content: a text, or that of another file of the same target.",
        keys: "path, with = { path = \"…\" } or { text = \"…\" }, [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::ReplaceFile {
                files: files(table)?,
                with: table.need("with", replacement)?,
            })
        },
    },
    Kind {
        name: "chmod",
        about: "Sets the permissions of a file or directory.",
        keys: "path, mode, [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::Chmod {
                files: files(table)?,
                mode: table.need("mode", mode)?,
            })
        },
    },
    Kind {
        name: "signal",
        about: "Sends a signal to processes of the server.",
        keys: "process, signal",
        needs: Needs::Server,
        read: |table| {
            let process = table.need("process", Item::choice::<Process>)?;
            Ok(Action::Signal {
                process,
                signal: table.need("signal", Item::choice::<SignalName>)?,
            })
        },
    },
];

fn files(table: &mut Table<'_>) -> Result<Selection, ScenarioError> {
    Ok(Selection {
        path: table.need("path", pattern)?,
        pick: table.maybe("pick", Item::choice::<Pick>)?,
    })
}

fn pattern(item: Item<'_>) -> Result<glob::Pattern, ScenarioError> {
    let text = item.text()?;
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(item.bad("a fault stays inside of its target; write a path relative to the target's directory"));
    }
    if text.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(item.bad("it has an empty part; write names or patterns with one `/` between them"));
    }
    glob::Pattern::new(&text)
        .map_err(|error| item.bad(format!("{}; `*` stays within a name, `**` is any depth", error.msg)))
}

fn offset(item: Item<'_>) -> Result<u64, ScenarioError> {
    item.integer(0, u64::MAX)
}

fn length(table: &mut Table<'_>) -> Result<u64, ScenarioError> {
    table.need("bytes", |item| item.integer(1, u64::MAX))
}

fn keep(table: &mut Table<'_>) -> Result<Keep, ScenarioError> {
    let bytes = table.maybe("keep_bytes", |item| item.integer(0, u64::MAX))?;
    let percent = table.take("keep_percent");
    match (bytes, percent) {
        (Some(bytes), None) => Ok(Keep::Bytes(bytes)),
        (None, Some(percent)) => Ok(Keep::Percent(percent.integer(0, 99)?)),
        (Some(_), Some(percent)) => Err(percent.bad("`keep_bytes` says already how much stays; remove one of them")),
        (None, None) => Err(table.missing("keep_bytes")),
    }
}

fn replacement(item: Item<'_>) -> Result<Replacement, ScenarioError> {
    let mut table = item.table("`with`")?;
    let path = table.maybe("path", pattern)?;
    let text = table.maybe("text", |text| Ok(text.string()?.to_owned()))?;
    let with = match (path, text) {
        (Some(path), None) => Replacement::File(path),
        (None, Some(text)) => Replacement::Text(text),
        (Some(_), Some(_)) => return Err(item.bad("it has both a `path` and a `text`; remove one of them")),
        (None, None) => return Err(table.missing("path")),
    };
    table.finish()?;
    Ok(with)
}

fn mode(item: Item<'_>) -> Result<u32, ScenarioError> {
    let text = item.string()?;
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| item.bad("write permissions as an octal number in quotes: \"0600\""))
}
