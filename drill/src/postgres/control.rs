//! What a cluster's control file says, by way of `pg_controldata`, and its system identifier read straight from disk. It
//! reports; it changes nothing (`identity` does, for fresh clones only).

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Installation, Lsn, SystemIdentifier, TimelineId, Tool, ToolError, files::open_file};

/// The control file's place in a data directory.
pub(super) const PG_CONTROL: &str = "global/pg_control";

/// What a cluster was doing when it last wrote its control file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    /// On its way up.
    StartingUp,
    /// Stopped in order.
    ShutDown,
    /// Stopped in order while replaying.
    ShutDownInRecovery,
    /// On its way down.
    ShuttingDown,
    /// Replaying after a crash.
    InCrashRecovery,
    /// Replaying from an archive or a primary.
    InArchiveRecovery,
    /// Running; on a stopped cluster: it crashed.
    InProduction,
    /// A state this version does not know.
    Other,
}

impl ClusterState {
    fn from_text(text: &str) -> Self {
        match text {
            "starting up" => Self::StartingUp,
            "shut down" => Self::ShutDown,
            "shut down in recovery" => Self::ShutDownInRecovery,
            "shutting down" => Self::ShuttingDown,
            "in crash recovery" => Self::InCrashRecovery,
            "in archive recovery" => Self::InArchiveRecovery,
            "in production" => Self::InProduction,
            _ => Self::Other,
        }
    }
}

/// The part of `pg_controldata`'s output that a recovery turns on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ControlData {
    /// Layout of the control file: 1300 for PostgreSQL 13 to 16, 1800 for 18.
    pub control_version: u32,
    /// Layout of the system catalogs.
    pub catalog_version: u32,
    /// Which cluster this is, or is a copy of.
    pub system_identifier: SystemIdentifier,
    /// What it was doing.
    pub state: ClusterState,
    /// Position of the latest checkpoint record.
    pub checkpoint: Lsn,
    /// Where a replay from that checkpoint begins.
    pub redo: Lsn,
    /// Timeline of that checkpoint.
    pub timeline: TimelineId,
    /// Replay must reach this before the data is consistent; `0/0` when it need not.
    pub minimum_recovery_end: Lsn,
    /// Where the backup that this was restored from began; `0/0` when it was not.
    pub backup_start: Lsn,
    /// `wal_level` at the last start.
    pub wal_level: String,
    /// `max_connections` at the last start: a hot standby may not have fewer.
    pub max_connections: u32,
    /// Settings that may not be lower on a server that replays this cluster's WAL, as of the cluster's last start.
    pub primary_settings: Vec<(&'static str, u32)>,
    /// Bytes in a WAL segment.
    pub wal_segment_bytes: u64,
    /// 0 when data checksums are off.
    pub data_checksum_version: u32,
    /// Whether the control file's own checksum is right.
    pub crc_ok: bool,
}

/// Why a control file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The file is missing or too short.
    #[error("cannot read the control file {}: without it there is no cluster to start; restore it from a backup", path.display())]
    Unreadable {
        /// The control file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `pg_controldata` failed.
    #[error("pg_controldata could not read {}", data_directory.display())]
    Tool {
        /// The data directory it was given.
        data_directory: PathBuf,
        /// What it said.
        source: Box<ToolError>,
    },
    /// A line is missing or not what it should be.
    #[error("pg_controldata printed {value:?} for {label:?}: use a PostgreSQL between 13 and 18")]
    Unexpected {
        /// The line's label.
        label: &'static str,
        /// What stood there; empty when the line is missing.
        value: String,
    },
}

impl ControlData {
    /// Runs `pg_controldata` on a data directory.
    pub async fn read(installation: &Installation, data_directory: &Path) -> Result<Self, ControlError> {
        let run = Tool::new(installation, "pg_controldata")
            .arg("-D")
            .arg(data_directory)
            .run()
            .await;
        let output = run.map_err(|source| ControlError::Tool {
            data_directory: data_directory.to_owned(),
            source: Box::new(source),
        })?;
        Self::parse(&output.stdout)
    }

    /// Reads what `pg_controldata` printed.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        let raw = |label: &str| {
            let labelled = |line: &str| {
                line.strip_prefix(label)?
                    .strip_prefix(':')
                    .map(|value| value.trim().to_owned())
            };
            text.lines().find_map(labelled).unwrap_or_default()
        };
        macro_rules! line {
            ($label:literal) => {
                value($label, raw($label))?
            };
        }
        Ok(Self {
            control_version: line!("pg_control version number"),
            catalog_version: line!("Catalog version number"),
            system_identifier: line!("Database system identifier"),
            state: ClusterState::from_text(&raw("Database cluster state")),
            checkpoint: line!("Latest checkpoint location"),
            redo: line!("Latest checkpoint's REDO location"),
            timeline: line!("Latest checkpoint's TimeLineID"),
            minimum_recovery_end: line!("Minimum recovery ending location"),
            backup_start: line!("Backup start location"),
            wal_level: raw("wal_level setting"),
            max_connections: line!("max_connections setting"),
            primary_settings: PRIMARY_SETTINGS
                .into_iter()
                .filter_map(|(label, name, _)| Some((name, raw(label).parse().ok()?)))
                .collect(),
            wal_segment_bytes: line!("Bytes per WAL segment"),
            data_checksum_version: line!("Data page checksum version"),
            crc_ok: !text.contains("Calculated CRC checksum does not match"),
        })
    }
}

