//! A connection string in a file: `appsettings.json`.
//!
//! An update replaces the file in one step (write beside it, sync, rename), so that the application never reads half a
//! file, and hands back what was there before, so that it can be undone.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::ConfigStore;

/// `appsettings.json`.
#[derive(Debug, Clone)]
pub struct FileStore {
    path: PathBuf,
}

/// The configuration store refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigStoreError {
    /// Reading or replacing the file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `replace`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is not a settings file: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It took the connection string, and another one is there.
    #[error("the configuration store took the connection string and holds another one")]
    NotTaken,
    /// A store of another kind refused.
    #[error("the configuration store refused: {problem}")]
    Refused {
        /// What it said.
        problem: String,
    },
}

impl FileStore {
    /// The store in `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Replaces `ConnectionStrings:DefaultConnection`.
    fn replace_connection(&self, connection: &str) -> Result<(), ConfigStoreError> {
        let text = fs::read_to_string(&self.path).map_err(|source| self.failed("read", source))?;
        let mut settings: Value = serde_json::from_str(&text).map_err(|error| self.malformed(error.to_string()))?;
        let slot = settings
            .pointer_mut("/ConnectionStrings/DefaultConnection")
            .ok_or_else(|| self.malformed("it has no ConnectionStrings:DefaultConnection".into()))?;
        *slot = Value::String(connection.to_owned());
        self.write(&settings)
    }

    /// Writes the whole file, readable by its owner only: it holds secrets.
    fn write(&self, settings: &Value) -> Result<(), ConfigStoreError> {
        let beside = self.new_version();
        let replace = || {
            let mut file = File::create(&beside)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(&serde_json::to_vec_pretty(settings)?)?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        };
        replace().map_err(|source| {
            let _ = fs::remove_file(&beside); // it may never have come into being
            self.failed("replace", source)
        })
    }

    /// What `ConnectionStrings:DefaultConnection` is now.
    fn read_connection(&self) -> Result<String, ConfigStoreError> {
        let text = fs::read_to_string(&self.path).map_err(|source| self.failed("read", source))?;
        let settings: Value = serde_json::from_str(&text).map_err(|error| self.malformed(error.to_string()))?;
        let value = settings
            .pointer("/ConnectionStrings/DefaultConnection")
            .and_then(Value::as_str);
        value
            .map(ToOwned::to_owned)
            .ok_or_else(|| self.malformed("it has no ConnectionStrings:DefaultConnection".into()))
    }

    fn malformed(&self, problem: String) -> ConfigStoreError {
        ConfigStoreError::Malformed {
            path: self.path.clone(),
            problem,
        }
    }

    /// Where an update puts the new file, before it takes the old one's place.
    fn new_version(&self) -> PathBuf {
        self.path.with_extension("json.new")
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> ConfigStoreError {
        ConfigStoreError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

impl ConfigStore for FileStore {
    fn prepare<'a>(&'a self, settings: &'a Value) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async { self.write(settings) })
    }

    fn connection(&self) -> BoxFuture<'_, Result<String, ConfigStoreError>> {
        Box::pin(async { self.read_connection() })
    }

    fn replace<'a>(&'a self, connection: &'a str) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async { self.replace_connection(connection) })
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn beside(&self) -> Option<PathBuf> {
        Some(self.new_version())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::{super::set_connection, ConfigStore as _, FileStore};

    #[tokio::test]
    async fn replacing_keeps_everything_else_and_returns_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().join("appsettings.json"));
        let settings = json!({"ConnectionStrings": {"DefaultConnection": "Host=a"}, "Urls": "x"});
        store.prepare(&settings).await.unwrap();
        assert_eq!(set_connection(&store, "Host=b").await.unwrap(), "Host=a");
        assert_eq!(set_connection(&store, "Host=c").await.unwrap(), "Host=b");
        let text = std::fs::read_to_string(store.file().unwrap()).unwrap();
        assert!(text.contains("Host=c") && text.contains("Urls"), "{text}");
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing else is left behind"
        );
    }

    #[tokio::test]
    async fn a_file_without_the_key_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().join("appsettings.json"));
        std::fs::write(store.file().unwrap(), "{}").unwrap();
        let error = set_connection(&store, "Host=b").await.unwrap_err();
        assert!(error.to_string().contains("DefaultConnection"), "{error}");
        assert_eq!(std::fs::read_to_string(store.file().unwrap()).unwrap(), "{}");
    }
}
