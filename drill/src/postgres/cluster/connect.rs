//! Connecting to a cluster: from here, and for client programs.

use std::time::Duration;

use tokio_postgres::Client;

use super::{super::connection, Cluster, ClusterError};

impl Cluster {
    /// How to connect to it.
    pub fn config(&self, user: &str, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.socket_directory())
            .port(self.port)
            .user(user)
            .dbname(database);
        config.application_name("drill").connect_timeout(Duration::from_secs(5));
        config
    }

    /// Connects without a password, which only the superuser `postgres` may.
    pub async fn connect(&self, user: &str, database: &str) -> Result<Client, ClusterError> {
        self.connect_by(&connection::with_drill_settings(&self.config(user, database)))
            .await
    }

    /// Connects as [`Cluster::connect`] does, for a check: it does not wait long for a lock or a statement that stands still.
    pub async fn verifying(&self, user: &str, database: &str) -> Result<Client, ClusterError> {
        let config = self.config(user, database);
        let connected = connection::verifying(&config).await;
        connected.map_err(|source| self.not_connected(&config, source))
    }

    /// Connects with a password.
    pub async fn connect_with_password(
        &self,
        user: &str,
        database: &str,
        password: &str,
    ) -> Result<Client, ClusterError> {
        self.connect_by(self.config(user, database).password(password)).await
    }

    async fn connect_by(&self, config: &tokio_postgres::Config) -> Result<Client, ClusterError> {
        let connected = connection::open(config, None).await;
        connected.map_err(|source| self.not_connected(config, source))
    }

    fn not_connected(&self, config: &tokio_postgres::Config, source: tokio_postgres::Error) -> ClusterError {
        ClusterError::Connect {
            name: self.name().to_owned(),
            user: config.get_user().unwrap_or_default().to_owned(),
            database: config.get_dbname().unwrap_or_default().to_owned(),
            source,
        }
    }

    /// The environment by which client programs find this cluster; for [`crate::postgres::Tool::envs`].
    pub fn client_environment(&self, user: &str, database: &str, password: Option<&str>) -> Vec<(String, String)> {
        let mut environment = vec![
            (
                "PGHOST".to_owned(),
                self.socket_directory().to_string_lossy().into_owned(),
            ),
            ("PGPORT".to_owned(), self.port.to_string()),
            ("PGUSER".to_owned(), user.to_owned()),
            ("PGDATABASE".to_owned(), database.to_owned()),
            ("PGAPPNAME".to_owned(), "drill".to_owned()),
        ];
        environment.extend(password.map(|password| ("PGPASSWORD".to_owned(), password.to_owned())));
        environment
    }
}
