//! What the reference application answers: `GET /api/v1/transformations`, and a POST to it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    super::{Post, Served},
    Serves, Transformations,
};
use crate::ledger::{Intent, OperationKind, RESUMED};

const CONTENT: &str = "-- written through the application once it was back\n";

impl Serves for Transformations {
    fn called(&self) -> &'static str {
        "transformation"
    }

    fn path(&self) -> &'static str {
        "/api/v1/transformations?page=1&pageSize=50"
    }

    fn page(&self) -> usize {
        50
    }

    fn served(&self, body: &Value) -> Option<Served> {
        let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = items.iter().map(|item| {
            (
                item["id"].as_i64().unwrap_or(-1),
                item["currentVersion"].as_i64().unwrap_or(-1) as i32,
            )
        });
        Some(Served {
            total: body["totalCount"].as_i64()?,
            first_page: shown.collect(),
        })
    }

    fn first_write(&self) -> (Intent, fn(u64) -> Post) {
        let intent = Intent {
            writer: RESUMED,
            kind: OperationKind::Create,
            key: None,
            version: 1,
            sha256: Some(hex::encode(Sha256::digest(CONTENT))),
            rows_at: None, // the application chooses it, and signs as itself
            facts: None,
            size_bytes: None,
        };
        let post = |operation| Post {
            path: "/api/v1/transformations",
            body: json!({
                "name": format!("after-recovery-{operation}"),
                "description": "written through the application",
                "content": CONTENT,
                "operationId": operation,
            }),
        };
        (intent, post)
    }

    fn created(&self, body: &Value) -> Option<i64> {
        body["id"].as_i64()
    }
}
