//! The vulnerability databases: one is current, scans that began with an older one keep it, and a new one becomes current only when
//! it has shown that it works.
//!
//! `FOLDER/GENERATION` is a database as the tool keeps it, and `FOLDER/current` names the one in use. A generation is never
//! changed: the tool replaces a database by deleting it first. It is removed when no process uses it any more, and so is what a
//! process left unfinished.

mod in_use;
mod update;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tempfile::TempDir;

use crate::error::ScanError;
use crate::tools::grype::{DatabaseStatus, Grype};

use self::in_use::{InUse, remove_unused};
pub use update::{Updated, Updater};

/// Names the generation in use.
const POINTER: &str = "current";

/// Generations that are being made.
const INCOMING: &str = "incoming-";

/// Folders in which the tool works.
const WORK: &str = "work-";

/// A list without packages: looking it up reads the database and finds nothing.
const PROBE: &[u8] = br#"{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[]}"#;

/// What looking the probe up may take.
const PROBE_LIMITS: (u64, Duration) = (2 << 30, Duration::from_mins(2));

/// One vulnerability database that works. It stays on the disk while it is in use.
#[derive(Debug)]
pub struct Generation {
    name: String,
    folder: PathBuf,
    status: DatabaseStatus,
    _in_use: InUse,
}

impl Generation {
    /// The folder, as the tool wants it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it says of itself.
    #[must_use]
    pub fn status(&self) -> &DatabaseStatus {
        &self.status
    }

    /// How old its content is.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Duration {
        (now - self.status.built).to_std().unwrap_or_default()
    }
}

/// The databases in one folder.
#[derive(Debug)]
pub struct Databases {
    folder: PathBuf,
    grype: Grype,
    current: RwLock<Option<Arc<Generation>>>,
    /// What the pointer named and is older than what was in use.
    outdated: Mutex<Option<String>>,
}

/// A folder that is gone when it is dropped, and is removed by the next process if this one is killed.
struct OwnFolder {
    folder: TempDir,
    in_use: Option<InUse>,
}

impl OwnFolder {
    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Databases {
    /// The databases in `folder`, made if it is missing. One that does not work is logged and not used.
    ///
    /// # Errors
    /// `Workspace` if the folder cannot be used.
    pub async fn open(folder: &Path, grype: Grype) -> Result<Self, ScanError> {
        let failed = || ScanError::workspace(format!("cannot use {}", folder.display()));
        fs::create_dir_all(folder).map_err(failed())?;
        let databases = Self {
            folder: folder.canonicalize().map_err(failed())?,
            grype,
            current: RwLock::new(None),
            outdated: Mutex::default(),
        };
        databases.remove_old();
        databases.follow_pointer().await?;
        Ok(databases)
    }

    /// The database in use.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Uses the generation that the pointer names: another process may have made one.
    async fn follow_pointer(&self) -> Result<(), ScanError> {
        let name = match fs::read_to_string(self.folder.join(POINTER)) {
            Ok(name) => name.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(ScanError::workspace("cannot read which database is in use")(
                    error,
                ));
            }
        };
        if self.current().is_some_and(|current| current.name == name) {
            return Ok(());
        }
        if name.is_empty() || name.contains(['/', '.']) {
            tracing::warn!(%name, "the database in use has no usable name");
            return Ok(());
        }
        if self.outdated().as_ref() == Some(&name) {
            return Ok(());
        }
        let folder = self.folder.join(&name);
        let in_use = InUse::mark(&self.folder, &folder)
            .map_err(ScanError::workspace("cannot mark the database that is in use"))?;
        let Some(in_use) = in_use else {
            tracing::warn!(%name, "the database in use is not there");
            return Ok(());
        };
        match self.prove(&folder).await {
            Ok(status)
                if self
                    .current()
                    .is_some_and(|current| status.built < current.status.built) =>
            {
                tracing::warn!(built = %status.built, "the vulnerability database that is there is older than the one in use");
                *self.outdated() = Some(name);
            }
            Ok(status) => {
                tracing::info!(built = %status.built, "using the vulnerability database that is there");
                self.switch(Generation {
                    name,
                    folder,
                    status,
                    _in_use: in_use,
                });
            }
            Err(error) => tracing::warn!(%error, "the vulnerability database that is there does not work"),
        }
        Ok(())
    }

