//! Connecting to a cluster: from here, and for client programs.

use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use super::{Cluster, ClusterError};

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
        self.connect_by(&self.config(user, database)).await
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
        let (client, connection) = config.connect(NoTls).await.map_err(|source| ClusterError::Connect {
            name: self.name().to_owned(),
            user: config.get_user().unwrap_or_default().to_owned(),
            database: config.get_dbname().unwrap_or_default().to_owned(),
            source,
        })?;
        let name = self.name().to_owned();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(cluster = name, %error, "a connection ended");
            }
        });
        Ok(client)
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
