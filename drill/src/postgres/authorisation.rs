//! Drill destroys only what it made. Beside each cluster's data directory lies a marker that names the run and the system
//! identifier. Before anything destructive the marker is checked and the identifier on disk compared; only then is there an
//! [`Authorised`] to hand to whoever destroys.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{SystemIdentifier, control::read_system_identifier};

/// The marker's file name, beside the data directory.
pub(super) const MARKER: &str = ".drill-cluster";

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The run that made the cluster.
    pub run_id: String,
    /// The cluster's name in that run.
    pub cluster: String,
    /// Where its data is.
    pub data_directory: PathBuf,
    /// Which cluster it is.
    pub system_identifier: SystemIdentifier,
    /// When it was made or adopted.
    pub created_at_utc: DateTime<Utc>,
}

/// What an authorisation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The marker, and the identifier in the data directory.
    MarkerAndIdentifier,
    /// The marker alone: the data directory's control file is gone (a lost data directory).
    MarkerOnly,
}

/// Permission to destroy one cluster's data. Only [`super::Cluster::authorise_destruction`] gives it; it is good for one act.
#[derive(Debug)]
pub struct Authorised {
    data_directory: PathBuf,
    basis: Basis,
}

impl Authorised {
    /// What may be destroyed.
    pub fn data_directory(&self) -> &Path {
        &self.data_directory
    }

    /// What the permission rests on, for the evidence.
    pub fn basis(&self) -> Basis {
        self.basis
    }
}

/// Why a cluster may not be touched.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The marker is missing or cannot be read.
    #[error("refused to touch {}: no readable marker {MARKER} says that this run made it; nothing was changed", home.display())]
    NoMarker {
        /// Where the marker should be.
        home: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The marker names another run, cluster or place.
    #[error("refused to touch {}: its marker says {what} {found:?}, this run expects {expected:?}; nothing was changed", home.display())]
    OtherMarker {
        /// Where the marker is.
        home: PathBuf,
        /// Which of its lines differs.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// The data directory is another cluster's.
    #[error(
        "refused to touch {}: it holds the cluster {found}, this run made {expected}; nothing was changed",
        data_directory.display()
    )]
    OtherCluster {
        /// The data directory.
        data_directory: PathBuf,
        /// Whose it is.
        found: SystemIdentifier,
        /// Whose it should be.
        expected: SystemIdentifier,
    },
    /// The data directory leads out of the run's directory.
    #[error("refused to touch {}: it lies outside this run's directory {}; nothing was changed", data_directory.display(), work.display())]
    Outside {
        /// Where it really is.
        data_directory: PathBuf,
        /// The run's directory.
        work: PathBuf,
    },
}

impl Marker {
    pub(super) fn write(&self, home: &Path) -> io::Result<()> {
        fs::write(home.join(MARKER), serde_json::to_vec_pretty(self)?)
    }

    /// Checks all that must hold before `self.data_directory` is harmed; `self` is what this run knows, not what disk says.
    pub(super) fn authorise(&self, home: &Path, work: &Path) -> Result<Authorised, Refusal> {
        let read = fs::read(home.join(MARKER)).and_then(|text| Ok(serde_json::from_slice::<Self>(&text)?));
        let found = read.map_err(|source| Refusal::NoMarker {
            home: home.to_owned(),
            source,
        })?;
        let said = |marker: &Self| {
            [
                ("run", marker.run_id.clone()),
                ("cluster", marker.cluster.clone()),
                ("data directory", marker.data_directory.display().to_string()),
                ("system identifier", marker.system_identifier.to_string()),
            ]
        };
        let differs = said(&found)
            .into_iter()
            .zip(said(self))
            .find(|((_, found), (_, expected))| found != expected);
        if let Some(((what, found), (_, expected))) = differs {
            return Err(Refusal::OtherMarker {
                home: home.to_owned(),
                what,
                found,
                expected,
            });
        }
        // A symbolic link in its place would lead the destruction elsewhere.
        let data_directory = self
            .data_directory
            .canonicalize()
            .unwrap_or_else(|_| self.data_directory.clone());
        if !data_directory.starts_with(work) {
            return Err(Refusal::Outside {
                data_directory,
                work: work.to_owned(),
            });
        }
        match read_system_identifier(&data_directory) {
            Ok(found) if found != self.system_identifier => Err(Refusal::OtherCluster {
                data_directory,
                found,
                expected: self.system_identifier,
            }),
            Ok(_) => Ok(Authorised {
                data_directory,
                basis: Basis::MarkerAndIdentifier,
            }),
            Err(_) => Ok(Authorised {
                data_directory,
                basis: Basis::MarkerOnly,
            }),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn made(work: &Path) -> (PathBuf, Marker) {
        let home = work.join("source");
        fs::create_dir_all(home.join("data/global")).unwrap();
        fs::write(home.join("data/global/pg_control"), 42_u64.to_ne_bytes()).unwrap();
        let marker = Marker {
            run_id: "run-1".into(),
            cluster: "source".into(),
            data_directory: home.join("data"),
            system_identifier: SystemIdentifier(42),
            created_at_utc: Utc::now(),
        };
        marker.write(&home).unwrap();
        (home, marker)
    }

    #[test]
    fn what_this_run_made_may_be_destroyed_even_once_it_is_lost() {
        let work = tempfile::tempdir().unwrap();
        let (home, marker) = made(work.path());
        assert_eq!(
            marker.authorise(&home, work.path()).unwrap().basis(),
            Basis::MarkerAndIdentifier
        );
        fs::remove_dir_all(home.join("data")).unwrap();
        assert_eq!(marker.authorise(&home, work.path()).unwrap().basis(), Basis::MarkerOnly);
    }

    #[test]
    fn everything_else_is_refused() {
        let work = tempfile::tempdir().unwrap();
        let (home, marker) = made(work.path());
        let refusal = |marker: &Marker| marker.authorise(&home, work.path()).unwrap_err().to_string();

        let other = Marker {
            run_id: "run-2".into(),
            ..marker.clone()
        };
        assert!(refusal(&other).contains(r#"its marker says run "run-1", this run expects "run-2""#));
        fs::write(home.join("data/global/pg_control"), 43_u64.to_ne_bytes()).unwrap();
        assert!(refusal(&marker).contains("it holds the cluster 43, this run made 42; nothing was changed"));

        let outside = tempfile::tempdir().unwrap();
        fs::remove_dir_all(home.join("data")).unwrap();
        std::os::unix::fs::symlink(outside.path(), home.join("data")).unwrap();
        assert!(refusal(&marker).contains("it lies outside this run's directory"));
        fs::remove_file(home.join(MARKER)).unwrap();
        assert!(refusal(&marker).contains("no readable marker .drill-cluster"));
    }
}
