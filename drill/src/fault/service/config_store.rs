//! What befalls a configuration store: a store around the real one, which knows nothing of it.
//!
//! Where the store is a file, that file is taken away or something stands in the way of its replacement: the application sees
//! that as well. A store that is no file answers with an error instead.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    cutover::{ConfigStore, ConfigStoreError},
    fault::{FaultError, Mending},
};

/// What befalls a store, told by a drill and done by [`MisbehavingStore`]. Clones are the same.
#[derive(Clone, Default)]
pub struct StoreFaults(Arc<Mutex<State>>);

/// What a store that is no file does wrong.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_down: bool,
    refuses: bool,
    /// How often it did.
    met: u64,
}

impl State {
    /// Counts what is done wrong.
    fn meets(&mut self, wrong: bool) -> bool {
        self.met += u64::from(wrong);
        wrong
    }
}

/// What was mended before needs no mending. A file that is away is seen by the application as well: nobody counts that.
fn unless_gone(result: std::io::Result<()>) -> std::io::Result<Option<u64>> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(None),
    }
}

impl StoreFaults {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the store away. Says what it did, and how that is mended.
    ///
    /// # Errors
    /// If its file cannot be moved.
    pub fn take_away(&self, store: &dyn ConfigStore) -> Result<(String, Mending), FaultError> {
        let Some(file) = store.file() else {
            self.with(|state| state.is_down = true);
            let did = "whatever the configuration store is asked, it answers with an error".to_owned();
            return Ok((did, self.forgotten()));
        };
        let (file, away) = (file.to_owned(), file.with_extension("json.away"));
        fs::rename(&file, &away).map_err(FaultError::io("move away", &file))?;
        let did = format!("{} moved to {}", file.display(), away.display());
        let mending = async move { unless_gone(fs::rename(away, &file)).map_err(FaultError::io("put back", &file)) };
        Ok((did, Box::pin(mending)))
    }

    /// Lets the store refuse every change. Says what it did, and how that is mended.
    ///
    /// # Errors
    /// If the directory cannot be made that stands in the way of a new version of its file.
    pub fn obstruct(&self, store: &dyn ConfigStore) -> Result<(String, Mending), FaultError> {
        let Some(wall) = store.beside() else {
            self.with(|state| state.refuses = true);
            let did = "the configuration store answers every change with an error".to_owned();
            return Ok((did, self.forgotten()));
        };
        fs::create_dir(&wall).map_err(FaultError::io("obstruct", &wall))?;
        let did = format!("directory {} made, where an update writes its file", wall.display());
        let mending = async move { unless_gone(fs::remove_dir(&wall)).map_err(FaultError::io("remove", &wall)) };
        Ok((did, Box::pin(mending)))
    }

    fn forgotten(&self) -> Mending {
        let faults = self.clone();
        Box::pin(async move {
            let forget = |state: &mut State| {
                *state = State {
                    met: state.met,
                    ..State::default()
                };
                state.met
            };
            Ok(Some(faults.with(forget)))
        })
    }
}

/// A store that [`StoreFaults`] befall.
pub struct MisbehavingStore {
    real: Box<dyn ConfigStore>,
    faults: StoreFaults,
}

impl MisbehavingStore {
    /// Around the real one.
    pub fn around(real: Box<dyn ConfigStore>, faults: StoreFaults) -> Self {
        Self { real, faults }
    }

    fn is_there(&self) -> Result<(), ConfigStoreError> {
        refused_if(self.faults.with(|state| state.meets(state.is_down)), "it is down")
    }

    fn takes_changes(&self) -> Result<(), ConfigStoreError> {
        self.is_there()?;
        refused_if(
            self.faults.with(|state| state.meets(state.refuses)),
            "it takes no changes",
        )
    }
}

fn refused_if(refuses: bool, problem: &str) -> Result<(), ConfigStoreError> {
    if refuses {
        let problem = problem.to_owned();
        return Err(ConfigStoreError::Refused { problem });
    }
    Ok(())
}

impl ConfigStore for MisbehavingStore {
    fn prepare<'a>(&'a self, settings: &'a Value) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async {
            self.takes_changes()?;
            self.real.prepare(settings).await
        })
    }

    fn connection(&self) -> BoxFuture<'_, Result<String, ConfigStoreError>> {
        Box::pin(async {
            self.is_there()?;
            self.real.connection().await
        })
    }

    fn replace<'a>(&'a self, connection: &'a str) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
        Box::pin(async {
            self.takes_changes()?;
            self.real.replace(connection).await
        })
    }

    fn file(&self) -> Option<&Path> {
        self.real.file()
    }

    fn beside(&self) -> Option<PathBuf> {
        self.real.beside()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cutover::{config_store::FileStore, set_connection};

    /// A store that is in no file.
    #[derive(Default)]
    struct InMemory(Mutex<String>);

    impl ConfigStore for InMemory {
        fn prepare<'a>(&'a self, settings: &'a Value) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
            self.replace(settings["ConnectionStrings"]["DefaultConnection"].as_str().unwrap())
        }

        fn connection(&self) -> BoxFuture<'_, Result<String, ConfigStoreError>> {
            Box::pin(async { Ok(self.0.lock().unwrap().clone()) })
        }

        fn replace<'a>(&'a self, connection: &'a str) -> BoxFuture<'a, Result<(), ConfigStoreError>> {
            Box::pin(async move {
                connection.clone_into(&mut self.0.lock().unwrap());
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn a_store_is_down_or_refuses_until_it_is_mended_whether_it_is_a_file_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let stores: [Box<dyn ConfigStore>; 2] = [
            Box::new(FileStore::new(directory.path().join("appsettings.json"))),
            Box::new(InMemory::default()),
        ];
        for real in stores {
            let faults = StoreFaults::default();
            let store = MisbehavingStore::around(real, faults.clone());
            let settings = json!({"ConnectionStrings": {"DefaultConnection": "Host=a"}});
            store.prepare(&settings).await.unwrap();

            let (did, mending) = faults.obstruct(&store).unwrap();
            assert!(set_connection(&store, "Host=b").await.is_err(), "{did}");
            assert_eq!(store.connection().await.unwrap(), "Host=a", "{did}");
            mending.await.unwrap();
            assert_eq!(set_connection(&store, "Host=b").await.unwrap(), "Host=a");

            let (did, mending) = faults.take_away(&store).unwrap();
            assert!(store.connection().await.is_err(), "{did}");
            assert!(store.file().is_none_or(|file| !file.exists()), "{did}");
            mending.await.unwrap();
            assert_eq!(store.connection().await.unwrap(), "Host=b");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left");
    }
}
