//! The kinds of faults, each with the function that reads its keys.
//!
//! [`KINDS`] is the whole vocabulary: a kind that is not in it is refused with this list.

use super::{
    Action, Behaviour, FaultTarget, PageChecksum, Process, ScenarioError, ServerDeed, SignalName,
    item::Item,
    keys::{files, keep, length, mode, offset, older, replacement, step},
    named::hint,
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
    /// A cluster.
    Server,
    /// The cluster of the service: the only one that can have a filesystem of its own.
    OwnFilesystem,
    /// A backup.
    Backup,
    /// The cluster of the service: the only one whose server is started with a clock that can be stepped.
    OwnClock,
    /// A service around the database.
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
            Self::Service => !Behaviour::of(target).is_empty(),
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
        about: "Runs statements as superuser, or as a role that must be refused, one after the other in one session.",
        keys: "statements, [database], [role], [refused = false]",
        needs: Needs::Server,
        read: |table| {
            let statements = table.need("statements", |item| {
                item.one_or_more()?.into_iter().map(Item::text).collect()
            })?;
            let database = table
                .maybe("database", Item::text)?
                .unwrap_or_else(|| fixtures::schema::DATABASE.to_owned());
            let role = table.maybe("role", |item| item.one_of(&fixtures::Role::ALL, fixtures::Role::name))?;
            let refused = table.maybe("refused", Item::boolean)?.unwrap_or(false);
            Ok(Action::Sql {
                database,
                statements,
                role,
                refused,
            })
        },
    },
    Kind {
        name: "remove-files",
        about: "Removes files, links and directories with everything below them.",
        keys: "path, relation or segment, [pick = \"all\"]",
        needs: Needs::Files,
        read: |table| Ok(Action::RemoveFiles { files: files(table)? }),
    },
    Kind {
        name: "truncate-file",
        about: "Cuts a file short.",
        keys: "path or relation, keep_bytes or keep_percent, [pick]",
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
        keys: "path or relation, bytes, [offset], [pick]",
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
        keys: "path or relation, offset, bytes, [pick]",
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
        keys: "path or relation, offset, hex, [pick]",
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
        keys: "path or relation, hex, [pick]",
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
        keys: "path or relation, with = { path = \"…\" } or { text = \"…\" }, [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::ReplaceFile {
                files: files(table)?,
                with: table.need("with", replacement)?,
            })
        },
    },
    Kind {
        name: "swap-file",
        about: "Gives a file the content that it had when a backup was taken.",
        keys: "path or relation, from, [keep_tail = false], [pick]",
        needs: Needs::Files,
        read: |table| {
            Ok(Action::SwapFile {
                files: files(table)?,
                from: table.need("from", older)?,
                keep_tail: table.maybe("keep_tail", Item::boolean)?.unwrap_or(false),
            })
        },
    },
    Kind {
        name: "corrupt-page",
        about: "Overwrites bytes of one page of a relation, or its checksum; the server must be stopped.",
        keys: "relation or path, block, offset and hex (not with checksum = \"break\"), [checksum = \"keep\"]",
        needs: Needs::Files,
        read: corrupt_page,
    },
    Kind {
        name: "chmod",
        about: "Sets the permissions of a file or directory.",
        keys: "path or relation, mode, [pick]",
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
    Kind {
        name: "server",
        about: "Stops or starts a server in order, and waits until it has.",
        keys: "does",
        needs: Needs::Server,
        read: |table| {
            Ok(Action::Server {
                does: table.need("does", Item::choice::<ServerDeed>)?,
            })
        },
    },
    Kind {
        name: "setting",
        about: "Changes a setting of a server, with a restart where the setting asks for one.",
        keys: "name, [value: if absent, the setting is reset]",
        needs: Needs::Server,
        read: |table| {
            Ok(Action::Setting {
                name: table.need("name", Item::text)?,
                value: table.maybe("value", |item| Ok(item.string()?.to_owned()))?,
            })
        },
    },
    Kind {
        name: "fill-disk",
        about: "Fills the small filesystem that the cluster was given (`given.storage_size`), down to the last byte.",
        keys: "",
        needs: Needs::OwnFilesystem,
        read: |_| Ok(Action::FillDisk),
    },
    Kind {
        name: "alien-segment",
        about: "Puts a segment of another cluster, of the same name, in place of a WAL segment.",
        keys: "path or segment, [pick]",
        needs: Needs::Files,
        read: |table| Ok(Action::AlienSegment { files: files(table)? }),
    },
    Kind {
        name: "restore-cluster",
        about: "Restores the service's cluster from a backup to the end of its WAL, as an earlier recovery would have.",
        keys: "from",
        needs: Needs::Server,
        read: |table| {
            Ok(Action::RestoreCluster {
                from: table.need("from", older)?,
            })
        },
    },
    Kind {
        name: "promote-clone",
        about: "Restores a backup into a clone, which promotes itself, writes, and archives where the service does.",
        keys: "",
        needs: Needs::Backup,
        read: |_| Ok(Action::PromoteClone),
    },
    Kind {
        name: "expire-backup",
        about: "Removes a whole backup from the repository, as retention does.",
        keys: "",
        needs: Needs::Backup,
        read: |_| Ok(Action::ExpireBackup),
    },
    Kind {
        name: "clock",
        about: "Steps the wall clock of the running server, by libfaketime; the monotonic clock stays as it is.",
        keys: "step",
        needs: Needs::OwnClock,
        read: |table| {
            Ok(Action::Clock {
                step: table.need("step", step)?,
            })
        },
    },
    Kind {
        name: "command",
        about: "Runs a program of yours as the server's account; an exit code other than 0 is an error.",
        keys: "argv",
        needs: Needs::Server,
        read: |table| {
            Ok(Action::Command {
                argv: table.need("argv", |item| item.one_or_more()?.into_iter().map(Item::text).collect())?,
            })
        },
    },
    Kind {
        name: "service",
        about: "Makes a service around the database misbehave until the drill ends.",
        keys: "does, delay (with \"slow\"), status (with \"status\"), [after = 0], [times]",
        needs: Needs::Service,
        read: service,
    },
];

