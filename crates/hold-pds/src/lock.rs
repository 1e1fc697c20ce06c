//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::disk::failed_at;
use crate::error::RepoError;

const FILE: &str = "lock";

/// Held as long as the value lives; the system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that was forked a moment ago still has it.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Whether the repository in `dir` was ever open.
    pub(crate) fn was_ever_in(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Takes the lock of the repository in `dir`, without waiting.
    pub(crate) fn take(dir: &Path) -> Result<Self, RepoError> {
        let path = dir.join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|error| failed_at("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(RepoError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed_at("lock", &path, error)),
        }
    }
}
