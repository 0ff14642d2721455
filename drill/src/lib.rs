//! drill: an automated disaster-recovery drill and verification harness for PostgreSQL.
//!
//! It seeds a disposable PostgreSQL with an application's data, runs live writers, takes backups, breaks something on
//! purpose, carries out the whole recovery from alert to *service restored*, measures what was really lost and how
//! long it really took, and leaves evidence.
//!
//! Start with [`run`] (one drill, top to bottom), then [`recovery`] (the fourteen steps). Dependencies run one way:
//! `cli → run → recovery → stage → {backup, verify, cutover, monitor, notify, fault, workload} → postgres`.

pub mod backup;
pub mod cli;
pub mod cutover;
pub mod fault;
pub mod http;
pub mod monitor;
pub mod notify;
pub mod operator;
pub mod postgres;
pub mod record;
pub mod recovery;
pub mod reference;
pub mod run;
pub mod scenario;
pub mod stage;
pub mod values;
pub mod verify;
pub mod workload;
