//! The hold's own SQLite database: running uploads. Records live in the embedded PDS, not here.
//!
//! A commit survives the end of the process, but a power failure may undo the last ones. Blobs are safe by then: the store has
//! them on its disk before anybody is told. What the undoing of each write does:
//!
//! - `insert`: the upload is unknown, its owner begins anew, and its bytes are swept as what only the store knows of.
//! - `touch`: the upload is swept earlier. An owner who comes back begins anew.
//! - `finish`: whoever repeats the completion finds the blob in the store, as after a crash between the two.
//! - `remove`: the row has no bytes; a completion fails, and the sweep takes it.

mod uploads;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use self::uploads::SqliteUploads;

/// How long a statement waits for the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers beside the one writer.
const READERS: u32 = 4;

/// Two pools on one file: a writer of one connection, so that writes queue here and not on the file's lock, and readers.
#[derive(Clone, Debug)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// Opens the database file at `path`, created when missing and brought up to date.
    ///
    /// # Errors
    /// The driver's, when the file cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!().run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }

    /// The pool of the one writing connection.
    #[must_use]
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The pool of the read-only connections.
    #[must_use]
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Whether the writing connection can be had and answers.
    ///
    /// # Errors
    /// The driver's.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.writer).await.map(|_| ())
    }

    /// Waits for running statements and closes both pools.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