    fn outdated(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder for the tool to work in, on the disk of the databases.
    fn work_folder(&self) -> Result<OwnFolder, ScanError> {
        self.own_folder(WORK)
            // Who may only read the databases.
            .or_else(|_| tempfile::tempdir().map(|folder| OwnFolder { folder, in_use: None }))
            .map_err(ScanError::workspace("cannot make a folder for the tool"))
    }

    fn own_folder(&self, prefix: &str) -> io::Result<OwnFolder> {
        loop {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(&self.folder)?;
            // Another process may have taken it for one that was left.
            if let Some(in_use) = InUse::mark(&self.folder, folder.path())? {
                return Ok(OwnFolder {
                    folder,
                    in_use: Some(in_use),
                });
            }
        }
    }

    fn switch(&self, generation: Generation) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(generation));
    }

    /// Whether the database in `folder` works: it says what it is, and something can be looked up in it.
    async fn prove(&self, folder: &Path) -> Result<DatabaseStatus, ScanError> {
        let own = self.work_folder()?;
        let status = self.grype.status(folder, own.path()).await?;
        let probe = own.path().join("probe.json");
        fs::write(&probe, PROBE).map_err(ScanError::workspace("cannot write a probe"))?;
        let report = own.path().join("report.json");
        self.grype
            .look_up(
                &probe,
                folder,
                (own.path(), &report),
                PROBE_LIMITS,
                &self.grype.stop,
            )
            .await
            .map_err(|error| ScanError::Database(error.to_string()))?;
        Ok(status)
    }

    /// Makes a new generation with `fill`, proves it, and uses it from now on.
    async fn make(
        &self,
        fill: impl AsyncFnOnce(&Path, &Path) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let failed = || ScanError::workspace("cannot make a generation of the database");
        let incoming = self.own_folder(INCOMING).map_err(failed())?;
        let own = self.work_folder()?;
        fill(incoming.path(), own.path()).await?;
        let status = self.prove(incoming.path()).await?;
        if let Some(current) = self.current()
            && status.built < current.status.built
        {
            return Err(ScanError::Database(format!(
                "the new database, of {}, is older than the one in use, of {}",
                status.built, current.status.built
            )));
        }
        let name = format!(
            "{}-{}",
            status.built.format("%Y%m%dT%H%M%SZ"),
            uuid::Uuid::new_v4().simple()
        );
        let folder = self.folder.join(&name);
        fs::rename(incoming.path(), &folder).map_err(failed())?;
        let OwnFolder {
            folder: incoming,
            in_use,
        } = incoming;
        // It has another name now.
        let _ = incoming.keep();
        let in_use = in_use.ok_or_else(|| ScanError::Database("a new database is not marked".to_owned()))?;
        write_pointer(&self.folder, &name).map_err(failed())?;
        tracing::info!(built = %status.built, schema = status.schema, "a new vulnerability database is in use");
        self.switch(Generation {
            name,
            folder,
            status,
            _in_use: in_use,
        });
        Ok(())
    }

    /// Takes the database in `archive`, a file made for this: without network.
    ///
    /// # Errors
    /// `Database`, `Workspace`. The one in use stays in use.
    pub async fn import(&self, archive: &Path) -> Result<(), ScanError> {
        let archive = archive
            .canonicalize()
            .map_err(ScanError::workspace(format!("cannot read {}", archive.display())))?;
        self.make(async |database, own| self.grype.import(&archive, database, own).await)
            .await
    }

    /// Removes generations that no process uses and no pointer names, and what processes left unfinished.
    fn remove_old(&self) {
        let pointed = fs::read_to_string(self.folder.join(POINTER)).unwrap_or_default();
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_left = name.starts_with(INCOMING) || name.starts_with(WORK);
            let is_generation = entry.path().join("6").is_dir();
            if name == pointed.trim() || !is_left && !is_generation {
                continue;
            }
            if let Err(error) = remove_unused(&self.folder, &entry.path()) {
                tracing::warn!(%name, %error, "an old vulnerability database is left on the disk");
            }
        }
    }
}

/// Replaces the pointer as a whole, durably.
fn write_pointer(folder: &Path, name: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(name.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(folder.join(POINTER)).map_err(|error| error.error)?;
    Ok(())
}
