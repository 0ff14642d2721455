//! What befalls a configuration store that is a file: it is taken away, or something stands in the way of its replacement. The
//! application sees that as well.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::cutover::config_store::beside;

fn away(file: &Path) -> PathBuf {
    file.with_extension("json.away")
}

/// Takes the file away. Returns where it is meanwhile.
///
/// # Errors
/// If it cannot be moved.
pub fn take_away(file: &Path) -> io::Result<PathBuf> {
    let away = away(file);
    fs::rename(file, &away)?;
    Ok(away)
}

/// Refuses every update: a directory stands where an update puts its new file. Returns that directory.
///
/// # Errors
/// If it cannot be made.
pub fn obstruct(file: &Path) -> io::Result<PathBuf> {
    let wall = beside(file);
    fs::create_dir(&wall)?;
    Ok(wall)
}

/// Takes back what [`take_away`] and [`obstruct`] did.
///
/// # Errors
/// If it cannot.
pub fn mend(file: &Path) -> io::Result<()> {
    if away(file).exists() {
        fs::rename(away(file), file)?;
    }
    if beside(file).is_dir() {
        fs::remove_dir(beside(file))?;
    }
    Ok(())
}
