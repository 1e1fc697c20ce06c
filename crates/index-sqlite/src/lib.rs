//! The index of the network in one SQLite file.
//!
//! A commit survives the end of the process; a power failure may undo the last ones, all tables and cursors alike, and what is lost comes
//! again from its source. One connection writes. Every write is a few statements for a whole batch, each with its rows as one JSON
//! parameter: a statement for each row would cost more in hand-overs between threads than in work.
//!
//! - `rows`: many rows as the parameter of one statement
//! - `sums`: sums of counts, capped
//! - `write`: batches
//! - `read`, `search`: queries of pages
//! - `queue`: accounts to work on
//! - `discovery`: lists of accounts that are read in parts
//! - `configs`: what configurations of images say
//! - `lease`: nobody to share the file with
//! - `audit`: dump, recount, figures

mod audit;
mod configs;
mod discovery;
mod lease;
mod queue;
mod read;
mod rows;
mod search;
mod sums;
mod write;

use std::path::Path;
use std::sync::Arc;

use atcr_index::IndexError;
use atcr_server::database::{Database, DatabaseOptions, Durability, OpenError};
use sqlx::migrate::Migrator;
use tokio::sync::Semaphore;

/// The migrations, in order.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Readers at once: more than enough for the queries of two cores.
const READERS: u32 = 8;

/// Searches at once.
const SEARCHES: usize = 4;

/// The index in a SQLite file. Clones share it. It implements every port of `atcr_index`.
#[derive(Clone, Debug)]
pub struct SqliteIndex {
    database: Database,
    searches: Arc<Semaphore>,
}

impl SqliteIndex {
    /// Opens the file at `path`, makes it when it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// The file, which is named, cannot be opened, or a migration fails.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let options = DatabaseOptions {
            durability: Durability::ProcessEnd,
            readers: READERS,
        };
        Ok(Self {
            database: Database::open(path, options, &MIGRATIONS).await?,
            searches: Arc::new(Semaphore::new(SEARCHES)),
        })
    }

    /// Whether a write would succeed now.
    ///
    /// # Errors
    /// [`IndexError::Database`].
    pub async fn check(&self) -> Result<(), IndexError> {
        self.database.check().await.map_err(failed)
    }

    /// Waits for running statements and closes the file.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// `error` in the words of the ports.
fn failed(error: sqlx::Error) -> IndexError {
    IndexError::Database(Arc::new(error))
}
