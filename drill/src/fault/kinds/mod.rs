//! The kinds of faults, one file a kind: its keys, its words, and the function that does it.
//!
//! A new kind is a file here and a line in [`kinds`]; one of another crate is a line in that crate:
//! `fault::kinds().with(fault::kind::<Mine>())`.

pub mod alien_segment;
pub mod append_bytes;
pub mod chmod;
pub mod clock;
pub mod command;
pub mod corrupt_page;
pub mod expire_backup;
pub mod fill_disk;
pub mod flip_bytes;
pub mod promote_clone;
pub mod remove_files;
pub mod replace_file;
pub mod restore_cluster;
pub mod server;
pub mod service;
pub mod setting;
pub mod signal;
pub mod sql;
pub mod swap_file;
pub mod truncate_file;
pub mod write_bytes;
pub mod zero_bytes;

use super::kind;
use crate::scenario::Kinds;

/// Every kind of fault that drill has. A caller can add its own.
pub fn kinds() -> Kinds {
    Kinds::default()
        .with(kind::<sql::Sql>())
        .with(kind::<remove_files::RemoveFiles>())
        .with(kind::<truncate_file::TruncateFile>())
        .with(kind::<flip_bytes::FlipBytes>())
        .with(kind::<zero_bytes::ZeroBytes>())
        .with(kind::<write_bytes::WriteBytes>())
        .with(kind::<append_bytes::AppendBytes>())
        .with(kind::<replace_file::ReplaceFile>())
        .with(kind::<swap_file::SwapFile>())
        .with(kind::<corrupt_page::CorruptPage>())
        .with(kind::<chmod::Chmod>())
        .with(kind::<signal::Signal>())
        .with(kind::<server::Server>())
        .with(kind::<setting::Setting>())
        .with(kind::<fill_disk::FillDisk>())
        .with(kind::<alien_segment::AlienSegment>())
        .with(kind::<restore_cluster::RestoreCluster>())
        .with(kind::<promote_clone::PromoteClone>())
        .with(kind::<expire_backup::ExpireBackup>())
        .with(kind::<clock::Clock>())
        .with(kind::<command::Command>())
        .with(kind::<service::Service>())
}
