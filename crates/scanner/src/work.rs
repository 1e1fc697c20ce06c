//! The folder in which jobs work: one below it for each, gone when the job ends.

use std::fs::{self, File};
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
        // Absolute: tools work elsewhere.
        let path = path.canonicalize().map_err(failed())?;
        let lock = File::create(path.join("lock")).map_err(failed())?;
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
        let folder = tempfile::tempdir().unwrap();
        let work = WorkFolder::open(folder.path()).unwrap();
        let job = work.job().unwrap();
        fs::write(job.sub("out").unwrap().join("left"), b"x").unwrap();
        let left = job.path().to_owned();
        // As if the process were killed.
        std::mem::forget(job);
        assert_eq!(WorkFolder::open(folder.path()).unwrap_err().class(), "scanner");
        drop(work);
        let work = WorkFolder::open(folder.path()).unwrap();
        assert!(!left.exists());
        let job = work.job().unwrap();
        let path = job.path().to_owned();
        drop(job);
        assert!(!path.exists());
    }
}
