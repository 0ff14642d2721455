//! Copies a backup's data directory into a new place, `pg_control` last: a copy that was interrupted cannot start.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::Path,
};

/// The file without which no server starts.
const CONTROL: &str = "global/pg_control";

/// Copies everything below `from` to `to`, which must not exist; `copied` is told the bytes of each file.
///
/// # Errors
/// If anything cannot be read or written; what was copied stays.
pub fn data_directory(from: &Path, to: &Path, copied: &dyn Fn(u64)) -> io::Result<()> {
    tree(from, to, &from.join(CONTROL), copied)?;
    copied(fs::copy(from.join(CONTROL), to.join(CONTROL))?);
    Ok(())
}

fn tree(from: &Path, to: &Path, except: &Path, copied: &dyn Fn(u64)) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tree(&path, &target, except, copied)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else if path != except {
            copied(fs::copy(&path, &target)?);
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{cell::Cell, fs};

    use super::data_directory;

    #[test]
    fn everything_is_copied_and_without_a_control_file_the_copy_fails() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir_all(from.join("global")).unwrap();
        fs::write(from.join("PG_VERSION"), "16").unwrap();
        let bytes = Cell::new(0);
        let count = |copied| bytes.set(bytes.get() + copied);
        assert!(data_directory(&from, &root.path().join("broken"), &count).is_err());
        assert!(!root.path().join("broken/global/pg_control").exists());
        fs::write(from.join("global/pg_control"), "control").unwrap();
        bytes.set(0);
        data_directory(&from, &root.path().join("to"), &count).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("to/global/pg_control")).unwrap(),
            "control"
        );
        assert_eq!(bytes.get(), 9);
    }
}
