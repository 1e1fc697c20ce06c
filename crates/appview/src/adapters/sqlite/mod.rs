//! The databases: two files, two pools over each, and one file of queries per aggregate.
//!
//! | File | Holds | A commit survives |
//! |---|---|---|
//! | `<name>.db` | sign-ins of every kind (OAuth and app-password sessions, browsers, devices, refresh tokens); notices that holds have not had yet | a power failure |
//! | `<name>-scratch.db` | upload sessions, the account index: what can be made again | the end of the process |
//!
//! A commit to the first waits for the disk; pushing one small blob took four of those. The second is as safe against `kill -9`,
//! but after a power failure it may stand where it stood some commits ago, all tables alike. What that does is said in
//! [`uploads`] and [`account_index`]. No row of one file refers to the other.

pub mod account_index;
mod account_rows;
pub mod devices;
mod listings;
pub mod oauth_requests;
pub mod oauth_sessions;
pub mod push_notices;
pub mod revisions;
pub mod sessions;
pub mod uploads;
pub mod web_sessions;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atcr_registry::error::RegistryError;
use atcr_sessions::SessionError;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// The migrations of the durable file, in order.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The migrations of the scratch file, in order.
static SCRATCH_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/scratch");

/// Readers at once: more than enough for the queries of two cores.
const READERS: u32 = 8;

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
        let opened = |path: &Path| {
            let path = path.to_owned();
            |source| OpenError { path, source }
        };
        Ok(Self {
            durable: Database::open(path).await.map_err(opened(path))?,
            scratch: Database::open_scratch(&scratch).await.map_err(opened(&scratch))?,
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

/// A database file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the database {}", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: sqlx::Error,
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

/// The two pools over one file.
#[derive(Clone, Debug)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// Opens (or makes) the durable file at `path` and brings its tables up to date. A write survives a power failure once its
    /// call has returned.
    ///
    /// # Errors
    /// The file cannot be opened, or a migration fails.
    pub async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        Self::open_with(path, SqliteSynchronous::Full, &MIGRATIONS).await
    }

    /// Opens (or makes) the scratch file at `path` and brings its tables up to date. A write survives the end of the process once
    /// its call has returned; a power failure may undo the last ones.
    ///
    /// # Errors
    /// The file cannot be opened, or a migration fails.
    pub async fn open_scratch(path: &Path) -> Result<Self, sqlx::Error> {
        // With a write-ahead log, this syncs at checkpoints only, and still in an order that leaves no torn file behind.
        Self::open_with(path, SqliteSynchronous::Normal, &SCRATCH_MIGRATIONS).await
    }

    async fn open_with(
        path: &Path,
        synchronous: SqliteSynchronous,
        migrations: &Migrator,
    ) -> Result<Self, sqlx::Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // For this user's eyes only; SQLite gives the files beside it the same rights.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(synchronous);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        migrations.run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self { writer, readers })
    }

    /// The pool that writes: one connection, so that writers queue here and not on the file's lock.
    #[must_use]
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The pool that reads; it cannot write.
    #[must_use]
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Whether a write would go through now.
    ///
    /// # Errors
    /// The database's.
    pub async fn check(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.writer.acquire().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        sqlx::query("ROLLBACK").execute(&mut *connection).await?;
        Ok(())
    }

    /// Closes both pools, after which the file may be moved.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
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
