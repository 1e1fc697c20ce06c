//! What the use cases about manifests need of the account's PDS.

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::syntax::{Cid, RecordKey};
use atcr_auth::principal::Principal;
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
