//! What is recorded of a cluster while it is sound, and what a restored one is compared with.

pub mod files;
