//! What an application answers over HTTP, as far as a drill asks: the smoke test, and the first write once it is back.

use serde_json::Value;

use crate::ledger::Intent;

/// What is asked of an application, and what its answers mean.
pub trait Serves: Send + Sync {
    /// What the listed things are called: `transformation`.
    fn called(&self) -> &str;

    /// Path and query of the smoke test, which lists the first page of what there is.
    fn path(&self) -> &str;

    /// How many things are on that page.
    fn page(&self) -> usize;

    /// What an answer to that says; `None` for one that does not list anything.
    fn served(&self, body: &Value) -> Option<Served>;

    /// The first write of the application that runs again: what it is in the ledger, and what is posted once it has a number
    /// there. It creates one key.
    fn first_write(&self) -> (Intent, fn(u64) -> Post);

    /// The key that an answer to that says was created.
    fn created(&self, body: &Value) -> Option<i64>;
}

/// What is listed, or must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// How many there are.
    pub total: i64,
    /// Of the first page: key and current version.
    pub first_page: Vec<(i64, i32)>,
}

/// A request that writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// Path and query.
    pub path: &'static str,
    /// The JSON.
    pub body: Value,
}
