//! `rules` and `rows` show each rule on the smallest history that needs it; read these to learn what the checker does.
//! `model` and `planted` let random concurrent writers loose on a model of the database (`world`): honest recoveries must
//! never be accused, and whatever is planted into one must be found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod planted;
mod rows;
mod rules;
mod story;
mod world;
