//! Asking a database as the application would.

use tokio_postgres::{Client, Config, Error};

use super::Service;

/// How the application gets in, and what stands for "it can work".
#[derive(Debug, Clone)]
pub struct Probe {
    /// How it gets in.
    pub login: Config,
    query: Option<String>,
}

impl Probe {
    /// The probe of a service, with this login.
    pub fn of(login: Config, service: &dyn Service) -> Self {
        Self {
            login,
            query: service.probe().map(str::to_owned),
        }
    }

    /// Asks over an open connection.
    ///
    /// # Errors
    /// What the application would see.
    pub async fn ask(&self, client: &Client) -> Result<(), Error> {
        let query = self.query.as_deref().unwrap_or("SELECT 1");
        client.query_opt(query, &[]).await.map(drop)
    }
}
