//! What the registry needs of accounts from outside: their repositories at their PDSes, and an index of these.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::pds::{CommitMeta, Write};
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use tokio::time::Instant;

use crate::error::RegistryError;

/// A record and the key it is kept under.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// The record key.
    pub rkey: RecordKey,
    /// The record.
    pub record: T,
}

/// The collections of an account that are listed, in this order: tags are small, and what most listings are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListedCollection {
    /// `io.atcr.tag`.
    #[default]
    Tags,
    /// `io.atcr.manifest`.
    Manifests,
}

/// Where a page of an account's records begins; by default at the first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingPosition {
    /// The collection.
    pub collection: ListedCollection,
    /// What the PDS said of the page before.
    pub cursor: Option<String>,
}

/// A page of an account's records.
#[derive(Clone, Debug, Default)]
pub struct RecordsPage {
    /// The manifest records that could be read.
    pub manifests: Vec<Located<ManifestRecord>>,
    /// The tag records that could be read.
    pub tags: Vec<Located<TagRecord>>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<ListingPosition>,
    /// Records are passed over because even one alone is longer than is read.
    pub is_cut: bool,
    /// Length of the page in bytes.
    pub size_bytes: u64,
}

/// What came of a conditional commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The writes are made; this is the new commit.
    Committed(CommitMeta),
    /// The repository had moved on; nothing is written.
    Moved,
}

/// An account's repository at its PDS, as a whole.
///
/// Reads ask the owner's PDS without credentials; writes go through the session of `principal`, who is the owner. Errors are
/// those of [`RegistryError::Pds`], and `AccessError::SessionEnded` for writes.
#[async_trait]
pub trait AccountRecords: Send + Sync {
    /// The newest commit of the account's repository; `None` when the PDS has no repository for it.
    async fn head(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError>;

    /// A page of the account's manifest and tag records. What a manifest's record leaves out of it is taken from the bytes, where these
    /// can be had before `until`; a page on which some could not is cut.
    async fn list_page(
        &self,
        owner: &ResolvedIdentity,
        position: &ListingPosition,
        until: Instant,
    ) -> Result<RecordsPage, RegistryError>;

    /// Makes all `writes` in one commit or none. With `expected` the repository must still be at that commit.
    ///
    /// # Cancel safety
    /// Dropped after sending, the commit may or may not have been made.
    async fn commit(
        &self,
        principal: &Principal,
        writes: Vec<Write>,
        expected: Option<&CommitMeta>,
    ) -> Result<CommitOutcome, RegistryError>;
}

/// What an account has decided about this registry.
///
/// Reads ask the owner's PDS without credentials. Errors are those that begin with `Pds`.
#[async_trait]
pub trait AccountSettings: Send + Sync {
    /// The account's settings.
    async fn find_profile(
        &self,
        owner: &ResolvedIdentity,
    ) -> Result<Option<SailorProfileRecord>, RegistryError>;

    /// The hold that the account announced in the way of old.
    async fn find_legacy_hold(&self, owner: &ResolvedIdentity) -> Result<Option<Did>, RegistryError>;
}

/// Remembers the newest revision that was seen of each account, over restarts.
#[async_trait]
pub trait RevisionStore: Send + Sync {
    /// The newest revision of `did`; `None` when none is remembered.
    async fn newest(&self, did: &Did) -> Result<Option<Tid>, RegistryError>;

    /// Remembers `rev`, unless a newer one is.
    async fn remember(&self, did: &Did, rev: &Tid) -> Result<(), RegistryError>;
}

/// A manifest of an account as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedManifest {
    /// The record's key.
    pub rkey: RecordKey,
    /// The repository that has it.
    pub repository: String,
    /// Its digest.
    pub digest: Digest,
}

/// A tag of an account as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedTag {
    /// The record's key.
    pub rkey: RecordKey,
    /// The tag.
    pub tag: String,
    /// What it points at; `None` when the record does not say so in a usable form.
    pub digest: Option<Digest>,
}

/// A manifest that names another one as its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The record's key.
    pub rkey: RecordKey,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes, when known.
    pub size: Option<u64>,
    /// Its bytes at the PDS, when the record names them.
    pub blob: Option<Cid>,
    /// What the manifest's bytes say; `None` until they were read.
    pub details: Option<ManifestDetails>,
}

/// What a referrers listing needs of a manifest beyond its descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestDetails {
    /// Its artifact type, the config's media type where it names none.
    pub artifact_type: Option<String>,
    /// Its annotations; `None` when they are too long to be kept, and have to be read from the bytes.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A change that this server made to an account, to be made to the index as well.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// Manifest records written, with their new content.
    pub manifests: Vec<Located<ManifestRecord>>,
    /// Tag records written.
    pub tags: Vec<Located<TagRecord>>,
    /// Manifest records deleted.
    pub deleted_manifests: Vec<RecordKey>,
    /// Tag records deleted.
    pub deleted_tags: Vec<RecordKey>,
}

