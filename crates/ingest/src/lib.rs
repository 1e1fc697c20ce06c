//! How the network comes into the index: events of firehoses, verified; accounts, read from their own PDS.
//!
//! A change is written only if it is proven: by a commit whose signature, blocks and list of operations are right, or by the PDS
//! that the account's DID document names. Anything else only makes the account due for a catch-up.
//!
//! - [`verify`]: what a `#commit` and a `#sync` prove
//! - [`catch_up`]: an account brought to its head by listing it
//! - [`follow`]: one firehose, from its socket to the index, with its cursor
//! - [`schedule`]: accounts that are due, worked on side by side
//! - [`source`]: the port to accounts' own servers; [`adapters`] has it over XRPC, and the WebSocket

pub mod adapters;
pub mod catch_up;
pub mod follow;
pub mod schedule;
pub mod source;
pub mod verify;

use std::sync::Arc;

use atcr_index::ports::{IndexReader, IndexWriter, WorkQueue};

/// The ports of one index.
#[derive(Clone)]
pub struct Index {
    /// Reads.
    pub reader: Arc<dyn IndexReader>,
    /// Writes.
    pub writer: Arc<dyn IndexWriter>,
    /// Accounts that are due.
    pub queue: Arc<dyn WorkQueue>,
}

impl Index {
    /// The ports of `store`, which has all of them.
    pub fn of<S: IndexReader + IndexWriter + WorkQueue + 'static>(store: Arc<S>) -> Self {
        Self {
            reader: Arc::<S>::clone(&store),
            writer: Arc::<S>::clone(&store),
            queue: store,
        }
    }
}
