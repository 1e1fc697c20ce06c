//! What the registry needs from outside, in its own words; `adapters/` implements it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::pds::{CommitMeta, Write};
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use bytes::Bytes;
use secrecy::SecretString;
use url::Url;

use super::access::{Granted, Push};
use super::context::RequestContext;
use super::error::RegistryError;

/// A hold and where it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HoldRef {
    /// The hold's identity: the audience of tokens, the name in records and messages.
    pub did: Did,
    /// Its base URL, resolved from the DID; XRPC paths are joined to it.
    pub endpoint: Url,
}

/// Which hold has, or is to have, a repository's blobs.
#[async_trait]
pub trait HoldDirectory: Send + Sync {
    /// The hold that a push to the granted repository goes to, its successor followed.
    ///
    /// Where the hold lets anybody become crew, the pusher is made crew first. All that is asked of holds for it takes no longer
    /// than one answer of a hold may; one that failed is not asked again for some seconds.
    ///
    /// # Errors
    /// [`RegistryError::NoHold`] when the owner chose none; [`RegistryError::HoldUnresolvable`] when its DID leads
    /// nowhere; [`RegistryError::HoldTimeout`], [`RegistryError::HoldUnreachable`] when it is down; the PDS's errors when the
    /// owner's profile cannot be read.
    async fn for_push(&self, grant: &Granted<Push>) -> Result<HoldRef, RegistryError>;

    /// The holds that are known to have blobs of the context's repository, best first: that of a manifest that names `digest`, then
    /// those of the repository's other manifests. Nobody is asked for it.
    ///
    /// # Errors
    /// The database's.
    async fn for_blob(&self, context: &RequestContext, digest: &Digest) -> Result<Vec<Did>, RegistryError>;

    /// Where a hold answers.
    ///
    /// # Errors
    /// [`RegistryError::HoldUnresolvable`], [`RegistryError::HoldUnreachable`].
    async fn resolve(&self, hold: &Did) -> Result<HoldRef, RegistryError>;

    /// The hold that the owner's pushes go to, for blobs that none of [`HoldDirectory::for_blob`] has; `None` when he chose none.
    ///
    /// # Errors
    /// Those of [`HoldDirectory::for_push`].
    async fn of_pushes(&self, context: &RequestContext) -> Result<Option<HoldRef>, RegistryError>;
}

/// Tokens that let this server act at a hold for a caller.
#[async_trait]
pub trait HoldTokens: Send + Sync {
    /// A service token of `principal`'s PDS for `hold`; `None` for the anonymous caller. Cached for 50 s.
    ///
    /// # Errors
    /// [`RegistryError::SessionEnded`] when the sailor has to sign in again; the PDS's errors.
    async fn token_for(
        &self,
        principal: &Principal,
        hold: &Did,
    ) -> Result<Option<SecretString>, RegistryError>;

    /// Forgets the cached token, after a hold answered 401 to it.
    async fn invalidate(&self, principal: &Principal, hold: &Did);
}

/// Whether a hold has a blob; the manifest push asks before it writes the record.
#[async_trait]
pub trait BlobPresence: Send + Sync {
    /// The blob's size in bytes, `None` when the hold does not have it.
    ///
    /// # Errors
    /// The hold's.
    async fn find_blob(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError>;
}

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

/// A sailor's profile as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProfile {
    /// The settings.
    pub record: SailorProfileRecord,
    /// The stored record names its hold by URL, as was once done; written back it names the DID.
    pub is_outdated: bool,
}

/// What came of a conditional commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The writes are made; this is the new commit.
    Committed(CommitMeta),
    /// The repository had moved on; nothing is written.
    Moved,
}

/// An account's records and blobs at its PDS.
///
/// Reads ask the owner's PDS as anybody may; writes go through the session of `principal`, who is the owner. Errors are
/// those that begin with `Pds`, and [`RegistryError::SessionEnded`] for writes.
#[async_trait]
pub trait ManifestStore: Send + Sync {
    /// The newest commit of the account's repository; `None` when the PDS has no repository for it.
    async fn head(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError>;

    /// The manifest record under `rkey`; a record that is not of its form counts as none.
    async fn find_manifest(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<ManifestRecord>, RegistryError>;

    /// The tag record under `rkey`; a record that is not of its form counts as none.
    async fn find_tag(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<TagRecord>, RegistryError>;

    /// A page of the account's manifest and tag records. What a manifest's record leaves out of it is taken from the bytes, where these
    /// can be had.
    async fn list_page(
        &self,
        owner: &ResolvedIdentity,
        position: &ListingPosition,
    ) -> Result<RecordsPage, RegistryError>;

    /// The blob `cid` of the account, of at most `max` bytes and known to hash to `cid`; `None` when the PDS has none.
    async fn read_blob(
        &self,
        owner: &ResolvedIdentity,
        cid: &Cid,
        max: u64,
    ) -> Result<Option<Bytes>, RegistryError>;

    /// Uploads a blob; it stays when a record names it soon.
    async fn upload_blob(
        &self,
        principal: &Principal,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<BlobRef, RegistryError>;

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

    /// The account's settings.
    async fn find_profile(&self, owner: &ResolvedIdentity) -> Result<Option<FoundProfile>, RegistryError>;

    /// The hold that the account announced in the way of old.
    async fn find_legacy_hold(&self, owner: &ResolvedIdentity) -> Result<Option<Did>, RegistryError>;
}

/// What the registry asks and tells a hold, besides blobs.
#[async_trait]
pub trait HoldGateway: Send + Sync {
    /// The hold's captain record; `None` when it has none that can be read.
    async fn find_captain(&self, hold: &HoldRef) -> Result<Option<CaptainRecord>, RegistryError>;

    /// Asks the hold to make the token's bearer a member. Being one already is success.
    async fn request_crew(&self, hold: &HoldRef, token: &SecretString) -> Result<(), RegistryError>;

    /// Tells the hold that a manifest was pushed or pulled.
    async fn notify_manifest(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        notice: &NotifyManifestInput,
    ) -> Result<(), RegistryError>;
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
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
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

    /// Begins a listing of the account. Until it is published it is seen by nobody.
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

    /// Makes `change`. The account counts as synced at `to` if it was at `from`, so that a change by somebody else in
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

    /// An index of the repository that names `digest` as its child.
    async fn parent_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Digest>, RegistryError>;

    /// At most `limit` manifests of the repository whose subject is `subject`, in order of digest.
    async fn referrers(
        &self,
        did: &Did,
        repository: &str,
        subject: &Digest,
        limit: usize,
    ) -> Result<Vec<Referrer>, RegistryError>;

    /// Keeps what a manifest's bytes say; good for every account, since it follows from the digest.
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
}
