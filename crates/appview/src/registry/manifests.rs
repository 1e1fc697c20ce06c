//! The use cases about manifests; one file each beside this one.

use std::sync::Arc;

use atcr_atproto::clock::Clock;

use super::accounts::Accounts;
use super::manifest_cache::ManifestCache;
use super::notices::Notices;
use super::ports::{BlobPresence, HoldDirectory, ManifestStore};

/// The largest manifest taken, in bytes: 4 MiB, what the specification asks of every registry.
pub const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;

/// What the manifest use cases need from outside.
pub struct ManifestPorts {
    /// The owners' records.
    pub store: Arc<dyn ManifestStore>,
    /// Where a push goes.
    pub holds: Arc<dyn HoldDirectory>,
    /// Whether blobs are where the manifest says.
    pub blobs: Arc<dyn BlobPresence>,
    /// What holds are told.
    pub notices: Notices,
    /// The time of records.
    pub clock: Arc<dyn Clock>,
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
    pub(super) store: Arc<dyn ManifestStore>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) holds: Arc<dyn HoldDirectory>,
    pub(super) blobs: Arc<dyn BlobPresence>,
    pub(super) notices: Notices,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cache: ManifestCache,
    pub(super) settings: ManifestSettings,
}

impl Manifests {
    /// The use cases over `ports`.
    #[must_use]
    pub fn new(ports: ManifestPorts, accounts: Arc<Accounts>, settings: ManifestSettings) -> Self {
        let ManifestPorts {
            store,
            holds,
            blobs,
            notices,
            clock,
        } = ports;
        let cache = ManifestCache::new(settings.cache_bytes);
        Self {
            store,
            accounts,
            holds,
            blobs,
            notices,
            clock,
            cache,
            settings,
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
