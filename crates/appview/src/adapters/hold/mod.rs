//! Holds over HTTP: one client for all that is asked of them.
//!
//! | Module | Speaks to |
//! |---|---|
//! | [`xrpc`] | the hold: URL, token, capped answer |
//! | [`blobs`], [`size`] | the hold, about blobs and uploads |
//! | [`gateway`] | the hold, about its captain, crew, quotas and notices |
//! | [`scans`] | the hold, about scans of images |
//! | [`store`] | the store behind it, by signed URL and without any token |
//! | [`outgoing`] | a part's bytes as a request body, watched for progress |
//! | [`tokens`] | a user's PDS, for the service token that a hold asks for |
//! | [`errors`] | what their answers mean |
//!
//! Holds and their stores are named by others, so everything goes through the [`EgressClient`].

mod blobs;
mod errors;
mod gateway;
mod outgoing;
mod scans;
mod size;
mod store;
pub mod tokens;
mod xrpc;

use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_atproto::syntax::Did;
use moka::sync::Cache;

/// How long holds and their stores may take.
#[derive(Clone, Copy, Debug)]
pub struct HoldTimeouts {
    /// For an answer of the hold, and for the first byte of its store.
    pub call: Duration,
    /// Without any progress in the middle of a transfer.
    pub idle: Duration,
}

impl Default for HoldTimeouts {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(15),
            idle: Duration::from_mins(1),
        }
    }
}

/// Holds over HTTP.
#[derive(Clone, Debug)]
pub struct HoldClient {
    egress: EgressClient,
    timeouts: HoldTimeouts,
    /// Holds whose answer to a plain HEAD says nothing of the blob.
    sizes_by_url: Cache<Did, ()>,
    /// Whether a hold looks for a blob before it signs a URL for it.
    looks_first: Cache<Did, bool>,
}

/// How long the ways of a hold are remembered, and of how many holds.
const REMEMBER_WAYS: Duration = Duration::from_hours(1);
const REMEMBERED_WAYS: u64 = 10_000;

impl HoldClient {
    /// Reaches holds through `egress`.
    #[must_use]
    pub fn new(egress: EgressClient, timeouts: HoldTimeouts) -> Self {
        fn cache<V: Clone + Send + Sync + 'static>() -> Cache<Did, V> {
            let cache = Cache::builder().max_capacity(REMEMBERED_WAYS);
            cache.time_to_live(REMEMBER_WAYS).build()
        }
        Self {
            egress,
            timeouts,
            sizes_by_url: cache(),
            looks_first: cache(),
        }
    }
}
