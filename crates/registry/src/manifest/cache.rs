//! What was lately read of manifests, in memory: bytes by digest, and which repository has which.
//!
//! Bytes follow from their digest, so they are kept as long as there is room. That a repository *has* a manifest, and what a tag
//! points at, is the owner's to change elsewhere at any time: it is believed for seconds only, and what this server changes
//! itself is forgotten at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atcr_atproto::syntax::{Cid, Did};
use atcr_oci::{Digest, Tag};
use bytes::Bytes;
use moka::sync::Cache;

use crate::context::RequestContext;
use crate::error::RegistryError;
use atcr_server::KeyedLocks;

/// How long a manifest found in a repository is believed to be there.
const PRESENCE_TTL: Duration = Duration::from_secs(30);

/// How long a tag is believed to point where it did: the answer to a crowd that pulls one image.
const TAG_TTL: Duration = Duration::from_secs(5);

/// Presences and tags kept at most.
const ENTRIES: u64 = 20_000;

/// What a cached manifest costs beside its bytes, so that tiny ones cannot be too many.
const OVERHEAD: usize = 256;

/// That a repository has a manifest, and what its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Presence {
    /// The media type to serve it with.
    pub(super) media_type: String,
    /// Its bytes at the PDS.
    pub(super) blob: Cid,
    /// The hold of its blobs.
    pub(super) hold: Option<Did>,
}

type PresenceKey = (Did, String, Digest);
type TagKey = (Did, String, Tag);

/// The caches, and the locks that let one caller fetch what many want.
#[derive(Debug)]
pub(super) struct ManifestCache {
    bytes: Cache<Digest, Bytes>,
    presences: Cache<PresenceKey, Arc<Presence>>,
    tags: Cache<TagKey, Digest>,
    presence_flights: KeyedLocks<PresenceKey>,
    // By account as well: an account with a slow PDS must not keep others from the same bytes elsewhere.
    byte_flights: KeyedLocks<(Did, Digest)>,
    tag_flights: KeyedLocks<TagKey>,
    /// Grows with every write of ours; what was read while it grew is not kept.
    epoch: AtomicU64,
}

impl ManifestCache {
    /// A cache that keeps at most `capacity_bytes` of manifests.
    #[must_use]
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let weight = |_: &Digest, bytes: &Bytes| u32::try_from(bytes.len() + OVERHEAD).unwrap_or(u32::MAX);
        Self {
            bytes: Cache::builder()
                .weigher(weight)
                .max_capacity(capacity_bytes)
                .build(),
            presences: Cache::builder()
                .max_capacity(ENTRIES)
                .time_to_live(PRESENCE_TTL)
                .build(),
            tags: Cache::builder()
                .max_capacity(ENTRIES)
                .time_to_live(TAG_TTL)
                .build(),
            presence_flights: KeyedLocks::default(),
            byte_flights: KeyedLocks::default(),
            tag_flights: KeyedLocks::default(),
            epoch: AtomicU64::new(0),
        }
    }

    /// The bytes of `digest`, if they are here.
    #[must_use]
    pub(super) fn find_bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.bytes.get(digest)
    }

    /// Keeps bytes that are known to hash to `digest`.
    pub(super) fn keep_bytes(&self, digest: Digest, bytes: Bytes) {
        self.bytes.insert(digest, bytes);
    }

    /// The bytes of `digest`, from here or else through `fetch`, which one caller at a time runs for an account.
    ///
    /// # Errors
    /// Those of `fetch`; nothing is kept then.
    pub(super) async fn bytes(
        &self,
        did: &Did,
        digest: &Digest,
        fetch: impl Future<Output = Result<Bytes, RegistryError>> + Send,
    ) -> Result<Bytes, RegistryError> {
        if let Some(bytes) = self.bytes.get(digest) {
            return Ok(bytes);
        }
        let _flight = self.byte_flights.lock(&(did.clone(), digest.clone())).await;
        if let Some(bytes) = self.bytes.get(digest) {
            return Ok(bytes);
        }
        let bytes = fetch.await?;
        self.bytes.insert(digest.clone(), bytes.clone());
        Ok(bytes)
    }

    /// That the repository has `digest`, from here or else through `locate`.
    ///
    /// # Errors
    /// Those of `locate`. A miss is not kept.
    pub(super) async fn presence(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
        locate: impl Future<Output = Result<Option<Presence>, RegistryError>> + Send,
    ) -> Result<Option<Arc<Presence>>, RegistryError> {
        let key = (did.clone(), repository.to_owned(), digest.clone());
        if let Some(presence) = self.presences.get(&key) {
            return Ok(Some(presence));
        }
        let _flight = self.presence_flights.lock(&key).await;
        if let Some(presence) = self.presences.get(&key) {
            return Ok(Some(presence));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(presence) = locate.await?.map(Arc::new) else {
            return Ok(None);
        };
        if self.epoch.load(Ordering::SeqCst) == epoch {
            self.presences.insert(key, Arc::clone(&presence));
        }
        Ok(Some(presence))
    }

    /// What a tag points at, from here or else through `resolve`.
    ///
    /// # Errors
    /// Those of `resolve`. A miss is not kept.
    pub(super) async fn tag(
        &self,
        did: &Did,
        repository: &str,
        tag: &Tag,
        resolve: impl Future<Output = Result<Option<Digest>, RegistryError>> + Send,
    ) -> Result<Option<Digest>, RegistryError> {
        let key = (did.clone(), repository.to_owned(), tag.clone());
        if let Some(digest) = self.tags.get(&key) {
            return Ok(Some(digest));
        }
        let _flight = self.tag_flights.lock(&key).await;
        if let Some(digest) = self.tags.get(&key) {
            return Ok(Some(digest));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(digest) = resolve.await? else {
            return Ok(None);
        };
        if self.epoch.load(Ordering::SeqCst) == epoch {
            self.tags.insert(key, digest.clone());
        }
        Ok(Some(digest))
    }

    /// Forgets what the account has and what its tags point at; that of all others with it, for it happens seldom.
    pub(super) fn forget_account(&self, did: &Did) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        tracing::debug!(%did, "what is known of manifests and tags is forgotten");
        self.presences.invalidate_all();
        self.tags.invalidate_all();
    }

    /// Forgets that the repository of `context` has `digests` and what `tags` of it point at. Called before and after a
    /// write, so that nothing read in between survives.
    pub(super) fn forget<'a>(
        &self,
        context: &RequestContext,
        digests: impl IntoIterator<Item = &'a Digest>,
        tags: impl IntoIterator<Item = &'a Tag>,
    ) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let (did, repository) = (&context.owner.did, context.repository());
        for digest in digests {
            self.presences
                .invalidate(&(did.clone(), repository.to_owned(), digest.clone()));
        }
        for tag in tags {
            self.tags
                .invalidate(&(did.clone(), repository.to_owned(), tag.clone()));
        }
    }
}
