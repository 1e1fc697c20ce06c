//! The folder in which jobs work: one below it for each, gone when the job ends.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::ScanError;

/// The folder. One process works in it.
#[derive(Debug)]
pub struct WorkFolder {
    jobs: PathBuf,
    layers: PathBuf,
    _lock: File,
}

impl WorkFolder {
    /// The folder at `path`, made if it is missing. What jobs of an earlier process left is removed.
    ///
    /// # Errors
    /// `Workspace`, also if another process works in it.
    pub fn open(path: &Path) -> Result<Self, ScanError> {
        let failed = || ScanError::workspace(format!("cannot work in {}", path.display()));
        atcr_server::private_files::make_private_folder(path).map_err(failed())?;
        if path.symlink_metadata().map_err(failed())?.is_symlink() {
            return Err(failed()(std::io::Error::other("it is a link")));
        }
        // Absolute: tools work elsewhere.
        let path = path.canonicalize().map_err(failed())?;
        is_own(&path).map_err(|why| ScanError::Workspace {
            doing: format!("cannot work in {}: {why}", path.display()),
            source: std::io::ErrorKind::PermissionDenied.into(),
        })?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path.join("lock"))
            .map_err(failed())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(std::io::Error::from)
            .map_err(ScanError::workspace(format!(
                "another scanner works in {}",
                path.display()
            )))?;
        let jobs = path.join("jobs");
        if jobs.exists() {
            fs::remove_dir_all(&jobs).map_err(failed())?;
        }
        fs::create_dir(&jobs).map_err(failed())?;
        Ok(Self {
            jobs,
            layers: path.join("layers"),
            _lock: lock,
        })
    }

    /// Where layers are kept: on the same disk, so that jobs get links.
    #[must_use]
    pub fn layers(&self) -> &Path {
        &self.layers
    }

    /// A folder for one job.
    ///
    /// # Errors
    /// `Workspace`.
    pub fn job(&self) -> Result<JobFolder, ScanError> {
        let path = self.jobs.join(uuid::Uuid::new_v4().to_string());
        fs::create_dir(&path).map_err(ScanError::workspace("cannot make a folder for a job"))?;
        Ok(JobFolder(path))
    }
}

/// Whether the folder is this user's alone: below the system's temporary folder another may have made it first.
fn is_own(path: &Path) -> Result<(), &'static str> {
    let metadata = path.symlink_metadata().map_err(|_| "it is gone")?;
    if !metadata.is_dir() {
        return Err("it is no folder");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user");
    }
    if metadata.mode() & 0o077 != 0 {
        return Err("other users may enter it; its mode has to be 0700");
    }
    Ok(())
}

/// The folder of one job; removed with all that is in it when it is dropped.
#[derive(Debug)]
pub struct JobFolder(PathBuf);

impl JobFolder {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes an empty folder in it.
    ///
    /// # Errors
    /// `Workspace`.
    pub fn sub(&self, name: &str) -> Result<PathBuf, ScanError> {
        let path = self.0.join(name);
        fs::create_dir(&path).map_err(ScanError::workspace("cannot make a folder for a tool"))?;
        Ok(path)
    }

    /// Removes a folder in it.
    ///
    /// # Errors
    /// `Workspace`.
    pub fn remove(&self, sub: &Path) -> Result<(), ScanError> {
        fs::remove_dir_all(sub).map_err(ScanError::workspace("cannot remove what a tool has left"))
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a job's folder is left on the disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_process_left_is_removed_and_two_processes_do_not_share_a_folder() {
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().join("work");
        let work = WorkFolder::open(&folder).unwrap();
        let job = work.job().unwrap();
        fs::write(job.sub("out").unwrap().join("left"), b"x").unwrap();
        let left = job.path().to_owned();
        // As if the process were killed.
        std::mem::forget(job);
        assert_eq!(WorkFolder::open(&folder).unwrap_err().class(), "scanner");
        drop(work);
        let work = WorkFolder::open(&folder).unwrap();
        assert!(!left.exists());
        let job = work.job().unwrap();
        let path = job.path().to_owned();
        drop(job);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_another_may_have_prepared_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(WorkFolder::open(&open).unwrap_err().to_string().contains("0700"));
        let own = folder.path().join("own");
        drop(WorkFolder::open(&own).unwrap());
        let link = folder.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(WorkFolder::open(&link).is_err());
        // A lock that leads to a file of the user's own does not cost that file.
        let file = folder.path().join("file");
        fs::write(&file, b"precious").unwrap();
        fs::remove_file(own.join("lock")).unwrap();
        symlink(&file, own.join("lock")).unwrap();
        assert!(WorkFolder::open(&own).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
