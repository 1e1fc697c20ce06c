//! How the network comes into the index: events of firehoses, verified; accounts, read from their own PDS.
//!
//! A change is written only if it is proven: by a commit whose signature, blocks and list of operations are right, or by the PDS
//! that the account's DID document names. Anything else only makes the account due for a catch-up.
//!
//! - [`verify`]: what a `#commit` and a `#sync` prove
//! - [`catch_up`]: an account brought to its head by listing it
//! - [`difference`]: the same by what changed since a revision
//! - `audit`: every account compared with its server, when a stream may have left out events
//! - [`discovery`]: lists of the network's accounts, read in parts
//! - [`follow`]: one stream, from its socket on, at the first of its places that works; [`health`]: how it goes
//! - [`firehose`]: what frames of `subscribeRepos` become
//! - [`jetstream`]: what messages of a Jetstream become: hints
//! - [`labels`]: takedowns by the labeler that this server trusts
//! - [`leadership`]: which of several servers on one database follows the streams
//! - [`schedule`]: accounts that are due, worked on side by side
//! - [`source`]: the port to accounts' own servers; [`adapters`] has it over XRPC, and the WebSocket

pub mod adapters;
mod audit;
pub mod catch_up;
pub mod difference;
pub mod discovery;
pub mod firehose;
pub mod follow;
pub mod health;
pub mod jetstream;
pub mod labels;
pub mod leadership;
pub mod schedule;
pub mod source;
pub mod verify;

use std::sync::Arc;

use atcr_index::ports::{DiscoveryLog, IndexReader, IndexWriter, WorkQueue};
use url::Url;

/// How a configured server is named in logs, in metrics and where its cursor is kept: by host and port, without user and password.
#[must_use]
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The ports of one index.
#[derive(Clone)]
pub struct Index {
    /// Reads.
    pub reader: Arc<dyn IndexReader>,
    /// Writes.
    pub writer: Arc<dyn IndexWriter>,
    /// Accounts that are due.
    pub queue: Arc<dyn WorkQueue>,
    /// Lists of accounts that are read in parts.
    pub discoveries: Arc<dyn DiscoveryLog>,
}

impl Index {
    /// The ports of `store`, which has all of them.
    pub fn of<S: IndexReader + IndexWriter + WorkQueue + DiscoveryLog + 'static>(store: Arc<S>) -> Self {
        Self {
            reader: Arc::<S>::clone(&store),
            writer: Arc::<S>::clone(&store),
            queue: Arc::<S>::clone(&store),
            discoveries: store,
        }
    }
}