/// Labels of `pg_controldata`, the settings they stand for, and PostgreSQL's defaults of these (15 to 18). "Administrator's
/// overview" of hot standby in the manual lists them.
pub(super) const PRIMARY_SETTINGS: [(&str, &str, u32); 5] = [
    ("max_connections setting", "max_connections", 100),
    ("max_worker_processes setting", "max_worker_processes", 8),
    ("max_wal_senders setting", "max_wal_senders", 10),
    ("max_prepared_xacts setting", "max_prepared_transactions", 0),
    ("max_locks_per_xact setting", "max_locks_per_transaction", 64),
];

fn value<T: FromStr>(label: &'static str, printed: String) -> Result<T, ControlError> {
    printed
        .parse()
        .map_err(|_| ControlError::Unexpected { label, value: printed })
}

/// Reads the system identifier from a data directory's control file: its first eight bytes, in the machine's byte order.
pub fn read_system_identifier(data_directory: &Path) -> Result<SystemIdentifier, ControlError> {
    let path = data_directory.join(PG_CONTROL);
    let mut bytes = [0; 8];
    match open_file(&path).and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => Ok(SystemIdentifier(u64::from_ne_bytes(bytes))),
        Err(source) => Err(ControlError::Unreadable { path, source }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRINTED: &str = "\
pg_control version number:            1300
Catalog version number:               202307071
Database system identifier:           7575757575757575757
Database cluster state:               in archive recovery
pg_control last modified:             Mon Nov 23 20:00:00 2026
Latest checkpoint location:           0/3000060
Latest checkpoint's REDO location:    0/3000028
Latest checkpoint's REDO WAL file:    000000010000000000000030
Latest checkpoint's TimeLineID:       2
Latest checkpoint's PrevTimeLineID:   1
Minimum recovery ending location:     0/3000100
Min recovery ending loc's timeline:   1
Backup start location:                0/3000028
Backup end location:                  0/0
End-of-backup record required:        no
wal_level setting:                    replica
max_connections setting:              60
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           0
max_locks_per_xact setting:           128
Bytes per WAL segment:                1048576
Data page checksum version:           1
";

    #[test]
    fn reads_what_pg_controldata_prints() {
        let control = ControlData::parse(PRINTED).unwrap();
        assert_eq!(control.system_identifier, SystemIdentifier(7_575_757_575_757_575_757));
        assert_eq!((control.checkpoint, control.redo), (Lsn(0x300_0060), Lsn(0x300_0028)));
        assert_eq!(
            (control.timeline, control.state),
            (TimelineId(2), ClusterState::InArchiveRecovery)
        );
        assert_eq!(
            (control.minimum_recovery_end, control.backup_start),
            (Lsn(0x300_0100), Lsn(0x300_0028))
        );
        assert_eq!((control.max_connections, control.wal_segment_bytes), (60, 1 << 20));
        let least: Vec<_> = control.primary_settings.into_iter().map(|(_, value)| value).collect();
        assert_eq!(least, [60, 8, 10, 0, 128]);
        assert!(control.data_checksum_version == 1 && control.crc_ok);
    }

    #[test]
    fn notices_a_wrong_checksum_and_a_missing_line() {
        let warned = format!("WARNING: Calculated CRC checksum does not match value stored in file.\n{PRINTED}");
        assert!(!ControlData::parse(&warned).unwrap().crc_ok);
        let refusal = ControlData::parse(&PRINTED.replace("0/3000028", "?"))
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains(r#"printed "?" for "Latest checkpoint's REDO location""#),
            "{refusal}"
        );
    }

    proptest! {
        #[test]
        fn damaged_output_is_refused_but_never_panics(cut in 0..PRINTED.len(), noise in ".{0,40}") {
            let _ = ControlData::parse(&format!("{}{noise}", &PRINTED[..cut]));
        }
    }

    #[test]
    fn a_missing_control_file_is_named() {
        let refusal = read_system_identifier(Path::new("/nowhere/data"))
            .unwrap_err()
            .to_string();
        assert!(
            refusal.starts_with("cannot read the control file /nowhere/data/global/pg_control: "),
            "{refusal}"
        );
    }
}
