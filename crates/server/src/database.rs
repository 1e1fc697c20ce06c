//! One SQLite file: a writer of one connection, readers that cannot write, files that only their owner can read.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Sqlite, SqlitePool};

use crate::private_files::{FILE_MODE, make_private_folder};

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power failure: each commit waits for the disk.
    PowerFailure,
    /// The end of the process. A power failure may undo the last commits, in all tables alike, but does not corrupt the file.
    ProcessEnd,
}

/// How a database file is opened.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseOptions {
    /// What a commit survives.
    pub durability: Durability,
    /// Connections that read at once.
    pub readers: u32,
}

/// Two pools on one file. Clones share them.
#[derive(Clone, Debug)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
    durability: Durability,
}

/// A database file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the database {}", path.display())]
pub struct OpenError {
    path: PathBuf,
    #[source]
    source: sqlx::Error,
}

impl Database {
    /// Opens the file at `path`, makes it (mode 0600, a missing folder 0700) when it is not there, and brings its tables up to date with
    /// `migrations`. A file that others may read is made private.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be opened, or a migration fails.
    pub async fn open(
        path: &Path,
        options: DatabaseOptions,
        migrations: &Migrator,
    ) -> Result<Self, OpenError> {
        Self::open_file(path, options, migrations)
            .await
            .map_err(|source| OpenError {
                path: path.to_owned(),
                source,
            })
    }

    async fn open_file(
        path: &Path,
        DatabaseOptions { durability, readers }: DatabaseOptions,
        migrations: &Migrator,
    ) -> Result<Self, sqlx::Error> {
        make_private_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(match durability {
                Durability::PowerFailure => SqliteSynchronous::Full,
                // With a write-ahead log, this syncs at checkpoints only, and in an order that leaves no torn file behind.
                Durability::ProcessEnd => SqliteSynchronous::Normal,
            });
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        migrations.run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(readers)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self {
            writer,
            readers,
            durability,
        })
    }

    /// The pool that writes: one connection, so that writers queue here and not on the file's lock.
    #[must_use]
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The pool that reads. It cannot write.
    #[must_use]
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Runs one statement, whose commit, and every commit before it, survives a power failure, regardless of the file's own
    /// durability.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Cancel safety
    /// A dropped call leaves the writer waiting for the disk with each commit until the next durable statement ends.
    pub async fn execute_durably(
        &self,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<SqliteQueryResult, sqlx::Error> {
        let mut connection = self.writer.acquire().await?;
        // All commits are in one write-ahead log, which a commit in this mode syncs.
        sqlx::query("PRAGMA synchronous = FULL")
            .execute(&mut *connection)
            .await?;
        let outcome = statement.execute(&mut *connection).await;
        if self.durability == Durability::ProcessEnd {
            sqlx::query("PRAGMA synchronous = NORMAL")
                .execute(&mut *connection)
                .await?;
        }
        outcome
    }

    /// As [`execute_durably`](Self::execute_durably), for a statement that returns rows.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn fetch_durably(
        &self,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut connection = self.writer.acquire().await?;
        sqlx::query("PRAGMA synchronous = FULL")
            .execute(&mut *connection)
            .await?;
        let rows = statement.fetch_all(&mut *connection).await;
        if self.durability == Durability::ProcessEnd {
            sqlx::query("PRAGMA synchronous = NORMAL")
                .execute(&mut *connection)
                .await?;
        }
        rows
    }

    /// Whether a write would succeed now. The check takes the file's write lock for a moment, so readiness asks at most every few
    /// seconds ([`Readiness`](crate::health::Readiness)).
    ///
    /// # Errors
    /// The driver's.
    pub async fn check(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.writer.acquire().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        sqlx::query("ROLLBACK").execute(&mut *connection).await?;
        Ok(())
    }

    /// Waits for running statements and closes both pools, after which the file may be moved.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the file, private, before SQLite does with the process's umask. SQLite gives the files beside it the same mode.
fn make_private_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        make_private_folder(folder)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))?;
    }
    Ok(())
}
