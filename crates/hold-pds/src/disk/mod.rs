//! The file port: what the engine needs of a disk. Tests replace it with a disk that loses data and fails.
//!
//! One flat folder. A file's content is on the disk after [`DiskFile::sync`], its name after [`Disk::sync_names`].

mod real;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use real::{RealDisk, open_for_reading};

use crate::error::RepoError;

/// A folder.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Where the folder is, for messages.
    fn folder(&self) -> &Path;
    /// The files in it, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing; `None` if there is none.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>>;
    /// An empty file of that name; replaces an existing one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; none is fine. Who has it open can go on reading.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Waits until all names are on the disk.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer`; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`, making the file longer if needed.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;
    /// Waits until content and length are on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// A failed call, with what was being done.
pub(crate) fn failed(disk: &dyn Disk, action: &'static str, name: &str, error: io::Error) -> RepoError {
    failed_at(action, &disk.folder().join(name), error)
}

/// As [`failed`], for a path.
pub(crate) fn failed_at(action: &'static str, path: &Path, error: io::Error) -> RepoError {
    RepoError::Disk {
        action,
        path: PathBuf::from(path),
        source: Arc::new(error),
    }
}

/// Exactly `length` bytes.
pub(crate) fn read(file: &dyn DiskFile, position: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_at(position, &mut bytes)?;
    Ok(bytes)
}

/// Makes `name` a file with this content: after a crash there is the old one or the new one.
pub(crate) fn replace(disk: &dyn Disk, name: &str, content: &[u8]) -> Result<Arc<dyn DiskFile>, RepoError> {
    replace_with(disk, name, |file| file.write_at(0, content))
}

/// As [`replace`], with the content that `fill` writes. After an error the old file is there, or the new one whose name
/// may not be on the disk; nothing else stays.
pub(crate) fn replace_with(
    disk: &dyn Disk,
    name: &str,
    fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<Arc<dyn DiskFile>, RepoError> {
    let temporary = format!("{name}.tmp");
    let write = || -> io::Result<_> {
        let file = disk.create(&temporary)?;
        fill(&*file)?;
        file.sync()?;
        disk.rename(&temporary, name)?;
        disk.sync_names()?;
        Ok(file)
    };
    write().map_err(|error| {
        remove_unused(disk, &temporary);
        failed(disk, "write", name, error)
    })
}

/// Removes a file that is not part of the repository. What cannot be removed is removed at the next start.
pub(crate) fn remove_unused(disk: &dyn Disk, name: &str) {
    if let Err(error) = disk.remove(name) {
        tracing::warn!(%error, name, "a file that is not needed could not be removed; the next start removes it");
    }
}
