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
//! - `configs`: what configurations of images say
//! - `lease`: which process does what only one has to
//! - `audit`: dump, recount, figures
//! - `import`: an index of a SQLite file, copied

mod audit;
mod codec;
mod configs;
mod connect;
mod discovery;
mod import;
mod lease;
mod queue;
mod read;
mod rows;
mod search;
mod write;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use atcr_index::IndexError;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use connect::Pools;
pub use connect::{DatabaseUrl, InvalidUrl, OpenError};
pub use import::{ImportError, Progress};

/// Searches of one server at once.
const SEARCHES: usize = 4;

/// Batches of one server that have a connection at once: one is written, and one waits for the writers of other servers.
const BATCHES: usize = 2;

/// How long a batch waits for one of those places.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of the lock that one writer holds: the first bytes of "atcr-idx".
const WRITER_LOCK: i64 = 0x6174_6372_2d69_6478;

/// The index in a PostgreSQL database. Clones share its connections. It implements every port of `atcr_index`.
#[derive(Clone, Debug)]
pub struct PostgresIndex {
    writers: PgPool,
    readers: PgPool,
    leases: PgPool,
    batches: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

/// A transaction that writes, alone among those of all servers.
struct Writing {
    // In this order: the place is free when the transaction is over.
    transaction: Transaction<'static, Postgres>,
    _place: OwnedSemaphorePermit,
}

impl Writing {
    async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }

    async fn rollback(self) -> Result<(), sqlx::Error> {
        self.transaction.rollback().await
    }
}

impl Deref for Writing {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

impl PostgresIndex {
    /// Connects to the database, makes its tables when they are not there, and brings them up to date.
    ///
    /// # Errors
    /// [`OpenError`]: the server cannot be reached, is too old, or the database is not of a kind that the index can be in.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let Pools {
            writers,
            readers,
            leases,
        } = connect::open(url).await?;
        Ok(Self {
            writers,
            readers,
            leases,
            batches: Arc::new(Semaphore::new(BATCHES)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
        })
    }

    /// Whether a write would succeed now: the server answers, and is no standby.
    ///
    /// # Errors
    /// [`IndexError::Database`].
    pub async fn check(&self) -> Result<(), IndexError> {
        sqlx::query("UPDATE source SET epoch = epoch WHERE false")
            .execute(&self.leases)
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Waits for running statements and closes the connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
        self.leases.close().await;
    }

    /// Waits until no other transaction writes. Who waits for a place among those of this server has no connection yet.
    async fn writing(&self) -> Result<Writing, sqlx::Error> {
        let place = timeout(TURN_TIMEOUT, Arc::clone(&self.batches).acquire_owned());
        let place = place.await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut transaction = self.writers.begin().await?;
        lock_writer(&mut transaction).await?;
        Ok(Writing {
            transaction,
            _place: place,
        })
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
