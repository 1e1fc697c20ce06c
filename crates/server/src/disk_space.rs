//! Whether the disks of the data folders have room, asked before a write finds out.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::health::{Figures, Part, Reason};

/// Bytes that are free on the disk of a folder; label `folder`.
const FREE: &str = "atcr_disk_free_bytes";

/// A folder whose disk needs room.
#[derive(Clone, Debug)]
pub struct DataFolder {
    /// What is in it, in one word: the label of the metric and the name of the figure.
    pub name: &'static str,
    /// Where it is. A folder that is not there yet counts as the nearest one above it that is.
    pub path: PathBuf,
}

/// A [`Part`] that works while each folder's disk has enough free bytes for users other than root.
#[derive(Debug)]
pub struct DiskSpace {
    folders: Vec<DataFolder>,
    floor_bytes: u64,
}

/// A disk with too little room, or one that cannot be asked.
#[derive(Debug, thiserror::Error)]
enum DiskSpaceError {
    #[error(
        "the disk of {} ({name}) has {free_bytes} bytes left; server.free_disk_bytes asks for {floor_bytes}",
        path.display()
    )]
    TooLittle {
        name: &'static str,
        path: PathBuf,
        free_bytes: u64,
        floor_bytes: u64,
    },
    #[error("cannot tell how full the disk of {} is", path.display())]
    Unknown {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the check of the disks ended early")]
    Ended,
}

impl DiskSpace {
    /// Asks for `floor_bytes` on the disk of each of `folders`; 0 asks for nothing.
    #[must_use]
    pub fn new(folders: Vec<DataFolder>, floor_bytes: u64) -> Self {
        Self { folders, floor_bytes }
    }
}

#[async_trait]
impl Part for DiskSpace {
    fn name(&self) -> &'static str {
        "disk"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        let (folders, floor_bytes) = (self.folders.clone(), self.floor_bytes);
        // A network file system may take its time.
        let checked = tokio::task::spawn_blocking(move || check(&folders, floor_bytes)).await;
        Ok(checked.map_err(|_| DiskSpaceError::Ended)??)
    }
}

/// Asks every disk, so that the metric is there for each, and fails with the first that has too little room.
fn check(folders: &[DataFolder], floor_bytes: u64) -> Result<Figures, DiskSpaceError> {
    let mut figures = Figures::new();
    let mut first_failure = None;
    for DataFolder { name, path } in folders {
        let failure = match free_bytes(path) {
            Ok(free_bytes) => {
                #[expect(clippy::cast_precision_loss, reason = "metrics are floats; exact up to 8 PiB")]
                metrics::gauge!(FREE, "folder" => *name).set(free_bytes as f64);
                figures.insert(*name, free_bytes);
                (free_bytes < floor_bytes).then(|| DiskSpaceError::TooLittle {
                    name,
                    path: path.clone(),
                    free_bytes,
                    floor_bytes,
                })
            }
            Err(source) => Some(DiskSpaceError::Unknown {
                path: path.clone(),
                source,
            }),
        };
        first_failure = first_failure.or(failure);
    }
    first_failure.map_or(Ok(figures), Err)
}

/// Bytes that users other than root may still write to the disk of `path`, or of the nearest folder above it that is there.
///
/// # Errors
/// The system's.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let mut folder = path;
    loop {
        match rustix::fs::statvfs(folder) {
            Ok(disk) => return Ok(disk.f_bavail.saturating_mul(disk.f_frsize)),
            Err(rustix::io::Errno::NOENT) => match folder.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => folder = parent,
                Some(_) if folder != Path::new(".") => folder = Path::new("."),
                _ => return Err(rustix::io::Errno::NOENT.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}
