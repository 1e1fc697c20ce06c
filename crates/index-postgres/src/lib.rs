//! The index of the network in PostgreSQL, for several servers at once.
//!
//! The tables are in the schema `atcr_index`. Batches are written one after the other, whoever writes them: a transaction holds one
//! advisory lock from its first statement to its commit, so that totals are never counted from two states. Every write is a few
//! statements for a whole batch, each with its rows as arrays. A commit does not wait for the disk: a failure of the database's machine
//! may undo the last ones, all tables and cursors alike, and what is lost comes again from its source.
//!
//! - `connect`: connections, and what is refused at the start
//! - `rows`: many rows as the parameters of one statement
//! - `write`: batches
//! - `read`, `search`: queries of pages
//! - `queue`: accounts to work on
//! - `discovery`: lists of accounts that are read in parts
//! - `lease`: which process does what only one has to
//! - `audit`: dump, recount, figures
//! - `import`: an index of a SQLite file, copied

mod audit;
mod codec;
mod connect;
mod discovery;
mod import;
mod lease;
mod queue;
mod read;
mod rows;
mod search;
mod write;

use std::sync::Arc;

use atcr_index::IndexError;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;

pub use connect::{DatabaseUrl, InvalidUrl, OpenError};
pub use import::{ImportError, Progress};

/// Searches of one server at once.
const SEARCHES: usize = 4;

/// The number of the lock that one writer holds: the first bytes of "atcr-idx".
const WRITER_LOCK: i64 = 0x6174_6372_2d69_6478;

/// The index in a PostgreSQL database. Clones share its connections. It implements every port of `atcr_index`.
#[derive(Clone, Debug)]
pub struct PostgresIndex {
    writers: PgPool,
    readers: PgPool,
    searches: Arc<Semaphore>,
}

impl PostgresIndex {
    /// Connects to the database, makes its tables when they are not there, and brings them up to date.
    ///
    /// # Errors
    /// [`OpenError`]: the server cannot be reached, is too old, or the database is not of a kind that the index can be in.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let (writers, readers) = connect::open(url).await?;
        Ok(Self {
            writers,
            readers,
            searches: Arc::new(Semaphore::new(SEARCHES)),
        })
    }

    /// Whether a write would succeed now: the server answers, and is no standby.
    ///
    /// # Errors
    /// [`IndexError::Database`].
    pub async fn check(&self) -> Result<(), IndexError> {
        sqlx::query("UPDATE source SET epoch = epoch WHERE false")
            .execute(&self.writers)
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Waits for running statements and closes the connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    /// A transaction that writes, alone among those of all servers.
    async fn writing(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut transaction = self.writers.begin().await?;
        lock_writer(&mut transaction).await?;
        Ok(transaction)
    }
}

/// Waits until no other transaction writes.
async fn lock_writer(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(WRITER_LOCK)
        .execute(connection)
        .await
        .map(drop)
}

/// `error` in the words of the ports.
fn failed(error: sqlx::Error) -> IndexError {
    IndexError::Database(Arc::new(error))
}
