//! A fault in plain words; `show.rs` has the rest of a scenario.

use super::{
    Action, Behaviour, Fault, FaultTarget, Keep, Moment, Named as _, PageChecksum, Pick, Process, Replacement,
    SegmentPlace, Selection, ServerDeed, Which, show::plural,
};
use reports::text::{counted, lasting};

/// When it happens, and what it does.
pub(super) fn fault_in_words(fault: &Fault) -> String {
    let when = match fault.at {
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
    format!(
        "{when}: {} (line {})",
        action(&fault.action, &whose(fault.target)),
        fault.line
    )
}

/// What a target is called.
fn whose(target: FaultTarget) -> String {
    match target {
        FaultTarget::Cluster => "the service's cluster".to_owned(),
        FaultTarget::Archive => "the WAL archive".to_owned(),
        FaultTarget::Stream => "the streamed WAL".to_owned(),
        FaultTarget::Backup(Which::Latest) => "the newest backup".to_owned(),
        FaultTarget::Backup(Which::Oldest) => "the oldest backup".to_owned(),
        FaultTarget::Backup(Which::Number(number)) => format!("backup {number}"),
        FaultTarget::Backup(Which::All) => "every backup".to_owned(),
        FaultTarget::Restored => "the restored cluster".to_owned(),
        FaultTarget::App => "the application".to_owned(),
        FaultTarget::ConfigStore => "the configuration store".to_owned(),
        FaultTarget::Notifier => "the receiver of notifications".to_owned(),
        FaultTarget::Monitor => "monitoring".to_owned(),
    }
}

fn action(action: &Action, whose: &str) -> String {
    match action {
        Action::Sql {
            database,
            statements,
            role,
            refused,
        } => {
            let role = role.map_or("superuser", fixtures::Role::name);
            let statements = statements.join("; ");
            let refused = if *refused { ", which must be refused" } else { "" };
            format!("in database {database} of {whose}, as {role}{refused}: {statements}")
        }
        Action::RemoveFiles { files } => format!("removes {} of {whose}", matches(files, Pick::All)),
        Action::TruncateFile { files, keep } => {
            let keep = match keep {
                Keep::Bytes(bytes) => plural(*bytes, "byte"),
                Keep::Percent(percent) => format!("{percent} %"),
            };
            format!("cuts {} of {whose} down to {keep}", one(files))
        }
        Action::FlipBytes { files, bytes, offset } => {
            let place = offset.map_or("at random places".to_owned(), |offset| {
                format!("from offset {offset} on")
            });
            format!(
                "changes {} {place} in {} of {whose}",
                plural(*bytes, "byte"),
                one(files)
            )
        }
        Action::ZeroBytes { files, offset, bytes } => {
            format!(
                "overwrites {} from offset {offset} on with zeros in {} of {whose}",
                plural(*bytes, "byte"),
                one(files)
            )
        }
        Action::WriteBytes { files, offset, content } => {
            let content = plural(content.len() as u64, "byte");
            format!(
                "overwrites {content} from offset {offset} on in {} of {whose}",
                one(files)
            )
        }
        Action::AppendBytes { files, content } => {
            format!(
                "appends {} to {} of {whose}",
                plural(content.len() as u64, "byte"),
                one(files)
            )
        }
        Action::ReplaceFile { files, with } => {
            let with = match with {
                Replacement::File(path) => format!("that of {path}"),
                Replacement::Text(text) => plural(text.len() as u64, "byte") + " of text",
            };
            format!("replaces the content of {} of {whose} by {with}", one(files))
        }
        Action::Chmod { files, mode } => format!("sets the permissions of {} of {whose} to {mode:04o}", one(files)),
        Action::Signal {
            process: Process::All,
            signal,
        } => format!("sends {signal} to every process of {whose}"),
        Action::SwapFile { files, from, keep_tail } => {
            let tail = if *keep_tail {
                ", with what it has gained since behind it"
            } else {
                ""
            };
            let from = FaultTarget::Backup(*from);
            format!("gives {} of {whose} its older content from {from}{tail}", one(files))
        }
        Action::CorruptPage {
            files,
            block,
            content,
            checksum,
        } => {
            let checksum = match checksum {
                PageChecksum::Keep => "leaves its checksum",
                PageChecksum::Mend => "makes its checksum right again",
                PageChecksum::Break => "makes its checksum wrong",
            };
            let content = content.as_ref().map_or_else(String::new, |(offset, content)| {
                format!(
                    "overwrites {} from offset {offset} on and ",
                    plural(content.len() as u64, "byte")
                )
            });
            format!("{content}{checksum} in page {block} of {} of {whose}", one(files))
        }
        Action::Server { does } => match does {
            ServerDeed::StopFast => format!("stops the server of {whose} in order"),
            ServerDeed::StopImmediate => format!("stops the server of {whose} as a crash would"),
            ServerDeed::Start => format!("starts the server of {whose}"),
        },
        Action::Setting {
            name,
            value: Some(value),
        } => format!("sets {name} = {value} on {whose}"),
        Action::Setting { name, value: None } => format!("resets {name} on {whose}"),
        Action::ExpireBackup => format!("retention removes {whose}"),
        Action::Clock { step } => {
            let length = lasting(step.abs().to_std().unwrap_or_default());
            let direction = if *step < chrono::TimeDelta::zero() {
                "back"
            } else {
                "forward"
            };
            format!("steps the wall clock of {whose} {direction} by {length}")
        }
        Action::FillDisk => format!("fills the filesystem of {whose}"),
        Action::AlienSegment { files } => format!(
            "puts a segment of another cluster, of the same name, in place of {} of {whose}",
            one(files)
        ),
        Action::RestoreCluster { from } => format!(
            "an earlier recovery: restores {whose} from {} to the end of its WAL, onto a new timeline",
            self::whose(FaultTarget::Backup(*from))
        ),
        Action::PromoteClone => {
            format!("restores {whose} into a clone, which promotes itself, writes, and archives where the service does")
        }
        Action::Command { argv } => format!("runs `{}` against {whose}", argv.join(" ")),
        Action::Service { does, after, times } => service(*does, *after, *times, whose),
        Action::Signal { process, signal } => format!("sends {signal} to the {} of {whose}", process.name()),
    }
}

fn service(does: Behaviour, after: u64, times: Option<u64>, whose: &str) -> String {
    let what = match does {
        Behaviour::Down => format!("{whose} is down"),
        Behaviour::Refuse => format!("{whose} refuses every change"),
        Behaviour::Hang => format!("{whose} never answers"),
        Behaviour::Slow(delay) => format!("{whose} answers {} late", lasting(delay)),
        Behaviour::Status(status) => format!("{whose} answers with status {status}"),
        Behaviour::Kill => format!("what fetches from {whose} is killed"),
        Behaviour::Alert => format!("{whose} raises an alert by itself"),
        Behaviour::Stale => format!("{whose} goes on as it is although its restart is reported as done"),
    };
    let after = if after > 0 {
        format!(" after {}", counted(after, "time"))
    } else {
        String::new()
    };
    let times = times.map_or_else(String::new, |times| format!(", {}", counted(times, "time")));
    format!("{what}{after}{times}")
}

fn one(files: &Selection) -> String {
    matches(files, Pick::Largest)
}

fn matches(files: &Selection, otherwise: Pick) -> String {
    if let Some(relation) = &files.relation {
        return format!("the file of {relation}");
    }
    if let Some(segment) = files.segment {
        let backup = match segment.backup {
            Which::Number(number) => format!("backup {number}"),
            which => whose(FaultTarget::Backup(which)),
        };
        return match segment.place {
            SegmentPlace::Start => format!("the segment in which {backup} begins"),
            SegmentPlace::End => format!("the segment in which {backup} ends"),
            SegmentPlace::After => format!("the first segment after the end of {backup}"),
        };
    }
    let path = files.path.as_str();
    match files.pick.unwrap_or(otherwise) {
        _ if !path.contains(['*', '?', '[']) => path.to_owned(),
        Pick::All if path == "**" => "every file".to_owned(),
        Pick::All => format!("every file that matches {path}"),
        Pick::Random => format!("a random file that matches {path}"),
        pick => format!("the {pick} file that matches {path}"),
    }
}
