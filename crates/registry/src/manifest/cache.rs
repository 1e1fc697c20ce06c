//! What was lately read of manifests, in memory: bytes by digest, and which repository has which.
//!
//! Bytes follow from their digest, so they are kept as long as there is room. That a repository *has* a manifest, and what a tag
//! points at, is the owner's to change elsewhere at any time: it is believed for seconds only, and while the index has the account as it had
//! it then; what this server changes itself is forgotten at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atcr_atproto::syntax::{Cid, Did, Tid};
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

/// How exactly it is known when bytes were used last.
const USE_TTL: Duration = Duration::from_hours(1);

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

/// The revision that the index has of an account, and whether it has heard of a later one.
pub(super) type IndexedState = (Tid, bool);

/// What was read while the index had the account so; `None` for one that it does not have.
type Read<T> = (Option<IndexedState>, T);

type PresenceKey = (Did, String, Digest);
type TagKey = (Did, String, Tag);

/// The caches, and the locks that let one caller fetch what many want.
#[derive(Debug)]
pub(super) struct ManifestCache {
    bytes: Cache<Digest, Bytes>,
    presences: Cache<PresenceKey, Read<Arc<Presence>>>,
    tags: Cache<TagKey, Read<Digest>>,
    presence_flights: KeyedLocks<PresenceKey>,
    // By account as well: an account with a slow PDS must not keep others from the same bytes elsewhere.
    byte_flights: KeyedLocks<(Did, Digest)>,
    tag_flights: KeyedLocks<TagKey>,
    /// Manifests whose use was noted a while ago.
    uses: Cache<Digest, ()>,
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
            uses: Cache::builder()
                .max_capacity(ENTRIES)
                .time_to_live(USE_TTL)
                .build(),
            epoch: AtomicU64::new(0),
        }
    }

    /// The bytes of `digest`, if they are here.
    #[must_use]
    pub(super) fn find_bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.bytes.get(digest)
    }

    /// Whether a use of `digest` was noted within [`USE_TTL`]; from now on it was.
    pub(super) fn is_use_noted(&self, digest: &Digest) -> bool {
        let is_noted = self.uses.contains_key(digest);
        if !is_noted {
            self.uses.insert(digest.clone(), ());
        }
        is_noted
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

    /// That the repository has `digest`, from here if it was read at `state`, or else through `locate`.
    ///
    /// # Errors
    /// Those of `locate`. A miss is not kept.
    pub(super) async fn presence(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
        state: Option<IndexedState>,
        locate: impl Future<Output = Result<Option<Presence>, RegistryError>> + Send,
    ) -> Result<Option<Arc<Presence>>, RegistryError> {
        let key = (did.clone(), repository.to_owned(), digest.clone());
        let find = || self.presences.get(&key).filter(|(read_at, _)| *read_at == state);
        if let Some((_, presence)) = find() {
            return Ok(Some(presence));
        }
        let _flight = self.presence_flights.lock(&key).await;
        if let Some((_, presence)) = find() {
            return Ok(Some(presence));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(presence) = locate.await?.map(Arc::new) else {
            return Ok(None);
        };
        if self.epoch.load(Ordering::SeqCst) == epoch {
            self.presences.insert(key, (state, Arc::clone(&presence)));
        }
        Ok(Some(presence))
    }

    /// What a tag points at, from here if it was read at `state`, or else through `resolve`.
    ///
    /// # Errors
    /// Those of `resolve`. A miss is not kept.
    pub(super) async fn tag(
        &self,
        did: &Did,
        repository: &str,
        tag: &Tag,
        state: Option<IndexedState>,
        resolve: impl Future<Output = Result<Option<Digest>, RegistryError>> + Send,
    ) -> Result<Option<Digest>, RegistryError> {
        let key = (did.clone(), repository.to_owned(), tag.clone());
        let find = || self.tags.get(&key).filter(|(read_at, _)| *read_at == state);
        if let Some((_, digest)) = find() {
            return Ok(Some(digest));
        }
        let _flight = self.tag_flights.lock(&key).await;
        if let Some((_, digest)) = find() {
            return Ok(Some(digest));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(digest) = resolve.await? else {
            return Ok(None);
        };
        if self.epoch.load(Ordering::SeqCst) == epoch {
            self.tags.insert(key, (state, digest.clone()));
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
