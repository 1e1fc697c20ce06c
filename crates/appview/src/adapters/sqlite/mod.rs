//! The databases: two files, and one file of queries per aggregate. How a file is opened is `atcr_server::database`.
//!
//! | File | Holds | A commit survives |
//! |---|---|---|
//! | `<name>.db` | sign-ins of every kind (OAuth and app-password sessions, browsers, devices, refresh tokens); notices that holds have not had yet; deletions that can be undone | a power failure |
//! | `<name>-scratch.db` | upload sessions, the account index, bytes of manifests: what can be made again | the end of the process |
//!
//! A commit to the first waits for the disk; pushing one small blob took four of those. The second is as safe against `kill -9`,
//! but after a power failure it may stand where it stood some commits ago, all tables alike. What that does is said in
//! [`uploads`] and [`account_index`]. No row of one file refers to the other.

pub mod account_index;
mod account_rows;
pub mod deletions;
pub mod devices;
mod indexed_rows;
mod listings;
pub mod manifest_bytes;
pub mod oauth_requests;
pub mod oauth_sessions;
pub mod push_notices;
pub mod revisions;
pub mod sessions;
pub mod uploads;
pub mod web_sessions;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atcr_registry::error::RegistryError;
pub use atcr_server::database::Database;
use atcr_server::database::{DatabaseOptions, Durability, OpenError};
use atcr_sessions::SessionError;
use sqlx::migrate::Migrator;

/// The migrations of the durable file, in order.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The migrations of the scratch file, in order.
static SCRATCH_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/scratch");

/// Readers at once: more than enough for the queries of two cores.
const READERS: u32 = 8;

/// Both files.
#[derive(Clone, Debug)]
pub struct Databases {
    /// What must not be lost.
    pub durable: Database,
    /// What can be made again.
    pub scratch: Database,
}

impl Databases {
    /// Opens (or makes) the durable file at `path` and the scratch file beside it, and brings their tables up to date.
    ///
    /// # Errors
    /// A file, which is named, cannot be opened, or a migration fails.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let scratch = scratch_path(path);
        Ok(Self {
            durable: open_durable(path).await?,
            scratch: open_scratch(&scratch).await?,
        })
    }

    /// Whether a write to either would go through now.
    ///
    /// # Errors
    /// The databases'.
    pub async fn check(&self) -> Result<(), sqlx::Error> {
        self.durable.check().await?;
        self.scratch.check().await
    }

    /// Closes both, after which the files may be moved.
    pub async fn close(&self) {
        self.scratch.close().await;
        self.durable.close().await;
    }
}

/// Opens (or makes) the durable file at `path` and brings its tables up to date. A write survives a power failure once its call has
/// returned.
///
/// # Errors
/// The file cannot be opened, or a migration fails.
pub async fn open_durable(path: &Path) -> Result<Database, OpenError> {
    Database::open(path, options(Durability::PowerFailure), &MIGRATIONS).await
}

/// Opens (or makes) the scratch file at `path` and brings its tables up to date. A write survives the end of the process once its call
/// has returned; a power failure may undo the last ones.
///
/// # Errors
/// The file cannot be opened, or a migration fails.
pub async fn open_scratch(path: &Path) -> Result<Database, OpenError> {
    Database::open(path, options(Durability::ProcessEnd), &SCRATCH_MIGRATIONS).await
}

const fn options(durability: Durability) -> DatabaseOptions {
    DatabaseOptions {
        durability,
        readers: READERS,
    }
}

/// Where the scratch file of the durable file at `path` is: `ui-scratch.db` beside `ui.db`.
#[must_use]
pub fn scratch_path(path: &Path) -> PathBuf {
    let mut name = path.file_stem().map(OsString::from).unwrap_or_default();
    name.push("-scratch");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// A statement that failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SqliteError(#[from] sqlx::Error);

/// `error` on its way to the words of a port.
fn failed(error: sqlx::Error) -> SqliteError {
    SqliteError(error)
}

impl From<SqliteError> for RegistryError {
    fn from(SqliteError(error): SqliteError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<SqliteError> for SessionError {
    fn from(SqliteError(error): SqliteError) -> Self {
        Self::Database(Arc::new(error))
    }
}
