//! Where the accounts are kept: one file, changed under a lock, replaced atomically, imported from version 1 once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::accounts::{Accounts, InvalidAccounts};
use crate::device_file::{self, InvalidDeviceFile};
use crate::environment::Environment;
use crate::file::{self, Access, FileError};

/// How long another process may hold the lock: it never waits for people or the network while it does.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// The file of accounts.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
}

/// The accounts could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no home folder to look in.
    #[error("there is no home folder")]
    NoHome,
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is broken.
    #[error("cannot use {}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidAccounts,
    },
    /// The file of version 1 is broken.
    #[error("cannot import {}", path.display())]
    InvalidDeviceFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidDeviceFile,
    },
    /// Another process has been changing the accounts for too long.
    #[error("another process keeps {} locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The accounts could not be put into words.
    #[error("cannot write the accounts")]
    Encode(#[from] serde_json::Error),
}

impl FileStore {
    /// The store that the environment names: `ATCR_CONFIG`, else `~/.atcr/config.json`.
    ///
    /// # Errors
    /// [`StoreError::NoHome`].
    pub fn locate(environment: &Environment) -> Result<Self, StoreError> {
        let path = match (&environment.config, &environment.home) {
            (Some(path), _) => path.clone(),
            (None, Some(home)) => home.join(".atcr").join("config.json"),
            (None, None) => return Err(StoreError::NoHome),
        };
        Ok(Self { path })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the file, for further state.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Reads the accounts; none when there is no file. Takes no lock: the file is only ever replaced whole.
    ///
    /// A `device.json` of version 1 is imported when there is no file yet. Where that cannot be written down, as on a
    /// read-only home, its accounts are served all the same.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(&self) -> Result<Accounts, StoreError> {
        if let Some(accounts) = self.read()? {
            return Ok(accounts);
        }
        match self.read_device_file()? {
            None => Ok(Accounts::default()),
            Some(imported) => Ok(self
                .update(|_| Ok::<_, StoreError>(()))
                .map_or(imported, |((), accounts)| accounts)),
        }
    }

    /// Changes the accounts: reads them under the lock, lets `change` work on them, writes them if they differ.
    /// Returns what `change` returned, and the accounts as they are now. An error of `change` leaves the file as it was.
    ///
    /// # Errors
    /// [`StoreError`], and whatever `change` says.
    pub fn update<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Accounts) -> Result<T, E>,
    ) -> Result<(T, Accounts), E> {
        file::ensure_folder(self.folder()).map_err(StoreError::from)?;
        let lock = self.lock()?;
        let (mut accounts, imported) = match self.read()? {
            Some(accounts) => (accounts, false),
            None => match self.read_device_file()? {
                Some(accounts) => (accounts, true),
                None => (Accounts::default(), false),
            },
        };
        let before = accounts.to_text().map_err(StoreError::from)?;
        let outcome = change(&mut accounts)?;
        accounts.prune();
        let after = accounts.to_text().map_err(StoreError::from)?;
        if imported || before != after {
            file::replace(&self.path, after.as_bytes(), Access::Owner).map_err(StoreError::from)?;
        }
        if imported {
            self.set_device_file_aside();
        }
        drop(lock);
        Ok((outcome, accounts))
    }

    fn read(&self) -> Result<Option<Accounts>, StoreError> {
        let Some(text) = file::read_if_exists(&self.path)? else {
            return Ok(None);
        };
        Accounts::parse(&text)
            .map(Some)
            .map_err(|source| StoreError::Invalid {
                path: self.path.clone(),
                source,
            })
    }

    fn device_file(&self) -> PathBuf {
        self.folder().join("device.json")
    }

    fn read_device_file(&self) -> Result<Option<Accounts>, StoreError> {
        let path = self.device_file();
        let Some(text) = file::read_if_exists(&path)? else {
            return Ok(None);
        };
        device_file::import(&text)
            .map(Some)
            .map_err(|source| StoreError::InvalidDeviceFile { path, source })
    }

    /// Keeps the imported file as `device.json.bak`. If that fails it is read no more, since version 2 exists.
    fn set_device_file_aside(&self) {
        let _ = fs::rename(self.device_file(), self.folder().join("device.json.bak"));
    }

    fn lock(&self) -> Result<File, StoreError> {
        let path = self.path.with_added_extension("lock");
        let open =
            || file::owner_only(OpenOptions::new().write(true).create(true).truncate(false)).open(&path);
        let lock = open().map_err(FileError::new("lock", &path))?;
        let started = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
                Err(TryLockError::Error(error)) => return Err(FileError::new("lock", &path)(error).into()),
            }
        }
    }
}
