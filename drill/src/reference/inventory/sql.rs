//! Many statements in one round trip, every value as text.

use tokio_postgres::{Client, SimpleQueryMessage};

/// A row: each value as text, or null.
#[derive(Debug, Clone, Default)]
pub(super) struct Raw(pub(super) Vec<Option<String>>);

impl Raw {
    /// A value, empty for null.
    pub(super) fn text(&self, at: usize) -> &str {
        self.value(at).unwrap_or_default()
    }

    pub(super) fn value(&self, at: usize) -> Option<&str> {
        self.0.get(at)?.as_deref()
    }

    pub(super) fn number(&self, at: usize) -> Option<u32> {
        self.value(at)?.parse().ok()
    }

    pub(super) fn flag(&self, at: usize) -> bool {
        self.value(at) == Some("t")
    }
}

/// Runs statements; of each the rows that it returns.
pub(super) async fn rows(client: &Client, statements: &str) -> Result<Vec<Vec<Raw>>, tokio_postgres::Error> {
    let (mut all, mut of_one) = (Vec::new(), Vec::new());
    for message in client.simple_query(statements).await? {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                of_one.push(Raw(values.collect()));
            }
            SimpleQueryMessage::CommandComplete(_) => all.push(std::mem::take(&mut of_one)),
            _ => {}
        }
    }
    Ok(all)
}
