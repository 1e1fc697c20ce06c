//! Which folders of databases are in use, also by other processes: whoever makes or reads one holds a lock in it, and only a folder
//! without one is removed. The lock ends with its process, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The file that is locked: in each folder, and beside them while a folder is marked or removed.
const LOCK: &str = "in-use";

/// Keeps a folder from being removed while it lives.
#[derive(Debug)]
pub(super) struct InUse {
    _lock: File,
}

impl InUse {
    /// Marks `folder`, which is in `databases`; `None` if it is not there.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn mark(databases: &Path, folder: &Path) -> io::Result<Option<Self>> {
        let _removal = locked(databases, FlockOperation::LockShared)?;
        if !folder.is_dir() {
            return Ok(None);
        }
        let lock = locked(folder, FlockOperation::LockShared)?;
        Ok(Some(Self { _lock: lock }))
    }
}

/// Removes `folder`, which is in `databases`, unless it is in use. Says whether it did.
///
/// # Errors
/// The operating system's.
pub(super) fn remove_unused(databases: &Path, folder: &Path) -> io::Result<bool> {
    let _removal = locked(databases, FlockOperation::LockExclusive)?;
    match locked(folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(_lock) => fs::remove_dir_all(folder).map(|()| true),
        Err(error) if error.raw_os_error() == Some(Errno::WOULDBLOCK.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

fn locked(folder: &Path, operation: FlockOperation) -> io::Result<File> {
    let path = folder.join(LOCK);
    // Who may only read the databases uses them all the same.
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?,
        opened => opened?,
    };
    flock(&file, operation)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_when_nobody_uses_it() {
        let databases = tempfile::tempdir().unwrap();
        let folder = databases.path().join("one");
        fs::create_dir(&folder).unwrap();
        let first = InUse::mark(databases.path(), &folder).unwrap().unwrap();
        let second = InUse::mark(databases.path(), &folder).unwrap().unwrap();
        drop(first);
        assert!(!remove_unused(databases.path(), &folder).unwrap());
        drop(second);
        assert!(remove_unused(databases.path(), &folder).unwrap());
        assert!(!folder.exists());
        assert!(InUse::mark(databases.path(), &folder).unwrap().is_none());
    }
}
