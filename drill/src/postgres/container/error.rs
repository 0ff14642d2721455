//! Why there is no PostgreSQL from an image.

use std::path::PathBuf;

use crate::postgres::{
    UserError, WorkDirError,
    packages::{self, Package},
};

/// Why there is no PostgreSQL from an image. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// No daemon.
    #[error(
        "no Docker answers ({complaint}): install it ({}) and start it (dockerd), \
         or use --provider embedded",
        packages::how_to_install(Package::Docker)
    )]
    NoDocker {
        /// The error.
        complaint: String,
    },
    /// A daemon that does not work on this machine's files and processes.
    #[error("this Docker will not do: {why}. Use a Docker that runs as root on this machine, or --provider embedded")]
    Unsuitable {
        /// What is the matter with it.
        why: String,
    },
    /// Neither here nor to be pulled.
    #[error(
        "there is no image {image}, and it cannot be pulled ({complaint}): name another with --image, pull it where a \
         registry can be reached, or build it from the embedded PostgreSQL with fixtures/image/build {major}"
    )]
    NoImage {
        /// The image.
        image: String,
        /// The wanted major version.
        major: u32,
        /// The error of the pull.
        complaint: String,
    },
    /// Not an image of PostgreSQL, or without what a drill needs.
    #[error("the image {image} has no {}: name another with --image", missing.join(", "))]
    Incomplete {
        /// The image.
        image: String,
        /// The programs it lacks.
        missing: Vec<String>,
    },
    /// Another version than was asked for.
    #[error(
        "the image {image} is PostgreSQL {found}, and {wanted} is wanted: say --postgres {major} or name another --image"
    )]
    WrongMajor {
        /// The image.
        image: String,
        /// Its version.
        found: String,
        /// Its major version.
        major: u32,
        /// The wanted one.
        wanted: u32,
    },
    /// It could not be looked into.
    #[error("cannot look into the image {image}: {complaint}")]
    Look {
        /// The image.
        image: String,
        /// What Docker or the image said.
        complaint: String,
    },
    /// There is no directory to share with a container of the image.
    #[error("no directory to share with a container")]
    Place(#[from] WorkDirError),
    /// A file of ours could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no account for the server.
    #[error("cannot tell under which account the server would run")]
    User(#[from] UserError),
}
