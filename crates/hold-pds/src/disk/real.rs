//! The disk of the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, failed_at};
use crate::error::RepoError;

/// A folder of the machine's disk.
#[derive(Debug)]
pub(crate) struct RealDisk {
    folder: PathBuf,
}

impl RealDisk {
    /// The folder, made when missing. Every new folder on the way is on the disk before anything in it is.
    pub(crate) fn open(folder: &Path) -> Result<Self, RepoError> {
        create_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }
}

/// A file anywhere on the disk, for reading only.
pub(crate) fn open_for_reading(path: &Path) -> Result<Arc<dyn DiskFile>, RepoError> {
    let file = File::open(path).map_err(|error| failed_at("open", path, error))?;
    Ok(Arc::new(RealFile(file)))
}

fn create_folder(folder: &Path) -> Result<(), RepoError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    create_folder(parent)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed_at("create", folder, error));
        }
        _ => {}
    }
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(|error| failed_at("sync", parent, error))
}

impl Disk for RealDisk {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.folder.join(name))
        {
            Ok(file) => Ok(Some(Arc::new(RealFile(file)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        // A new inode: one whose sync has failed is never written again.
        self.remove(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.folder.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        // Also makes the length durable, which reading needs.
        self.0.sync_data()
    }
}
