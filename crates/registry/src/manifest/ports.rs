//! What the use cases about manifests need: of the account's PDS, of the index, and of the disk.

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use atcr_auth::principal::Principal;
use atcr_oci::{Digest, Tag};
use bytes::Bytes;

use crate::error::RegistryError;

/// The manifests and tags of an account, one by one, at its PDS.
///
/// Reads ask the owner's PDS without credentials; uploads go through the session of `principal`, who is the owner. Errors are
/// those of [`RegistryError::Pds`], and `AccessError::SessionEnded` for uploads.
#[async_trait]
pub trait ManifestStore: Send + Sync {
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
}

/// An account as the index of the network has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStanding {
    /// The revision that its rows are of.
    pub rev: Tid,
    /// A later revision was heard of.
    pub is_behind: bool,
}

/// A manifest as the index of the network has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownManifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes at the owner's PDS.
    pub blob: Option<Cid>,
    /// The hold of its blobs.
    pub hold: Option<Did>,
    /// The key of its record, where that is not the one that all repositories of the account share.
    pub odd_rkey: Option<RecordKey>,
}

/// The manifests and tags of accounts as the index of the network has them. Errors are the database's.
#[async_trait]
pub trait KnownManifests: Send + Sync {
    /// The account; `None` when it is not indexed, or hidden. What is read afterwards is of this revision or a later one.
    async fn standing(&self, did: &Did) -> Result<Option<KnownStanding>, RegistryError>;

    /// What the tag points at.
    async fn tag(&self, did: &Did, repository: &str, tag: &Tag) -> Result<Option<Digest>, RegistryError>;

    /// The manifest of the repository.
    async fn manifest(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<KnownManifest>, RegistryError>;

    /// The account was found to have moved on: it is to be brought to its head.
    async fn is_behind(&self, did: &Did);
}

/// Bytes of manifests by digest, kept over restarts within a bound: those that are long unused go first. Errors are the database's.
#[async_trait]
pub trait KeptManifests: Send + Sync {
    /// The bytes that were kept of `digest`. The caller checks them.
    async fn find(&self, digest: &Digest) -> Result<Option<Bytes>, RegistryError>;

    /// The bytes of `digest` were used without being read here. It is noted about once an hour.
    async fn used(&self, digest: &Digest) -> Result<(), RegistryError>;

    /// Keeps the bytes of `digest`, which the caller has checked, of an account whose server is below the registered name `host`. When there
    /// is no room, a host that has more than a quarter of it makes its own.
    async fn keep(&self, host: &str, digest: &Digest, bytes: &Bytes) -> Result<(), RegistryError>;

    /// Forgets the bytes of `digest`.
    async fn forget(&self, digest: &Digest) -> Result<(), RegistryError>;
}
