//! Everything that a fault can be aimed at, and what protects everything else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rand::rngs::StdRng;

use super::{FaultError, Services};
use crate::{
    backup::note,
    postgres::Cluster,
    scenario::{Fault, FaultTarget, Selection, Which},
    service::Credentials,
};

/// Everything that a fault can be aimed at.
pub struct World<'a> {
    /// The service's cluster.
    pub cluster: &'a mut Cluster,
    /// The cluster that recovery made, once there is one.
    pub restored: Option<&'a mut Cluster>,
    /// The WAL archive's directory.
    pub archive: Option<&'a Path>,
    /// The directory into which WAL is streamed.
    pub stream: Option<&'a Path>,
    /// The run's own directory: nothing outside of it is touched.
    pub work: &'a Path,
    /// Id and directory of each backup, oldest first.
    pub backups: Vec<(String, PathBuf)>,
    /// Source of every random choice.
    pub random: &'a mut StdRng,
    /// The file of each relation that a fault names, relative to the data directory.
    pub relations: &'a BTreeMap<String, String>,
    /// The service's database.
    pub database: &'a str,
    /// Passwords of the roles.
    pub credentials: &'a Credentials,
    /// Where the backups are.
    pub repository: &'a Path,
    /// The small filesystem that this run made for the cluster, if it made one.
    pub disk: Option<&'a Path>,
    /// The services around the database.
    pub services: Services<'a>,
}

impl World<'_> {
    /// The cluster that a fault is aimed at, once it is known that it may be broken.
    ///
    /// # Errors
    /// If it is aimed at no cluster, or at one that is not there or that this run did not make.
    pub fn cluster(&mut self, fault: &Fault) -> Result<&mut Cluster, FaultError> {
        let cluster = match fault.target {
            FaultTarget::Cluster => Some(&mut *self.cluster),
            FaultTarget::Restored => self.restored.as_deref_mut(),
            _ => return Err(not_applicable(fault)),
        };
        let cluster = cluster.ok_or_else(|| absent(fault))?;
        cluster
            .authorise_destruction()
            .map_err(|source| FaultError::NotAuthorised {
                target: fault.target,
                source: Box::new(source),
            })?;
        Ok(cluster)
    }

    /// The directories that a fault is aimed at; each of backups with what to call it, another without a name. Never empty.
    ///
    /// # Errors
    /// If it is aimed at no directory, or at one that is not there or that is not the run's own.
    pub fn directories(&mut self, fault: &Fault) -> Result<Vec<(String, PathBuf)>, FaultError> {
        let directory = match fault.target {
            FaultTarget::Cluster | FaultTarget::Restored => self.cluster(fault)?.data_directory().to_owned(),
            FaultTarget::Archive => self.archive.ok_or_else(|| absent(fault))?.to_owned(),
            FaultTarget::Stream => self.stream.ok_or_else(|| absent(fault))?.to_owned(),
            FaultTarget::Backup(which) => {
                let chosen = backups(which, &self.backups).ok_or_else(|| absent(fault))?;
                for (_, directory) in &chosen {
                    confine(directory, self.work)?;
                }
                return Ok(chosen);
            }
            _ => return Err(not_applicable(fault)),
        };
        confine(&directory, self.work)?;
        Ok(vec![(String::new(), directory)])
    }

    /// The first of [`World::directories`].
    pub(super) fn directory(&mut self, fault: &Fault) -> Result<(String, PathBuf), FaultError> {
        let first = self.directories(fault)?.into_iter().next();
        first.ok_or_else(|| absent(fault))
    }

    /// One backup, with what to call it. `None` if there is none.
    pub fn backup(&self, which: Which) -> Option<(String, PathBuf)> {
        backups(which, &self.backups)?.into_iter().next()
    }

    /// The files that a fault is about, with the path of the relation that it names. A backup keeps a data directory
    /// somewhere below.
    ///
    /// # Errors
    /// If nobody knows where that relation is, or the fault names no files.
    pub fn files(&self, fault: &Fault) -> Result<Selection, FaultError> {
        let mut files = fault.files.clone().ok_or_else(|| not_applicable(fault))?;
        if let Some(relation) = files.relation.clone() {
            let path = self.relations.get(&relation);
            let escaped = glob::Pattern::escape(path.ok_or(FaultError::NoRelation { relation })?);
            let path = if fault.target.is_cluster() {
                escaped
            } else {
                format!("**/{escaped}")
            };
            files.path = glob::Pattern::new(&path).unwrap_or_default();
        }
        Ok(files)
    }
}

/// The error for a target that the drill has not got now.
pub(super) fn absent(fault: &Fault) -> FaultError {
    FaultError::NoSuchTarget {
        target: fault.target,
        at: fault.at,
    }
}

fn not_applicable(fault: &Fault) -> FaultError {
    FaultError::NotApplicable {
        kind: fault.action.kind(),
        target: fault.target,
    }
}

/// Refuses a directory that, links resolved, is not one of the run's own.
fn confine(directory: &Path, work: &Path) -> Result<(), FaultError> {
    let real = |path: &Path| path.canonicalize().map_err(FaultError::io("open", path));
    let (path, root) = (real(directory)?, real(work)?);
    if path.starts_with(&root) {
        Ok(())
    } else {
        Err(FaultError::Outside { path, root })
    }
}

/// The backups that are meant, each with what to call it; `None` if there is none.
pub(super) fn backups(which: Which, backups: &[(String, PathBuf)]) -> Option<Vec<(String, PathBuf)>> {
    let chosen = match which {
        Which::Latest => backups.last().into_iter().collect(),
        Which::Oldest => backups.first().into_iter().collect(),
        Which::Number(number) => {
            let is_it = |(id, _): &&(String, PathBuf)| note::number(id) == Some(number);
            backups.iter().find(is_it).into_iter().collect()
        }
        Which::All => backups.iter().collect::<Vec<_>>(),
    };
    let named: Vec<_> = chosen
        .into_iter()
        .map(|(id, path)| (format!("backup {id}"), path.clone()))
        .collect();
    (!named.is_empty()).then_some(named)
}
