//! Where the application's connection string lives: today `appsettings.json`.
//!
//! An update replaces the file in one step (write beside it, sync, rename), so that the application never reads half a
//! file, and hands back what was there before, so that it can be undone.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

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
}

impl FileStore {
    /// The store in `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces `ConnectionStrings:DefaultConnection` and returns the value before.
    ///
    /// # Errors
    /// If the file cannot be read, has no such key, or cannot be replaced; then it is as it was.
    pub fn replace_connection(&self, connection: &str) -> Result<String, ConfigStoreError> {
        let malformed = |problem: String| ConfigStoreError::Malformed {
            path: self.path.clone(),
            problem,
        };
        let text = fs::read_to_string(&self.path).map_err(|source| self.failed("read", source))?;
        let mut settings: Value = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let slot = settings
            .pointer_mut("/ConnectionStrings/DefaultConnection")
            .ok_or_else(|| malformed("it has no ConnectionStrings:DefaultConnection".into()))?;
        let before = slot.as_str().unwrap_or_default().to_owned();
        *slot = Value::String(connection.to_owned());
        self.write(&settings)?;
        Ok(before)
    }

    /// Writes the whole file, readable by its owner only: it holds secrets.
    ///
    /// # Errors
    /// If it cannot be replaced; then it is as it was.
    pub fn write(&self, settings: &Value) -> Result<(), ConfigStoreError> {
        let beside = self.beside();
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
    ///
    /// # Errors
    /// If the file cannot be read or has no such key.
    pub fn connection(&self) -> Result<String, ConfigStoreError> {
        let malformed = |problem: String| ConfigStoreError::Malformed {
            path: self.path.clone(),
            problem,
        };
        let text = fs::read_to_string(&self.path).map_err(|source| self.failed("read", source))?;
        let settings: Value = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let value = settings
            .pointer("/ConnectionStrings/DefaultConnection")
            .and_then(Value::as_str);
        value
            .map(ToOwned::to_owned)
            .ok_or_else(|| malformed("it has no ConnectionStrings:DefaultConnection".into()))
    }

    /// Takes the file away. Returns where it is meanwhile.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn go_down(&self) -> Result<PathBuf, ConfigStoreError> {
        let away = self.away();
        fs::rename(&self.path, &away).map_err(|source| self.failed("move away", source))?;
        Ok(away)
    }

    /// Refuses every update: a directory stands where an update puts its new file. Returns that directory.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn refuse(&self) -> Result<PathBuf, ConfigStoreError> {
        let beside = self.beside();
        fs::create_dir(&beside).map_err(|source| self.failed("obstruct", source))?;
        Ok(beside)
    }

    /// Takes back what [`FileStore::go_down`] and [`FileStore::refuse`] did.
    ///
    /// # Errors
    /// If it cannot.
    pub fn mend(&self) -> Result<(), ConfigStoreError> {
        if self.away().exists() {
            fs::rename(self.away(), &self.path).map_err(|source| self.failed("put back", source))?;
        }
        if self.beside().is_dir() {
            fs::remove_dir(self.beside()).map_err(|source| self.failed("clear the way for", source))?;
        }
        Ok(())
    }

    /// Where an update puts the new file, before it takes the old one's place.
    fn beside(&self) -> PathBuf {
        self.path.with_extension("json.new")
    }

    fn away(&self) -> PathBuf {
        self.path.with_extension("json.away")
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> ConfigStoreError {
        ConfigStoreError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::FileStore;

    #[test]
    fn replacing_keeps_everything_else_and_returns_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().join("appsettings.json"));
        store
            .write(&json!({"ConnectionStrings": {"DefaultConnection": "Host=a"}, "Urls": "x"}))
            .unwrap();
        assert_eq!(store.replace_connection("Host=b").unwrap(), "Host=a");
        assert_eq!(store.replace_connection("Host=c").unwrap(), "Host=b");
        let text = std::fs::read_to_string(store.path()).unwrap();
        assert!(text.contains("Host=c") && text.contains("Urls"), "{text}");
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing else is left behind"
        );
    }

    #[test]
    fn a_file_without_the_key_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().join("appsettings.json"));
        std::fs::write(store.path(), "{}").unwrap();
        let error = store.replace_connection("Host=b").unwrap_err();
        assert!(error.to_string().contains("DefaultConnection"), "{error}");
        assert_eq!(std::fs::read_to_string(store.path()).unwrap(), "{}");
    }
}
