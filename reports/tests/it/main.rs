//! Tests of the evidence and its renderers, through the public interface only.
//!
//! [`script`] writes down what happens in a drill, [`drills`] has whole ones; the other modules look at what comes of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod csv;
mod drills;
mod earlier;
mod fold;
mod headline;
mod judgement;
mod junit;
mod ledger;
mod log;
mod manifest;
mod pages;
mod plan;
mod recovery_time;
mod sample;
mod script;
mod words;
