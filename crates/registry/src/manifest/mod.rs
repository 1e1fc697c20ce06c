//! The use cases about manifests; one file each beside this one.

mod cache;
mod delete;
mod erasure;
pub mod error;
mod known;
pub mod ports;
pub mod pull;
pub mod push;
pub mod pushed_content;
pub mod record;
pub mod record_keys;
mod record_size;
mod referrers;
pub mod removal;
mod tag_records;
pub mod tags;
pub mod way_back;

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::egress::{AnswerMemory, SharedBudget};

use crate::account::Accounts;
use crate::account::ports::AccountSettings;
use crate::blob::ports::BlobPresence;
use crate::hold::notices::Notices;
use crate::hold::ports::{HoldDirectory, HoldGateway};
use crate::hold::quota::Quotas;
use crate::manifest::cache::ManifestCache;
use crate::manifest::ports::{KeptManifests, KnownManifests, ManifestStore};

/// The largest manifest taken, in bytes: 4 MiB, what the specification asks of every registry.
pub const MANIFEST_LIMIT: u64 = atcr_oci::MAX_MANIFEST_BYTES as u64;

/// What the manifest use cases need from outside.
pub struct ManifestPorts {
    /// The owners' manifests and tags.
    pub store: Arc<dyn ManifestStore>,
    /// What the index of the network has of them; `None` when it is not filled.
    pub known: Option<Arc<dyn KnownManifests>>,
    /// Bytes that are kept over restarts.
    pub kept: Arc<dyn KeptManifests>,
    /// What owners want to happen to their manifests.
    pub settings: Arc<dyn AccountSettings>,
    /// Where a push goes.
    pub holds: Arc<dyn HoldDirectory>,
    /// Whether blobs are where the manifest says.
    pub blobs: Arc<dyn BlobPresence>,
    /// What holds are told.
    pub notices: Notices,
    /// Where holds are asked how much a user may store.
    pub gateway: Arc<dyn HoldGateway>,
    /// The time of records.
    pub clock: Arc<dyn Clock>,
    /// What is made of manifests that are read is counted in.
    pub memory: AnswerMemory,
}

/// What an operator decides about manifests.
#[derive(Clone, Copy, Debug)]
pub struct ManifestSettings {
    /// A manifest may name blobs and manifests that were not pushed.
    pub allow_missing_content: bool,
    /// Bytes of manifests kept in memory.
    pub cache_bytes: u64,
}

/// Manifests, tags and referrers of repositories.
pub struct Manifests {
    store: Arc<dyn ManifestStore>,
    known: Option<Arc<dyn KnownManifests>>,
    kept: Arc<dyn KeptManifests>,
    owners: Arc<dyn AccountSettings>,
    accounts: Arc<Accounts>,
    holds: Arc<dyn HoldDirectory>,
    blobs: Arc<dyn BlobPresence>,
    notices: Notices,
    quotas: Quotas,
    clock: Arc<dyn Clock>,
    cache: ManifestCache,
    settings: ManifestSettings,
    memory: AnswerMemory,
    /// Manifests that are read for lists of referrers.
    referrers: SharedBudget,
}

impl Manifests {
    /// The use cases over `ports`.
    #[must_use]
    pub fn new(ports: ManifestPorts, accounts: Arc<Accounts>, settings: ManifestSettings) -> Self {
        let ManifestPorts {
            store,
            known,
            kept,
            settings: owners,
            holds,
            blobs,
            notices,
            gateway,
            clock,
            memory,
        } = ports;
        let cache = ManifestCache::new(settings.cache_bytes);
        Self {
            store,
            known,
            kept,
            owners,
            accounts,
            holds,
            blobs,
            notices,
            quotas: Quotas::new(gateway),
            clock,
            cache,
            settings,
            memory,
            referrers: SharedBudget::new(referrers::HELD_BYTES),
        }
    }
}

impl std::fmt::Debug for Manifests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifests")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
