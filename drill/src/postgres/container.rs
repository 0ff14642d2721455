//! The place of the container provider: PostgreSQL from an image instead of from files. Not part of this version; asking for
//! it is answered with what to use instead.

use super::{Installation, LocateError, Request};

/// Answers every request with [`LocateError::ContainerNotYet`].
pub fn locate(_request: &Request) -> Result<Installation, LocateError> {
    Err(LocateError::ContainerNotYet)
}
