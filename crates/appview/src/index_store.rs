//! Where the index of the network is kept: a file of this server's, or a database that several servers share.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::ports::{
    ConfigLog, DiscoveryLog, IndexAudit, IndexReader, IndexWriter, Leases, PullIndex, SearchIndex, WorkQueue,
};
use atcr_index_postgres::{DatabaseUrl, PostgresIndex};
use atcr_index_sqlite::SqliteIndex;
use atcr_ingest::Index;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use tokio::time::{Instant, sleep};
use url::Url;

/// Every port of the index, and its end.
#[async_trait]
pub trait IndexStore:
    IndexReader
    + PullIndex
    + SearchIndex
    + IndexWriter
    + WorkQueue
    + DiscoveryLog
    + ConfigLog
    + Leases
    + IndexAudit
    + fmt::Debug
{
    /// Whether a write would succeed now.
    async fn check(&self) -> Result<(), IndexError>;

    /// Waits for what runs, and closes it.
    async fn close(&self);
}

#[async_trait]
impl IndexStore for SqliteIndex {
    async fn check(&self) -> Result<(), IndexError> {
        self.check().await
    }

    async fn close(&self) {
        self.close().await;
    }
}

#[async_trait]
impl IndexStore for PostgresIndex {
    async fn check(&self) -> Result<(), IndexError> {
        self.check().await
    }

    async fn close(&self) {
        self.close().await;
    }
}

/// Opens the index in `database`, or else in the file at `path`.
///
/// # Errors
/// The file or the database, which is named without its password, cannot be used.
pub async fn open(path: &Path, database: Option<&DatabaseUrl>) -> anyhow::Result<Arc<dyn IndexStore>> {
    let what = "the index of the network";
    Ok(match database {
        Some(url) => Arc::new(PostgresIndex::open(url).await.context(what)?),
        None => Arc::new(SqliteIndex::open(path).await.context(what)?),
    })
}

/// Its ports for what writes to it.
#[must_use]
pub fn ports(store: &Arc<dyn IndexStore>) -> Index {
    Index {
        reader: Arc::clone(store) as _,
        writer: Arc::clone(store) as _,
        queue: Arc::clone(store) as _,
        discoveries: Arc::clone(store) as _,
    }
}

/// How long a claim lasts, how often it is renewed, and how long one that a killed server has left is waited out.
const CLAIM: Duration = Duration::from_secs(6);
const RENEWED_EACH: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(8);

/// Claims `base_url` among the servers that share the index, until the shutdown: what a server signs in, issues and remembers is its own,
/// so two behind one URL would each know half. A server that has lost its claim to another one begins its shutdown.
///
/// # Errors
/// Another server that runs has it.
pub async fn claim(
    store: &Arc<dyn IndexStore>,
    base_url: &Url,
    holder: String,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let name = format!("appview {base_url}");
    let deadline = Instant::now() + PATIENCE;
    while !store.hold_lease(&name, &holder, CLAIM).await? {
        if Instant::now() >= deadline {
            bail!(
                "another appview with the base URL {base_url} runs on this index (index.database_url). Sessions and devices are each \
                 server's own, so each needs a server.base_url of its own"
            );
        }
        sleep(Duration::from_millis(500)).await;
    }
    let (store, stop) = (Arc::clone(store), shutdown.clone());
    Task::new("claim_base_url").spawn(shutdown, async move {
        loop {
            tokio::select! {
                () = stop.soft().cancelled() => break,
                () = sleep(RENEWED_EACH) => {}
            }
            match store.hold_lease(&name, &holder, CLAIM).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!("another appview with the same base URL runs on this index; this one stops");
                    stop.begin();
                    return;
                }
                Err(error) => tracing::warn!(%error, "the claim of the base URL could not be renewed; it is tried again"),
            }
        }
        if let Err(error) = store.give_up_lease(&name, &holder).await {
            tracing::debug!(%error, "the claim of the base URL ends by itself");
        }
    });
    Ok(())
}