/// A listing that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListingId(pub i64);

/// What an account's listing is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAs {
    /// The account's revision.
    pub rev: String,
    /// Every record is listed; false when the account has more than is listed of one account.
    pub is_whole: bool,
}

/// What accounts' repositories say, kept where it can be searched. Everything here can be rebuilt from the accounts.
#[async_trait]
pub trait AccountIndex: Send + Sync {
    /// What the account was last listed as, or brought to by our own writes; `None` if never.
    async fn listed_as(&self, did: &Did) -> Result<Option<ListedAs>, RegistryError>;

    /// Begins a listing of the account. No reader sees it until it is published.
    async fn begin_listing(&self, did: &Did) -> Result<ListingId, RegistryError>;

    /// Adds a page to a listing, in transactions so short that other writers hardly wait. `false` when the listing is gone.
    ///
    /// # Cancel safety
    /// Some of the page may have been added.
    async fn stage(&self, listing: ListingId, page: &RecordsPage) -> Result<bool, RegistryError>;

    /// Makes `change` to a listing that is not published. `false` when the listing is gone.
    async fn stage_change(&self, listing: ListingId, change: &AccountChange) -> Result<bool, RegistryError>;

    /// Puts the listing in place of everything known of its account, at once. `false` when the listing is gone.
    async fn publish(
        &self,
        listing: ListingId,
        listed_as: &ListedAs,
        size_bytes: u64,
    ) -> Result<bool, RegistryError>;

    /// The listings that were begun and not published, those under way among them.
    async fn staged(&self) -> Result<Vec<ListingId>, RegistryError>;

    /// Removes, in short transactions, the listings that were `left` before they were published, those that were replaced, and the
    /// accounts longest unused when all of them have grown too large. Repeating it is harmless.
    async fn sweep(&self, left: &[ListingId]) -> Result<(), RegistryError>;

    /// Makes `change`. The account counts as synced at `to` if it was at `from`, so that another writer's change in
    /// between is still found.
    async fn apply(
        &self,
        did: &Did,
        change: &AccountChange,
        from: &str,
        to: &str,
    ) -> Result<(), RegistryError>;

    /// Notes a manifest record that a pull came by, so that its blobs are found.
    async fn note(&self, did: &Did, manifest: &Located<ManifestRecord>) -> Result<(), RegistryError>;

    /// At most `limit` tags of the repository that come after `after`, in byte order.
    async fn tags(
        &self,
        did: &Did,
        repository: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError>;

    /// The records of one tag, the one moved last first. More than one only if other writers chose other keys.
    async fn find_tag(
        &self,
        did: &Did,
        repository: &str,
        tag: &str,
    ) -> Result<Vec<IndexedTag>, RegistryError>;

    /// The tags of the repository that point at `digest`.
    async fn tags_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<IndexedTag>, RegistryError>;

    /// Every record of `digest`, in order of repository.
    async fn copies(&self, did: &Did, digest: &Digest) -> Result<Vec<IndexedManifest>, RegistryError>;

    /// The indexes of the repository that name `digest` as their child, at most 1,000, in order of digest.
    async fn parents_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<Digest>, RegistryError>;

    /// At most `limit` manifests of the repository whose subject is `subject` and whose digests come after `after`, in order of digest.
    async fn referrers(
        &self,
        did: &Did,
        repository: &str,
        subject: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Referrer>, RegistryError>;

    /// Keeps what a manifest's bytes say, for a while; good for every account, since it follows from the digest. Long annotations are
    /// not kept.
    async fn keep_details(
        &self,
        digest: &Digest,
        size: u64,
        details: &ManifestDetails,
    ) -> Result<(), RegistryError>;

    /// Whether the account has a manifest or a tag in the repository.
    async fn has_repository(&self, did: &Did, repository: &str) -> Result<bool, RegistryError>;

    /// At most `limit` repositories of the account that come after `after`, in byte order.
    async fn repositories(
        &self,
        did: &Did,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError>;

    /// The holds that may have `blob` of the repository: those of manifests that name it, then the repository's others.
    async fn holds_of_blob(
        &self,
        did: &Did,
        repository: &str,
        blob: &Digest,
    ) -> Result<Vec<Did>, RegistryError>;

    /// Which of `blobs` are named by a manifest of the account whose blobs are at `hold`. The manifest records `besides` do not count.
    async fn blobs_at(
        &self,
        did: &Did,
        hold: &Did,
        blobs: &[Digest],
        besides: &[RecordKey],
    ) -> Result<BTreeSet<Digest>, RegistryError>;
}
