//! Names that survive a power failure: a folder's entries are durable once the folder itself is synced.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the folder `path` with all its parents, and makes them durable.
pub(super) fn create_dirs(path: &Path) -> io::Result<()> {
    let mut existing = path;
    while !existing.try_exists()? {
        match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => existing = parent,
            _ => break,
        }
    }
    if existing == path {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    sync_dirs(path, existing)
}

/// Syncs `folder` and its parents up to `top`, which is synced as well. A folder without changes costs next to nothing.
pub(super) fn sync_dirs(folder: &Path, top: &Path) -> io::Result<()> {
    for folder in folder.ancestors() {
        let name = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        File::open(name)?.sync_all()?;
        if folder == top {
            break;
        }
    }
    Ok(())
}
