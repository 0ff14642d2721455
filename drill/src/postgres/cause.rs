//! Why a server or a program ended, for those causes that call for a reaction of their own.
//!
//! PostgreSQL reports them in the text of its messages only. These are parsed here and nowhere else.

use std::{error::Error, io};

use super::{StartError, ToolError};

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The filesystem is full.
    NoRoom,
    /// It was killed, or its `restore_command` was.
    Killed,
    /// The WAL ends before the recovery target.
    TargetNotReached,
    /// A setting is below what it was on the server whose WAL is replayed.
    SettingsTooLow,
    /// Anything else.
    Other,
}

impl Cause {
    /// The cause, from the last words of a server or a program.
    pub(super) fn from_messages(words: &str) -> Self {
        const TOLD: [(&str, Cause); 6] = [
            (
                "recovery ended before configured recovery target was reached",
                Cause::TargetNotReached,
            ),
            ("insufficient parameter settings", Cause::SettingsTooLow),
            ("No space left on device", Cause::NoRoom),
            ("SIGKILL", Cause::Killed),
            ("by signal 9", Cause::Killed),
            ("exit code 137", Cause::Killed), // 128 + 9, by way of a shell
        ];
        let cause = TOLD.iter().find(|(said, _)| words.contains(said));
        cause.map_or(Self::Other, |(_, cause)| *cause)
    }

    /// The cause of an error, from it and its sources.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(start) = error.downcast_ref::<StartError>() {
                return start.cause();
            }
            if let Some(tool) = error.downcast_ref::<ToolError>() {
                return tool.cause();
            }
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|io| io.kind() == io::ErrorKind::StorageFull) {
                return Self::NoRoom;
            }
            next = error.source();
        }
        Self::Other
    }
}

#[cfg(test)]
mod tests {
    use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::{Cause, StartError, ToolError};

    #[test]
    fn last_words_tell_what_a_server_died_of() {
        let exited = |reason: &str| {
            Cause::of(&StartError::Exited {
                name: "restored-1".into(),
                reason: reason.into(),
                log_tail: String::new(),
                log: "/log".into(),
            })
        };
        let archive = "FATAL: could not restore file \"1\" from archive: child process";
        assert_eq!(
            exited("PANIC: could not write to file \"x\": No space left on device"),
            Cause::NoRoom
        );
        assert_eq!(
            exited(&format!("{archive} was terminated by signal 9: Killed")),
            Cause::Killed
        );
        assert_eq!(exited(&format!("{archive} exited with exit code 137")), Cause::Killed);
        assert_eq!(exited("signal: 9 (SIGKILL)"), Cause::Killed);
        let ended = "FATAL: recovery ended before configured recovery target was reached";
        assert_eq!(exited(ended), Cause::TargetNotReached);
        assert_eq!(
            exited("PANIC: could not locate a valid checkpoint record"),
            Cause::Other
        );
    }

    #[test]
    fn a_program_that_was_killed_is_told_from_one_that_failed() {
        let failed = |raw: i32, stderr: &str| {
            Cause::of(&ToolError::Failed {
                command: "pg_restore".into(),
                status: ExitStatus::from_raw(raw),
                stderr: stderr.into(),
            })
        };
        assert_eq!(failed(9, ""), Cause::Killed);
        assert_eq!(failed(137 << 8, ""), Cause::Killed);
        assert_eq!(
            failed(1 << 8, "could not extend file: No space left on device"),
            Cause::NoRoom
        );
        assert_eq!(failed(1 << 8, "relation exists"), Cause::Other);
        assert_eq!(Cause::of(&io::Error::from(io::ErrorKind::StorageFull)), Cause::NoRoom);
        assert_eq!(Cause::of(&io::Error::from(io::ErrorKind::NotFound)), Cause::Other);
    }
}