fn corrupt_page(table: &mut Table<'_>) -> Result<Action, ScenarioError> {
    let files = files(table)?;
    let block = table.need("block", |item| item.count(0))?;
    let checksum = table
        .maybe("checksum", Item::choice::<PageChecksum>)?
        .unwrap_or(PageChecksum::Keep);
    let content = match table.take("offset") {
        None if checksum == PageChecksum::Break => None,
        None => return Err(table.missing("offset")),
        Some(item) => Some((item.integer(0, 8191)?, table.need("hex", Item::hex)?)),
    };
    Ok(Action::CorruptPage {
        files,
        block,
        content,
        checksum,
    })
}

fn service(table: &mut Table<'_>) -> Result<Action, ScenarioError> {
    let does = table.need("does", |item| {
        let name = item.string()?;
        let known = Behaviour::NAMES.contains(&name);
        if known {
            Ok(name)
        } else {
            Err(item.bad(hint(name, Behaviour::NAMES.iter().copied())))
        }
    })?;
    let does = match does {
        "down" => Behaviour::Down,
        "refuse" => Behaviour::Refuse,
        "hang" => Behaviour::Hang,
        "slow" => Behaviour::Slow(table.need("delay", Item::duration)?),
        "status" => Behaviour::Status(table.need("status", |item| {
            let status = item.integer(400, 599)?;
            u16::try_from(status).map_err(|_| item.bad("it is no status"))
        })?),
        "stale" => Behaviour::Stale,
        "kill" => Behaviour::Kill,
        _ => Behaviour::Alert,
    };
    let after = table.maybe("after", |item| item.integer(1, 1_000_000))?.unwrap_or(0);
    let times = table.maybe("times", |item| item.integer(1, 1_000_000))?;
    Ok(Action::Service { does, after, times })
}
